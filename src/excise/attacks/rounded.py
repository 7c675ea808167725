"""Attack by rounding: half precision, 8 and 4 bits, and noise on the weights."""

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import Attack, attackers_copy, null_hits, share_result
from excise.report.attacks import AttackResult

FORMATS = ("bf16", "fp16", "int8 dynamic", "int8", "int4")
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
BITS = {"int8": 8, "int4": 4}


@dataclass(frozen=True)
class Rounded(Attack):
    """Rounds the weights of the model as it is shared, as whoever quantizes it does, or adds noise to them.

    bf16 and fp16 are rounded to and computed in fp32, so that they run anywhere. `"int8 dynamic"` is torch's, of linear
    layers. `"int8"` and `"int4"` are quanto's where `optimum-quanto` is installed; otherwise each matrix is rounded
    row by row to whole multiples of its largest absolute value / 127 or / 7. The settings say which.

    The verdict is by the rule of `share_result`.

    Attributes:
        formats: those to try, of `FORMATS`.
        noise: standard deviations of the noise, in those of each weight tensor.
        seeds: draws of each noise.
    """

    name = "rounded"
    about = "The weights are rounded to fewer bits, or noise is added to them."

    formats: tuple[str, ...] = FORMATS
    noise: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
    seeds: int = 3

    def __post_init__(self) -> None:
        if unknown := [name for name in self.formats if name not in FORMATS]:
            raise ValueError(f"formats={list(self.formats)}: {unknown[0]!r} is none of {list(FORMATS)}.")
        if any(not 0 < size < float("inf") for size in self.noise) or self.seeds < 0:
            raise ValueError(f"noise={self.noise}, seeds={self.seeds}: expected positive numbers. Leave noise empty.")
        if not self.formats and not (self.noise and self.seeds):
            raise ValueError(
                f"There is nothing to try: formats={self.formats}, noise={self.noise}, seeds={self.seeds}."
            )

    @classmethod
    def quick(cls) -> "Rounded":
        """8 bits alone."""
        return cls(formats=("int8 dynamic", "int8"), noise=())

    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """As `Attack.run`."""
        null, null_is = null_hits(original, never_saw, sets)
        attempts, skipped = [], []
        for settings, change in self._changes(sets.seed):
            attacked = change(attackers_copy(removed).float())
            if attacked is None:
                skipped.append(f"{settings['format']}: this build of torch has no engine for it.")
                continue
            own = None if never_saw is None else sets.hits(change(attackers_copy(never_saw).float()))
            attempts.append((settings, sets.hits(attacked), own, sets.quality(attacked)))
        if not attempts:
            return AttackResult.not_measured(self.name, sets.measure, " ".join(skipped), details={"skipped": skipped})
        before = None if original is None else sets.hits(original)
        details = {"skipped": skipped} if skipped else {}
        return share_result(self.name, sets, attempts, before, sets.hits(removed), null, null_is, **details)

    def _changes(self, seed: int) -> Iterator[tuple[dict[str, Any], Callable[[PreTrainedModel], Any]]]:
        """Settings of each attempt, and what it does to a copy; `None` comes of what does not run here."""
        for name in self.formats:
            if name in HALVES:
                yield {"format": name}, partial(in_half, dtype=HALVES[name])
            elif name not in BITS:
                yield {"format": name, "by": "torch.ao.quantization.quantize_dynamic"}, in_dynamic_int8
            elif has_quanto():
                yield {"format": name, "by": "quanto"}, partial(with_quanto, bits=BITS[name])
            else:
                yield {"format": name, "by": "rows rounded to multiples"}, partial(with_rounded_rows, bits=BITS[name])
        for size in self.noise:
            for draw in range(self.seeds):
                yield {"noise": size, "draw": draw}, partial(noisy, size=size, seeds=(seed, draw))


@torch.no_grad()
def in_half(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """A model, all of whose weights and buffers were cast to a type and back; in place."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(tensor.to(dtype))
    return model


def in_dynamic_int8(model: PreTrainedModel) -> nn.Module | None:
    """A model whose linear layers hold 8 bits a weight; `None` where torch cannot run them."""
    if not engines():
        return None
    with warnings.catch_warnings():  # it has moved to another package, which says nothing of how well it attacks
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model.cpu(), {nn.Linear}, dtype=torch.qint8)


def engines() -> list[str]:
    """What this build of torch can run layers of 8 bits with."""
    return [engine for engine in torch.backends.quantized.supported_engines if engine != "none"]


def has_quanto() -> bool:
    """Whether `optimum-quanto` is installed."""
    if "optimum.quanto" in sys.modules:
        return True
    return find_spec("optimum") is not None and find_spec("optimum.quanto") is not None


def with_quanto(model: PreTrainedModel, bits: int) -> PreTrainedModel:
    """A model whose weights quanto holds in so many bits."""
    from optimum import quanto  # type: ignore[import-not-found]

    quanto.quantize(model, weights=quanto.qint8 if bits == 8 else quanto.qint4)
    quanto.freeze(model)
    return model


@torch.no_grad()
def with_rounded_rows(model: PreTrainedModel, bits: int) -> PreTrainedModel:
    """A model whose matrices are rounded row by row; in place. Vectors, as biases and norms, stay."""
    for parameter in model.parameters():
        if parameter.dim() > 1 and parameter.is_floating_point():
            parameter.copy_(rounded_rows(parameter.float(), bits))
    return model


def rounded_rows(matrix: Tensor, bits: int) -> Tensor:
    """A tensor of which each row is made of whole multiples of a number, symmetric around 0.

    Example:
        >>> rounded_rows(torch.tensor([[0.7, -0.34, 0.0]]), 4).round(decimals=2).tolist()
        [[0.699999988079071, -0.30000001192092896, 0.0]]
    """
    most = 2 ** (bits - 1) - 1
    rows = matrix.flatten(1)
    unit = rows.abs().amax(1, keepdim=True) / most
    return (rows / unit.clamp_min(torch.finfo(rows.dtype).tiny)).round().mul(unit).view_as(matrix)


@torch.no_grad()
def noisy(model: PreTrainedModel, size: float, seeds: tuple[int, int]) -> PreTrainedModel:
    """A model with normal noise on each weight tensor, of so many of its standard deviations; in place."""
    generator = torch.Generator().manual_seed(seeds[0] * 1_000_003 + seeds[1])
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.numel() > 1:
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.device)
            parameter.add_(size * parameter.float().std() * noise)
    return model
