"""Models of the shapes that are measured: random weights, codes put where their data is."""

from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from excise import CodebookSAEConfig, CodebookT5ForConditionalGeneration, initialize_codes
from excise.models import CodebookT5Config

# T5-small is what T5Config has as defaults. The real run is the T5 whose forgetting docs/method reports; the demo's is
# what `excise demo` trains.
SHAPES: dict[str, dict[str, Any]] = {
    "T5-small": {"decoder_start_token_id": 0},
    "real run": {
        "decoder_start_token_id": 0,
        "vocab_size": 8000,
        "d_model": 256,
        "d_ff": 1024,
        "d_kv": 64,
        "num_heads": 4,
        "num_layers": 4,
        "num_decoder_layers": 2,
        "dropout_rate": 0.0,
    },
    "demo": {
        "decoder_start_token_id": 0,
        "vocab_size": 1500,
        "d_model": 128,
        "d_ff": 384,
        "d_kv": 32,
        "num_heads": 4,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "dropout_rate": 0.0,
    },
    "tiny": {
        "decoder_start_token_id": 0,
        "vocab_size": 64,
        "d_model": 16,
        "d_ff": 32,
        "d_kv": 4,
        "num_heads": 4,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "dropout_rate": 0.0,
    },
}
EXTRA_TOKENS = 3  # padding, end, unknown


def words_of(shape: str) -> int:
    """How many words the vocabulary of a shape has room for."""
    return T5Config(**SHAPES[shape]).vocab_size - EXTRA_TOKENS


def plain_and_codebook(
    shape: str, num_codes: int, data: Dataset, tokenizer: PreTrainedTokenizerFast
) -> tuple[T5ForConditionalGeneration, CodebookT5ForConditionalGeneration]:
    """A plain T5 and one of the same weights with a codebook of the default settings in the first encoder block.

    Args:
        shape: one of `SHAPES`.
        num_codes: number of codes.
        data: rows with `input_ids`, which the codes are put at.
        tokenizer: of the rows.
    """
    plain = T5ForConditionalGeneration(T5Config(**SHAPES[shape]))
    config = CodebookT5Config(**SHAPES[shape], bottleneck=CodebookSAEConfig(num_codes=num_codes))
    model = CodebookT5ForConditionalGeneration(config)
    model.load_state_dict(plain.state_dict(), strict=False)
    initialize_codes(model, data, tokenizer, max_tokens=2 * num_codes, steps=0, progress=False)
    return plain, model
