"""SCRUB, and what it is made of."""

import copy
import math

import pytest
import torch
from transformers import TrainerControl

from excise.baselines import distillation, scrub
from excise.baselines.distillation import DistillationTrainer, Forgotten, Passes, teacher_divergence
from excise.baselines.history import Epoch, EpochHistory
from excise.baselines.training import load_checkpoint
from excise.evaluation.predictions import accuracy


@pytest.fixture
def trainers(monkeypatch):
    """The trainers that are made, in order."""
    made = []

    class Seen(DistillationTrainer):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.batches = []
            self.rows = []
            made.append(self)

        def training_step(self, model, inputs, num_items_in_batch=None):
            self.batches.append("max" if "forget" in inputs else "min")
            self.rows.append(inputs["encodings"][0].tolist())
            return super().training_step(model, inputs, num_items_in_batch)

    monkeypatch.setattr(distillation, "DistillationTrainer", Seen)
    return made


def test_it_forgets_the_class_and_keeps_the_others(planted, arguments):
    run = scrub(planted.model, planted.forget, planted.retain, arguments(0.1, 8), evaluate_on=planted.tests)
    assert run.history[0].accuracy["forget"] > 0.95
    assert run.accuracy["forget"] == 0
    assert run.accuracy["retain"] > 0.95


def test_without_max_steps_it_does_not_forget(planted, arguments):
    run = scrub(planted.model, planted.forget, planted.retain, arguments(), msteps=0, evaluate_on=planted.tests)
    assert run.accuracy["forget"] > 0.7
    assert run.epoch == 5


def test_the_teacher_is_untouched(planted, arguments, trainers):
    scrub(planted.model, planted.forget, planted.retain, arguments())
    teacher = trainers[0].teacher
    assert teacher is not planted.model and not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    for name, value in planted.model.state_dict().items():
        assert torch.equal(value, teacher.state_dict()[name])


def test_the_divergence_is_of_the_teacher_from_the_student_and_a_mean_of_examples():
    # Each row's probabilities are 1/4 and 3/4 of the one, a half each of the other.
    even, uneven = torch.zeros(2, 2), torch.tensor([[1.0, 3.0], [3.0, 1.0]]).log()
    teacher_uneven = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    teacher_even = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert teacher_divergence(even, uneven).item() == pytest.approx(teacher_uneven)
    assert teacher_divergence(uneven, even).item() == pytest.approx(teacher_even)
    assert teacher_uneven != pytest.approx(teacher_even, rel=0.05)


def test_a_max_step_raises_the_divergence_and_a_min_step_lowers_it_with_the_task_loss(planted, arguments, trainers):
    scrub(planted.model, planted.forget, planted.retain, arguments(epochs=2), alpha=0.3, gamma=2.0)  # temperature 4
    (trainer,) = trainers
    student, rows = trainer.model, planted.retain[:16]
    with torch.no_grad():
        divergence = teacher_divergence(student(**rows).logits, planted.model(**rows).logits, 4.0)
        assert divergence > 0.001
        torch.testing.assert_close(trainer.compute_loss(student, {**rows, "forget": True}), -divergence)
        expected = 0.3 * divergence + 2.0 * student(**rows).loss
        torch.testing.assert_close(trainer.compute_loss(student, rows), expected)


def test_max_steps_come_first_and_in_the_first_epochs_only(planted, arguments, trainers):
    scrub(planted.model, planted.forget, planted.retain, arguments(epochs=3), msteps=2, stop_early=False)
    forget, retain = ["max"] * math.ceil(100 / 32), ["min"] * math.ceil(300 / 32)
    assert trainers[0].batches == forget + retain + forget + retain + retain


def test_each_pass_goes_through_a_set_in_another_order(planted, arguments, trainers):
    scrub(planted.model, planted.forget, planted.retain, arguments(epochs=2), stop_early=False)
    first, second = trainers[0].rows[:14], trainers[0].rows[14:]  # four batches of the one set and ten of the other
    assert first[:4] != second[:4]
    assert first[4:] != second[4:]


def test_after_the_msteps_an_epoch_is_the_retain_set_alone():
    class Loader(list):
        def set_epoch(self, epoch):
            self.epoch = epoch

    forget, retain = Loader([{"labels": 1}]), Loader([{"labels": 0}] * 2)
    passes = Passes(forget, retain, msteps=1)
    assert len(passes) == 3
    assert list(passes) == [{"labels": 1, "forget": True}, {"labels": 0}, {"labels": 0}]
    passes.set_epoch(1)
    assert list(passes) == [{"labels": 0}, {"labels": 0}]
    assert forget.epoch == retain.epoch == 1


def test_a_learning_rate_that_falls_arrives_at_nothing(planted, arguments, trainers):
    args = arguments(epochs=4, lr_scheduler_type="linear")
    scrub(planted.model, planted.forget, planted.retain, args, msteps=1, stop_early=False)
    assert trainers[0].lr_scheduler.get_last_lr() == [0.0, 0.0]  # of weights and of biases
    assert trainers[0].lr_scheduler.base_lrs == [0.05, 0.05]


def test_it_stops_when_the_class_is_forgotten_and_the_others_are_unharmed(planted, arguments):
    def run(**options):
        return scrub(planted.model, planted.forget, planted.retain, arguments(0.1, 8), **options).history

    whole, stopped = run(stop_early=False), run()
    assert len(whole) == 9 and 2 < len(stopped) < 9
    first = whole[0].accuracy["retain"]
    done = [e.accuracy["forget"] == 0 and e.accuracy["retain"] >= first for e in whole]
    assert len(stopped) == done.index(True) + 1
    assert [e.accuracy for e in stopped] == [e.accuracy for e in whole[: len(stopped)]]


def test_the_model_is_that_of_the_epoch_that_is_named(planted, arguments):
    args = arguments(0.1, 8)
    run = scrub(planted.model, planted.forget, planted.retain, args, stop_early=False, evaluate_on=planted.tests)
    assert 0 < run.epoch < 8  # not the one that the training ended with
    last = scrub(
        planted.model, planted.forget, planted.retain, args, stop_early=False, evaluate_on=sets_never_forgotten(planted)
    )
    assert last.epoch == 8
    assert not torch.equal(run.model.classifier.weight, last.model.classifier.weight)
    for name, dataset in planted.tests.items():
        assert accuracy(run.model, dataset) == run.history[run.epoch].accuracy[name]


def sets_never_forgotten(planted):
    """Sets by which nothing is ever forgotten."""
    return {"forget": planted.retain_test, "retain": planted.retain_test}


# Accuracies on the forget and the retain set before the first epoch and after each.
RECORDS = [(1.0, 0.9), (0.0, 0.7), (0.1, 0.95), (0.0, 0.8), (0.0, 0.8), (0.0, 0.75)]


@pytest.mark.parametrize(
    ("stop", "tolerance", "ends_after", "best"),
    [
        (False, 0.0, None, 3),  # the first of the two best that forgot
        (True, 0.0, None, 3),  # all of those that forgot do harm
        (True, 0.101, 3, 3),  # but this one's is tolerated
        (True, 0.3, 1, 1),
    ],
)
def test_the_best_epoch_is_kept_and_a_tolerable_one_ends_the_training(stop, tolerance, ends_after, best, planted):
    history = EpochHistory({})
    judge, model = Forgotten(history, stop, tolerance), copy.deepcopy(planted.model)
    ended = None
    for number, (forget, retain) in enumerate(RECORDS):
        history.epochs.append(Epoch(number, 0.0, {"forget": forget, "retain": retain}))
        if number == 0:
            continue
        torch.nn.init.constant_(model.classifier.bias, number)
        control = TrainerControl()
        judge.on_epoch_end(None, None, control, model=model)
        if control.should_training_stop:
            ended = number
            break
    assert (ended, judge.epoch) == (ends_after, best)
    load_checkpoint(model, judge.checkpoint)
    assert (model.classifier.bias == best).all()


def test_a_given_weight_or_number_that_cannot_be_is_refused(planted, arguments):
    def run(**options):
        scrub(planted.model, planted.forget, planted.retain, arguments(), **options)

    for options, message in (
        ({"msteps": -1}, "`msteps` is -1; it must be at least 0"),
        ({"alpha": -1.0}, "`alpha` is -1.0"),
        ({"gamma": float("nan")}, "`gamma` is nan"),
        ({"tolerance": -0.1}, "`tolerance` is -0.1"),
        ({"evaluate_on": {"test": planted.retain_test}}, r"has \['test'\]; it must have `forget` and `retain`"),
    ):
        with pytest.raises(ValueError, match=message):
            run(**options)


def test_accumulated_gradients_are_refused(planted, arguments):
    args = copy.copy(arguments())
    args.gradient_accumulation_steps = 2
    with pytest.raises(ValueError, match="would mix max-steps with min-steps"):
        scrub(planted.model, planted.forget, planted.retain, args)


@pytest.mark.parametrize("length", [{"max_steps": 5}, {"epochs": 0}, {"epochs": 1.5}])
def test_a_length_that_is_not_of_whole_epochs_is_refused(length, planted, arguments):
    with pytest.raises(ValueError, match="SCRUB goes by epochs"):
        scrub(planted.model, planted.forget, planted.retain, arguments(**length))
