"""Examples of outputs before and after, side by side."""

from collections import Counter
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from excise.data.scripts import pieces
from excise.report.measures import FORGET, RETAIN, Condition
from excise.report.results import Evaluation


class Part(NamedTuple):
    """Words of a text that follow each other.

    Args:
        text: the words.
        differs: whether the other text has none of them at their place.
    """

    text: str
    differs: bool


def word_differences(before: str, after: str) -> tuple[list[Part], list[Part]]:
    """Two texts in parts, those marked that the other text does not have at their place.

    Example:
        >>> one, other = word_differences("il aime le chat", "il voit le grand chat")
        >>> [part.text for part in one if part.differs], [part.text for part in other if part.differs]
        (['aime'], ['voit', 'grand'])
    """
    old, new = _words(before), _words(after)
    one: list[Part] = []
    other: list[Part] = []
    for kind, first, last, start, end in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        for parts, words in ((one, old[first:last]), (other, new[start:end])):
            if words:
                parts.append(Part("".join(words).strip(), kind != "equal"))
    return one, other


def _words(text: str) -> list[str]:
    """What stands between spaces, with the space behind it; of scripts without spaces, each word."""
    return [run[start:end] + " " * (end == len(run)) for run in text.split() for start, end in pieces(run)]


# How many sentences of a set are shown, and how many classes.
SHOWN = {FORGET: 8, RETAIN: 3}
CLASSES = 8


def changed_texts(evaluation: Evaluation, dataset: str) -> dict[str, Any] | None:
    """The first sentences of a set whose output changed, and how many there are of how many.

    Returns:
        `total`, `changed`, and `rows` of `text`, `reference` (empty if there is none), `before` and `after`,
        the last two in parts; `None` where there is no model before to compare with.
    """
    outputs = evaluation.outputs
    if not all(dataset in outputs.get(condition, {}) for condition in (Condition.BEFORE, Condition.AFTER)):
        return None
    columns = (
        evaluation.texts[dataset],
        evaluation.references.get(dataset) or [""] * len(evaluation.texts[dataset]),
        *(outputs[condition][dataset] for condition in (Condition.BEFORE, Condition.AFTER)),
    )
    changed = [row for row in zip(*columns, strict=False) if row[2] != row[3]]
    rows = []
    for text, reference, before, after in changed[: SHOWN[dataset]]:
        was, became = word_differences(before, after)
        rows.append({"text": text, "reference": reference, "before": was, "after": became})
    return {"total": len(columns[2]), "changed": len(changed), "rows": rows}


def predicted_classes(evaluation: Evaluation, dataset: str) -> list[dict[str, Any]]:
    """What a set's images are taken for, before and after: the classes with the most images, then all others as one.

    Returns:
        Rows of `name`, `before` and `after`, shares of the images; `before` is `None` where there is no model before.
    """
    outputs = evaluation.outputs
    counts = {c: Counter(outputs.get(c, {}).get(dataset, ())) for c in (Condition.BEFORE, Condition.AFTER)}
    sizes = {condition: sum(found.values()) for condition, found in counts.items()}
    if not sizes[Condition.AFTER]:
        return []
    both = counts[Condition.BEFORE] + counts[Condition.AFTER]
    names = sorted(both, key=lambda name: (name != evaluation.topic, -both[name], name))

    def row(name: str, of: list[str]) -> dict[str, Any]:
        shares = {c: sum(counts[c][one] for one in of) / sizes[c] if sizes[c] else None for c in counts}
        return {"name": name, "before": shares[Condition.BEFORE], "after": shares[Condition.AFTER]}

    if len(names) <= CLASSES + 1:
        return [row(name, [name]) for name in names]
    rest = names[CLASSES:]
    return [*(row(name, [name]) for name in names[:CLASSES]), row(f"{len(rest)} others", rest)]
