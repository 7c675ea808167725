"""Codes in force: what is removed in the model of a record, and which evidence is of just that."""

from collections.abc import Iterator, Mapping
from typing import Any

from excise.ledger.packing import codes_digest, unpack
from excise.report.attacks import AttackReport
from excise.report.frontier import Frontier, Point
from excise.report.markdown import counted
from excise.report.results import Evaluation


class InForce:
    """The codes that are removed in the model of a record's state, and the requests that removed them."""

    def __init__(self, state: Mapping[str, Any]):
        self.requests = [request for request in state["requests"] if not request["undone"]]
        self.mode = state["mode"]
        codes: dict[str, set[int]] = {}
        for request in self.requests:
            for site, ids in request["codes"].items():
                codes.setdefault(site, set()).update(unpack(ids))
        # A model that deleted codes were taken out of does not know these any more; its record does.
        removed = state["model"].get("removed") or {}
        taken_out = sum(request["thresholds"].get("taken_out", 0) for request in self.requests)
        self.number = removed.get("codes", sum(map(len, codes.values())) + taken_out)
        self.digest, self.weights = removed.get("digest", codes_digest(codes)), removed.get("weights")

    def erases_rows(self, topic: str) -> bool:
        """Whether embedding rows of a topic are erased, too, in what is shared."""
        return any(
            request.get("rows") and "delete" in (self.mode, request["kind"])
            for request in self.requests
            if request["topic"] == topic
        )

    @property
    def topics(self) -> list[str]:
        """What was asked to be forgotten, and not undone."""
        return list(dict.fromkeys(request["topic"] for request in self.requests))

    def is_about(self, evaluation: Evaluation, topic: str) -> bool:
        """Whether an evaluation is of a topic: by its name, or by the sets that the codes were chosen on."""
        data = [request["data"] for request in self.requests if request["topic"] == topic]
        return evaluation.topic == topic or (bool(made := evaluation.settings.get("data")) and made in data)

    def is_of(self, evaluation: Evaluation | AttackReport) -> bool:
        """Whether just these codes of these weights were removed in what was measured; of old, whether as many."""
        made = evaluation.settings.get("removed")
        if isinstance(made, Mapping) and "digest" in made:
            same = self.weights in (None, made.get("weights")) or made.get("weights") is None
            return bool(self.requests) and made["digest"] == self.digest and same
        return bool(self.requests) and evaluation.removed == self.number

    def point(self, frontier: Frontier) -> Point | None:
        """The point of a frontier at which just these codes were removed; `None` if there is none, or nothing before.

        Frontiers of old do not tell which: there, the request alone in force, if it asked for just that.
        """
        if frontier.states:
            first, *states = frontier.states
            reached = [p for p, digest in zip(frontier.points[1:], states, strict=False) if digest == self.digest]
            return reached[-1] if reached and first != self.digest else None
        deleted = {request["thresholds"].get("deletes_request") for request in self.requests}
        asked = [request for request in self.requests if request["id"] not in deleted]
        if len(asked) != 1 or asked[0]["topic"] != frontier.topic:
            return None
        thresholds = asked[0]["thresholds"]
        if thresholds.get("method") != frontier.method:
            return None
        return next((point for point in frontier.points[1:] if point.count == thresholds.get("count")), None)


def depth_lines(thresholds: Mapping[str, Any]) -> Iterator[str]:
    """What a request's thresholds say of a deletion that goes deeper than codes, in words.

    Args:
        thresholds: as the ledger has them; what else they hold is passed over.
    """

    def numbers(part: str, *names: str) -> dict[str, Any]:
        """A part of the thresholds, if it has all these numbers."""
        held = thresholds.get(part)
        if not isinstance(held, Mapping) or not all(isinstance(held.get(name), int | float) for name in names):
            return {}
        return dict(held)

    rows = numbers("rows", "pieces", "qvalue", "min_share", "min_own", "budget", "other_rows_with_them")
    distilled = numbers("distilled", "noise", "rise", "budget")
    if rows:
        others = counted(rows["other_rows_with_them"], "other example")
        yield (
            f"embedding rows of {counted(rows['pieces'], 'piece')}: oftener with it by Fisher's exact test "
            f"(q = {rows['qvalue']:g}), in at least {rows['min_share']:.3g} of its examples, at least "
            f"{rows['min_own']:.3g} of their uses its own, and together in at most {rows['budget']:.3g} of the others "
            f"({others} in the retain set)"
        )
    if distilled:
        yield (
            f"then distilled after noise of {distilled['noise']:g}: the loss on held-out examples rose by "
            f"{distilled['rise']:.1%}, {distilled['budget']:.1%} were allowed"
        )
