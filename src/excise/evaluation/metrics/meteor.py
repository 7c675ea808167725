"""METEOR: aligned words, their stems and their order."""

from statistics import fmean
from types import SimpleNamespace
from typing import Any

from excise.data.scripts import script_without_spaces
from excise.evaluation.metrics.base import TextMetric
from excise.evaluation.metrics.words import tokens
from excise.storage.extras import require

# nltk looks up synonyms in whatever it is given: this one knows of none.
NO_SYNONYMS = SimpleNamespace(synsets=lambda word: [])


class Meteor(TextMetric):
    """METEOR, 0 to 1: the mean over sentences of nltk's score, with the best of several references.

    Words are matched exactly, then by stem, then by WordNet's synonyms where nltk finds WordNet's data on this machine
    (English only; nothing is downloaded; nltk compares synonyms with stems, so it finds few). Scores with and without
    synonyms are not comparable, so `compute` gives, beside `meteor`, `meteor_matching` with what was used.

    Args:
        language: language of the texts, which decides the stemmer: Porter's for English as in METEOR itself,
            otherwise a Snowball stemmer.
        synonyms: whether WordNet is used where it is found.
        **options: see `TextMetric`.

    Raises:
        MissingExtraError: the extra `text` is not installed.
        ValueError: there is no stemmer for the language; from `compute`, the references have no spaces between words.

    Example:
        >>> meteor = Meteor(language="french")
        >>> result = meteor.compute(predictions=["les professeurs parlent"], references=["le professeur parle"])
        >>> round(result["meteor"], 3), result["meteor_matching"]
        (0.625, 'exact + stem (french)')

    Source: Banerjee and Lavie (2005); parameters of Lavie and Agarwal (2007), as in nltk.
    """

    about = "Mean sentence METEOR, 0 to 1 (nltk)."
    source = "Banerjee and Lavie (2005), METEOR"

    def __init__(self, language: str = "english", synonyms: bool = True, **options: Any):
        require("text", purpose="Meteor")
        super().__init__(**options)
        self.language = language
        self.stemmer = _stemmer(language)
        self.synonyms = synonyms

    def _compute(self, *, predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
        from nltk.translate.meteor_score import meteor_score

        if script := script_without_spaces(text for group in references for text in group):
            raise ValueError(
                f"METEOR compares words and their stems, and nltk has neither for texts in {script}, which sets no "
                "spaces between words. Take Bleu or Chrf."
            )
        found = _wordnet() if self.synonyms and self.language == "english" else None
        wordnet = NO_SYNONYMS if found is None else found
        scores = [
            meteor_score(
                [tokens(reference) for reference in group],
                tokens(prediction),
                stemmer=self.stemmer,
                wordnet=wordnet,
            )
            for prediction, group in zip(predictions, references, strict=True)
        ]
        matching = f"exact + stem ({self.language})" + ("" if found is None else " + WordNet")
        return {"meteor": fmean(scores), "meteor_matching": matching}


def _stemmer(language: str) -> Any:
    from nltk.stem import PorterStemmer, SnowballStemmer

    if language == "english":
        return PorterStemmer()
    languages = sorted(set(SnowballStemmer.languages) - {"porter"})
    if language not in languages:
        raise ValueError(f"language is {language!r}: expected one of {', '.join(languages)}.")
    return SnowballStemmer(language)


def _wordnet() -> Any | None:
    """WordNet as nltk reads it, or `None` where its data is not on this machine."""
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        return None
    return wordnet
