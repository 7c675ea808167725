"""The baselines that never look at the forget set."""

import copy

import pytest
import torch

from excise.baselines import LinearClassifier, LinearClassifierConfig, finetune, hyperparameters, retrain, scrub


def test_retraining_never_saw_the_class(planted, arguments, make_linear):
    run = retrain(make_linear, planted.retain, arguments(epochs=10), evaluate_on=planted.tests)
    assert run.accuracy["forget"] == 0
    assert run.accuracy["retain"] > 0.95


def test_fine_tuning_forgets_less_of_a_separable_class_than_scrub(planted, arguments):
    tuned = finetune(planted.model, planted.retain, arguments(0.1, 3), evaluate_on=planted.tests)
    scrubbed = scrub(planted.model, planted.forget, planted.retain, arguments(0.1, 3), evaluate_on=planted.tests)
    assert scrubbed.accuracy["forget"] == 0
    assert tuned.accuracy["forget"] > 0.4
    assert tuned.accuracy["retain"] > 0.95


def test_what_is_frozen_stays_frozen(planted, arguments):
    model = copy.deepcopy(planted.model)
    model.classifier.bias.requires_grad_(False)
    tuned = finetune(model, planted.retain, arguments()).model
    assert torch.equal(tuned.classifier.bias, model.classifier.bias)
    assert not torch.equal(tuned.classifier.weight, model.classifier.weight)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "lacuna100"])
def test_the_papers_settings_are_arguments_of_a_trainer(dataset, planted):
    linear, scrubbing = hyperparameters.LINEAR[dataset], hyperparameters.SCRUB[dataset]
    assert linear.epochs == 2 and linear.learning_rate == scrubbing.learning_rate
    assert 0 < scrubbing.msteps <= scrubbing.epochs <= 10
    config = LinearClassifierConfig(hidden_size=4, num_labels=4)
    run = retrain(lambda: LinearClassifier(config), planted.whole, linear.arguments(use_cpu=True))
    assert len(run.history) == 3
    for table in (hyperparameters.RETRAIN_ACTIVATIONS, hyperparameters.RETRAIN_EXAMPLES):
        args = table[dataset].arguments(seed=3, use_cpu=True)
        assert (args.seed, args.num_train_epochs, args.max_grad_norm) == (3, 10, 0.1)
        assert (args.per_device_train_batch_size, args.lr_scheduler_type) == (256, "constant")
