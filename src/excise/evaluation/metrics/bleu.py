"""BLEU: overlap of word n-grams."""

from typing import Any

from excise.evaluation.metrics.base import TextMetric
from excise.evaluation.metrics.tokenizers import check_name, composed, fitting_tokenizer, signed, warn_of_misfit
from excise.storage.extras import require


class Bleu(TextMetric):
    """Corpus BLEU, 0 to 100, exactly sacrebleu's, of texts in Unicode NFC.

    `compute` gives `bleu` and `bleu_signature`, which holds everything needed to reproduce the number.

    Args:
        tokenize: sacrebleu's tokeniser. If not given, the one that fits the script of the references: "13a" for
            languages that put spaces between words, "zh" for Chinese; see `tokenizers.fitting_tokenizer`.
        lowercase: whether case is ignored.
        **options: see `TextMetric`.

    Raises:
        MissingExtraError: the extra `text` is not installed.
        ValueError: sacrebleu has no tokeniser of that name.

    Example:
        >>> result = Bleu().compute(predictions=["le chat est sur le lit"], references=[["le chat est sur le tapis"]])
        >>> round(result["bleu"], 2)
        75.98

    Source: Papineni et al. (2002); Post (2018), *A Call for Clarity in Reporting BLEU Scores*.
    """

    about = "Corpus BLEU, 0 to 100 (sacrebleu)."
    source = "Papineni et al. (2002), BLEU; Post (2018), sacreBLEU"

    def __init__(self, tokenize: str | None = None, lowercase: bool = False, **options: Any):
        require("text", purpose="Bleu")
        super().__init__(**options)
        if tokenize is not None:
            check_name(tokenize)
        self.tokenize = tokenize
        self.lowercase = lowercase

    def _compute(self, *, predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
        from sacrebleu.metrics import BLEU

        given = predictions, references
        predictions, references = composed(predictions), [composed(group) for group in references]
        every = [text for group in references for text in group]
        if self.tokenize is not None:
            warn_of_misfit(self.tokenize, every)
        bleu = BLEU(tokenize=self.tokenize or fitting_tokenizer(every), lowercase=self.lowercase)
        score = bleu.corpus_score(predictions, streams(references)).score  # type: ignore[arg-type]  # None is taken
        signature = signed(str(bleu.get_signature()), changed=(predictions, references) != given)
        return {"bleu": score, "bleu_signature": signature}


def streams(references: list[list[str]]) -> list[list[str | None]]:
    """References as sacrebleu takes them: all the first ones, all the second ones, `None` where there is no such.

    Example:
        >>> streams([["a", "b"], ["c"]])
        [['a', 'c'], ['b', None]]
    """
    most = max(map(len, references))
    return [[group[i] if i < len(group) else None for group in references] for i in range(most)]
