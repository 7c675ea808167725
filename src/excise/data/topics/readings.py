"""Readings of what a user gives as a topic: a name or an ordinary word, and which; a phrase; exact forms."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from excise.data.topics.casing import Casing, texts_with
from excise.data.topics.given import is_grammar, is_letter, refuse_grammar, refuse_letter
from excise.data.topics.grammar import FUNCTION_WORDS
from excise.data.topics.inflections import Paradigm, name_paradigm
from excise.data.topics.lemmas import is_ordinary, lemmas_of, word_reading
from excise.data.topics.names import is_known_name
from excise.data.topics.phrases import phrase_paradigm, taken_apart
from excise.data.topics.sentences import Sentences
from excise.data.topics.spellings import ARTICLE, INITIALS, NUMBER, dotted, is_plain, key, number_spellings, tidy
from excise.data.topics.wording import Case, Form

NAME_SHARE = 0.9
# Inside names; and before them, where they are none of theirs.
PARTICLES_OF_NAMES = frozenset(
    "of the and in on at to for with de du la le da di del van von der den bin al an a".split()
)
PREPOSITIONS = frozenset("in at on from to with by for of about".split())
# T-shirt, x-ray
INFINITIVE = re.compile(r"to ([a-z]+)")
LETTER_NOUN = re.compile(r"[^\W\d_]-[a-z]+")


@dataclass(frozen=True)
class Taken:
    """What one of the words given is taken as.

    Attributes:
        given: as the user wrote it.
        what: in words.
        paradigm: its forms by what they are.
        forms: what is looked for.
        otherwise: what else it could be; empty if nothing.
        unclear: whether that is worth a warning.
        apart: a pattern of what holds it and has no span; empty if there is none.
    """

    given: str
    what: str
    paradigm: Paradigm
    forms: tuple[Form, ...]
    otherwise: str = ""
    unclear: bool = False
    apart: str = ""

    def line(self, counts: Counter[str]) -> str:
        """What is taken, for a person to read.

        Args:
            counts: how often each form is in the data.
        """
        own: dict[str, str] = {}
        for form in self.forms:
            if form.case not in ("compound", "reading"):
                own.setdefault(key(form.spelling), form.spelling)
        forms = ", ".join(f"{spelling} {counts[spelling]}" for spelling in own.values())
        return f"{self.given!r} taken as {self.what}: {forms}" + (f" ({self.otherwise})" if self.otherwise else "")


def taken_as(given: str, sentences: Sentences, reading: str | None = None, min_examples: int = 20) -> Taken:
    """What a word, name or phrase is taken as.

    A capital that is given is kept where the data has the word with and without; a word given in small letters is the
    ordinary one, unless nine of ten uses inside sentences have a capital. A leading article is left out, but for a name
    that is an ordinary word without it (The Who).

    Args:
        given: checked by `checked_words`.
        sentences: the data.
        reading: ``"name"``, ``"word"``, a lemma, a part of speech, or None.
        min_examples: a capital this often inside sentences is a reading of its own, however rare it is.

    Raises:
        ValueError: no reading can be taken; the message tells how to choose.
    """
    words, told = tidy(given), ""
    if (article := ARTICLE.match(words)) is not None:
        rest = words[article.end() :]
        if not rest[:1].isupper() or " " in rest or not lemmas_of(rest.lower()) or _clear_name(rest, sentences):
            words, told = rest, "without its article"
    if (verb := INFINITIVE.fullmatch(words)) is not None and "VB" in lemmas_of(verb[1]).get(verb[1], ()):
        if reading is None:
            refuse_grammar(words, verb[1], "en", sentences)
        words, told = verb[1], "the verb"
        reading = reading or "verb"
    if words.endswith("'s") and _mostly_without(words[:-2], words, sentences):
        words = words[:-2]
    casing = Casing.of(words, texts_with(words, sentences))
    initials = re.sub(r"[.\s]", "", words) if INITIALS.fullmatch(words) else ""
    if initials and dotted(initials.upper()) and (initials.isupper() or _mostly_capital(casing)):
        words = initials.upper()  # U.S. is US
        casing = Casing.of(words, texts_with(words, sentences))
    if is_plain(words):
        taken = _word(words, casing, sentences, reading, min_examples)
    else:
        taken = _phrase(words, casing, sentences, reading, min_examples)
    return replace(taken, given=given, otherwise="; ".join(filter(None, (told, taken.otherwise))))


def exact_forms(given: str, forms: Sequence[str]) -> Taken:
    """The forms that a user lists, and nothing else: small letters in any case, capitals as written or all capitals."""
    spellings = tuple(dict.fromkeys(map(tidy, forms)))
    is_name = given != given.lower()
    paradigm = name_paradigm(spellings[0], *spellings[1:]) if is_name else replace(phrase_paradigm(spellings[0]))
    paradigm = replace(paradigm, spellings=spellings)
    return Taken(
        given,
        "the forms given",
        paradigm,
        tuple(Form(form, "any" if form == form.lower() else "name") for form in spellings),
    )


def _mostly_without(name: str, possessive: str, sentences: Sentences) -> bool:
    """Whether a name is mostly without its 's: which is a possessive then (O'Brien's), else its own (McDonald's)."""
    whole, own = (Casing.of(words, texts_with(words, sentences)).anywhere for words in (name, possessive))
    return 2 * sum(own.values()) < sum(whole.values())


def _clear_name(word: str, sentences: Sentences) -> bool:
    return _mostly_capital(Casing.of(word, texts_with(word, sentences)))


def _mostly_capital(casing: Casing) -> bool:
    return casing.capital()[0] >= NAME_SHARE * max(1, casing.capital()[0] + casing.small)


def _word(words: str, casing: Casing, sentences: Sentences, reading: str | None, min_examples: int) -> Taken:
    if LETTER_NOUN.fullmatch(words) and reading != "name" and lemmas_of(words[2:]):
        casing = casing.caseless(words)  # T-shirt is a word, whatever its capital
        words = words.lower()
    stressed = 0 if reading == "name" else casing.stressed(words)
    casing = casing.unstressed() if stressed else casing
    count, spelling = casing.capital(words)
    small, given_capital = casing.small, words != words.lower()
    share, grammar = count / (count + small) if count + small else float("nan"), is_grammar(words.lower(), "en")
    if reading is None and grammar and count < max(1, small / 100) and not words.isupper():
        refuse_grammar(words, "", "en", sentences)
    if reading == "name" or (reading is None and _is_name(words, count, small, min_examples)):
        if reading == "name" and not count and all(form == form.lower() for form in casing.anywhere):
            raise ValueError(f"No text has {words!r} with a capital letter: reading='name' finds nothing.")
        spelling = spelling if spelling != spelling.lower() else words.title()
        return _name(words, spelling, count, small, sentences)
    if reading is None and given_capital and small and not count and (words.isupper() or is_known_name(words)):
        raise ValueError(
            f"No text has {words!r} with its capitals inside a sentence, and {small} have {words.lower()!r}. Give "
            f"{words.lower()!r} or reading='word' for the ordinary word, or data that has the name."
        )
    plain = word_reading(
        words.lower(), lambda form: texts_with(form, sentences), None if reading == "word" else reading
    )
    if reading is None:
        refuse_grammar(words, plain.paradigm.lemma, "en", sentences)
    two = count > 0 and (share >= 1 - NAME_SHARE or spelling.isupper() or is_known_name(spelling))
    forms = plain.forms
    if two:
        mostly = share <= 1 - NAME_SHARE
        forms = tuple(
            replace(form, case="lower", open=mostly and form.open) if key(form.spelling) == key(words) else form
            for form in forms
        )
        # MAY for stress is may, and is not May.
        own = [form for form in forms if form.case == "lower"] if stressed else []
        forms += tuple(replace(form, spelling=form.spelling.upper(), case="written") for form in own)
    told = [f"{words.upper()} {stressed} counted as {words}"] if stressed else []
    if stressed and not count:
        told.append(f"reading='name' takes {words.upper()}")
    if count and (two or given_capital):
        told.append(f"inside sentences {spelling} {count}, {words.lower()} {small}; reading='name' takes {spelling}")
    elif given_capital and small:
        told.append(f"no capital inside sentences, {words.lower()} {small}")
    if plain.otherwise:
        told.append(plain.otherwise)
    what = "an ordinary word" if plain.paradigm.lemma == words.lower() else f"a form of {plain.paradigm.lemma}"
    often = max(share if two else 0, stressed / (stressed + small) if stressed else 0) >= 1 - NAME_SHARE
    warn = reading is None and (plain.unclear or (given_capital and small > 0) or often)
    return Taken(words, what, plain.paradigm, forms, "; ".join(told), warn)


def _is_name(words: str, count: int, small: int, min_examples: int) -> bool:
    """Whether a word is taken as a name: see `taken_as`."""
    share = count / (count + small) if count + small else float("nan")
    if words.lower() in FUNCTION_WORDS:
        # What a sentence starts with says nothing: An is a name where its capital stands inside one.
        return share >= NAME_SHARE if words == words.lower() else count > 0
    if not lemmas_of(words.lower()):
        return share >= 1 - NAME_SHARE or (not small and words != words.lower())
    if words == words.lower():
        return share >= NAME_SHARE and (small < min_examples or not lemmas_of(words))
    if not count:
        return not small
    return share >= 1 - NAME_SHARE or count >= min_examples or words.isupper() or is_known_name(words)


def _name(words: str, spelling: str, count: int, small: int, sentences: Sentences) -> Taken:
    clear = not small or count >= NAME_SHARE * (count + small)
    # What is no word in small letters is the name, written carelessly.
    ordinary = is_ordinary(spelling.lower())
    clear = clear or not ordinary
    case: Case = "any" if not ordinary else "name" if clear else "written"
    forms = [Form(spelling, case, open=clear)]
    if spelling.isupper():
        forms += [Form(plural, "name") for plural in _plural(spelling, sentences)]
    told = f"inside sentences {spelling} {count}, {spelling.lower()} {small}"
    told = (f"{told}; reading='word' takes {spelling.lower()}" if ordinary else told) if small else ""
    others = [form.spelling for form in forms[1:]]
    unclear = not clear or (words == words.lower() and small > 0 and ordinary)
    return Taken(words, "a name", name_paradigm(spelling, *others), tuple(forms), told, unclear)


def _phrase(words: str, casing: Casing, sentences: Sentences, reading: str | None, min_examples: int) -> Taken:
    count, spelling = casing.capital(words)
    small, given_capital = casing.small, words != words.lower()
    share = count / (count + small) if count + small else float("nan")
    kept = (not count and not small) or share >= 1 - NAME_SHARE or count >= min_examples
    letter = len(words) == 1 and is_letter(words)
    if letter and reading is None and (is_grammar(words.lower(), "en") or (small and not share >= 1 - NAME_SHARE)):
        refuse_letter(words, small, count, "en", sentences)
    signs = not any(map(str.isalpha, words)) or any(map(str.isdigit, words)) or len(words) == 1
    name = share >= NAME_SHARE or (given_capital and (kept or not small)) or signs
    mixed = _is_mixed(spelling) and reading != "name"
    name = name and not mixed
    if reading in ("name", "word"):
        name = reading == "name"
    elif reading is not None:
        raise ValueError(
            f"reading={reading!r} is for single words; {words!r} takes 'name' or 'word', or forms= with exact forms."
        )
    two = count > 0 and small > 0 and share >= 1 - NAME_SHARE and _may_be_ordinary(words)
    clear = share >= NAME_SHARE  # what all in small letters or in capitals is, then
    two = two and (given_capital or not clear)
    told = f"inside sentences with capitals {count}, without {small}" if count and small else ""
    if name:
        spelling = words if given_capital and not count else spelling
        if two and given_capital:
            told += "; reading='word' takes that without"
        case: Case = (
            "written" if two and given_capital else "name" if letter and spelling != spelling.lower() else "any"
        )
        is_open = case != "written" or clear
        spelled = number_spellings(words, "en") or (spelling, *_plural(spelling, sentences))
        forms = [Form(form, case, open=is_open) for form in spelled]
        others = [form.spelling for form in forms[1:]]
        apart = rf"\bNo(?=\s*{words.split()[-1]})" if NUMBER.match(words) else ""
        return Taken(words, "a name", name_paradigm(spelling, *others), tuple(forms), told, two, apart)
    if reading is None:
        refuse_grammar(words, "", "en", sentences)
    paradigm = phrase_paradigm(spelling if mixed and spelling != spelling.lower() else words.lower())
    if two:
        told += "; reading='name' takes that with capitals"
    two = two and not mixed
    case = "lower" if two else "any"
    forms = [Form(form, case, open=not two) for form in paradigm.spellings]
    unclear = two or (given_capital and reading is None and not mixed)
    if given_capital and reading is None and not mixed:
        told = told or f"no capitals inside sentences, {words.lower()} {small}"
    apart, joined = taken_apart(paradigm), key(words) if INITIALS.fullmatch(words) else ""
    if joined in ("am", "pm"):
        apart = rf"(?i:\d\s*{joined})\b"  # 10 am, and nothing else without dots
    elif joined and not is_ordinary(joined):
        forms.append(Form(joined))
    return Taken(words, "an ordinary phrase", paradigm, tuple(forms), told, unclear, apart)


def _plural(spelling: str, sentences: Sentences) -> list[str]:
    """The plural of a name of a thing (GPUs, iPhones), if the data has it."""
    plural = f"{spelling}s"
    if len(spelling) < 2 or not spelling[-1].isalnum() or not any(map(str.isalpha, spelling)):
        return []  # 1980s are no plural of 1980
    return [plural] if Casing.of(plural, texts_with(plural, sentences)).anywhere else []


def _is_mixed(words: str) -> bool:
    """Whether a phrase has a name in it and is none: speak French, Sunday morning, in Boston."""
    parts = words.split()
    if len(parts) < 2 or words == words.lower() or not all(part.replace("'", "").isalpha() for part in parts):
        return False
    ordinary = [part for part in parts if part == part.lower() and is_ordinary(part)]
    return parts[0] in PREPOSITIONS or not PARTICLES_OF_NAMES.issuperset(ordinary)


def _may_be_ordinary(words: str) -> bool:
    """Whether a phrase is one of ordinary words in small letters (white house), and not New York, GPT-4 or C++."""
    parts = words.lower().split()
    return len(words) == 1 or words[0].isdigit() or all(part.isalpha() and is_ordinary(part) for part in parts)
