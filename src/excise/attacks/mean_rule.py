"""Rule for attacks whose cases have values between 0 and 1, such as the probabilities of answers: their means."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from excise.evaluation.metrics.answers import mean_interval
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD, AttackResult, Attempt
from excise.report.verdict import Outcome, Share, judged

# Ten points of what the topic's words, images or answers are: as little as four dozen cases can tell from nothing.
MARGIN = 0.1
# What a null is.
NEVER_SAW, CUT, NOTHING = "never saw it", "word cut out", "nothing"
# Of fewer values a bootstrap says little.
FEWEST_VALUES = 10
Values = Float[np.ndarray, "cases"]
NO_NULL = (
    "There is no model that never saw it. Without one nobody knows how likely an answer is by its wording alone, and "
    "so how much of it is known. Give `never_saw`."
)


def mean_result(
    attack: str,
    measure: str,
    attempts: Sequence[tuple[dict[str, Any], Values, Values | None, float | None]],
    original: Values | None,
    removed: Values,
    null: Values | None,
    null_is: str,
    **details: Any,
) -> AttackResult:
    """The result of an attack that is measured by the mean of values between 0 and 1.

    The rule of `share_result`, with means in the place of shares, and a paired bootstrap over the cases in the place of
    intervals of shares: of all attempts the one counts whose mean is furthest above its null. *Withstood* if the 95 %
    interval of the mean difference ends below `MARGIN`; *not withstood* if it begins above 0; *not measured* if
    neither. *Not measured* too if there is no model that never saw it, if there are fewer than 10 cases, if the
    original knows no more than the null for sure, or if there is no original and nothing comes back: then nothing shows
    that it could.

    Args:
        attack: its name.
        measure: what the values are.
        attempts: settings, values, those of the null under the same attempt, and quality elsewhere.
        original: values of the original; `None` where nobody has it.
        removed: values of the shared model.
        null: values of the null without any attack, for attempts that have no null of their own.
        null_is: what the null is.
        **details: further figures.
    """
    nulls = [null if own is None else own for _, _, own, _ in attempts]
    rows = [
        Attempt(settings, float(values.mean()), None if of is None else float(of.mean()), None, len(values), (), (), q)
        for (settings, values, _, q), of in zip(attempts, nulls, strict=True)
    ]
    known: dict[str, Any] = {"after": float(removed.mean()), "attempts": tuple(rows), "details": details}
    known |= {"before": None if original is None else float(original.mean()), "null_is": null_is}
    best = max(range(len(rows)), key=lambda row: rows[row].score - (rows[row].null or 0.0))
    values, of_null = attempts[best][1], nulls[best]
    known |= {"score": rows[best].score, "null": rows[best].null, "interval": tuple(mean_interval(values))}
    if of_null is None:
        return AttackResult.not_measured(attack, measure, NO_NULL, **known)
    if len(values) < FEWEST_VALUES:
        why = f"{len(values)} answers are too few to tell; at least {FEWEST_VALUES} are needed. Give more rows."
        return AttackResult.not_measured(attack, measure, why, **known)
    floor = of_null if null is None or null.mean() < of_null.mean() else null
    if original is not None and mean_interval(original - floor).low <= 0:
        why = f"The original has a mean of {original.mean():.3f} and the null of {floor.mean():.3f}, which is no more "
        why += "for sure: there is nothing to bring back."
        return AttackResult.not_measured(attack, measure, why, **known)
    low, high = mean_interval(values - of_null)
    between = f"above the null ({null_is}) by {rows[best].score - of_null.mean():.3f} ({low:.3f} to {high:.3f})"
    hidden = original is not None and knows_nothing(
        *(Share(float(of.mean()), *mean_interval(of)) for of in (original, removed, floor))
    )
    nothing = None
    if original is None:
        nothing = f"It is {between}, and there is no original to show that the answers can come back, asked in this "
        nothing += "way. Give it, too."
    elif hidden:
        nothing = "So few cases do not tell the original from the null: there is nothing to bring back, as an "
        nothing += "evaluation has nothing to forget."
    verdict, why = by_interval(low, high, between, len(values), nothing)
    return AttackResult(attack, measure, **known, verdict=verdict, reason=why)


def by_interval(low: float, high: float, between: str, cases: int, nothing: str | None) -> tuple[str, str]:
    """The verdict of an interval of how much comes back beyond the null, and its reason.

    Args:
        low: where the interval begins.
        high: where it ends.
        between: what is said of it.
        cases: of how many it is.
        nothing: why nothing coming back shows nothing; `None` where it does.
    """
    if high < MARGIN:
        return (WITHSTOOD, f"At most {MARGIN} {between}.") if nothing is None else (NOT_MEASURED, nothing)
    if low > 0:
        return NOT_WITHSTOOD, f"It is {between}."
    why = f"{cases} cases are too few to tell: {between}, which is neither below {MARGIN} nor above 0 for sure."
    return NOT_MEASURED, why


def knows_nothing(original: Share, removed: Share, null: Share) -> bool:
    """Whether there was nothing to forget: by the rule of verdicts, with the null as what nothing can go below."""
    return judged(original, removed, null) is Outcome.NOTHING
