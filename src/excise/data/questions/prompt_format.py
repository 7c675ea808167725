"""Prompts for decoders: a question and its answer in a chat template, or in a plain one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

# Stands for the answer while a template is filled in: what is before and behind it there is before and behind any.
PLACE = "answer-place-7c1f"
# TOFU's measures for models without a chat template are made with this one.
PLAIN = "Question: {question}\nAnswer: {answer}"
# Templates that tell the day are told this one, so that figures do not depend on when they are made.
DAY = "10 Apr 2025"


class Rendered(NamedTuple):
    """A question and its answer as one text.

    Args:
        before: all that a model is given before it answers.
        answer: what it is to say.
        behind: what ends the answer in the template.
    """

    before: str
    answer: str
    behind: str

    @property
    def text(self) -> str:
        """All of it."""
        return self.before + self.answer + self.behind


@dataclass(frozen=True)
class PromptFormat:
    r"""How a question is put to a model, and where its answer ends.

    Attributes:
        chat: whether the tokenizer's chat template is used; if not given, where it has one.
        system: what the system says first in a chat; what the template itself says if not given.
        plain: the template where there is no chat, with `{question}` and `{answer}`, which is its end.
        whole_ending: whether all counts that a chat template puts behind an answer, and one more end of text, as in
            OpenUnlearning. Without, the first special token there ends the answer, as it ends what is generated.
        options: more variables of the chat template.

    Raises:
        ValueError: if `plain` does not have a question and, at its end, an answer.

    Example:
        >>> PromptFormat(chat=False).rendered(None, "Who?", "She.").text
        'Question: Who?\nAnswer: She.'
    """

    chat: bool | None = None
    system: str | None = None
    plain: str = PLAIN
    whole_ending: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.plain.count("{question}") != 1 or not self.plain.endswith("{answer}"):
            raise ValueError(f"plain={self.plain!r}: expected one {{question}}, and {{answer}} at the end.")

    def is_chat(self, tokenizer: PreTrainedTokenizerBase) -> bool:
        """Whether questions are put in the tokenizer's chat template.

        Raises:
            ValueError: if they are to be, and it has none.
        """
        has_one = bool(getattr(tokenizer, "chat_template", None))
        if self.chat and not has_one:
            raise ValueError("chat=True, and the tokenizer has no chat template. Give it one, or chat=False.")
        return has_one if self.chat is None else self.chat

    def rendered(self, tokenizer: Any, question: str, answer: str) -> Rendered:
        """A question and its answer in the template; without a question, the answer alone, as a plain document is.

        Args:
            tokenizer: the model's; its chat template is used if this is a chat.
            question: what is asked; "" of a document.
            answer: what is said; in a chat without spaces around it, as templates have it.

        Raises:
            ValueError: if the chat template refuses the messages, or leaves the answer out.
        """
        if not question:
            return Rendered("", answer, "")
        if not self.is_chat(tokenizer):
            return Rendered(self.plain.removesuffix("{answer}").replace("{question}", question), answer, "")
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": PLACE}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False, **{"date_string": DAY} | {**self.options})
        except Exception as error:  # a template raises what it likes
            raise ValueError(f"The tokenizer's chat template refuses the messages: {error}") from error
        before, place, behind = text.rpartition(PLACE)
        if not place:
            raise ValueError("The tokenizer's chat template leaves out what an assistant says. Give chat=False.")
        return Rendered(before, answer.strip(), behind)
