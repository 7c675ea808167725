"""Clamping of sparse units (SAE clamping): units of a topic are held below zero, always or in some texts (DSG)."""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.baselines.answers.answer_pairs import AnswerRow, answer_rows, padded, padding_token
from excise.baselines.history import BaselineRun, Epoch
from excise.bottlenecks import SparseUnits
from excise.bottlenecks.site import bottlenecks
from excise.data.batches import to_device
from excise.data.questions.prompt_format import PromptFormat
from excise.models.activations import eval_mode
from excise.storage.expected import expects

BATCH = 8


@dataclass(frozen=True, repr=False)
class UnitsClamped(BaselineRun):
    """What the clamping of units gives.

    Attributes:
        units: by site, those that are clamped, the most active ones on what is forgotten first.
        thresholds: by site, the share of a text's tokens with one of them above which they are clamped; `None` where
            they always are.
    """

    units: Mapping[str, tuple[int, ...]]
    thresholds: Mapping[str, float | None]


@expects("model", tokenizer="processor")
def clamp_units(
    model: PreTrainedModel,
    forget: Any,
    retain: Any,
    *,
    tokenizer: PreTrainedTokenizerBase,
    count: int = 30,
    strength: float = 10.0,
    dynamic: bool = True,
    ratio_percentile: float = 90.0,
    text_percentile: float = 95.0,
    error_term: bool = False,
    form: PromptFormat | None = None,
) -> UnitsClamped:
    """A copy of a decoder whose sparse units of a topic are set to a value below zero while it runs.

    Units are chosen by their mean squared activation: of those whose ratio between what is to be forgotten and what is
    to stay is in the top percentiles, the largest on what is to be forgotten.

    - Without `dynamic` a chosen unit is clamped at each token at which it is active (Farrell et al.).
    - With it, in those texts alone in which the share of tokens with an active chosen unit is above a threshold, and
      there at these tokens all chosen ones are (Dynamic SAE Guardrails). The threshold is that of what is to stay, by
      percentile. With a cache a text goes by what was read first, its prompt.

    Nothing is trained and nothing erased: these are forward hooks. Copies of the model keep them, its file does not.

    Args:
        model: a decoder with sparse units, as `attach(model, SparseUnitsConfig(...))` gives; it stays as it is.
        forget: rows as in `question_rows`, or a Dataset with `input_ids` and `labels`.
        retain: likewise.
        tokenizer: the model's.
        count: units at each site, at most.
        strength: the value is minus so many times the unit's mean where it is active on what is forgotten. (The
            authors' is one number for all units, 500 for Gemma Scope.)
        dynamic: whether texts are told apart.
        ratio_percentile: of units, above which the ratio has to be.
        text_percentile: of texts to stay, by which the threshold is set.
        error_term: pass on what units do not say of an activation, too, as sae-lens does; a bottleneck does not.
        form: how questions are put.

    Raises:
        ValueError: if the model has no sparse units, a set is empty, a number is out of range, or no unit belongs to
            what is to be forgotten.

    Example:
        run = clamp_units(model, sets.questions(True), sets.questions(False), tokenizer=tokenizer)

    Source: Farrell et al. (2024), Applying Sparse Autoencoders to Unlearn Knowledge in Language Models, section 3;
    Muhamed et al. (2025), SAEs Can Improve Unlearning: Dynamic SAE Guardrails, section 4, and their code
    (github.com/aashiqmuhamed/DynamicSAEGuardrails: `n_features_list` 10 to 200, `ratio_percentile` 90 or 95, texts by
    the 95th percentile).
    """
    _check_numbers(count, strength, ratio_percentile, text_percentile)
    sites = {name: one for name, one in bottlenecks(model).items() if isinstance(one, SparseUnits)}
    if not sites:
        raise ValueError(
            f"{type(model).__name__} has no sparse units, which are clamped. Attach some: `attach(model, "
            "SparseUnitsConfig(...), layers=[...])`."
        )
    sets = {name: answer_rows(rows, tokenizer, form, name) for name, rows in (("forget", forget), ("retain", retain))}
    start = time.perf_counter()
    padding = padding_token(tokenizer)
    seen = {name: _activations(model, rows, sites, padding) for name, rows in sets.items()}
    clamped = copy.deepcopy(model).eval()
    reading = Reading()
    clamped.register_forward_pre_hook(reading, with_kwargs=True)
    units: dict[str, tuple[int, ...]] = {}
    thresholds: dict[str, float | None] = {}
    for name, bottleneck in bottlenecks(clamped).items():
        if name not in sites:
            continue
        going, staying = seen["forget"][name], seen["retain"][name]
        chosen = chosen_units(going.squares, staying.squares, count, ratio_percentile)
        if not len(chosen):
            raise ValueError(
                f"At {name} no unit is active on what is to be forgotten and less so on what is to stay. Lower "
                "`ratio_percentile`, or give more rows."
            )
        shares = torch.tensor([float(has_any(codes, chosen).sum() / max(1, len(codes))) for codes in staying.codes])
        thresholds[name] = float(shares.quantile(text_percentile / 100)) if dynamic else None
        units[name] = tuple(chosen.tolist())
        clamp = Clamp(chosen, -strength * going.means[chosen], thresholds[name], error_term, reading)
        bottleneck.register_forward_hook(clamp, with_kwargs=True)
    return UnitsClamped(clamped, (Epoch(0, time.perf_counter() - start, {}),), 0, units, thresholds)


def _check_numbers(count: int, strength: float, ratio_percentile: float, text_percentile: float) -> None:
    """Refuses numbers out of range.

    Raises:
        ValueError: if one is.
    """
    if count < 1 or not strength > 0:
        raise ValueError(f"count={count} and strength={strength}: expected at least one unit, and a strength above 0.")
    for name, value in (("ratio_percentile", ratio_percentile), ("text_percentile", text_percentile)):
        if not 0 <= value <= 100:
            raise ValueError(f"{name}={value}: expected a percentile, from 0 to 100.")


@dataclass
class UnitActivity:
    """What units do in texts.

    Attributes:
        squares: `(num_codes,)`, the mean square of each over all tokens.
        means: likewise, the mean of where it is active.
        codes: of each text, the active units of its tokens, `(tokens, active)`, -1 for none.
    """

    squares: Tensor
    means: Tensor
    codes: list[Tensor]


@torch.no_grad()
def _activations(
    model: PreTrainedModel, rows: Sequence[AnswerRow], sites: Mapping[str, SparseUnits], padding: int
) -> dict[str, UnitActivity]:
    """What the units at each site do in texts."""
    sums = {name: torch.zeros(3, one.num_codes, dtype=torch.float64) for name, one in sites.items()}
    by_text: dict[str, list[Tensor]] = {name: [] for name in sites}

    def count(name: str, bottleneck: SparseUnits, inputs: Any, arguments: Any, output: Any) -> None:
        codes = output.codes
        values = unit_inputs(bottleneck, inputs[0], torch.arange(bottleneck.num_codes, device=codes.device))
        active = codes >= 0
        own = values.gather(-1, codes.clamp_min(0))[active].double().cpu()
        places = codes[active].cpu()
        for row, of in enumerate((own.square(), own, torch.ones_like(own))):
            sums[name][row].index_add_(0, places, of)
        mask = real_tokens(codes, arguments)
        by_text[name] += [of_text[real] for of_text, real in zip(codes.cpu(), mask.cpu(), strict=True)]

    with eval_mode(model):
        for start in range(0, len(rows), BATCH):
            batch = to_device(padded(rows[start : start + BATCH], padding), model.device)
            handles = [one.register_forward_hook(partial(count, name), with_kwargs=True) for name, one in sites.items()]
            try:
                model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
            finally:
                for handle in handles:
                    handle.remove()
    return {
        name: UnitActivity(of[0] / sum(map(len, by_text[name])), of[1] / of[2].clamp_min(1), by_text[name])
        for name, of in sums.items()
    }


def real_tokens(codes: Int64[Tensor, "batch seq active"], arguments: Mapping[str, Any]) -> Bool[Tensor, "batch seq"]:
    """The tokens that a bottleneck gets codes of: neither padding nor a text's first, where that is a constant."""
    mask = arguments.get("attention_mask")
    every = torch.ones(codes.shape[:2], dtype=torch.bool, device=codes.device)
    return every if mask is None else mask.to(codes.device).bool().expand(every.shape)


def chosen_units(
    forget: Float[Tensor, "num_codes"], retain: Float[Tensor, "num_codes"], count: int, ratio_percentile: float
) -> Int64[Tensor, "chosen"]:
    """The units that are large on what is to be forgotten and not on what is to stay.

    Args:
        forget: mean squares on the first.
        retain: on the second.
        count: how many at most.
        ratio_percentile: of units that are active on the first, above which the ratio of both has to be.

    Example:
        >>> forget, retain = torch.tensor([4.0, 9.0, 0.0, 5.0]), torch.tensor([0.0, 9.0, 1.0, 0.1])
        >>> chosen_units(forget, retain, 2, 50.0).tolist()
        [3, 0]
    """
    there = forget > 0
    if not there.any():
        return torch.zeros(0, dtype=torch.int64)
    ratio = forget / (retain + 1e-21)
    kept = there & (ratio >= ratio[there].quantile(ratio_percentile / 100)) & (ratio > 1)
    ordered = forget.masked_fill(~kept, 0).argsort(descending=True, stable=True)
    return ordered[: min(count, int(kept.sum()))]


def has_any(codes: Int64[Tensor, "*tokens active"], units: Int64[Tensor, "chosen"]) -> Bool[Tensor, "*tokens"]:
    """At which tokens one of some units is active."""
    return torch.isin(codes, units.to(codes.device)).any(-1)


def unit_inputs(
    bottleneck: SparseUnits, arrived: Float[Tensor, "*tokens dim"], units: Int64[Tensor, "chosen"]
) -> Float[Tensor, "*tokens chosen"]:
    """By what units' rows are multiplied where they are active."""
    weight, bias = bottleneck.encoder_weight[units].float(), bottleneck.encoder_bias[units].float()
    return F.linear(bottleneck.features(arrived), weight, bias)


class Reading:
    """A hook before a model runs: whether it goes on from a cache, so that texts keep what was decided of them."""

    def __init__(self) -> None:
        self.goes_on = False

    def __call__(self, module: nn.Module, inputs: Any, arguments: dict[str, Any]) -> None:
        cache = arguments.get("past_key_values")
        self.goes_on = cache is not None and bool(cache.get_seq_length())


class Clamp:
    """A forward hook of sparse units that sets some of them to values.

    Args:
        units: which.
        values: to what.
        threshold: share of a text's tokens above which; at all tokens where they are active if `None`.
        error_term: add what the units do not say.
        reading: whether the model goes on from a cache.
    """

    def __init__(
        self, units: Tensor, values: Tensor, threshold: float | None, error_term: bool, reading: Reading
    ) -> None:
        self.units, self.values, self.threshold, self.error_term = units, values, threshold, error_term
        self.reading = reading
        self.texts: Tensor | None = None

    def __call__(self, module: Any, inputs: tuple[Tensor, ...], arguments: dict[str, Any], output: Any) -> Any:
        arrived, codes = inputs[0], output.codes
        units = self.units.to(codes.device)
        active = (codes[..., None] == units).any(-2)  # (batch, seq, chosen)
        now = unit_inputs(module, arrived, units).masked_fill(~active, 0)
        where = active if self.threshold is None else self._tokens(active.any(-1), codes, arguments)[..., None]
        change = torch.where(where, self.values.to(now) - now, 0.0) @ module.decoder_weight[units].float()
        passed = arrived if self.error_term else output.reconstruction
        output.reconstruction = (passed.float() + change * module.scale.float()).to(passed.dtype)
        return output

    def _tokens(
        self, told: Bool[Tensor, "batch seq"], codes: Int64[Tensor, "batch seq active"], arguments: dict[str, Any]
    ) -> Bool[Tensor, "batch seq"]:
        """Those with a chosen unit, of texts that are above the threshold."""
        if self.reading.goes_on and self.texts is not None:
            if len(self.texts) not in (1, len(told)):
                raise ValueError(
                    f"{len(told)} texts go on from a cache, and {len(self.texts)} were read first. With units that are "
                    "clamped by text, generate without beams or changes of the batch."
                )
            return told & self.texts.to(told.device).expand(len(told))[:, None]
        real = real_tokens(codes, arguments)
        share = (told & real).sum(-1) / real.sum(-1).clamp_min(1)
        self.texts = share > (self.threshold or 0.0)
        return told & self.texts[:, None]
