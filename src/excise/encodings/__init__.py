"""What is frozen is computed once: a data set's encodings, and the pairs that they select."""

from excise.encodings.counts import PairCounts
from excise.encodings.encode import ENCODINGS, LABELS, encode_images, encoder_digest
from excise.encodings.pairs import PAIRS, check_pairs, select_pairs
from excise.encodings.reading import Reading
from excise.encodings.shards import description, digest

__all__ = [
    "ENCODINGS",
    "LABELS",
    "PAIRS",
    "PairCounts",
    "Reading",
    "check_pairs",
    "description",
    "digest",
    "encode_images",
    "encoder_digest",
    "select_pairs",
]
