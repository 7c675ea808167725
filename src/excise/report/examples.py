"""What came out before and after, side by side."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from excise.conditions import AFTER, BEFORE
from excise.functional.differences import word_differences
from excise.report.scores import FORGET, RETAIN

# How many sentences of a set are shown, and how many classes.
SHOWN = {FORGET: 8, RETAIN: 3}
CLASSES = 8


def changed_texts(evaluation: Mapping[str, Any], dataset: str) -> dict[str, Any] | None:
    """The first sentences of a set whose output changed, and how many there are of how many.

    Returns:
        `total`, `changed`, and `rows` of `text`, `reference` (empty if there is none), `before` and `after`,
        the last two in parts; `None` where there is no model before to compare with.
    """
    outputs = evaluation["outputs"]
    if not all(dataset in outputs.get(condition, {}) for condition in (BEFORE, AFTER)):
        return None
    columns = (
        evaluation["texts"][dataset],
        evaluation["references"].get(dataset) or [""] * len(evaluation["texts"][dataset]),
        *(outputs[condition][dataset] for condition in (BEFORE, AFTER)),
    )
    changed = [row for row in zip(*columns, strict=False) if row[2] != row[3]]
    rows = []
    for text, reference, before, after in changed[: SHOWN[dataset]]:
        was, became = word_differences(before, after)
        rows.append({"text": text, "reference": reference, "before": was, "after": became})
    return {"total": len(columns[2]), "changed": len(changed), "rows": rows}


def predicted_classes(evaluation: Mapping[str, Any], dataset: str) -> list[dict[str, Any]]:
    """What a set's images are taken for, before and after: the classes with the most images, then all others as one.

    Returns:
        Rows of `name`, `before` and `after`, shares of the images; `before` is `None` where there is no model before.
    """
    outputs = evaluation["outputs"]
    counts = {c: Counter(outputs.get(c, {}).get(dataset, ())) for c in (BEFORE, AFTER)}
    sizes = {condition: sum(found.values()) for condition, found in counts.items()}
    if not sizes[AFTER]:
        return []
    both = counts[BEFORE] + counts[AFTER]
    names = sorted(both, key=lambda name: (name != evaluation["topic"], -both[name], name))

    def row(name: str, of: list[str]) -> dict[str, Any]:
        shares = {c: sum(counts[c][one] for one in of) / sizes[c] if sizes[c] else None for c in counts}
        return {"name": name, "before": shares[BEFORE], "after": shares[AFTER]}

    if len(names) <= CLASSES + 1:
        return [row(name, [name]) for name in names]
    rest = names[CLASSES:]
    return [*(row(name, [name]) for name in names[:CLASSES]), row(f"{len(rest)} others", rest)]
