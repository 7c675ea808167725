"""Tiny models of many families, from their configurations, and what each is run on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

TEXT = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DECODER = {
    **TEXT,
    **{
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
}
HEAD = {**DECODER, "head_dim": 8}
SEQ2SEQ = {
    **{"vocab_size": 60, "d_model": 16, "encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 2},
    **{"decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "pad_token_id": 0},
    **{"max_position_embeddings": 64, "eos_token_id": 2, "decoder_start_token_id": 0, "bos_token_id": 1},
    **{"forced_eos_token_id": None},
}
IMAGE = {
    **{"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32},
    **{"image_size": 8, "patch_size": 4},
}


@dataclass(frozen=True)
class Tiny:
    """A tiny model of a family.

    Args:
        auto: the `Auto*` class of transformers that makes it.
        config: the name of its configuration's class.
        settings: of it.
        batch: what it is run on, with labels where it has a loss of them.
    """

    auto: str
    config: str
    settings: dict[str, Any]
    batch: Callable[[], dict[str, Tensor]]

    def make(self) -> Any:
        """A new model in eval mode, the same each time."""
        torch.manual_seed(0)
        config = getattr(transformers, self.config)(**self.settings)
        return getattr(transformers, self.auto).from_config(config).eval()


def tokens(labels: bool = True) -> dict[str, Tensor]:
    """Three texts, two of them padded on the right."""
    ids = torch.tensor([[1, 5, 9, 12, 33, 7], [1, 8, 4, 20, 0, 0], [1, 41, 17, 0, 0, 0]])
    mask = (ids != 0).long()
    return {"input_ids": ids, "attention_mask": mask} | ({"labels": ids.masked_fill(ids == 0, -100)} if labels else {})


def classified() -> dict[str, Tensor]:
    """Three texts with a class each."""
    return {**tokens(False), "labels": torch.tensor([0, 1, 1])}


def pairs() -> dict[str, Tensor]:
    """Three texts with texts to say."""
    return {**tokens(False), "labels": torch.tensor([[5, 9, 2], [8, 2, -100], [41, 17, 2]])}


def images() -> dict[str, Tensor]:
    """Three images with a class each."""
    torch.manual_seed(1)
    return {"pixel_values": torch.randn(3, 3, 8, 8), "labels": torch.tensor([0, 1, 1])}


def both() -> dict[str, Any]:
    """Three images with their texts."""
    return {**tokens(False), "pixel_values": images()["pixel_values"], "return_loss": True}


def sounds() -> dict[str, Tensor]:
    """Three spectrograms with texts to say."""
    torch.manual_seed(1)
    return {"input_features": torch.randn(3, 8, 20), "labels": torch.tensor([[5, 9, 2], [8, 2, -100], [41, 17, 2]])}


LM, MASKED, CLASSIFIED = "AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModelForSequenceClassification"
T5 = {
    **{
        "vocab_size": 60,
        "d_model": 16,
        "num_layers": 3,
        "num_decoder_layers": 1,
        "num_heads": 2,
        "d_ff": 32,
        "d_kv": 8,
    },
    **{"dropout_rate": 0.0, "decoder_start_token_id": 0, "pad_token_id": 0},
}
WHISPER = SEQ2SEQ | {"max_source_positions": 10, "max_target_positions": 16, "num_mel_bins": 8, "eos_token_id": 2}
WHISPER |= {"suppress_tokens": None, "begin_suppress_tokens": None}
WHISPER.pop("max_position_embeddings")
FAMILIES = {
    "gpt2": Tiny(
        LM,
        "GPT2Config",
        {"vocab_size": 60, "n_embd": 16, "n_layer": 3, "n_head": 2, "bos_token_id": 1} | {"eos_token_id": 2},
        tokens,
    ),
    "llama": Tiny(LM, "LlamaConfig", DECODER, tokens),
    "qwen2": Tiny(LM, "Qwen2Config", DECODER, tokens),
    "qwen3": Tiny(LM, "Qwen3Config", HEAD, tokens),
    "gemma": Tiny(LM, "GemmaConfig", HEAD, tokens),
    "gemma2": Tiny(LM, "Gemma2Config", HEAD, tokens),
    "gemma3_text": Tiny(LM, "Gemma3TextConfig", HEAD, tokens),
    "mistral": Tiny(LM, "MistralConfig", DECODER, tokens),
    "smollm3": Tiny(LM, "SmolLM3Config", DECODER, tokens),
    "phi": Tiny(LM, "PhiConfig", DECODER, tokens),
    "phi3": Tiny(LM, "Phi3Config", DECODER, tokens),
    "olmo2": Tiny(LM, "Olmo2Config", DECODER, tokens),
    "gpt_neox": Tiny(LM, "GPTNeoXConfig", TEXT | {"bos_token_id": 1, "eos_token_id": 2}, tokens),
    "opt": Tiny(
        LM,
        "OPTConfig",
        {
            "vocab_size": 60,
            "hidden_size": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "ffn_dim": 32,
            "word_embed_proj_dim": 16,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
        },
        tokens,
    ),
    "bert": Tiny(MASKED, "BertConfig", TEXT, tokens),
    "roberta": Tiny(CLASSIFIED, "RobertaConfig", TEXT | STILL | ENDS | {"max_position_embeddings": 64}, classified),
    "xlm-roberta": Tiny(
        "AutoModelForTokenClassification",
        "XLMRobertaConfig",
        TEXT | ENDS | {"max_position_embeddings": 64, "num_labels": 60},
        tokens,
    ),
    "electra": Tiny(CLASSIFIED, "ElectraConfig", TEXT | {"embedding_size": 16}, classified),
    "distilbert": Tiny(
        MASKED,
        "DistilBertConfig",
        {"vocab_size": 60, "dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32, "pad_token_id": 0},
        tokens,
    ),
    "modernbert": Tiny(MASKED, "ModernBertConfig", TEXT | ENDS | {"cls_token_id": 1, "sep_token_id": 2}, tokens),
    "bart": Tiny("AutoModelForSeq2SeqLM", "BartConfig", SEQ2SEQ, pairs),
    "marian": Tiny("AutoModelForSeq2SeqLM", "MarianConfig", SEQ2SEQ, pairs),
    "mt5": Tiny("AutoModelForSeq2SeqLM", "MT5Config", T5, pairs),
    "t5": Tiny("AutoModelForSeq2SeqLM", "T5Config", T5, pairs),
    "umt5": Tiny("AutoModelForSeq2SeqLM", "UMT5Config", T5, pairs),
    "vit": Tiny("AutoModelForImageClassification", "ViTConfig", IMAGE, images),
    "dinov2": Tiny("AutoModelForImageClassification", "Dinov2Config", IMAGE, images),
    "clip": Tiny(
        "AutoModel", "CLIPConfig", {"text_config": TEXT | ENDS, "vision_config": IMAGE, "projection_dim": 16}, both
    ),
    "siglip": Tiny("AutoModel", "SiglipConfig", {"text_config": TEXT | ENDS, "vision_config": IMAGE}, both),
    "whisper": Tiny("AutoModelForSpeechSeq2Seq", "WhisperConfig", WHISPER, sounds),
}
