"""Several topics, each unlearned by itself: the paper's table 2."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel

from excise.codes.finder import CodeFinder
from excise.data.topics import TopicSets
from excise.evaluation.sweeps import sweep
from excise.report.markdown import markdown
from excise.report.measures import Condition, measure
from excise.report.results import SET_LABELS, Evaluation, change, drop, measures

if TYPE_CHECKING:
    import pandas

from excise.report.examples import word_differences


@dataclass(frozen=True, repr=False)
class TopicsTable:
    """Several topics' evaluations as one table.

    Attributes:
        evaluations: one a topic, in the order of the table.
        top_s: the S' at which the codes were chosen.
    """

    evaluations: Sequence[Evaluation]
    top_s: int

    @property
    def metrics(self) -> list[str]:
        """The measures that any set has, in order."""
        return list(dict.fromkeys(m for e in self.evaluations for name in e.texts for m in measures(e, name)))

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per topic, set and condition.

        For each measure there is a column with the score and one with its normalised drop in percent (`bleu_drop`; 0
        at the model before, 100 at the reference model). Topic recall has its 95 % bounds in `low` and `high`.
        """
        import pandas

        return pandas.DataFrame([self._row(*key) for key in self._keys()])

    def to_markdown(self) -> str:
        """The table in Markdown, with a line that says what the numbers in parentheses are."""
        normalised = any(Condition.REFERENCE in evaluation.scores for evaluation in self.evaluations)
        header = ["Topic (codes)", "Set (n)", "Model", *(measure(metric).label for metric in self.metrics)]
        rows, last = [], None
        for evaluation, dataset, condition in self._keys():
            topic = f"{evaluation.topic} ({evaluation.removed})"
            place = f"{SET_LABELS[dataset]} ({len(evaluation.texts[dataset])})"
            cells = [_cell(evaluation, dataset, condition, metric, normalised) for metric in self.metrics]
            rows.append(
                [
                    "" if last and last[0] is evaluation else topic,
                    "" if last == (evaluation, dataset) else place,
                    condition,
                    *cells,
                ]
            )
            last = (evaluation, dataset)
        meaning = (
            "normalised improvement drop in percent (0 is the model before, -100 the reference model)"
            if normalised
            else "change from the model before in percent"
        )
        seeds = ", ".join(str(seed) for seed in sorted({e.settings.get("seed", 0) for e in self.evaluations}))
        return (
            f"{markdown(header, rows)}\n\nS′ = {self.top_s}. In parentheses: {meaning}; for topic recall, the exact "
            f"95 % interval. Random codes: as many live codes of like frequency removed instead, seed {seeds}."
        )

    def __str__(self) -> str:
        return self.to_markdown()

    def _keys(self) -> list[tuple[Evaluation, str, str]]:
        return [(e, dataset, condition) for e in self.evaluations for dataset in SET_LABELS for condition in e.scores]

    def _row(self, evaluation: Evaluation, dataset: str, condition: str) -> dict[str, Any]:
        scores = evaluation.scores[condition][dataset]
        row = {
            "topic": evaluation.topic,
            "codes": evaluation.removed,
            "set": dataset,
            "examples": len(evaluation.texts[dataset]),
            "condition": condition,
        }
        for metric in measures(evaluation, dataset):
            row |= {metric: scores[metric], f"{metric}_drop": drop(evaluation, metric, dataset, condition)}
        return row | {name: scores[name] for name in ("low", "high") if name in scores}


def topics_table(
    finder: CodeFinder,
    topics: Iterable[TopicSets],
    *,
    top_s: int | None = None,
    reference_model: PreTrainedModel | Mapping[str, PreTrainedModel] | None = None,
    **options: Any,
) -> TopicsTable:
    """Removes the codes of each topic by itself and evaluates it (table 2), without changing the model.

    Args:
        finder: the model and its ledger, which must hold no deletion.
        topics: sets of each topic, with references.
        top_s: number S' of codes counted for each token; the preset's own if not given.
        reference_model: for normalised drops, one for all topics or one by the topic's name.
        **options: the other arguments of `sweep`.

    Raises:
        ValueError: if there is no topic, or as `sweep`.
    """
    topics = list(topics)
    if not topics:
        raise ValueError("No topics were given; expected the sets of at least one.")
    top_s = top_s or finder.preset_top_s(options.get("preset", "default"), topics[0])
    evaluations = []
    for topic in topics:
        reference = reference_model.get(topic.name) if isinstance(reference_model, Mapping) else reference_model
        swept = sweep(finder, topic, top_s=[top_s], reference_model=reference, **options)
        evaluations.append(swept.evaluations[top_s])
    return TopicsTable(tuple(evaluations), top_s)


def _cell(evaluation: Evaluation, dataset: str, condition: str, metric: str, normalised: bool) -> str:
    scores = evaluation.scores[condition][dataset]
    if metric not in scores:
        return ""
    text = f"{scores[metric]:.{measure(metric).decimals}f}"
    if metric == "recall":
        return f"{text} ({scores['low']:.3f} to {scores['high']:.3f})"
    if condition in (Condition.BEFORE, Condition.REFERENCE):
        return text
    moved = (
        -drop(evaluation, metric, dataset, condition) if normalised else change(evaluation, metric, dataset, condition)
    )
    return text if isnan(moved) else f"{text} ({round(moved, 1) + 0:+.1f})"


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
    if not evaluations or any(Condition.BEFORE not in evaluation.outputs for evaluation in evaluations.values()):
        raise ValueError("Examples need evaluations that hold the model before; there are none, or codes were deleted.")
    first, last = (evaluations[top_s] for top_s in (min(evaluations), max(evaluations)))
    before = first.outputs[Condition.BEFORE][dataset]
    if isinstance(rows, int):
        after = [evaluation.outputs[Condition.AFTER][dataset] for evaluation in evaluations.values()]
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
            lines.append([label, marked(before[i], evaluation.outputs[Condition.AFTER][dataset][i])])
        if Condition.RANDOM in last.outputs:
            label = f"{last.removed} random codes removed"
            lines.append([label, marked(before[i], last.outputs[Condition.RANDOM][dataset][i])])
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
