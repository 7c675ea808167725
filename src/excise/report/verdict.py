"""Verdict on what was asked to be forgotten: by a rule fixed beforehand, from what was measured and nothing else.

The rule stands in docs/method/verdicts.md, the same for texts and images.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from typing import Any, NamedTuple

from excise.report.frontier import Frontier, Point
from excise.report.in_force import InForce
from excise.report.markdown import counted
from excise.report.measures import BOUNDED, FORGET, Condition, measure
from excise.report.results import Evaluation
from excise.statistics import clopper_pearson

# Of what can be lost, the score before less the floor: what must be lost to be forgotten; what the upper end of the
# interval after may leave at most; and what must be there again without the bottleneck to be said to come back.
LOST, LEFT, BACK = 0.9, 0.25, 0.25
RULE = (
    "Forgotten: at least 90 % of what could be lost is lost, and the 95 % interval leaves at most 25 %. Not forgotten: "
    "the intervals before and after overlap. Partly: what is between. Comes back: without the bottleneck at least 25 % "
    "of what could be lost is there again."
)
MOST_TOPICS = 8  # that a title names
# What nothing that is forgotten can go below: what is still said without the word, or by a model that never saw it.
FLOORS = {"recall": Condition.CUT, "accuracy": Condition.CUT, "probability": Condition.REFERENCE}


class Outcome(str, Enum):
    """What was measured of a request; its value is what pages, cards and scripts say."""

    NOT_FORGOTTEN = "not forgotten"
    OTHER_STATE = "not measured in this state"
    NOT_MEASURED = "not measured"
    TOO_FEW = "too few examples to tell"
    NOTHING = "nothing to forget"
    PARTLY = "partly forgotten"
    FORGOTTEN = "forgotten"


# In a title: what is least known to be forgotten comes first. Of several measurements: the least favourable that tells.
ORDER = list(Outcome)
SEVERITY = [Outcome.NOT_FORGOTTEN, Outcome.NOTHING, Outcome.PARTLY, Outcome.FORGOTTEN, Outcome.TOO_FEW]
SEVERITY += [Outcome.OTHER_STATE, Outcome.NOT_MEASURED]


class Share(NamedTuple):
    """A share of examples.

    Args:
        value: the share.
        low: lower bound of its 95 % interval; `high` is the upper one.
        total: number of examples, or `None` if that is not known.
    """

    value: float
    low: float
    high: float
    total: int | None = None

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @classmethod
    def of(cls, hits: int, total: int) -> "Share":
        """The share of `hits` in `total`, with its exact interval (Clopper-Pearson)."""
        return cls(hits / total, *clopper_pearson(hits, total), total)


def judged(before: Share | None, after: Share | None, floor: Share | None = None, guessed: float = 0.0) -> Outcome:
    """The rule: what a score before and one after say of forgetting.

    Args:
        before: topic recall, or accuracy on the class, with the masks lifted; `None` if there is none with an interval.
        after: the same with the codes removed.
        floor: the same with the word cut out of the sentences, what nothing that is forgotten can go below; 0 if not
            given.
        guessed: the score of guessing among the classes: a class that is no better told before cannot be forgotten.

    Example:
        >>> [judged(Share.of(95, 100), Share.of(hits, 100)).value for hits in (95, 48, 2)]
        ['not forgotten', 'partly forgotten', 'forgotten']
    """
    if before is None or after is None:
        return Outcome.NOT_MEASURED
    total, least = before.total, [floor] if floor else []
    if total:
        if clopper_pearson(0, total).high >= clopper_pearson(total, total).low:
            return Outcome.TOO_FEW  # all of them right before, and none after, would say nothing
        least.append(Share.of(round(guessed * total), total))
    if before.value == 0 or any(before.low <= one.high for one in least):
        return Outcome.NOTHING
    lowest = floor.value if floor else 0.0
    if after.high >= before.low:
        return Outcome.NOT_FORGOTTEN
    whole = before.value - lowest
    enough = before.value - after.value >= LOST * whole and after.high - lowest <= LEFT * whole
    return Outcome.FORGOTTEN if enough else Outcome.PARTLY


@dataclass(frozen=True)
class Verdict:
    """What was measured of a topic in the state that is in force.

    Attributes:
        topic: what was asked to be forgotten.
        outcome: what the rule says.
        comes_back: whether it is there again without the bottleneck; `None` where that was not measured.
        score: what was measured: `"recall"`, `"accuracy"`, or `None` for nothing.
        shares: the score under each condition that counts.
        reason: why there is no outcome, or "".
    """

    topic: str
    outcome: Outcome
    comes_back: bool | None = None
    score: str | None = None
    shares: Mapping[str, Share] | None = None
    reason: str = ""

    @property
    def label(self) -> str:
        """The outcome in words, and whether it comes back."""
        return self.outcome.value + (", and comes back without the bottleneck" if self.comes_back else "")

    @property
    def look(self) -> str:
        """How a page shows it: `"good"`, `"bad"`, `"unknown"`, or `"middling"`."""
        if self.outcome in (Outcome.NOT_MEASURED, Outcome.OTHER_STATE, Outcome.TOO_FEW):
            return "unknown"
        looks = {Outcome.FORGOTTEN: "good", Outcome.NOT_FORGOTTEN: "bad"}
        return "middling" if self.comes_back else looks.get(self.outcome, "middling")

    @property
    def sentence(self) -> str:
        """The numbers behind the outcome; of what was not measured, why."""
        if self.score is None or (shares := self.shares) is None:
            return self.reason
        parts = [f"{measure(self.score).label} {shares[Condition.BEFORE]} before, {shares[Condition.AFTER]} after"]
        more = {Condition.CUT: "with the", Condition.LEFT_OUT: "with the"}
        if self.score == "probability":
            more = {Condition.LEFT_OUT: "with the", Condition.REFERENCE: "of the"}
        parts += [f"{shares[c].value:.3f} {how} {c}" for c, how in more.items() if c in shares]
        if total := shares[Condition.AFTER].total:
            parts.append(f"of {counted(total, 'example')}")
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Topic, outcome, whether it comes back, and the numbers, as JSON values."""
        return {
            "topic": self.topic,
            "outcome": self.outcome.value,
            "comes_back": self.comes_back,
            "score": self.score,
            "shares": {str(condition): share._asdict() for condition, share in (self.shares or {}).items()},
        }


def verdicts(
    state: Mapping[str, Any], evaluations: Iterable[Evaluation] = (), frontiers: Iterable[Frontier] = ()
) -> tuple[Verdict, ...]:
    """A verdict on each topic in force, of a record's state and evidence: of several measurements, the worst."""
    now, evaluations, frontiers = InForce(state), list(evaluations), list(frontiers)
    return tuple(_verdict(topic, now, evaluations, frontiers) for topic in now.topics)


def _verdict(topic: str, now: InForce, evaluations: Sequence[Evaluation], frontiers: Sequence[Frontier]) -> Verdict:
    about = [evaluation for evaluation in evaluations if now.is_about(evaluation, topic)]
    lines = [frontier for frontier in frontiers if frontier.topic == topic]
    erased = now.erases_rows(topic)
    made = [_of_evaluation(topic, evaluation, erased) for evaluation in about if now.is_of(evaluation)]
    made += [_of_point(topic, line, point) for line in lines if (point := now.point(line))]
    if made:
        return min(made, key=lambda one: (SEVERITY.index(one.outcome), not one.comes_back, one.comes_back is None))
    if not about and not lines:
        return Verdict(topic, Outcome.NOT_MEASURED, reason="no evaluation, sweep or frontier of it is in the record")
    reason = f"what was measured was another state than that of the {counted(now.number, 'code')} now removed"
    return Verdict(topic, Outcome.OTHER_STATE, reason=reason)


def _of_evaluation(topic: str, evaluation: Evaluation, erased: bool) -> Verdict:
    for score in BOUNDED:
        shares = {c: share for c in evaluation.conditions if (share := _share(evaluation, score, c))}
        if erased:  # as measured so, where it was
            deleted = {Condition.AFTER: Condition.ERASED, Condition.LEFT_OUT: Condition.ERASED_LEFT_OUT}
            shares |= {condition: shares[measured] for condition, measured in deleted.items() if measured in shares}
        if Condition.BEFORE in shares and Condition.AFTER in shares:
            classes = evaluation.settings.get("num_classes") if score == "accuracy" else None
            return _of_shares(topic, score, shares, 1 / classes if classes else 0.0)
    if Condition.BEFORE not in evaluation.conditions:
        return Verdict(topic, Outcome.NOT_MEASURED, reason="there is no model before to set it against")
    reason = "no topic recall, accuracy or probability of answers was measured with an interval before and after"
    return Verdict(topic, Outcome.NOT_MEASURED, reason=reason)


def _of_point(topic: str, frontier: Frontier, point: Point) -> Verdict:
    if not (total := frontier.examples[0]):
        return Verdict(topic, Outcome.NOT_MEASURED, reason="the frontier has no example of the class")
    before, after = (Share.of(round(one.forget * total), total) for one in (frontier.points[0], point))
    return _of_shares(topic, "accuracy", {Condition.BEFORE: before, Condition.AFTER: after})


def _of_shares(topic: str, score: str, shares: Mapping[str, Share], guessed: float = 0.0) -> Verdict:
    before, after, floor = shares[Condition.BEFORE], shares[Condition.AFTER], shares.get(FLOORS.get(score, ""))
    outcome, back = judged(before, after, floor, guessed), None
    if (left_out := shares.get(Condition.LEFT_OUT)) and outcome in (Outcome.PARTLY, Outcome.FORGOTTEN):
        whole = before.value - (floor.value if floor else 0.0)
        back = left_out.value - after.value >= BACK * whole
    return Verdict(topic, outcome, back, score, shares)


def _share(evaluation: Evaluation, score: str, condition: str) -> Share | None:
    """A score with its interval; from its counts, if it has no bounds; `None` where there is no number of these."""
    scores = evaluation.scores.get(condition, {}).get(FORGET, {})
    value, low, high = evaluation.score(score, FORGET, condition)[:3]
    hits, total = scores.get("hits"), scores.get("total")
    total = total if isinstance(total, int) and total > 0 else None
    if value is None or not isfinite(value):
        return None
    if low is not None and high is not None:
        return Share(value, low, high, total)
    return Share.of(hits, total) if total and isinstance(hits, int) and 0 <= hits <= total else None


def grouped(made: Iterable[Verdict]) -> list[tuple[Verdict, list[str]]]:
    """Topics by what is said of them, in the order of a title: a verdict of each group, and its topics."""
    groups: dict[str, tuple[Verdict, list[str]]] = {}
    for one in sorted(made, key=lambda one: (ORDER.index(one.outcome), not one.comes_back)):
        groups.setdefault(one.label, (one, []))[1].append(one.topic)
    return list(groups.values())


def headline(made: Iterable[Verdict], shown: Callable[[str], str] = str) -> str:
    """What a title says of all topics, what is least known to be forgotten first.

    Args:
        made: a verdict on each topic.
        shown: how a topic is written.

    Example:
        >>> headline([Verdict("a", Outcome.FORGOTTEN), Verdict("b", Outcome.NOT_MEASURED)])
        'Forgetting not measured: b. Forgotten: a'
    """
    groups = grouped(made)
    many = sum(len(topics) for _, topics in groups) > MOST_TOPICS
    said = []
    for one, topics in groups:
        start = "forgetting " if one.outcome in (Outcome.NOT_MEASURED, Outcome.OTHER_STATE) else ""
        label = (start + one.label).capitalize()
        said.append(f"{label}: {counted(len(topics), 'topic') if many else ', '.join(map(shown, topics))}")
    return ". ".join(said)
