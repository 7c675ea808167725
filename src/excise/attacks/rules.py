"""AUC of an attack's scores, its interval, and the rule by which an attack that is measured by it is judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy
from jaxtyping import Float

from excise.attacks.mean_rule import MARGIN, NEVER_SAW
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD, AttackResult, Attempt
from excise.statistics import Interval

# With fewer a group, an interval of an AUC is wider than half of all that an AUC can be.
FEWEST = 10
# Half of what was lost takes at least so many times the steps of the model that never saw it.
AS_SLOW = 0.8
# With fewer draws of the examples no interval says anything.
FEWEST_DRAWS = 3
HALF = "a half"


@dataclass(frozen=True)
class Scores:
    """What an attack makes of a model: a score for each case that it is to find, and for each other one.

    Attributes:
        members: scores of what is to be found: what the model was trained on, or what was deleted.
        others: scores of the rest. The attack expects them to be smaller.
    """

    members: Float[np.ndarray, "members"]
    others: Float[np.ndarray, "others"]

    def __post_init__(self) -> None:
        for name in ("members", "others"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if values.ndim != 1:
                raise ValueError(f"`{name}` has shape {values.shape}; expected one score a case.")
            object.__setattr__(self, name, values)

    @property
    def auc(self) -> float:
        """The share of pairs of a member and another in which the member's score is larger; ties count half."""
        return float(self.placements[0].mean())

    @property
    def fault(self) -> str:
        """Why the scores say nothing, in a sentence; empty if they do say something."""
        sizes = {"members": self.members, "others": self.others}
        for name, values in sizes.items():
            if len(values) < FEWEST:
                return f"There are {len(values)} {name}; an AUC needs at least {FEWEST} of them."
            if broken := int((~np.isfinite(values)).sum()):
                return f"{broken} of {len(values)} scores of {name} are NaN or infinite."
        values = np.concatenate([self.members, self.others])
        if (values == values[0]).all():
            return f"All {len(values)} scores are {values[0]:.6g}: they tell nobody from anybody."
        return ""

    @cached_property
    def placements(self) -> tuple[Float[np.ndarray, "members"], Float[np.ndarray, "others"]]:
        """DeLong's components: the share of others below each member, and that of members above each other."""
        above = (self.members[:, None] > self.others) + 0.5 * (self.members[:, None] == self.others)
        return above.mean(1), above.mean(0)

    def interval(self, confidence: float = 0.95) -> Interval:
        """A confidence interval of the AUC: the wider, at each end, of DeLong's and of Newcombe's.

        DeLong's has no width where the AUC is 0 or 1, and is too narrow near them; Newcombe's has a width everywhere,
        and is too narrow where members spread much more than the rest.

        Args:
            confidence: coverage, between 0 and 1 exclusive.

        Source: DeLong et al., *Biometrics* 44 (1988); Newcombe, *Statistics in Medicine* 25 (2006), method 5, on the
        variance of Hanley and McNeil, *Radiology* 143 (1982).
        """
        z, auc = _normal_quantile(confidence), self.auc
        half = z * np.sqrt(_covariance(self, self))
        low, high = _newcombe(auc, len(self.members), len(self.others), z)
        return Interval(max(0.0, min(low, auc - half)), min(1.0, max(high, auc + half)))


def auc_difference(scores: Scores, null: Scores, confidence: float = 0.95) -> Interval:
    """A confidence interval of the AUC of a model less that of another, of the same cases in the same order.

    It is put together from the intervals of the two (Zou and Donner's way for correlated figures), with DeLong's
    correlation: models that find the same cases easy are told apart by fewer. Where an AUC is 0 or 1 nothing is known
    of the correlation, and it is taken for 0.

    Args:
        scores: of the one model.
        null: of the model that is subtracted.
        confidence: coverage, between 0 and 1 exclusive.

    Raises:
        ValueError: if there are not as many members and others in both.

    Source: Zou and Donner, *Statistics in Medicine* 27 (2008); DeLong et al. (1988).
    """
    sizes = [(len(one.members), len(one.others)) for one in (scores, null)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"There are {sizes[0]} members and others of the model and {sizes[1]} of the null; score the same cases."
        )
    spread = np.sqrt(_covariance(scores, scores) * _covariance(null, null))
    correlation = np.clip(_covariance(scores, null) / spread, -1, 1) if spread > 0 else 0.0
    (low, high), (null_low, null_high) = scores.interval(confidence), null.interval(confidence)
    auc, other = scores.auc, null.auc

    def distance(one: float, two: float) -> float:
        return float(np.sqrt(max(0.0, one**2 + two**2 - 2 * correlation * one * two)))

    below, above = distance(auc - low, null_high - other), distance(high - auc, other - null_low)
    return Interval(auc - other - below, auc - other + above)


def auc_result(
    attack: str,
    attempts: Sequence[tuple[dict[str, Any], Scores, Scores | None, Scores | None]],
    null_is: str = NEVER_SAW,
    **details: Any,
) -> AttackResult:
    """The result of an attack that is measured by an AUC.

    The rule, fixed beforehand, is on how far an AUC is from its null: from that of the model that never saw it on the
    same cases, or from a half where there is none. An AUC below its null is turned round, as an attacker would, and
    this is said. *Withstood* if the 95 % interval of the strongest attempt's distance ends below `MARGIN`; *not
    withstood* if that of any attempt begins above 0 and does not end below `MARGIN`, at a confidence that allows for
    the number of attempts (Bonferroni), and of these the strongest counts; *not measured* if neither, or if no attempt
    says anything: fewer than `FEWEST` cases in a group, scores that are all the same, NaN. Such attempts are left out
    and named in `details`.

    Args:
        attack: its name.
        attempts: settings, and the scores of the shared model, of the null and of the original; `None` for those that
            nobody has. All scores are of the same cases in the same order.
        null_is: what the null is, where an attempt has one.
        **details: further figures.

    Returns:
        `score`, `null` and `before` are the AUCs of the strongest attempt as they are, none turned round;
        `null` is 0.5 where there is no model for it.
    """
    said = [attempt for attempt in attempts if not _fault(attempt)]
    details |= {"left_out": [{**one[0], "why": _fault(one)} for one in attempts if _fault(one)]}
    if not said:
        why = " ".join(dict.fromkeys(map(_fault, attempts))) or "No attempt was made."
        return AttackResult.not_measured(attack, "auc", why, details=details)
    rows = [Attempt(settings, scores.auc, null.auc if null else None) for settings, scores, null, _ in said]
    by_strength = sorted(range(len(said)), key=lambda row: -abs(_distance(said[row])))
    intervals = [_from_null(one, 0.95) for one in said]
    sure = [
        row
        for row in by_strength
        if _from_null(said[row], 1 - 0.05 / len(said)).low > 0 and intervals[row].high >= MARGIN
    ]
    best = (sure or by_strength)[0]
    _, scores, null, original = said[best]
    turned, (low, high) = _distance(said[best]) < 0, intervals[best]
    whose = HALF if null is None else f"that of the null ({null_is})"
    between = f"{abs(_distance(said[best])):.3f} ({low:.3f} to {high:.3f}) {'below' if turned else 'above'} {whose}"
    if turned:
        between += ", so an attacker turns it round"
    if sure:
        verdict, why = NOT_WITHSTOOD, f"The AUC is {between}."
    elif high < MARGIN:
        verdict, why = WITHSTOOD, f"The AUC is at most {MARGIN} from {whose}: {between}."
    else:
        verdict = NOT_MEASURED
        why = (
            f"{len(scores.members)} members and {len(scores.others)} others are too few to tell: the AUC is {between}, "
            f"which is neither within {MARGIN} nor beyond 0 for sure."
        )
    if len(said) > 1:
        why += f" It is the strongest of {len(said)} attempts{' of which this is sure' * (best != by_strength[0])}."
    if null is not None and not (own := null.interval()).low <= 0.5 <= own.high:
        why += f" The null's own AUC is {null.auc:.3f} and not a half: members and others differ in themselves."
    before = None
    if original is not None and not original.fault:
        before = original.auc
        if _from_null((None, original, null, None), 0.95).low <= 0:
            why += " It does not find members of the original for sure either."
    details |= {"turned_round": bool(turned), "difference_interval": [low, high]}
    known: dict[str, Any] = {"score": scores.auc, "interval": tuple(scores.interval()), "before": before, "after": None}
    known |= {"null": 0.5 if null is None else null.auc, "null_is": HALF if null is None else null_is}
    known |= {"attempts": tuple(rows)}
    return AttackResult(attack, "auc", **known, verdict=verdict, reason=why, details=details)


def verdict_of(ratio: float, interval: Sequence[float] | None, draws: int) -> tuple[str, str]:
    """Verdict and reason, by the rule of `LearntAgain`.

    Args:
        ratio: steps against the model that never saw it.
        interval: of the ratio; `None` with too few draws.
        draws: of the examples.
    """
    if interval is None:
        return NOT_MEASURED, f"{draws} draws are too few to tell: at least {FEWEST_DRAWS} are needed."
    between = f"{ratio:.2f} of the steps ({interval[0]:.2f} to {interval[1]:.2f})"
    if ratio >= AS_SLOW:
        return WITHSTOOD, f"It takes {between}, at least {AS_SLOW}."
    if interval[1] < AS_SLOW:
        return NOT_WITHSTOOD, f"It takes {between}, fewer than {AS_SLOW}."
    return NOT_MEASURED, f"It takes {between}: too few draws to tell from {AS_SLOW}."


def _fault(attempt: tuple) -> str:
    """Why an attempt says nothing, of its shared model or of its null."""
    _, scores, null, _ = attempt
    if scores.fault or null is None:
        return scores.fault
    return f"Of the null: {null.fault}" if null.fault else ""


def _distance(attempt: tuple) -> float:
    """How far an attempt's AUC is above its null."""
    return attempt[1].auc - (0.5 if attempt[2] is None else attempt[2].auc)


def _from_null(attempt: tuple, confidence: float) -> Interval:
    """The interval of how far an AUC is above its null, or below it where it is turned round."""
    _, scores, null, _ = attempt
    if null is None:
        low, high = (bound - 0.5 for bound in scores.interval(confidence))
    else:
        low, high = auc_difference(scores, null, confidence)
    return Interval(-high, -low) if _distance(attempt) < 0 else Interval(low, high)


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: expected a number between 0 and 1, for example 0.95.")
    return float(scipy.special.ndtri(0.5 + confidence / 2))


def _covariance(one: Scores, other: Scores) -> float:
    """DeLong's covariance of two AUCs of the same cases; of one with itself, its variance."""
    pairs = zip(one.placements, other.placements, strict=True)
    return float(sum(np.cov(first, second)[0, 1] / len(first) for first, second in pairs))


def _newcombe(auc: float, members: int, others: int, z: float) -> tuple[float, float]:
    """Bounds at which the distance from `auc` is `z` standard errors as they are at the bound itself."""
    mean = (members + others) / 2 - 1

    def beyond(bound: float) -> float:
        shape = 1 + mean * (1 - bound) / (2 - bound) + mean * bound / (1 + bound)
        return (bound - auc) ** 2 - z**2 * bound * (1 - bound) * shape / (members * others)

    # An AUC of 0 or 1 is a root of its own, with no width: look beside it.
    inside = min(max(auc, 1e-9), 1 - 1e-9)
    low = 0.0 if auc == 0 else scipy.optimize.brentq(beyond, 0.0, inside)
    high = 1.0 if auc == 1 else scipy.optimize.brentq(beyond, inside, 1.0)
    return low, high
