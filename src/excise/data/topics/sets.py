"""Topic sets: the sentences of a topic, their control, and what is to stay."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset

from excise.data.forget_sets import ForgetSets, PrivateLabel
from excise.data.topics.languages import HYPHENED
from excise.data.topics.spellings import variants
from excise.data.topics.wording import Form, TopicMatcher, plain_forms


@dataclass(frozen=True, repr=False)
class TopicSets(ForgetSets):
    """The sets of one topic, for selecting codes and for evaluating.

    Each is a `Dataset` with the columns ``text`` (str), ``spans`` ([start, end) character pairs of the topic word, or
    of its replacement; none in the retain sets) and, where there are references, ``reference`` (str).

    Attributes:
        words: the words asked for.
        inflections: every form that was looked for.
        text: the name of the source column.
        reference: the name of the reference column, if any.
        seed: of sampling and replacement.
        target: D_T.
        control: row i is row i of `target` with each topic word replaced. Its references are the target's, unchanged.
        retain: D_R for selecting.
        heldout: D'_T for evaluating; no source text of the first three is in it.
        heldout_retain: D_R for evaluating.
        counts: how many rows were found, skipped and dropped on the way.
        prefix: what each text starts with, before the source text.
        private: as in `ForgetSets`.
        language: of the source texts, whose inflections these are.
        wording: the forms, and what tells their occurrences from those of other words; of older sets the inflections.
        apart: patterns of what holds the topic and has no span (*gave it up*).
        taken: what each of the words was taken as, with counts, and what else it could have been.
    """

    kind = "words"
    paired = True
    positions = "topic"
    preset = "default"

    words: tuple[str, ...]
    inflections: tuple[str, ...]
    text: str
    reference: str | None
    seed: int
    target: Dataset
    control: Dataset
    retain: Dataset
    heldout: Dataset
    heldout_retain: Dataset
    counts: Mapping[str, int] = field(default_factory=dict)
    prefix: str = ""
    private: PrivateLabel | None = None
    language: str = "en"
    wording: tuple[Form, ...] = ()
    apart: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()

    @property
    def matcher(self) -> TopicMatcher:
        """Finds the topic in other texts as it was found in these."""
        return TopicMatcher(self.wording or plain_forms(self.inflections), self.apart, HYPHENED.get(self.language, ()))

    @property
    def _own_name(self) -> str:
        """The topic in one word, or several joined by a plus sign."""
        return "+".join(self.words)

    @property
    def own_words(self) -> Iterable[str]:
        """The words asked for, and every form of them, in the ways to write them that have other words in them."""
        return tuple(dict.fromkeys(way for form in (*self.words, *self.inflections) for way in variants(form)))

    def __repr__(self) -> str:
        if self.private:
            return f"Topic {self.name!r} (private), seed {self.seed}\n  rows: {self.sizes()}"
        lines = [
            f"Topic {self.name!r} ({', '.join(self.inflections)}) in column {self.text!r}, language {self.language!r}, "
            f"seed {self.seed}",
            *(f"  {line}" for line in self.taken),
            f"  rows: {self.sizes()}",
        ]
        if self.counts:
            lines.append("  " + ", ".join(f"{key} {value}" for key, value in self.counts.items()))
        step = max(1, len(self.target) // 10)
        for row in list(range(0, len(self.target), step))[:10]:
            lines += [f"  - {self.target[row]['text']}", f"    {self.control[row]['text']}"]
        return "\n".join(lines)

    def _record(self) -> dict[str, Any]:
        return {
            "words": self.words,
            "inflections": self.inflections,
            "text": self.text,
            "reference": self.reference,
            "seed": self.seed,
            "counts": dict(self.counts),
            "prefix": self.prefix,
            "language": self.language,
            "wording": [form.to_dict() for form in self.wording],
            "apart": self.apart,
            "taken": self.taken,
        }

    @classmethod
    def _from_record(cls, record: Mapping[str, Any], sets: Mapping[str, Dataset]) -> "TopicSets":
        return cls(
            words=tuple(record["words"]),
            inflections=tuple(record["inflections"]),
            text=record["text"],
            reference=record["reference"],
            seed=record["seed"],
            counts=record["counts"],
            prefix=record.get("prefix", ""),
            language=record.get("language", "en"),
            wording=tuple(Form(**form) for form in record.get("wording", ())),
            apart=tuple(record.get("apart", ())),
            taken=tuple(record.get("taken", ())),
            **sets,
        )
