"""Lines of attacks in page and card: what was tried, what it got, and the verdict, in plain words."""

from collections.abc import Mapping, Sequence
from typing import Any

from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD, AttackReport, AttackResult

# What somebody does who has the files, by the name of the attack.
TRIED = {
    "left out": "The file is opened by the plain class, without the bottleneck, or its codes are skipped.",
    "made again": "Erased codes are made again from a few sentences or images of the topic, or from codes beside them.",
    "learnt again": "The model is trained on, for a few steps, on a few examples of the topic.",
    "rounded": "The numbers are rounded to fewer bits, or noise is added to them.",
    "guessed": "What was forgotten is read from the files beside the weights, or guessed by trying words one by one.",
    "probed": "A small classifier is trained on what the model has inside.",
    "said otherwise": "The topic is asked for in other words: synonyms, other forms, misspellings.",
    "text membership": "It is guessed from the model's losses whether texts of the topic were trained on.",
    "class membership": "The class is told from one that was never trained on, by the model's losses.",
    "example membership": "Images that were trained on are told from others of the class, by the model's losses.",
}
OWN = "An attack of one's own."
LOOKS = {WITHSTOOD: "good", NOT_WITHSTOOD: "bad", NOT_MEASURED: "unknown"}
RULE = (
    "Each attack is judged by a rule fixed beforehand, against a model that never saw the topic, or a proxy where "
    "there is none. Withstood: no more comes back than that model knows, within a margin. Not withstood: more comes "
    "back, for sure. Not measured: neither can be told."
)
# Out of reach in principle.
TAUGHT = (
    "Out of reach in principle: a word or a class can be taught to any model again by whoever has examples. The most "
    "that a deletion can reach is that this takes as long as with a model that never saw it"
)
ENCODER = (
    "Out of reach in principle: the encoder is public and frozen, and goes on knowing the class, whatever is deleted "
    "behind it"
)


def attack_lines(report: AttackReport) -> list[dict[str, Any]]:
    """A line an attack: the texts of `AttackResult.row`, what was `tried`, the `reason`, and how the verdict looks."""
    return [
        {**result.row(), "tried": TRIED.get(result.attack, OWN), "reason": result.reason, "look": LOOKS[result.verdict]}
        for result in report.results
    ]


def attack_claim(report: AttackReport) -> str:
    """What stands in a title: how many attacks were withstood, were not, and were not measured.

    Example:
        >>> attack_claim(AttackReport("a", "codes", (), {}))
        'No attack was run'
    """
    total = len(report.results)
    if not total:
        return "No attack was run"
    if report.verdict == WITHSTOOD:
        return "The attack was withstood" if total == 1 else f"All {total} attacks were withstood"
    return f"Of {total} attack{'' if total == 1 else 's'}: {report.summary}"


def out_of_reach(reports: Sequence[AttackReport], sites: Sequence[Mapping[str, Any]]) -> list[str]:
    """What no deletion can reach, a sentence each, with the figure where it was measured.

    Args:
        reports: of attacks.
        sites: the `sites` of a record's model.
    """
    sentences = [TAUGHT + _figure(reports, "learnt again")]
    if any(site["kind"] == "key_value" for site in sites):
        sentences.append(ENCODER + _figure(reports, "probed"))
    return sentences


def _figure(reports: Sequence[AttackReport], name: str) -> str:
    """The figures of an attack, in parentheses, and a full stop."""
    figures = [
        f"{report.topic}: {row['measure']} {row['attacked']}"
        + (f", against {row['null']}" if result.null is not None else "")
        for report in reports
        for result in report.results
        if result.attack == name and result.score is not None
        for row in [result.row()]
    ]
    return f" (measured here: {'; '.join(figures)})." if figures else " (not measured here)."


def curved(report: AttackReport) -> AttackResult | None:
    """The result of a report that goes by steps: the first whose attempts have curves of hits."""
    return next((result for result in report.results if any(one.curve for one in result.attempts)), None)
