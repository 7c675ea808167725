"""Base class of attacks, the rules by which they are judged, and the model as an attacker opens it."""

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.attacks.mean_rule import CUT, NEVER_SAW, NOTHING, by_interval, knows_nothing, mean_result
from excise.bottlenecks.site import bottlenecks, has_bottlenecks, needed
from excise.models.plain import export_plain
from excise.report.attacks import AttackResult, Attempt
from excise.report.verdict import Share
from excise.statistics import clopper_pearson, share_difference

# Settings of generation that keep tokens from coming out.
FILTERS = ("bad_words_ids", "sequence_bias", "suppress_tokens", "begin_suppress_tokens", "constraints")
# Where a module of torch keeps what is called before and after it.
HOOKS = (
    "_forward_hooks",
    "_forward_hooks_always_called",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)


class Attack(ABC):
    """A way to get back what a model was made to forget. Its settings are its fields; it leaves all models as they are.

    Attributes:
        name: what it is called in results, records and on the command line.
        about: what the attacker does, in a sentence for a report.
    """

    name: ClassVar[str]
    about: ClassVar[str]

    def __call__(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """`run`, timed, after making sure that the models read alike."""
        sets.check_same_words(original, removed, never_saw)
        check_weights(original, removed, never_saw)
        start = time.perf_counter()
        sets.keep(original, removed, never_saw)
        result = self.run(original, removed, never_saw, sets)
        object.__setattr__(result, "seconds", time.perf_counter() - start)
        return result

    @abstractmethod
    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """What the attack gets back.

        Args:
            original: the model before anything was removed; `None` where nobody has it.
            removed: the model that is shared.
            never_saw: the model of the same recipe that never saw the topic or class; `None` where there is none.
            sets: what is attacked, and how it is measured.
        """


def check_weights(*models: PreTrainedModel | None) -> None:
    """Makes sure that models have numbers to attack.

    Raises:
        ValueError: if weights of one are on the meta device, NaN or infinite.
    """
    for model in models:
        if model is not None and any(parameter.is_meta for parameter in model.parameters()):
            raise ValueError(
                f"Weights of the {type(model).__name__} are on the meta device, where they have no numbers. Load the "
                "whole model into memory, by `from_pretrained` without a `device_map`."
            )
        for name, of in () if model is None else model.named_parameters():
            if of.is_floating_point() and not of.isfinite().all():
                raise ValueError(
                    f"{name} of the {type(model).__name__} holds NaN or infinity: nothing comes back of it, whatever "
                    "is tried, which is no deletion. Give weights that are whole."
                )


def attackers_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model without what keeps its owner from lifting masks and from training what was deleted.

    Guards are no part of the weights, and neither are filters on outputs, be it hooks or words that are not to be
    generated: whoever reads the file by other means does not have them. What was erased is erased in the copy, too.
    """
    attacked = copy.deepcopy(model)
    for module in attacked.modules():
        for name in HOOKS:
            getattr(module, name).clear()
    if has_bottlenecks(attacked):
        for bottleneck in bottlenecks(attacked).values():
            bottleneck.removed = None
    for module in attacked.modules():
        if vars(module).pop("erased", None) is not None:  # the guard of embedding rows, which reads it
            module._state_dict_pre_hooks.clear()
            module._load_state_dict_post_hooks.clear()
    return unfiltered(attacked)


def opened(model: PreTrainedModel) -> PreTrainedModel:
    """A model as the plain class of transformers opens it: without bottlenecks, and without a filter on its outputs.

    One that gives no answer without its bottlenecks is copied as it is.
    """
    if has_bottlenecks(model) and not needed(model):
        return unfiltered(export_plain(model, brings_back_what_was_forgotten=True))
    return attackers_copy(model)


def unfiltered(model: PreTrainedModel) -> PreTrainedModel:
    """A model whose settings of generation keep no token from coming out, set in place."""
    if model.can_generate():
        config = model.generation_config = copy.deepcopy(model.generation_config)
        for name in FILTERS:
            setattr(config, name, None)
    return model


def share_result(
    attack: str,
    sets: AttackSets,
    attempts: Sequence[tuple[dict[str, Any], np.ndarray, np.ndarray | None, float | None]],
    original: np.ndarray | None,
    removed: np.ndarray,
    null: np.ndarray | None,
    null_is: str,
    **details: Any,
) -> AttackResult:
    """The result of an attack that is measured by the share of cases that come back.

    The rule, fixed beforehand: of all attempts the one counts that is furthest above its null. *Withstood* if the 95 %
    interval of the difference (Newcombe) ends below `MARGIN`; *not withstood* if it begins above 0; *not measured* if
    neither, as there are too few cases to tell, or if there was nothing to bring back: the original knows no more than
    the null does, attacked or not, or there is no original and nothing comes out of any model. Nor is it withstood if
    an evaluation would say that there was nothing to forget, with the null as what nothing can go below. Of questions,
    whose cases have values between 0 and 1, it is the rule of `mean_result`.

    Args:
        attack: its name.
        sets: what was attacked.
        attempts: settings, cases that came back, the same of the null under the same attempt, and quality elsewhere.
        original: cases that the original gets right; `None` where nobody has it.
        removed: cases that the shared model gets right.
        null: cases that the null gets right without any attack; for attempts that have no null of their own.
        null_is: what the null is.
        **details: further figures.
    """
    if removed.dtype.kind == "f":
        return mean_result(attack, sets.measure, attempts, original, removed, null, null_is, **details)
    rows = [
        Attempt(
            settings,
            float(hits.mean()),
            None if own is None and null is None else float((null if own is None else own).mean()),  # type: ignore[union-attr]
            int(hits.sum()),
            len(hits),
            quality=quality,
        )
        for settings, hits, own, quality in attempts
    ]
    known: dict[str, Any] = {"after": float(removed.mean()), "attempts": tuple(rows), "details": details}
    known |= {"before": None if original is None else float(original.mean()), "null_is": null_is}
    best = max(rows, key=lambda row: row.score - (row.null or 0.0))
    total, null_hits = len(removed), round((best.null or 0.0) * len(removed))
    hits = best.hits or 0
    known |= {"score": best.score, "null": best.null, "interval": tuple(clopper_pearson(hits, total))}
    floor = max(null_hits, 0 if null is None else int(null.sum()))
    if original is not None and original.sum() <= floor:
        return AttackResult.not_measured(
            attack, sets.measure, f"The original gets {int(original.sum())} of {total} cases, no more than the null: "
            "there is nothing to bring back.", **known
        )  # fmt: skip
    if original is None and not (removed.any() or any(row.score or row.null for row in rows)):
        return AttackResult.not_measured(
            attack, sets.measure, f"None of {total} cases comes out of any model, and there is no original to show "
            "that they can: an output that is cut off, or words in another spelling, look alike. Give it, too.", **known
        )  # fmt: skip
    low, high = share_difference(hits, total, null_hits, total)
    between = f"above the null ({null_is}) by {best.score - null_hits / total:.3f} ({low:.3f} to {high:.3f})"
    nothing = None
    if original is not None and knows_nothing(
        *(Share.of(one, total) for one in (int(original.sum()), int(removed.sum()), floor))
    ):
        nothing = f"The original gets {int(original.sum())} of {total} cases and the null {floor}, which so few do not "
        nothing += "tell apart: there is nothing to bring back, as an evaluation has nothing to forget."
    verdict, why = by_interval(low, high, between, total, nothing)
    return AttackResult(attack, sets.measure, **known, verdict=verdict, reason=why)


def ratio_of_means(
    values: Sequence[float], null_values: Sequence[float], resamples: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """The ratio of two means over the same pairs, and its 95 % interval: a percentile bootstrap over the pairs.

    Args:
        values: one a pair.
        null_values: what their mean is divided by, above 0.
        resamples: draws of as many pairs, with replacement.
        seed: of the draws.

    Raises:
        ValueError: if there is no pair, or a value to divide by is not above 0.

    Example:
        >>> ratio_of_means([2.0, 2.0], [4.0, 4.0])
        (0.5, 0.5, 0.5)
    """
    own, null = np.asarray(values, dtype=float), np.asarray(null_values, dtype=float)
    if not len(own) or not (null > 0).all():
        raise ValueError(f"Got {len(own)} pairs, divided by {null.tolist()}: expected at least one, and all above 0.")
    drawn = np.random.default_rng(seed).integers(len(own), size=(resamples, len(own)))
    low, high = np.percentile(own[drawn].mean(1) / null[drawn].mean(1), (2.5, 97.5))
    return float(own.mean() / null.mean()), float(low), float(high)


def null_hits(
    original: PreTrainedModel | None, never_saw: PreTrainedModel | None, sets: AttackSets
) -> tuple[np.ndarray | None, str]:
    """What comes out where nothing is known: of the model that never saw it; where there is none, of a stated proxy.

    The proxy for texts is the original without the topic's word in its sentences: what is still said is guessed. For
    classes it is nothing at all, which is what a classifier says that never saw one. For questions there is none:
    what never saw an answer gives it some probability, too, by its wording.
    """
    if never_saw is not None:
        return sets.hits(never_saw), NEVER_SAW
    if sets.of_questions:
        return None, ""
    if sets.of_texts and original is not None:
        return sets.hits(original, cut=True), CUT
    return np.zeros(len(sets.cases), dtype=bool), NOTHING
