"""What is frozen is computed once: a data set's encodings, and the pairs that they select."""

from excise.encodings.counts import PairCounts
from excise.encodings.encode import ENCODINGS, LABELS, check_encodings, encode_images
from excise.encodings.pairs import PAIRS, check_pairs, select_pairs
from excise.encodings.reading import Reading
from excise.encodings.shards import description

__all__ = [
    "ENCODINGS",
    "LABELS",
    "PAIRS",
    "PairCounts",
    "Reading",
    "check_encodings",
    "check_pairs",
    "description",
    "encode_images",
    "select_pairs",
]
