"""Shapes of tensors that hold something of codes or of a vocabulary, and which of their rows are erased."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from excise.ledger.embeddings import rows_left


@dataclass(frozen=True, eq=False)
class CodeShape:
    """The shape of a tensor of codes, and which codes are erased.

    Args:
        site: of the bottleneck.
        tensor: name of the tensor in it.
        groups: number of codebooks.
        shape: `(num_codes, width)`.
        codes: the erased codes.
    """

    site: str
    tensor: str
    groups: int
    shape: tuple[int, int]
    codes: np.ndarray

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of elements of tensors that may be meant: with a whole row for each code, or one number."""
        return math.prod(self.shape), self.shape[0]

    def is_named(self, name: str) -> bool:
        """Whether a tensor's name in a file says that it is this one."""
        return f"{self.site}." in name and name.endswith(f".{self.tensor}")

    def nonzero(self, tensor: Tensor) -> tuple[int, ...]:
        """The erased codes whose rows are not zero in a tensor; none if it has no row for each code."""
        rows = self.by_code(tensor)
        if rows is None:
            return ()
        codes = torch.from_numpy(self.codes)
        if rows.is_floating_point() and rows.dtype.itemsize == 1:  # with which little can be done in eight bits
            erased = rows.view(torch.uint8)[codes].view(rows.dtype).float()
        else:
            erased = rows[codes]
        left = torch.count_nonzero(erased, dim=1) > 0
        return tuple(self.codes[left.numpy()].tolist())

    def by_code(self, tensor: Tensor) -> Tensor | None:
        """A tensor by code, also when codebook by codebook, flat or transposed."""
        num_codes, width = self.shape
        if tensor.layout != torch.strided or tensor.dtype == torch.bool:
            return None
        dims = tuple(tensor.shape)
        # Whole numbers, one for each code, are counts or the codes' new numbers.
        if tensor.numel() == math.prod(self.shape) and (width > 1 or tensor.is_floating_point()):
            if len(dims) == 1 or num_codes in np.cumprod(dims):
                return tensor.reshape(num_codes, width)
            if len(dims) == 3 and dims == (self.groups, width, num_codes // self.groups):
                return tensor.transpose(1, 2).reshape(num_codes, width)
            if num_codes in np.cumprod(dims[::-1]):
                return tensor.reshape(width, num_codes).T
        # One number for each code: factored moments, counts of an average.
        single = (num_codes,), (num_codes, 1), (1, num_codes), (self.groups, num_codes // self.groups)
        return tensor.reshape(num_codes, 1) if tensor.is_floating_point() and dims in single else None


@dataclass(frozen=True, eq=False)
class TableShape(CodeShape):
    """The shape of an embedding table, and the tokens whose rows are erased: the mean of all others, or zero."""

    def is_named(self, name: str) -> bool:
        """Whether a tensor's name in a file says that it is this one."""
        return name.endswith(self.site)

    def nonzero(self, tensor: Tensor) -> tuple[int, ...]:
        """The erased tokens whose rows say something; none where a tensor has not a whole row for each."""
        rows = self.by_code(tensor)
        if rows is None or rows.shape[1] != self.shape[1] or not rows.is_floating_point():
            return ()
        rows = rows.float()
        tokens = torch.from_numpy(self.codes)
        filled = tokens[torch.count_nonzero(rows[tokens], dim=1) > 0]
        return tuple(token for token in rows_left(rows, tokens) if token in set(filled.tolist()))
