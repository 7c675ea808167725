"""The same sentences at each S', side by side: the paper's tables 1, 4 and 5."""

from collections.abc import Mapping, Sequence

from excise.report.examples import word_differences
from excise.report.markdown import markdown
from excise.report.measures import AFTER, BEFORE, RANDOM
from excise.report.results import Evaluation


def examples_table(
    evaluations: Mapping[int, Evaluation], rows: int | Sequence[int] = 3, dataset: str = "heldout"
) -> str:
    """Sentences as they come out before and at each S', in Markdown; words that differ from before are bold.

    What random codes leave, as many as at the largest S', stands at the end of each table.

    Args:
        evaluations: by S', such as `Sweep.evaluations`.
        rows: which sentences of the set, or how many: the first whose output changes at some S'.
        dataset: `"heldout"` (tables 1 and 4) or `"heldout_retain"` (table 5).

    Raises:
        ValueError: if there are no evaluations, or none of the model before.
    """
    if not evaluations or any(BEFORE not in evaluation.outputs for evaluation in evaluations.values()):
        raise ValueError("Examples need evaluations that hold the model before; there are none, or codes were deleted.")
    first, last = (evaluations[top_s] for top_s in (min(evaluations), max(evaluations)))
    before = first.outputs[BEFORE][dataset]
    if isinstance(rows, int):
        after = [evaluation.outputs[AFTER][dataset] for evaluation in evaluations.values()]
        rows = [i for i, text in enumerate(before) if any(texts[i] != text for texts in after)][:rows]
    tables = []
    for i in rows:
        lines = [
            ["Text", _escaped(first.texts[dataset][i])],
            ["Reference", _escaped(first.references[dataset][i])],
            ["Codebook model", _escaped(before[i])],
        ]
        for top_s, evaluation in sorted(evaluations.items()):
            label = f"S′ = {top_s}, {evaluation.removed} codes removed"
            lines.append([label, marked(before[i], evaluation.outputs[AFTER][dataset][i])])
        if RANDOM in last.outputs:
            label = f"{last.removed} random codes removed"
            lines.append([label, marked(before[i], last.outputs[RANDOM][dataset][i])])
        tables.append(markdown(["", "Content"], lines))
    return "\n\n".join(tables)


def marked(before: str, after: str) -> str:
    """A text in Markdown with those words bold that another has not at their place.

    Example:
        >>> marked("il aime le chat", "il voit le grand chat")
        'il **voit** le **grand** chat'
    """
    _, parts = word_differences(before, after)
    return " ".join(f"**{_escaped(text)}**" if differs else _escaped(text) for text, differs in parts)


def _escaped(text: str) -> str:
    return text.replace("*", r"\*")
