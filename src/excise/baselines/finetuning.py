"""Fine-tuning and retraining on what is to be kept."""

import copy
from collections.abc import Callable, Mapping

from datasets import Dataset
from transformers import PreTrainedModel, TrainingArguments, default_data_collator, set_seed

from excise.baselines.checks import check_classifier
from excise.baselines.history import BaselineRun, EpochHistory
from excise.baselines.training import train
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


@expects("args", make_model="function", retain="rows")
def retrain(
    make_model: Callable[[], PreTrainedModel],
    retain: Dataset,
    args: TrainingArguments,
    *,
    evaluate_on: Mapping[str, Dataset] | None = None,
    data_collator: Collator = default_data_collator,
) -> BaselineRun:
    """Trains a new model on the retain set alone: the dearest baseline, and the one that has nothing to forget.

    Args:
        make_model: makes the new model, with weights that never saw the forget set. It is called with all generators
            of random numbers set by `args.seed`.
        retain: training examples of the classes to keep.
        args: as for any `Trainer`; nothing is written to `output_dir`.
        evaluate_on: data sets whose accuracy is recorded before the training and after every epoch, by name.
        data_collator: makes a batch of rows.

    Raises:
        ValueError: if a data set is empty or has other labels than the model, or the model does not classify.

    Example:
        config = LinearClassifierConfig(num_labels=10)
        run = retrain(lambda: LinearClassifier(config), retain, hyperparameters.LINEAR["cifar10"].arguments(seed=0))

    Source: *Unlearning via Sparse Representations*, sections 1 and 2.
    """
    set_seed(args.seed)
    model = make_model()
    sets = dict(evaluate_on or {})
    check_classifier(model, {"retain": retain}, sets, data_collator)
    history = EpochHistory(sets, data_collator)
    train(model, retain, args, [history], data_collator)
    return BaselineRun(model, tuple(history.epochs), len(history.epochs) - 1)
