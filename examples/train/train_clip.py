#!/usr/bin/env python
"""Train a small CLIP on images with class labels, and then with codebooks in its vision tower.

The data set is a Hub id or a folder that `save_to_disk` wrote, with a column of images and one of class labels. A plain
CLIP of about 3 million parameters, from nothing, with captions made of the names of the classes:

    python examples/train/train_clip.py --dataset_name cifar10 --do_train --do_eval \
        --per_device_train_batch_size 128 --learning_rate 1e-3 --num_train_epochs 20 --output_dir out/plain

The same CLIP with a codebook, jointly trained (an image of which nothing is passed on is still called something, so
there is no least similarity):

    python examples/train/train_clip.py --model_name_or_path out/plain --codebook --similarity_quantile 0 \
        --dataset_name cifar10 --do_train --do_eval --per_device_train_batch_size 128 --learning_rate 3e-4 \
        --num_train_epochs 3 --output_dir out/codebook

All of transformers' `TrainingArguments` may be given. A run that was cut off goes on from its last checkpoint when the
command is given again. The metric is zero-shot accuracy on the test split: an image is of the class whose name, put
into the templates below, is most like it.

CLIP's own loss takes every other caption of a batch for wrong. With ten classes a tenth of them are right, so here all
captions of an image's class share its target evenly, and likewise all images of a caption's class (as in UniCL, Yang et
al. 2022). That makes use of the labels, which CLIP does without. The `task_loss` that is logged is CLIP's own.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoProcessor,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    HfArgumentParser,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from excise import (
    BottleneckCallback,
    CodebookCLIPModel,
    CodebookSAEConfig,
    initialize_codes,
    set_min_similarity,
)
from excise.bottlenecks import bottlenecks
from excise.data import class_column, image_column, load_rows
from excise.evaluation import predict_classes
from excise.statistics import clopper_pearson
from excise.training import adamw, last_whole_checkpoint

TEMPLATES = ("a photo of a {}", "a picture of a {}", "an image of a {}", "a small photo of a {}", "this is a {}")

logger = logging.getLogger(__name__)


@dataclass
class ClipArguments:
    """The data, and the size of a CLIP that is trained from nothing."""

    dataset_name: str = field(metadata={"help": "Data set: Hub id, or folder."})
    dataset_config: str | None = field(default=None, metadata={"help": "Its configuration."})
    train_split: str = field(default="train", metadata={"help": "Split to train on."})
    test_split: str = field(default="test", metadata={"help": "Split to evaluate on."})
    image_column: str | None = field(default=None, metadata={"help": "Column of images, if there are several."})
    label_column: str | None = field(default=None, metadata={"help": "Column of labels, if there are several."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Train on so many images, drawn by seed."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Evaluate on so many, drawn by seed."})
    exclude_classes: list[str] | None = field(
        default=None, metadata={"help": "Train on no image of these classes: a model that never saw them."}
    )
    model_name_or_path: str | None = field(default=None, metadata={"help": "CLIP to start from; a new one without."})
    image_size: int = field(default=32, metadata={"help": "Side of an image in pixels."})
    patch_size: int = field(default=4, metadata={"help": "Side of a patch in pixels."})
    vision_width: int = field(default=192, metadata={"help": "Width of the vision tower."})
    vision_layers: int = field(default=6, metadata={"help": "Layers of the vision tower."})
    text_width: int = field(default=128, metadata={"help": "Width of the text tower, and of what both put out."})
    text_layers: int = field(default=2, metadata={"help": "Layers of the text tower."})
    attn_implementation: str | None = field(
        default=None, metadata={"help": "As in transformers. For few patches in bf16 on a CPU, `eager` is the fastest."}
    )


@dataclass
class CodebookArguments:
    """The bottleneck. What is not given is as `CodebookSAEConfig` has it, or as a trained bottleneck has it."""

    codebook: bool = field(default=False, metadata={"help": "Put a codebook bottleneck in a plain model."})
    num_codes: int | None = field(default=None, metadata={"help": "Number of codes."})
    top_s: int | None = field(default=None, metadata={"help": "Codes summed for each position, S."})
    code_dim: int | None = field(default=None, metadata={"help": "Width of the codes."})
    active: int | None = field(default=None, metadata={"help": "Units of it that stay active for a position."})
    reconstruction_weight: float | None = field(default=None, metadata={"help": "Weight of the reconstruction loss."})
    bottleneck_layers: list[int] | None = field(default=None, metadata={"help": "Vision layers, from 0; the last."})
    codebook_learning_rate: float | None = field(default=None, metadata={"help": "Learning rate of the codes alone."})
    init_tokens: int = field(default=131_072, metadata={"help": "Positions that codes are initialised on; 0: random."})
    init_steps: int = field(default=200, metadata={"help": "Steps that train the bottleneck alone, at first."})
    revive_every: int = field(default=0, metadata={"help": "Steps between revivals of dead codes; 0 for none."})
    similarity_quantile: float = field(
        default=0.005, metadata={"help": "Share of positions, those least like any code, that nothing is passed of."}
    )


class ClipTrainer(Trainer):
    """A `Trainer` whose contrastive loss knows which captions say the same, and whose metric is zero-shot accuracy."""

    loss_is_scaled_for_ga = False  # a mean over its own batch

    def __init__(self, *args, classes: Sequence[str], **kwargs):
        super().__init__(*args, **kwargs)
        self.classes = classes

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        """The contrastive loss above, and what codebooks add to it."""
        labels = inputs.pop("classes")
        output = model(**inputs, return_loss=True)
        own = output.get("task_loss", output.loss)
        loss = output.loss - own + contrastive_loss(output.logits_per_image, labels)
        return (loss, output) if return_outputs else loss

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Zero-shot accuracy, with its exact 95 % interval."""
        rows = eval_dataset if eval_dataset is not None else self.eval_dataset
        label = class_column(rows)
        progress = None if self.args.disable_tqdm else "zero-shot"
        options = {"templates": TEMPLATES, "batch_size": self.args.eval_batch_size, "progress": progress}
        predicted = predict_classes(self.model, self.processing_class, rows, self.classes, **options)
        hits, total = sum(self.classes[i] == name for i, name in zip(rows[label], predicted, strict=True)), len(rows)
        scores = {"accuracy": hits / total, "hits": hits, "total": total, **clopper_pearson(hits, total)._asdict()}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in scores.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def contrastive_loss(logits_per_image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    same = (labels[:, None] == labels[None]).to(logits_per_image.dtype)
    targets = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits_per_image, targets) + F.cross_entropy(logits_per_image.T, targets)) / 2


def new_processor(classes: Sequence[str], image_size: int) -> CLIPProcessor:
    """An image processor, and a tokenizer that knows the words of the captions."""
    words = sorted({word for text in (*TEMPLATES, *classes) for word in text.replace("{}", "").lower().split()})
    # In CLIP's config, 2 as the end of a sentence has a meaning of its own, from an old mistake: it must be another.
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [(token, vocabulary[token]) for token in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=32,
    )
    side = {"height": image_size, "width": image_size}
    return CLIPProcessor(CLIPImageProcessorPil(size={"shortest_edge": image_size}, crop_size=side), tokenizer)


def new_clip(args: ClipArguments, tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    vision = {
        "hidden_size": args.vision_width,
        "intermediate_size": 4 * args.vision_width,
        "num_hidden_layers": args.vision_layers,
        "num_attention_heads": max(1, args.vision_width // 64),
        "image_size": args.image_size,
        "patch_size": args.patch_size,
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": args.text_width,
        "intermediate_size": 4 * args.text_width,
        "num_hidden_layers": args.text_layers,
        "num_attention_heads": max(1, args.text_width // 64),
        "max_position_embeddings": tokenizer.model_max_length,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    return CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=args.text_width))


def bottleneck_settings(args: CodebookArguments) -> dict:
    return {k: v for k, v in vars(args).items() if hasattr(CodebookSAEConfig, k) and v is not None}


def load_model(args: ClipArguments, codebook: CodebookArguments, tokenizer) -> tuple[CLIPModel, bool]:
    """The model to train, and whether its codes are new."""
    if args.model_name_or_path is None:
        if codebook.codebook:
            raise ValueError("--codebook goes on from a trained CLIP: give its --model_name_or_path.")
        return new_clip(args, tokenizer), False
    config = AutoConfig.from_pretrained(args.model_name_or_path)
    if config.model_type == "codebook_clip":
        trained, given = config.vision_config.bottleneck, bottleneck_settings(codebook)
        trained.reconstruction_weight = given.pop("reconstruction_weight", trained.reconstruction_weight)
        if other := {name: value for name, value in given.items() if value != getattr(trained, name)}:
            raise ValueError(f"The codebook was trained with other settings than {other}. Leave these out.")
    elif codebook.codebook:
        vision = config.vision_config
        # The last layer: only the class token goes on from there, so its codes decide (docs/method/experiments.md).
        layers = codebook.bottleneck_layers or [vision.num_hidden_layers - 1]
        settings = CodebookSAEConfig(hidden_size=vision.hidden_size, **bottleneck_settings(codebook))
        return CodebookCLIPModel.from_base(args.model_name_or_path, settings, layers, dtype=torch.float32), True
    return AutoModel.from_pretrained(args.model_name_or_path, config=config, dtype=torch.float32), False


def load_split(args: ClipArguments, split: str, most: int | None, seed: int) -> Dataset:
    rows = load_rows(args.dataset_name, args.dataset_config, split)
    rows = rows.select_columns([image_column(rows, args.image_column), class_column(rows, args.label_column)])
    return rows.shuffle(seed=seed).select(range(most)) if most is not None and most < len(rows) else rows


def without_classes(rows: Dataset, names: Sequence[str]) -> Dataset:
    """Rows of all classes but these, whose names stay known.

    Raises:
        ValueError: if one is not a class of the rows, or none is left.
    """
    label = class_column(rows)
    known = rows.features[label].names
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"--exclude_classes {' '.join(unknown)}: expected some of {', '.join(known)}.")
    if not (kept := [i for i, of in enumerate(rows[label]) if known[of] not in names]):
        raise ValueError(f"--exclude_classes {' '.join(names)} leaves no image to train on. Exclude fewer.")
    return rows.select(kept)


def augmented(image) -> np.ndarray:
    """An image shifted by up to an eighth of its side, and flipped or not."""
    pixels = np.asarray(image.convert("RGB"))
    height, width, _ = pixels.shape
    pad = max(1, min(height, width) // 8)
    padded = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    # Drawn by torch: it seeds each worker of a data loader anew, and checkpoints hold its state.
    top, left = torch.randint(0, 2 * pad + 1, (2,)).tolist()
    cropped = padded[top : top + height, left : left + width]
    return cropped[:, ::-1].copy() if torch.rand(()) < 0.5 else cropped


def with_captions(rows: Dataset, processor: CLIPProcessor) -> Dataset:
    """Images as they are trained on, each with a caption by one of the templates."""
    image, label = image_column(rows), class_column(rows)
    names = rows.features[label].names

    def transform(batch):
        pixels = processor.image_processor([augmented(found) for found in batch[image]], return_tensors="pt")
        drawn = torch.randint(0, len(TEMPLATES), (len(batch[label]),)).tolist()
        captions = [TEMPLATES[i].format(names[of]) for i, of in zip(drawn, batch[label], strict=True)]
        return {"pixel_values": list(pixels["pixel_values"]), "classes": batch[label], "caption": captions}

    return rows.with_transform(transform)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    parser = HfArgumentParser((ClipArguments, CodebookArguments, TrainingArguments))
    clip_args, codebook_args, args = parser.parse_args_into_dataclasses(argv, look_for_args_file=False)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    set_seed(args.seed)
    args.remove_unused_columns = False  # the transform needs them
    checkpoint = args.resume_from_checkpoint or (last_whole_checkpoint(args.output_dir) if args.do_train else None)

    train = load_split(clip_args, clip_args.train_split, clip_args.max_train_samples, args.seed)
    test = load_split(clip_args, clip_args.test_split, clip_args.max_eval_samples, args.seed)
    classes = train.features[class_column(train)].names
    if clip_args.exclude_classes:
        train = without_classes(train, clip_args.exclude_classes)
    if clip_args.model_name_or_path:
        processor = AutoProcessor.from_pretrained(clip_args.model_name_or_path)
    else:
        processor = new_processor(classes, clip_args.image_size)
    model, new_codes = load_model(clip_args, codebook_args, processor.tokenizer)
    if clip_args.attn_implementation:
        model.set_attn_implementation(clip_args.attn_implementation)
    logger.info("%s with %.1f M parameters.", type(model).__name__, model.num_parameters() / 1e6)
    has_codebook, progress = isinstance(model, CodebookCLIPModel), not args.disable_tqdm
    data = {"processor": processor, "seed": args.seed, "progress": progress}
    if new_codes and args.do_train and not checkpoint and codebook_args.init_tokens:
        tokens, steps = codebook_args.init_tokens, codebook_args.init_steps
        errors = initialize_codes(model, train, max_tokens=tokens, steps=steps, **data)
        logger.info("Codes initialised; unexplained variance by site: %s", errors)

    def collate(rows):
        texts = processor.tokenizer([row["caption"] for row in rows], padding=True, return_tensors="pt")
        return {
            "pixel_values": torch.stack([row["pixel_values"] for row in rows]),
            "classes": torch.tensor([row["classes"] for row in rows]),
            "input_ids": texts["input_ids"],
            "attention_mask": texts["attention_mask"],
        }

    rate = codebook_args.codebook_learning_rate
    trainer = ClipTrainer(
        model=model,
        args=args,
        train_dataset=with_captions(train, processor),
        eval_dataset=test,
        processing_class=processor,
        data_collator=collate,
        callbacks=[BottleneckCallback(codebook_args.revive_every or None)] if has_codebook else None,
        optimizers=(adamw(model, args, codebook_learning_rate=rate) if rate else None, None),
        classes=classes,
    )
    metrics = {}
    measured = has_codebook and codebook_args.similarity_quantile and not model.config.unlearning
    if args.do_train:
        if measured:
            for bottleneck in bottlenecks(model).values():
                bottleneck.min_similarity.fill_(-1.0)  # what an earlier training has measured
        result = trainer.train(resume_from_checkpoint=checkpoint)
        if measured:
            least = set_min_similarity(model, train, quantile=codebook_args.similarity_quantile, **data)
            logger.info("Least similarity at which a position is passed on, by site: %s", least)
        trainer.save_model()
        trainer.save_state()
        trainer.save_metrics("train", result.metrics)
        metrics |= result.metrics
    if args.do_eval:
        evaluated = trainer.evaluate()
        trainer.log_metrics("eval", evaluated)
        trainer.save_metrics("eval", evaluated)
        metrics |= evaluated
    return metrics


if __name__ == "__main__":
    main()
