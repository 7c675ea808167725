"""Tables of evaluations: several topics beside each other (table 2), and examples of what changed (1, 4 and 5)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel

from excise.codes.finder import CodeFinder
from excise.data.topics import TopicSets
from excise.evaluation.sweeps import sweep
from excise.report.examples import word_differences
from excise.report.markdown import markdown
from excise.report.measures import FORGET, SET_LABELS, Condition, measure
from excise.report.notes import firings
from excise.report.results import Evaluation
from excise.storage.display import HtmlTable, few, shortened
from excise.storage.expected import expects

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class TopicsTable(HtmlTable):
    """Several topics' evaluations as one table.

    Attributes:
        evaluations: one a topic, in the order of the table.
        top_s: the S' at which the codes were chosen.
    """

    evaluations: Sequence[Evaluation]
    top_s: int

    def __repr__(self) -> str:
        topics = [evaluation.topic for evaluation in self.evaluations]
        return f"TopicsTable: {few(topics)}; S′ = {self.top_s}"

    @property
    def metrics(self) -> list[str]:
        """The measures that any set has, in order."""
        return list(dict.fromkeys(m for e in self.evaluations for name in e.texts for m in e.measures(name)))

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
        fired = [f" {evaluation.topic}: {note}" for evaluation in self.evaluations if (note := firings(evaluation))]
        seeds = ", ".join(str(seed) for seed in sorted({e.settings.get("seed", 0) for e in self.evaluations}))
        return (
            f"{markdown(header, rows)}\n\nS′ = {self.top_s}. In parentheses: {meaning}; for topic recall, the exact "
            f"95 % interval. Random codes: as many live codes removed instead, as often used in other examples or, the "
            f"topic-matched ones, as near as there are to that in the topic's own; seed {seeds}.{''.join(fired)}"
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
        for metric in evaluation.measures(dataset):
            row |= {metric: scores.get(metric, nan), f"{metric}_drop": evaluation.drop(metric, dataset, condition)}
        return row | {name: scores[name] for name in ("low", "high") if name in scores}


@expects("finder", top_s="?number")
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
    if metric not in evaluation.scores[condition][dataset]:
        return ""
    score = evaluation.score(metric, dataset, condition)
    if metric == "recall":
        return f"{score.text} ({score.low:.3f} to {score.high:.3f})"
    if condition in (Condition.BEFORE, Condition.REFERENCE):
        return score.text
    moved = (
        -evaluation.drop(metric, dataset, condition) if normalised else evaluation.change(metric, dataset, condition)
    )
    return score.text if isnan(moved) else f"{score.text} ({round(moved, 1) + 0:+.1f})"


@dataclass(frozen=True, repr=False)
class ExamplesTable(HtmlTable):
    """Sentences as they come out before and at each S'.

    Attributes:
        evaluations: by S', ascending, each with the model before.
        rows: which sentences of the set.
        dataset: the set.
    """

    evaluations: Mapping[int, Evaluation]
    rows: tuple[int, ...]
    dataset: str

    def __repr__(self) -> str:
        topic = next(iter(self.evaluations.values())).topic
        return (
            f"ExamplesTable: {shortened(topic)!r}, sentences {few(self.rows, 8)} of {self.dataset}, before and at S′ = "
            f"{few(list(self.evaluations), 8)}"
        )

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per sentence and text: `row` of the set, `what` the text is, and the `text`."""
        import pandas

        rows = [{"row": i, "what": what, "text": text} for i in self.rows for what, text in self._texts(i)]
        return pandas.DataFrame(rows, columns=["row", "what", "text"])

    def to_markdown(self) -> str:
        """A table in Markdown for each sentence; words that differ from before are bold."""
        return "\n\n".join(markdown(["", "Content"], self._lines(i)) for i in self.rows)

    def __str__(self) -> str:
        return self.to_markdown()

    def _texts(self, i: int) -> list[tuple[str, str]]:
        """What a sentence is, what it should be, and what comes out under each condition."""
        first, last = (list(self.evaluations.values())[end] for end in (0, -1))
        texts = [
            ("Text", first.texts[self.dataset][i]),
            ("Reference", first.references[self.dataset][i]),
            ("Codebook model", first.outputs[Condition.BEFORE][self.dataset][i]),
        ]
        for top_s, evaluation in self.evaluations.items():
            label = f"S′ = {top_s}, {evaluation.removed} codes removed"
            texts.append((label, evaluation.outputs[Condition.AFTER][self.dataset][i]))
        if Condition.RANDOM in last.outputs:
            label = f"{last.removed} random codes removed"
            texts.append((label, last.outputs[Condition.RANDOM][self.dataset][i]))
        return texts

    def _lines(self, i: int) -> list[list[str]]:
        texts = self._texts(i)
        (_, before) = texts[2]
        given = [[what, _escaped(text)] for what, text in texts[:3]]
        return given + [[what, marked(before, text)] for what, text in texts[3:]]


@expects("evaluations")
def examples_table(
    evaluations: Mapping[int, Evaluation], rows: int | Sequence[int] = 3, dataset: str = FORGET
) -> ExamplesTable:
    """Sentences as they come out before and at each S'; it prints as Markdown, words that differ from before bold.

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
    ascending = dict(sorted(evaluations.items()))
    if isinstance(rows, int):
        before = next(iter(ascending.values())).outputs[Condition.BEFORE][dataset]
        after = [evaluation.outputs[Condition.AFTER][dataset] for evaluation in ascending.values()]
        rows = [i for i, text in enumerate(before) if any(texts[i] != text for texts in after)][:rows]
    return ExamplesTable(ascending, tuple(rows), dataset)


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
