"""Question sets as attacks see them: what an attacker holds, what is asked afterwards, and answers' probabilities."""

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.data.forget_sets import dataset_digest
from excise.data.inputs import tokenizer_of
from excise.data.questions import PromptFormat, QuestionSets, answer_tokens, question_rows
from excise.data.questions.answer_tokens import MOST_READ_AT_ONCE, AnswerTokens
from excise.data.questions.question_rows import ANSWER, PARAPHRASED_ANSWER, PARAPHRASED_QUESTION, QUESTION
from excise.evaluation.metrics.answers import mean_of, probability
from excise.evaluation.questions.answer_scores import answer_scores, check_decoder
from excise.models.activations import computing
from excise.storage.digests import digest
from excise.storage.expected import described


@dataclass(frozen=True)
class AskedSets(AttackSets):
    """Questions that a decoder was to forget, as attacks see them. What comes back is the probability of answers.

    It is TOFU's measure, as `evaluate_questions` has it: the geometric mean of the probabilities of an answer's tokens,
    given its question. A case is a row, and has a value from 0 to 1 where a word comes out or does not.

    No row is both an attacker's and asked afterwards. Held-out rows are asked, and the attacker has the target. Where
    the held-out rows are those of the target in other words, half of the target is the attacker's, and the other half
    is asked, as it was learnt.

    Attributes:
        topic: question sets; `target` becomes what the attacker has, and `heldout` what is asked.
        words: the names, which are guessed.
        most: the most rows that are asked, drawn by the seed, so that an attack costs a bounded number of passes.
        elsewhere: the most rows that are to stay, by which it is told whether a model still does its work.
        holdout: questions and answers like these that no model has seen, as in `question_rows`, for membership.
    """

    topic: QuestionSets  # type: ignore[assignment]  # of `AttackSets` they are others
    most: int = 40
    elsewhere: int = 20
    holdout: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.topic, QuestionSets):
            raise ValueError(f"The topic is {described(self.topic)}; expected sets of `question_sets`.")
        if self.most < 1 or self.elsewhere < 1:
            raise ValueError(f"most={self.most}, elsewhere={self.elsewhere}: expected at least one row of each.")
        own: dict[str, Any] = {"batch_size": min(self.batch_size, MOST_READ_AT_ONCE), "_given": self.topic}
        own |= {"words": tuple(self.words or self.topic.names)}
        own |= {"holdout": None if self.holdout is None else self._that_count(question_rows(self.holdout), "holdout")}
        target, control, asked = self._divided()
        retain = self.topic.retain if self.topic.held_out_by == "paraphrases" else self.topic.heldout_retain
        kept = self._that_count(retain.select(range(min(len(retain), self.elsewhere))), "to stay")
        own |= {"topic": replace(self.topic, target=target, control=control, heldout=asked, heldout_retain=kept)}
        for name, value in own.items():
            object.__setattr__(self, name, value)

    def _divided(self) -> tuple[Dataset, Dataset, Dataset]:
        """What the attacker has, its control, and what is asked."""
        target, control, asked = self.topic.target, self.topic.control, self.topic.heldout
        rng = np.random.default_rng(self.seed)
        if self.topic.held_out_by == "paraphrases":
            order = rng.permutation(len(target)).tolist()
            half = len(order) - len(order) // 2
            own, others = sorted(order[half:]), sorted(order[:half])
            control = control.select(own) if self.topic.paired else control
            target, asked = target.select(own), target.select(others)
        chosen = sorted(rng.permutation(len(asked))[: self.most].tolist())
        return target, control, self._that_count(asked.select(chosen), "asked")

    def _that_count(self, rows: Dataset, what: str) -> Dataset:
        """Rows of whose answers the model reads anything.

        Raises:
            ValueError: if there are none.
        """
        tokens = self._tokens(rows)
        kept = [row for row in range(len(rows)) if tokens.counts(row)]
        if not kept:
            raise ValueError(f"There are no rows {what!r} with an answer to read. Give some.")
        return rows.select(kept)

    def _tokens(self, rows: Dataset, form: PromptFormat | None = None) -> AnswerTokens:
        return answer_tokens(tokenizer_of(self.processor), rows[QUESTION][:], rows[ANSWER][:], form or self.topic.form)

    @property
    def of_texts(self) -> bool:
        """As texts, these are read."""
        return True

    @property
    def of_questions(self) -> bool:
        """They are."""
        return True

    @property
    def measure(self) -> str:
        """The measure of what comes back."""
        return "probability"

    @property
    def whole(self) -> QuestionSets:
        """The sets that were given."""
        return self._given  # type: ignore[attr-defined]

    @property
    def data(self) -> dict[str, str]:
        """Digests of the sets that were given."""
        return self.whole.digest()

    @cached_property
    def cases(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """The rows that are asked, each with its question."""
        return tuple((row, (question,)) for row, question in enumerate(self.topic.heldout[QUESTION][:]))

    @cached_property
    def _known(self) -> "WeakKeyDictionary[Any, tuple[str, np.ndarray]]":
        return WeakKeyDictionary()

    def keep(self, *models: PreTrainedModel | None) -> None:
        """Has the answers of models that stay as they are read once for all attacks; one that changes is read anew."""
        for model in models:
            if model is not None:
                self._known.setdefault(model, ("", np.zeros(0)))

    def hits(self, model: PreTrainedModel, cut: bool = False) -> np.ndarray:
        """The probability that a model gives the answer of each case, float64 `(cases,)`.

        Args:
            model: any decoder that the tokenizer goes with; left as it was.
            cut: as in `AttackSets`; of questions there is no word to cut out.

        Raises:
            ValueError: if it is asked for with a word cut out, or as `answer_scores`.
        """
        if cut:
            raise ValueError("Questions have no word that could be cut out. Give a model that never saw them.")
        if model not in self._known:
            return self.probabilities(model, self.topic.heldout)
        now, (before, values) = digest(computing(model), {}), self._known[model]
        if now != before:
            values = self.probabilities(model, self.topic.heldout)
            self._known[model] = now, values
        return values

    def probabilities(self, model: PreTrainedModel, rows: Dataset, form: PromptFormat | None = None) -> np.ndarray:
        """The probability that a model gives the answer of each row, float64 `(rows,)`; NaN where it is cut off.

        Args:
            model: any decoder; left as it was.
            rows: questions and answers.
            form: how they are put; that of the sets if not given.
        """
        check_decoder(model)
        return probability(answer_scores(model, self._tokens(rows, form), self.batch_size).losses)

    def quality(self, model: PreTrainedModel, most: int = 200) -> float:
        """The mean probability of answers that are to stay, of as many rows at most."""
        rows = self.topic.heldout_retain
        return mean_of(self.probabilities(model, rows.select(range(min(most, len(rows))))))

    def training_batch(self, rows: Dataset, device: torch.device) -> dict[str, Tensor]:
        """Questions with answers as a decoder is trained on them: `labels` are -100 but at the answers."""
        tokens = self._tokens(rows)
        batch = tokens.batch([row for row in range(len(rows)) if tokens.counts(row)])
        return {name: tensor.to(device) for name, tensor in batch.items()}

    def membership_rows(self, has_null: bool) -> tuple[Dataset, Dataset] | str:
        """Rows that were trained on and others that were not; or why there are none, in a sentence.

        The others are the `holdout`; without one, the same rows in other words, which differ in themselves, so that a
        model is needed that never saw either.

        Args:
            has_null: whether there is such a model.
        """
        members = self._that_count(self.whole.questions(forget=True), "to be forgotten")
        if self.holdout is not None:
            return members, self.holdout
        if PARAPHRASED_QUESTION not in members.column_names:
            return "There are no questions like these that no model has seen. Give some as `holdout`."
        if not has_null:
            return (
                "There are no questions like these that no model has seen, and no model that never saw these, by which "
                "their paraphrases could be judged. Give a `holdout`, or `never_saw`."
            )
        answers = members[PARAPHRASED_ANSWER if PARAPHRASED_ANSWER in members.column_names else ANSWER][:]
        others = Dataset.from_dict({QUESTION: members[PARAPHRASED_QUESTION][:], ANSWER: answers})
        return members, self._that_count(others, "in other words")

    def first(self, most: int) -> "AskedSets":
        """Sets of which so many rows are asked."""
        chosen = copy.copy(self)
        vars(chosen).pop("cases", None)
        vars(chosen)["_known"] = WeakKeyDictionary(
            {model: (of, values[:most]) for model, (of, values) in self._known.items()}
        )
        asked = self.topic.heldout.select(range(min(most, len(self.topic.heldout))))
        object.__setattr__(chosen, "topic", replace(self.topic, heldout=asked))
        return chosen

    def about(self) -> dict[str, Any]:
        """What decides an attack's result besides models and settings, as JSON values."""
        own: dict[str, Any] = {"most": self.most, "elsewhere": self.elsewhere}
        own |= {"holdout": None if self.holdout is None else dataset_digest(self.holdout)}
        return super().about() | own
