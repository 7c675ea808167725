"""Forgetting of answers by the field's own methods: a copy of a decoder, trained by name of the method."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, TrainingArguments

from excise.baselines.answers.answer_methods import answer_method
from excise.baselines.answers.answer_pairs import (
    AnswerPairs,
    AnswerRow,
    OtherAnswers,
    answer_rows,
    check_apart,
    collated,
    padding_token,
)
from excise.baselines.answers.answer_trainer import AnswerHistory, AnswerTrainer
from excise.baselines.history import BaselineRun
from excise.baselines.training import train
from excise.bottlenecks.site import is_of_bottleneck
from excise.data.questions.prompt_format import PromptFormat
from excise.storage.expected import expects
from excise.training.guard import TrainingGuard


@expects("model", tokenizer="processor", args="?args")
def forget_answers(
    model: PreTrainedModel,
    forget: Any,
    retain: Any,
    args: TrainingArguments | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase,
    method: str = "NPO",
    settings: Mapping[str, Any] | None = None,
    form: PromptFormat | None = None,
    evaluate_on: Mapping[str, Any] | None = None,
) -> BaselineRun:
    """Trains a copy of a decoder to forget answers, by a method that the field compares with.

    | Method | What is minimised of the answers to forget | Of those to keep |
    |---|---|---|
    | `"GradAscent"` | minus the loss | nothing |
    | `"GradDiff"` | minus the loss | the loss |
    | `"NPO"` | negative preference against the model as it was | the loss |
    | `"SimNPO"` | negative preference by the mean loss of a token | the loss |
    | `"IdkDPO"` | preference of not knowing | the loss |
    | `"RMU"` | distance of a layer's activations from a random vector | their distance from what they were |
    | `"UNDIAL"` | cross-entropy to the model as it was, with the logits of the answer lowered | nothing |

    An epoch is a pass through what is to be forgotten; each row comes with one to keep that is drawn anew each time.
    The weights of the last epoch are kept, as in the methods' own code. The history has the loss of an answer's tokens
    on all rows to forget (`forget`), on the first rows to keep, as many at most (`retain`), and on `evaluate_on`.

    Args:
        model: a decoder, with bottlenecks or without; it stays as it is.
        forget: what is to be forgotten: rows as in `question_rows`, or a Dataset with `input_ids` and `labels`.
        retain: what is to stay, likewise; none of the same rows.
        args: as for any `Trainer`; nothing is written to `output_dir`. The authors' settings, of `hyperparameters`, if
            not given: they are for models of a billion weights and more, and smaller ones need a larger learning rate.
            Its `seed` is that of all that is drawn.
        tokenizer: the model's.
        method: one of the table's.
        settings: of the method, where they are not to be the authors', as `{"beta": 0.5}`. Weights are `gamma`, of what
            is forgotten, and `alpha`, of what stays.
        form: how questions are put; `PromptFormat()` if not given.
        evaluate_on: further rows whose loss is recorded before the training and after every epoch, by name.

    Raises:
        ValueError: if the model is no decoder, a set is empty, has no labels or shares rows with the other, there is no
            such method or setting, or the training diverges.

    Example:
        run = forget_answers(model, sets.questions(True), sets.questions(False), tokenizer=tokenizer, method="SimNPO")
        print(run.seconds, evaluate_questions(run.model, tokenizer, sets))

    Source: OpenUnlearning (Dorna et al., 2025), whose names and defaults these are; each method's paper and equation
    stand in its file of `excise.baselines.answers`.
    """
    _check_decoder(model)
    objective = answer_method(method, settings)
    sets = {"forget": answer_rows(forget, tokenizer, form, "forget")}
    sets |= {"retain": answer_rows(retain, tokenizer, form, "retain")}
    others = {name: answer_rows(rows, tokenizer, form, name) for name, rows in (evaluate_on or {}).items()}
    if twice := {*sets} & {*others}:
        raise ValueError(f"evaluate_on has {', '.join(sorted(twice))}, which is recorded already; call it otherwise.")
    check_apart(sets["forget"], sets["retain"])
    _check_tokens(model, {**sets, **others})
    answers = getattr(objective, "answers", ())
    instead = OtherAnswers(sets["forget"], answers, tokenizer, form) if objective.instead else None
    args = objective.hyperparameters.arguments() if args is None else args
    student = copy.deepcopy(model)
    trained = objective.trained(student)
    reference = copy.deepcopy(model).eval().requires_grad_(False) if objective.needs_reference else None
    padding = padding_token(tokenizer)
    looked_at = {"forget": sets["forget"], "retain": sets["retain"][: len(sets["forget"])], **others}
    history = AnswerHistory(objective.name, looked_at, padding)
    callbacks: list[TrainerCallback] = [history]
    if any(is_of_bottleneck(name) for name, _ in student.named_parameters()):
        callbacks.append(TrainingGuard())
    learning = {name: parameter.requires_grad for name, parameter in student.named_parameters()}
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(name in trained)
    pairs = AnswerPairs(sets["forget"], sets["retain"], args.seed, instead)
    trainer = partial(AnswerTrainer, objective=objective, reference=reference)
    train(student, pairs, args, callbacks, partial(collated, padding=padding), trainer)
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(learning[name])
    return BaselineRun(student, tuple(history.epochs), len(history.epochs) - 1)


def _check_decoder(model: PreTrainedModel) -> None:
    """Refuses what does not write on from a text.

    Raises:
        ValueError: if it does not.
    """
    config = getattr(model, "config", None)
    if config is None or getattr(config, "is_encoder_decoder", False) or not hasattr(model, "generate"):
        raise ValueError(
            f"{type(model).__name__} is no decoder language model, whose answers go on from the question. Give one of "
            "`AutoModelForCausalLM`. For an encoder-decoder, such as a T5, there are `gradient_difference` and `npo`."
        )


def _check_tokens(model: PreTrainedModel, sets: Mapping[str, Sequence[AnswerRow]]) -> None:
    """Refuses tokens that the model does not have.

    Raises:
        ValueError: if there are some.
    """
    count: Any = getattr(model.get_input_embeddings(), "num_embeddings", None)
    for name, rows in sets.items():
        largest = max(max(row.input_ids) for row in rows)
        if count is not None and largest >= count:
            raise ValueError(
                f"The {name} set has token {largest}, and {type(model).__name__} has {count}. Give the model's own "
                "tokenizer."
            )
