"""Wording of a topic: its forms, and which occurrences of them in a text are the topic's and which another word's."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from excise.data.topics.corpus import tokens
from excise.data.topics.grammar import possible_tags
from excise.data.topics.matching import Matcher, Span
from excise.data.topics.spellings import WHOLE_NUMBER, cased_key, dotted, in_longer_number, key

Case = Literal["any", "name", "written", "lower", "compound", "reading"]
Verdict = Literal["topic", "other", "compound", "capital", "reading", "longer"]

# Why a text is in no set, as its count is called.
ASIDE: Mapping[Verdict, str] = {
    "compound": "set aside (in compounds)",
    "capital": "set aside (a capital that does not tell)",
    "reading": "set aside (another reading)",
    "longer": "set aside (in longer names or numbers)",
}
MIDDLE = re.compile(r"(?:[\w,;]|\b(?:Mr|Mrs|Ms|Dr|Prof|St)\.)\s+$")
WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Form:
    """A form that is looked for, and what tells its occurrences from those of another word.

    Attributes:
        spelling: as it is written.
        case: ``any``; ``name``: as written or in capitals; ``written``: as written where that tells, and open where a
            sentence starts or all is in capitals; ``lower``: in small letters, and open where a sentence starts;
            ``compound`` and ``reading``: in any case, and never the topic's (*Trinkwasser*): its text is in no set.
        open: whether an occurrence that nothing decides is the topic's; if not, its text is in no set.
        tags: the Penn Treebank tags that the form has as the topic; none if all that is written so is the topic.
        rivals: those that it has as a form of another word.
        longer: longer names that end with it and mean something else (New York, for York).
    """

    spelling: str
    case: Case = "any"
    open: bool = True
    tags: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    longer: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("tags", "rivals", "longer"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def to_dict(self) -> dict[str, Any]:
        """The form as JSON values, without what is as usual."""
        return {name: value for name, value in asdict(self).items() if value not in ((), "any") or name == "spelling"}


class TopicMatcher(Matcher):
    """Finds the forms of a topic, and tells which occurrences are the topic's.

    Args:
        forms: of all words of the topic.
        apart: patterns of what holds the topic and has no span (*gave it up*): a text with it is in no set.
        hyphened: as in `Matcher`.

    >>> matcher = TopicMatcher([Form("US", "written")])
    >>> matcher.spans("Tell us of the US."), matcher.touches("Tell us.")
    ([(15, 17)], False)
    """

    def __init__(self, forms: Iterable[Form], apart: Sequence[str] = (), hyphened: Iterable[str] = ()) -> None:
        self.forms = tuple(forms)
        names, others = (
            [spelling for form in self.forms if (form.case == "name") is named for spelling in _spellings(form)]
            for named in (True, False)
        )
        super().__init__(others, names, hyphened)
        self._by_key: dict[str, list[Form]] = {}
        for form in self.forms:
            self._by_key.setdefault(key(form.spelling), []).append(form)
        self._plain = all(
            form.case in ("any", "name") and not (form.tags or form.longer or WHOLE_NUMBER.fullmatch(form.spelling))
            for form in self.forms
        )
        longer = [name for form in self.forms for name in form.longer]
        self._longer = Matcher(names=longer) if longer else None
        self._apart = re.compile("|".join(apart)) if apart else None

    def spans(self, text: str) -> list[Span]:
        """[start, end) of each occurrence that is a word of its own and the topic's."""
        spans = super().spans(text)
        return spans if self._plain else [span for span in spans if self.verdict(text, span) == "topic"]

    def touches(self, text: str) -> bool:
        """Whether the topic occurs or may occur: in compounds, and where nothing decides, included."""
        if self._plain:
            hit = super().touches(text)
        else:
            hit = any(self.verdict(text, span) != "other" for span in self.hits(text))
        return hit or self.in_parts(text)

    @property
    def is_apart(self) -> bool:
        """Whether the topic may occur with other words between its parts, and so without any of its forms."""
        return self._apart is not None

    def in_parts(self, text: str) -> bool:
        """Whether the topic occurs with other words between its parts."""
        return self._apart is not None and self._apart.search(text) is not None

    def aside(self, text: str) -> Verdict | None:
        """Why a text that the topic occurs in is in no set; None if it is the topic's."""
        if self._plain:
            compound = self.in_compound(text)
        else:
            alone = set(super().spans(text))
            compound = any(self.verdict(text, span) != "other" for span in self.hits(text) if span not in alone)
        if compound:
            return "compound"
        if self.in_parts(text):
            return "reading"
        if self._plain:
            return None
        verdicts = [self.verdict(text, span) for span in self.hits(text)]
        return next((one for one in verdicts if one in ASIDE), None)

    def forms_in(self, text: str) -> list[str]:
        """The forms that stand at the topic's spans."""
        return [self._by_key[key(text[start:end])][0].spelling for start, end in self.spans(text)]

    def verdict(self, text: str, span: Span) -> Verdict:
        """Whose an occurrence is: the topic's, another word's, or open and why."""
        forms = self._by_key.get(key(text[slice(*span)]), [Form("")])
        verdicts = [self._of(form, text, span) for form in forms]
        return "topic" if "topic" in verdicts else next((one for one in verdicts if one != "other"), "other")

    def _of(self, form: Form, text: str, span: Span) -> Verdict:
        if form.case in ("compound", "reading"):
            return form.case
        hit = text[slice(*span)]
        if WHOLE_NUMBER.fullmatch(form.spelling) and in_longer_number(text, *span):
            return "longer"
        told = told_by_case(form, text, span)
        if told is False:
            return "other"
        longer = self._longer.spans(text) if self._longer is not None and form.longer else ()
        if any(start < span[1] and span[0] < end for start, end in longer):
            return "longer"
        if told is None and not form.open:
            return "capital"
        if not form.tags:
            return "topic"
        tags = possible_tags(hit, tokens(text[: span[0]]), tokens(text[span[1] :]))
        own, others = not tags.isdisjoint(form.tags), not tags.isdisjoint(form.rivals)
        return "topic" if own and (form.open or not others) else "reading"


def _spellings(form: Form) -> list[str]:
    return [form.spelling, *filter(None, [dotted(form.spelling)])]


def told_by_case(form: Form, text: str, span: Span) -> bool | None:
    """Whether the capitals of an occurrence say that it is the form; None where they do not tell."""
    if form.case in ("any", "name"):
        return True
    hit = text[slice(*span)]
    written, given = cased_key(hit), cased_key(form.spelling)
    first_only = hit[:1].isupper() and hit[1:] == hit[1:].lower()
    if form.case == "lower":
        if written == given:
            return True
        several = " " in form.spelling or "-" in form.spelling
        return None if several or (first_only and starts(text, span)) or shouted(text, span) else False
    if written == given:
        if hit.isupper() and len(hit) > 1:
            return None if shouted(text, span) else True
        return None if first_only and starts(text, span) else True
    if hit == hit.lower():
        return None if text == text.lower() else False
    return None if hit.isupper() or not first_only else False


def starts(text: str, span: Span) -> bool:
    """Whether an occurrence begins a sentence, or may: it follows no word, comma or semicolon."""
    return MIDDLE.search(text[: span[0]]) is None


def shouted(text: str, span: Span) -> bool:
    """Whether an occurrence stands among capitals: a word of two letters or more beside it is in capitals, too."""
    before, after = WORD.findall(text[: span[0]])[-1:], WORD.findall(text[span[1] :])[:1]
    return any(word.isupper() for word in before + after)


def plain_forms(spellings: Iterable[str]) -> tuple[Form, ...]:
    """Forms of which nothing but the spelling is known: with a capital a name, without one a word in any case."""
    return tuple(Form(spelling, "name" if spelling[:1].isupper() else "any") for spelling in spellings)
