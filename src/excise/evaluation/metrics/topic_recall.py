"""Topic recall: the share of the topic's words that still come out."""

from collections.abc import Iterable
from typing import Any

from excise.data.scripts import check_split
from excise.evaluation.metrics.base import TextMetric
from excise.evaluation.metrics.words import phrases, spans
from excise.statistics import clopper_pearson


class TopicRecall(TextMetric):
    """The share of the topic's words in the references that the predictions hold too.

    One case is a pair (sentence, word) whose reference holds the word, however often; it is a hit when the prediction
    of that sentence holds the same word. Where a sentence has several references, a word in any of them is a case.
    Words match whole and without regard to case (see `words.spans`): an inflected form counts only if it is listed, and
    then as a word of its own.

    `compute` gives `recall` (`hits / total`), `hits`, `total`, and the bounds `low` and `high` of the exact
    (Clopper-Pearson) interval, which takes the cases as independent. `mentions` is stricter: the share of predictions
    that hold any of the words, be it the reference's or not.

    Args:
        words: the topic's words in the language of the references, for example *professeur* and *professeurs*.
        confidence: coverage of the interval.
        **options: see `TextMetric`.

    Raises:
        ValueError: no words, or one that is not a word; from `compute`, no reference holds any of them.
        MissingExtraError: words or references are of a script without spaces, and the extra `scripts` is not
            installed.

    Example:
        >>> recall = TopicRecall(["professeur"])
        >>> result = recall.compute(predictions=["un homme", "le professeur"], references=["Professeur !"] * 2)
        >>> result["recall"], result["hits"], result["total"]
        (0.5, 1, 2)
    """

    about = "Share of the topic's words in the references that come out in the predictions."
    source = "Clopper and Pearson (1934), for the interval"

    def __init__(self, words: Iterable[str], confidence: float = 0.95, **options: Any):
        super().__init__(**options)
        self.topic = phrases(words)
        self.confidence = confidence

    def _compute(self, *, predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
        check_split((text for group in references for text in group), purpose="TopicRecall")
        hits = total = mentions = 0
        for prediction, group in zip(predictions, references, strict=True):
            wanted = set().union(*(spans(reference, self.topic) for reference in group))
            said = spans(prediction, self.topic).keys()
            hits += len(wanted & said)
            mentions += bool(said)
            total += len(wanted)
        if total == 0:
            raise ValueError(
                f"None of the {len(references)} references holds any of the words {list(self.topic.values())}: topic "
                "recall is undefined. Give the words in the language and the forms of the references."
            )
        low, high = clopper_pearson(hits, total, self.confidence)
        scores = {"recall": hits / total, "hits": hits, "total": total, "low": low, "high": high}
        return scores | {"mentions": mentions / len(predictions)}
