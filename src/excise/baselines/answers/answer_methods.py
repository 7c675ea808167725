"""Methods of forgetting answers, by the names that OpenUnlearning's tables have."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from excise.baselines.answers.gradient_ascent import GradientAscent
from excise.baselines.answers.gradient_diff import GradientDiff
from excise.baselines.answers.idk_dpo import PreferNotKnowing
from excise.baselines.answers.npo import NegativePreference
from excise.baselines.answers.objective import AnswerObjective
from excise.baselines.answers.rmu import Misdirection
from excise.baselines.answers.simnpo import SimplePreference
from excise.baselines.answers.undial import AdjustedDistillation

# A new one is a file and a line here.
METHODS: dict[str, type[AnswerObjective]] = {
    method.name: method
    for method in (
        GradientAscent,
        GradientDiff,
        NegativePreference,
        SimplePreference,
        PreferNotKnowing,
        Misdirection,
        AdjustedDistillation,
    )
}


def answer_method(name: str, settings: Mapping[str, Any] | None = None) -> AnswerObjective:
    """A method with its settings.

    Args:
        name: one of `METHODS`, in large letters or small.
        settings: those that are not to be the authors', by name.

    Raises:
        ValueError: if there is no such method or setting, or one is out of range.

    Example:
        >>> answer_method("npo", {"beta": 0.5})
        NegativePreference(gamma=1.0, alpha=1.0, beta=0.5)
    """
    known = {each.casefold(): method for each, method in METHODS.items()}
    method = known.get(name.casefold()) if isinstance(name, str) else None
    if method is None:
        raise ValueError(f"method={name!r}: expected one of {', '.join(METHODS)}.")
    names = [field.name for field in fields(method)]
    for given in settings or {}:
        if given not in names:
            raise ValueError(f"{method.name} has no setting {given!r}; it has {', '.join(names)}.")
    return method(**dict(settings or {}))
