"""SCRUB+R."""

import pytest
from datasets import concatenate_datasets

from excise.baselines import scrub, scrub_rewind
from excise.baselines.rewind import nearest
from excise.evaluation.predictions import accuracy


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


def test_of_epochs_that_are_equally_near_the_latest_is_taken():
    assert nearest([0.4, 0.6, 0.4, 0.9], reference=0.5) == 3
    assert nearest([0.4, 1.0, 1.0], reference=1.0) == 3


def test_an_empty_validation_set_is_refused(planted, arguments):
    with pytest.raises(ValueError, match="validation set is empty"):
        scrub_rewind(planted.model, planted.forget, planted.retain, planted.forget_test.select([]), arguments())
