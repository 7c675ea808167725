"""Key-value pairs that the examples of a data set select, computed once and cached."""

import os
from typing import TYPE_CHECKING, Any

from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.encodings import ENCODINGS, LABELS, check_encodings
from excise.models.key_value.shards import described, description, in_shards
from excise.storage.digests import digest
from excise.storage.expected import expects

if TYPE_CHECKING:
    from datasets import Dataset

PAIRS = "pairs"


@expects("model", encodings="dataset")
def select_pairs(
    model: KeyValueForImageClassification,
    encodings: "Dataset",
    *,
    batch_size: int = 256,
    shard_size: int = 10_000,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> "Dataset":
    """The pairs that each encoding selects; computed at the first call, read from disk at every later one.

    Training on them is training on the images: encoder, projections and keys are frozen. They are kept under a
    fingerprint of the encodings, projection, keys, mask and top-k, and in shards, as encodings are.

    Args:
        model: its bottleneck selects; masks are in force.
        encodings: what `encode_images` made with this model's encoder.
        batch_size: encodings at once.
        shard_size: encodings a file.
        cache_dir: where to keep them; beside the caches of `datasets` if not given.
        progress: show a progress bar.

    Returns:
        A data set with `pairs`, int32 `(num_codebooks * top_k,)`, and `labels`, where there are any, in the given
        order. It is what a `Trainer` of the model takes.

    Raises:
        ValueError: if the encodings are none, or another encoder's.
    """
    from datasets import Features, List, Value

    check_encodings(encodings, model)
    bottleneck = model.bottleneck
    about = {
        "kind": PAIRS,
        "keys": bottleneck.keys_id,
        "masked": _mask(bottleneck),
        "selects": _digest(bottleneck),
        "encodings": description(encodings) | {"rows": encodings._fingerprint},
    }
    vectors = encodings.select_columns(ENCODINGS).with_format("torch", device=model.device)

    def select(rows: list[int]) -> dict:
        return {PAIRS: bottleneck.select(vectors[rows][ENCODINGS]).int().cpu().numpy()}

    width = bottleneck.config.num_codebooks * bottleneck.config.top_k
    features = Features({PAIRS: List(Value("int32"), length=width)})
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "shard_size": shard_size,
        "cache_dir": cache_dir,
        "progress": progress,
    }
    found = in_shards(len(encodings), select, features, about, **options)
    if LABELS in encodings.column_names:
        found = found.add_column(LABELS, list(encodings[LABELS]), feature=encodings.features[LABELS])
    return described(found, about)


def check_pairs(pairs: "Dataset", bottleneck: KeyValueBottleneck) -> None:
    """Makes sure that a data set holds pairs of this bottleneck, as it is or as it was without any mask.

    Raises:
        ValueError: if it is empty, holds something else, or was made with other keys or under another mask.
    """
    about = description(pairs)
    if about.get("kind") != PAIRS:
        raise ValueError(f"Expected what `select_pairs` returns; got columns {pairs.column_names}.")
    if len(pairs) == 0:
        raise ValueError("The set of pairs is empty; give at least one example.")
    if about["keys"] != bottleneck.keys_id:
        raise ValueError("These pairs were selected with other keys than the model's. Make them again: `select_pairs`.")
    if about["masked"] not in (None, _mask(bottleneck)):
        raise ValueError(
            "These pairs were selected under another mask than the model's. Make them again: `select_pairs`."
        )


def _mask(bottleneck: KeyValueBottleneck) -> str | None:
    """Tells a mask from others; `None` where no pair is removed."""
    return None if bottleneck.live.all() else digest([], {"live": bottleneck.live})


def _digest(bottleneck: KeyValueBottleneck) -> str:
    """SHA-256 of all that decides which pairs an encoding selects."""
    tensors = {name: value for name, value in bottleneck.state_dict().items() if name != "values"}
    return digest([bottleneck.config.top_k, bottleneck.config.projection], tensors)
