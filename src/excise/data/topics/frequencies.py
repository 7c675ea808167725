"""Frequencies of words in many languages, by wordfreq: the one door to it.

wordfreq asks for packages of its own where it is to cut Japanese, Korean or Chinese into words; here nothing is cut,
so that a word is looked up as it is. A language that it lacks has the frequencies of its nearest relative, or none.
"""

from functools import cache
from math import log10

NUM_STOP_WORDS = 100
# As far as wordfreq goes itself.
MOST_DISTANCE = 60
# Words as frequent as once in a billion.
ZIPF = 9.0


@cache
def counted_languages() -> tuple[str, ...]:
    """Those that wordfreq has; none without the extra `text`, which masking goes without."""
    try:
        from wordfreq import available_languages
    except ImportError:
        return ()
    return tuple(sorted(available_languages("small")))


@cache
def stop_words(language: str) -> frozenset[str]:
    """The hundred most frequent words of a language, in lower case; none where wordfreq is not there or lacks it.

    >>> sorted(stop_words("fr") & {"le", "les", "eau"})
    ['le', 'les']
    """
    if language not in counted_languages():
        return frozenset()
    from wordfreq import top_n_list

    return frozenset(word for word in top_n_list(language, NUM_STOP_WORDS, wordlist="small") if not word.isdigit())


def frequent_words(language: str, count: int) -> list[str]:
    """The most frequent words of a language, or of its nearest relative; none where there is none.

    >>> frequent_words("xx", 3), frequent_words("ja", 1)
    ([], ['の'])
    """
    code = _nearest(language)
    if not code:
        return []
    from wordfreq import top_n_list

    return top_n_list(code, count)


def zipf(word: str, language: str) -> float:
    """How frequent a word is: the logarithm of its uses in a billion words; 0 of one that is not known.

    >>> zipf("book", "en") > 5, zipf("本", "ja") > 5, zipf("book", "xx")
    (True, True, 0.0)
    """
    code = _nearest(language)
    if not code:
        return 0.0
    from wordfreq import get_frequency_dict, zipf_frequency

    try:
        return zipf_frequency(word, code)
    except ImportError:  # MeCab or jieba, to cut it into words
        share = get_frequency_dict(code).get(word, 0.0)
        return log10(share) + ZIPF if share else 0.0


@cache
def _nearest(language: str) -> str:
    """The code of a language, or of one that is near, as wordfreq has it; empty if there is none."""
    if language in counted_languages() or not counted_languages():
        return language if counted_languages() else ""
    from langcodes import closest_match

    best, _ = closest_match(language, list(counted_languages()), max_distance=MOST_DISTANCE)
    return "" if best == "und" else best


@cache
def language_code(language: str) -> str:
    """The code by which a language is known here (*eng*: en); empty if no language has it.

    >>> language_code("fra"), language_code("xx")
    ('fr', '')
    """
    try:
        from langcodes import Language
    except ImportError:  # without the extra `text`
        return language.lower()
    own = Language.get(language)
    return (own.language or "") if own.is_valid() else ""
