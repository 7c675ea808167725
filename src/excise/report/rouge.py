"""ROUGE: the words that a text shares with a reference, by their stems, as the package `rouge_score` has them."""

import re
from collections import Counter
from collections.abc import Sequence

from excise.storage.extras import require


def rouge_l_recall(text: str, reference: str) -> float:
    """The share of a reference's words that a text has in the same order (Lin, 2004), as the package `rouge_score` has.

    Words are of the letters a to z and of digits, in lower case, and cut down to their stems if longer than three.

    Example:
        >>> rouge_l_recall("The cats sat here.", "A cat sat!")
        0.6666666666666666
    """
    words, wanted = (_stems(of) for of in (text, reference))
    return _common(words, wanted) / len(wanted) if wanted else 0.0


def rouge_scores(text: str, reference: str) -> dict[str, float]:
    """What OpenUnlearning keeps of an answer: ROUGE-1 recall, and F1 and recall of ROUGE-L, each 0 to 1.

    Example:
        >>> rouge_scores("The cats sat here.", "A cat sat!")["rougeL_f1"]
        0.5714285714285715
    """
    words, wanted = (_stems(of) for of in (text, reference))
    if not words or not wanted:
        return dict.fromkeys(("rouge1_recall", "rougeL_f1", "rougeL_recall"), 0.0)
    shared, common = sum((Counter(words) & Counter(wanted)).values()), _common(words, wanted)
    precision, recall = common / len(words), common / len(wanted)
    f1 = 2 * precision * recall / (precision + recall) if common else 0.0
    return {"rouge1_recall": shared / len(wanted), "rougeL_f1": f1, "rougeL_recall": recall}


def _common(words: Sequence[str], wanted: Sequence[str]) -> int:
    """The length of the longest sequence that both have in the same order."""
    row = [0] * (len(words) + 1)
    for word in wanted:
        above, row = row, [0]
        for place, other in enumerate(words):
            row.append(above[place] + 1 if other == word else max(row[place], above[place + 1]))
    return row[-1]


def _stems(text: str) -> list[str]:
    require("text", purpose="ROUGE", modules=("nltk",))
    from nltk.stem.porter import PorterStemmer

    stem = PorterStemmer().stem
    return [stem(word) if len(word) > 3 else word for word in re.findall(r"[a-z0-9]+", text.lower())]
