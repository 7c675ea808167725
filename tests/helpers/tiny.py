"""Models, tokenizers and data small enough that a test of them takes a blink. Nothing is random but by seed."""

import torch
from datasets import ClassLabel, Dataset, Features, Image
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from excise import CodebookCLIPModel, CodebookSAEConfig, CodebookT5ForConditionalGeneration, Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.codes.selection import Selection
from excise.data.packaged.tokenizer import train_tokenizer
from excise.models import CodebookCLIPConfig, CodebookT5Config

VOCAB = 64
SITE = "encoder.block.2"

T5 = {
    "vocab_size": VOCAB,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 32,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
    "dropout_rate": 0.0,
    "decoder_start_token_id": 0,
}

# With its usual scale of 14 a code that is another one in half precision would change the loss beyond recognition.
CLIP = {"projection_dim": 8, "logit_scale_init_value": 1.0}
# Images of 8 x 8 are a class token and four patches.
CLIP_VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}
CLIP_TEXT = {
    "vocab_size": VOCAB,
    "hidden_size": 12,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 3,
    "eos_token_id": 1,
}


def base_t5(**settings) -> T5ForConditionalGeneration:
    """A plain T5 with random weights, in eval mode."""
    return T5ForConditionalGeneration(T5Config(**T5 | settings)).eval()


def bottleneck_config(**settings) -> CodebookSAEConfig:
    return CodebookSAEConfig(**{"num_codes": 40, "top_s": 3, "l1_weight": 1e-3} | settings)


def codebook_t5(layers=(2,), t5=None, **bottleneck) -> CodebookT5ForConditionalGeneration:
    """A T5 with bottlenecks, in eval mode, with buffers that are not at their defaults."""
    config = CodebookT5Config(
        **T5 | (t5 or {}), bottleneck=bottleneck_config(**bottleneck), bottleneck_layers=list(layers)
    )
    model = CodebookT5ForConditionalGeneration(config).eval()
    _move_buffers(model)
    for block in model.decoder.block:  # with T5's own start the output is the start token again, whatever is read
        block.layer[1].EncDecAttention.o.weight.data.mul_(30)
    return model


def _move_buffers(model) -> None:
    """Gives bottlenecks buffers that are not at their defaults."""
    for module in bottlenecks(model).values():
        module.mean.normal_(std=0.1)
        module.scale.fill_(1.5)
        module.min_similarity.fill_(-0.9)  # every code's is greater


def base_clip() -> CLIPModel:
    """A plain CLIP with random weights, in eval mode."""
    return CLIPModel(CLIPConfig(vision_config=CLIP_VISION, text_config=CLIP_TEXT, **CLIP)).eval()


def codebook_clip(model_class=CodebookCLIPModel, layers=(2,), classes=3, **bottleneck):
    """A CLIP with bottlenecks in its vision tower, in eval mode, with buffers that are not at their defaults."""
    vision = CLIP_VISION | {"bottleneck": bottleneck_config(**bottleneck), "bottleneck_layers": list(layers)}
    names = {i: f"class {i}" for i in range(classes)}
    config = CodebookCLIPConfig(vision_config=vision, text_config=CLIP_TEXT, id2label=names, **CLIP)
    whole = model_class.config_class is CodebookCLIPConfig
    model = model_class(config if whole else config.vision_config).eval()
    _move_buffers(model)
    return model


def pixels(count=3, seed=0) -> torch.Tensor:
    """Random images, as a model takes them."""
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def pairs() -> dict:
    """Images with captions, padded, and the wish for a loss."""
    captions = {key: value for key, value in batch().items() if key != "labels"}
    return captions | {"pixel_values": pixels(), "return_loss": True}


def batch(lengths=(7, 4, 2), target_lengths=(5, 2, 3), seed=0) -> dict[str, torch.Tensor]:
    """Padded input ids, attention mask and labels of random tokens; each row ends in `</s>`."""
    generator = torch.Generator().manual_seed(seed)

    def rows(sizes, fill):
        ids = torch.full((len(sizes), max(sizes)), fill)
        for row, size in zip(ids, sizes, strict=True):
            row[:size] = torch.randint(3, VOCAB, (size,), generator=generator)
            row[size - 1] = 1
        return ids

    input_ids = rows(lengths, 0)
    return {
        "input_ids": input_ids,
        "attention_mask": (input_ids != 0).long(),
        "labels": rows(target_lengths, -100),
    }


def copying(rows: int, seed=0) -> Dataset:
    """Rows of uneven length whose labels are their inputs."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 9, (rows,), generator=generator).tolist()
    ids = [[*torch.randint(3, 12, (n - 1,), generator=generator).tolist(), 1] for n in lengths]
    return Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(i) for i in ids], "labels": ids})


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose ids the tiny models know."""
    return train_tokenizer(["the cat sat on the mat", "the teacher ran", "a cat and a dog"], vocab_size=VOCAB)


def mask_codes(model, codes=(0, 3, 5, 8), site=SITE) -> None:
    """Masks codes as a user does, with an entry in the ledger."""
    Unlearner(model, None).mask(Selection({site: list(codes)}, {"q": 0.05}), "tiny topic")


def delete_codes(model, codes=(1, 2), site=SITE) -> None:
    """Deletes codes as a user does."""
    Unlearner(model, None).delete(Selection({site: list(codes)}), "tiny topic")


CLASSES = ("red", "green", "blue")


def images(rows: int, seed=0, classes=CLASSES) -> Dataset:
    """Images of 8 x 8 with much of the colour that is their class (a fourth is a bit of each), the classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 100, (rows, 8, 8, 3), generator=generator, dtype=torch.uint8)
    labels = [i % len(classes) for i in range(rows)]
    for picture, label in zip(pictures, labels, strict=True):
        picture[..., label if label < 3 else slice(None)] += 150 if label < 3 else 50
    columns = {"image": list(pictures.numpy()), "label": labels}
    return Dataset.from_dict(columns, features=Features({"image": Image(), "label": ClassLabel(names=list(classes))}))


def image_processor() -> CLIPImageProcessorPil:
    """Makes images of 8 x 8 of any image."""
    return CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})


def clip_processor() -> CLIPProcessor:
    """The image processor and the tokenizer as one."""
    return CLIPProcessor(image_processor(), tokenizer())
