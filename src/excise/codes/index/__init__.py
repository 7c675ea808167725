"""Index of the codes that each sentence of a corpus uses: any topic is counted from it, without the model."""

from excise.codes.index.code_index import CodeIndex

__all__ = ["CodeIndex"]
