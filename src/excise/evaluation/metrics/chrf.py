"""chrF: overlap of character n-grams."""

import warnings
from typing import Any

from excise.data.scripts import script_without_spaces
from excise.evaluation.metrics.base import TextMetric
from excise.evaluation.metrics.bleu import streams
from excise.evaluation.metrics.tokenizers import composed, signed
from excise.storage.extras import require


class Chrf(TextMetric):
    """Corpus chrF, 0 to 100, exactly sacrebleu's, of texts in Unicode NFC: an F-score of character n-grams.

    `compute` gives `chrf` and `chrf_signature`, which holds everything needed to reproduce the number.

    Args:
        word_order: longest word n-gram that counts too; 0 is chrF, 2 is chrF++.
        lowercase: whether case is ignored.
        **options: see `TextMetric`.

    Raises:
        MissingExtraError: the extra `text` is not installed.

    Example:
        >>> result = Chrf().compute(predictions=["le professeur parle"], references=["le professeur parle"])
        >>> result["chrf"]
        100.0

    Source: Popović (2015), *chrF: character n-gram F-score*.
    """

    about = "Corpus chrF, 0 to 100 (sacrebleu)."
    source = "Popović (2015), chrF; Post (2018), sacreBLEU"

    def __init__(self, word_order: int = 0, lowercase: bool = False, **options: Any):
        require("text", purpose="Chrf")
        super().__init__(**options)
        self.word_order = word_order
        self.lowercase = lowercase

    def _compute(self, *, predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
        from sacrebleu.metrics import CHRF

        given = predictions, references
        predictions, references = composed(predictions), [composed(group) for group in references]
        script = script_without_spaces(text for group in references for text in group) if self.word_order else None
        if script is not None:
            warnings.warn(
                f"word_order={self.word_order} counts words too, and takes a sentence in {script} for one. Leave it "
                "out: chrF of characters fits.",
                stacklevel=2,
            )
        chrf = CHRF(word_order=self.word_order, lowercase=self.lowercase)
        score = chrf.corpus_score(predictions, streams(references)).score  # type: ignore[arg-type]  # None is taken
        signature = signed(str(chrf.get_signature()), changed=(predictions, references) != given)
        return {"chrf": score, "chrf_signature": signature}
