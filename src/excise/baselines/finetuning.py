"""Fine-tuning and retraining on what is to be kept."""

import copy
from collections.abc import Callable, Mapping

import torch
from datasets import Dataset
from transformers import PreTrainedModel, TrainingArguments, default_data_collator, set_seed

from excise.baselines.checks import check_classifier
from excise.baselines.history import BaselineRun, EpochHistory
from excise.baselines.training import train
from excise.bottlenecks.site import has_bottlenecks
from excise.evaluation.predictions import Collator
from excise.storage.expected import expects


@expects("model", retain="rows")
def finetune(
    model: PreTrainedModel,
    retain: Dataset,
    args: TrainingArguments,
    *,
    evaluate_on: Mapping[str, Dataset] | None = None,
    data_collator: Collator = default_data_collator,
) -> BaselineRun:
    """Trains a copy of a model on the retain set alone.

    Of a trained model it is the baseline that hopes for forgetting by neglect, and forgets little (section 1). Of a
    model that was unlearned already it is the retraining of section 5.4, which asks whether more compute makes it
    better and whether the class comes back: `evaluate_on` the forget and the retain test set, and the history is
    figures 4 and 6. Masks are buffers and stay in force. `hyperparameters` has the paper's settings of it (table 7).

    Args:
        model: a classifier; it stays as it is.
        retain: training examples of the classes to keep.
        args: as for any `Trainer`; nothing is written to `output_dir`.
        evaluate_on: data sets whose accuracy is recorded before the training and after every epoch, by name.
        data_collator: makes a batch of rows.

    Raises:
        ValueError: if a data set is empty or has other labels than the model, or the model does not classify.

    Example:
        run = finetune(model, retain, args, evaluate_on={"forget": forget_test, "retain": retain_test})

    Source: *Unlearning via Sparse Representations*, sections 1 and 5.4; Golatkar et al. (2020a).
    """
    sets = dict(evaluate_on or {})
    check_classifier(model, {"retain": retain}, sets, data_collator)
    history = EpochHistory(sets, data_collator)
    student = copy.deepcopy(model)
    train(student, retain, args, [history], data_collator)
    return BaselineRun(student, tuple(history.epochs), len(history.epochs) - 1)


@expects("args", make_model="model_or_function", retain="rows")
def retrain(
    make_model: Callable[[], PreTrainedModel] | PreTrainedModel,
    retain: Dataset,
    args: TrainingArguments,
    *,
    evaluate_on: Mapping[str, Dataset] | None = None,
    data_collator: Collator = default_data_collator,
) -> BaselineRun:
    """Trains a new model on the retain set alone: the dearest baseline, and the one that has nothing to forget.

    Args:
        make_model: makes the new model, with weights that never saw the forget set. It is called with all generators
            of random numbers set by `args.seed`. Or a model, of which a new one is made, with new weights but for those
            that are frozen, such as a pretrained backbone's; it stays as it is.
        retain: training examples of the classes to keep.
        args: as for any `Trainer`; nothing is written to `output_dir`.
        evaluate_on: data sets whose accuracy is recorded before the training and after every epoch, by name.
        data_collator: makes a batch of rows.

    Raises:
        ValueError: if a data set is empty or has other labels than the model, or the model does not classify; or a
            model with a bottleneck is given, whose codes or keys have seen the forget set.

    Example:
        config = LinearClassifierConfig(num_labels=10)
        run = retrain(lambda: LinearClassifier(config), retain, hyperparameters.LINEAR["cifar10"].arguments(seed=0))

    Source: *Unlearning via Sparse Representations*, sections 1 and 2.
    """
    set_seed(args.seed)
    if not isinstance(make_model, PreTrainedModel) and not callable(make_model):
        raise ValueError(
            f"A {type(make_model).__name__} makes no model: expected a model, or a function that makes one."
        )
    model = fresh_like(make_model) if isinstance(make_model, PreTrainedModel) else make_model()
    sets = dict(evaluate_on or {})
    check_classifier(model, {"retain": retain}, sets, data_collator)
    history = EpochHistory(sets, data_collator)
    train(model, retain, args, [history], data_collator)
    return BaselineRun(model, tuple(history.epochs), len(history.epochs) - 1)


def fresh_like(model: PreTrainedModel) -> PreTrainedModel:
    """A model of the same kind and settings with new weights, but for those that are frozen.

    Raises:
        ValueError: if it has a bottleneck, or all of it is frozen.
    """
    if has_bottlenecks(model):
        raise ValueError(
            f"The codes or keys of a {type(model).__name__} were initialised on data, of the forget set too, so a new "
            "one is not made of it alone. Give a function that makes it, with `initialize_keys` or `initialize_codes` "
            "on the retain set."
        )
    made = type(model)(copy.deepcopy(model.config))
    torch.nn.Module.to(made, model.device, model.dtype)
    new = dict(made.named_parameters())
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"All weights of the {type(model).__name__} are frozen, so none is to be trained anew.")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                new[name].requires_grad_(False).copy_(parameter)
        for name, module in model.named_modules():
            own = list(module.parameters(recurse=False))
            if own and not any(parameter.requires_grad for parameter in own):  # as the statistics of a batch norm
                for key, buffer in module.named_buffers(recurse=False):
                    made.get_submodule(name).get_buffer(key).copy_(buffer)
    return made
