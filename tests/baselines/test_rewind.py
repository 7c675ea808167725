"""SCRUB+R."""

import pytest
import torch
from datasets import concatenate_datasets

from excise.attacks import ClassLosses, class_membership_inference
from excise.baselines import retrain, scrub, scrub_rewind
from excise.baselines.distillation import teacher_divergence
from excise.baselines.rewind import earliest_nearest
from excise.evaluation import example_losses
from excise.evaluation.predictions import accuracy
from tests.baselines.conftest import FORGOTTEN, clouds


def test_it_goes_back_to_the_epoch_whose_error_is_nearest_to_the_reference(planted, arguments):
    # Half of it is of kept classes, so SCRUB's last error on it is about a half, and on the forget set it is 1.
    half = concatenate_datasets([planted.forget_test.select(range(50)), planted.retain_test.select(range(50))])
    args = arguments(learning_rate=0.1, epochs=6)
    run = scrub_rewind(planted.model, planted.forget, planted.retain, half, args, evaluate_on=planted.tests)
    assert 0.4 < run.reference < 0.6
    assert run.errors[-1] == 1
    assert run.epoch < 6
    gaps = [abs(error - run.reference) for error in run.errors]
    assert gaps[run.epoch - 1] == min(gaps)
    assert 1 - accuracy(run.model, planted.forget) == run.errors[run.epoch - 1]
    assert accuracy(run.model, planted.forget_test) == run.accuracy["forget"]


def test_the_reference_is_the_error_of_scrubs_last_epoch(planted, arguments):
    args = arguments(learning_rate=0.02, epochs=4)
    run = scrub_rewind(planted.model, planted.forget, planted.retain, planted.forget_test, args)
    whole = scrub(
        planted.model, planted.forget, planted.retain, args, stop_early=False, evaluate_on=planted.tests
    ).history
    assert run.reference == 1 - whole[-1].accuracy["forget"]
    assert len(run.errors) == 4


def test_of_points_that_are_equally_near_the_earliest_is_taken():
    assert earliest_nearest([0.1, 0.3, 0.1]) == 0
    assert earliest_nearest([0.6, 0.0, 0.0]) == 1


def test_where_every_epoch_errs_wholly_the_first_of_them_is_gone_back_to(planted, arguments):
    args = arguments(learning_rate=0.1, epochs=6)
    run = scrub_rewind(planted.model, planted.forget, planted.retain, planted.forget_test, args)
    assert run.reference == 1 and run.errors[-1] == 1
    assert run.epoch == 1 + run.errors.index(1) < 6


def test_the_original_model_is_a_candidate(planted, arguments):
    """A reference of zero error: no epoch is nearer than the model that was not trained at all."""
    args = arguments(learning_rate=0.1, epochs=3)
    run = scrub_rewind(planted.model, planted.forget, planted.retain, planted.retain, args, evaluate_on=planted.tests)
    assert run.epoch == 0 and run.chosen.step == 0
    assert run.accuracy == run.history[0].accuracy
    assert accuracy(run.model, planted.forget) == accuracy(planted.model, planted.forget)
    assert len(run.candidates) == 4


def never_seen(arguments, make_linear):
    """A model of three clouds, sets of one of them and of a fourth that it never saw."""
    seen = clouds(300, 0, classes=(0, 1, 2))
    model = retrain(make_linear, seen, arguments(epochs=10)).model
    retain, forget = clouds(200, 2, classes=(0, 2)), clouds(100, 1, classes=[FORGOTTEN])
    validation, unseen = clouds(100, 3, classes=[FORGOTTEN]), clouds(100, 4, classes=[3])
    return model, forget, retain, validation, unseen


@pytest.mark.parametrize("rule", ["loss", pytest.param("attack", marks=pytest.mark.slow)])
def test_it_stops_where_the_class_passes_for_one_never_seen(rule, arguments, make_linear):
    model, forget, retain, validation, unseen = never_seen(arguments, make_linear)
    tests = {"forget": clouds(100, 5, classes=[FORGOTTEN]), "unseen": clouds(100, 6, classes=[3])}
    args = arguments(learning_rate=0.1, epochs=3)

    def told(run):
        parts = validation, unseen, *tests.values()
        losses = ClassLosses(*(example_losses(run.model, rows) for rows in parts))
        return abs(class_membership_inference({0: losses}).mean - 0.5)

    options = {"evaluate_on": tests}
    by_error = scrub_rewind(model, forget, retain, validation, args, **options)
    run = scrub_rewind(model, forget, retain, validation, args, rule=rule, unseen=unseen, per_epoch=4, **options)
    assert run.chosen.distance == min(each.distance for each in run.candidates)
    assert told(run) <= told(by_error)
    assert len(run.candidates) > 2 * 4 and len(run.errors) == 3
    steps = [each.step for each in run.candidates]
    assert steps == sorted(set(steps))
    assert run.accuracy == {name: accuracy(run.model, rows) for name, rows in tests.items()}


def test_a_point_within_an_epoch_is_no_other_training(planted, arguments):
    args = arguments(learning_rate=0.1, epochs=2)
    plain, dense = (
        scrub_rewind(planted.model, planted.forget, planted.retain, planted.forget_test, args, per_epoch=n)
        for n in (1, 4)
    )
    assert plain.errors == dense.errors and plain.reference == dense.reference


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "accuracy"}, "expected 'error'"),
        ({"rule": "loss"}, "needs `unseen`"),
        ({"unseen": "forget_test"}, "takes no `unseen`"),
        ({"per_epoch": 0}, "at least 1"),
        ({"temperature": 0.0}, "above 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_settings_that_make_no_rule_are_refused(options, message, planted, arguments):
    options = {name: getattr(planted, value) if name == "unseen" else value for name, value in options.items()}
    with pytest.raises(ValueError, match=message):
        scrub_rewind(planted.model, planted.forget, planted.retain, planted.forget_test, arguments(), **options)


def test_the_temperature_softens_both_and_keeps_the_size_of_the_gradient():
    student, teacher = torch.tensor([[0.0, 1.0, -2.0]]), torch.tensor([[2.0, 0.0, 1.0]])
    soft = [(logits / 4).softmax(-1) for logits in (student, teacher)]
    expected = 16 * (soft[1] * (soft[1] / soft[0]).log()).sum()
    assert teacher_divergence(student, teacher, 4.0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_an_empty_validation_set_is_refused(planted, arguments):
    with pytest.raises(ValueError, match="validation set is empty"):
        scrub_rewind(planted.model, planted.forget, planted.retain, planted.forget_test.select([]), arguments())
