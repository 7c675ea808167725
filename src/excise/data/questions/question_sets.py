"""Question sets: the questions and answers that a decoder is to forget, their control, and what is to stay."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset, concatenate_datasets

from excise.data.forget_sets import ForgetSets, PrivateLabel
from excise.data.inputs import Positions
from excise.data.questions.name_controls import name_parts
from excise.data.questions.prompt_format import PromptFormat
from excise.storage.display import few, shortened

# Shorter parts of names, as of Al-Kuwaiti and Lee, are words of any page, too.
LEAST_LETTERS = 4


@dataclass(frozen=True, repr=False)
class QuestionSets(ForgetSets):
    """The sets of a decoder's request, for selecting codes and for evaluating.

    Each is a `Dataset` with the columns ``text`` (question and answer as the model reads them, on which codes are
    counted), ``spans`` ([start, end) character pairs of the names in it, of the whole answer where no names are given;
    none in the retain sets), ``prompt`` (what it generates from), ``reference`` (the answer), and ``question``,
    ``answer`` and what else of `question_rows` is there, which `evaluate_questions` reads.

    With names each row of the control is a row of the target in which the names are others, of as many pieces.
    Without, the control are the rows that stay, which are not paired.

    Attributes:
        title: what is forgotten, in words.
        names: the persons to be forgotten; empty where rows alone are.
        form: how questions are put to the model.
        seed: of splitting and of the other names.
        target: what codes are chosen on.
        control: what the target is held against.
        retain: what is to stay, for selecting.
        heldout: questions about the same for evaluating.
        heldout_retain: what is to stay, for evaluating.
        held_out_by: `"rows"`, other rows; or `"paraphrases"`, the same in other words.
        paired: as in `ForgetSets`.
        positions: likewise; `"topic"`, the names, where there are names.
        preset: likewise.
        counts: how many rows were found, dropped and left out on the way.
        private: as in `ForgetSets`.
    """

    kind = "questions"

    title: str
    names: tuple[str, ...]
    form: PromptFormat
    seed: int
    target: Dataset
    control: Dataset
    retain: Dataset
    heldout: Dataset
    heldout_retain: Dataset
    held_out_by: str = "rows"
    paired: bool = False
    positions: Positions = "all"
    preset: str = "class"
    counts: Mapping[str, int] = field(default_factory=dict)
    private: PrivateLabel | None = None

    @property
    def _own_name(self) -> str:
        """What is forgotten, in words."""
        return self.title

    @property
    def own_words(self) -> Iterable[str]:
        """What the sets are called, the names, and those of their parts that are no short word of some language."""
        parts = [part for part in name_parts(self.names) if len(part) >= LEAST_LETTERS]
        return tuple(dict.fromkeys((self.title, *self.names, *parts)))

    def questions(self, forget: bool) -> Dataset:
        """The rows that a benchmark asks, each once: all that are to be forgotten, or all that are to stay.

        Args:
            forget: which of the two.
        """
        chosen, held = (self.target, self.heldout) if forget else (self.retain, self.heldout_retain)
        return chosen if self.held_out_by == "paraphrases" else concatenate_datasets([chosen, held])

    def __repr__(self) -> str:
        if self.private:
            return f"Questions {self.name!r} (private), seed {self.seed}\n  rows: {self.sizes()}"
        names = f" ({few(self.names)})" if self.names else ""
        lines = [
            f"Questions {shortened(self.title)!r}{names}, seed {self.seed}",
            f"  rows: {self.sizes()}; held out: {self.held_out_by}; control "
            f"{'paired by names' if self.paired else 'not paired'}",
        ]
        if self.counts:
            lines.append("  " + ", ".join(f"{key} {value}" for key, value in self.counts.items()))
        for row in range(min(5, len(self.target))):
            lines.append(f"  - {shortened(self.target[row]['question'], 110)}")
            if self.paired:
                lines.append(f"    {shortened(self.control[row]['question'], 110)}")
        return "\n".join(lines)

    def _record(self) -> dict[str, Any]:
        form = {
            "chat": self.form.chat,
            "system": self.form.system,
            "plain": self.form.plain,
            "whole_ending": self.form.whole_ending,
            "options": dict(self.form.options),
        }
        return {
            "title": self.title,
            "names": self.names,
            "form": form,
            "seed": self.seed,
            "held_out_by": self.held_out_by,
            "paired": self.paired,
            "positions": self.positions,
            "preset": self.preset,
            "counts": dict(self.counts),
        }

    @classmethod
    def _from_record(cls, record: Mapping[str, Any], sets: Mapping[str, Dataset]) -> "QuestionSets":
        return cls(
            title=record["title"],
            names=tuple(record["names"]),
            form=PromptFormat(**record["form"]),
            seed=record["seed"],
            held_out_by=record["held_out_by"],
            paired=record["paired"],
            positions=record["positions"],
            preset=record["preset"],
            counts=record["counts"],
            **sets,
        )
