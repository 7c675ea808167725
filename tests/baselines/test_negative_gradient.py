"""Descent on the retain set and ascent on the forget set."""

import pytest
import torch

from excise.baselines import finetune, gradient_difference


def test_it_forgets_the_class_and_keeps_the_others(planted, arguments):
    run = gradient_difference(
        planted.model, planted.forget, planted.retain, arguments(epochs=10), evaluate_on=planted.tests
    )
    assert run.history[0].accuracy["forget"] > 0.95
    assert run.accuracy["forget"] == 0
    assert run.accuracy["retain"] > 0.95


def test_with_all_weight_on_the_retain_set_it_is_fine_tuning(planted, arguments):
    tuned = finetune(planted.model, planted.retain, arguments()).model
    other = gradient_difference(planted.model, planted.forget, planted.retain, arguments(), alpha=1.0).model
    for name, value in tuned.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], msg=name)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_step_goes_down_the_difference_of_the_two_losses(accumulated, planted, arguments):
    args = arguments(
        learning_rate=0.5, epochs=1, optim="sgd", per_device_train_batch_size=24 // accumulated, max_steps=1
    )
    args.gradient_accumulation_steps = accumulated
    forget, retain = planted.forget.select(range(8)), planted.retain.select(range(24))  # each forget row three times
    model = gradient_difference(planted.model, forget, retain, args, alpha=0.7).model

    start = {name: value.detach().clone().requires_grad_() for name, value in planted.model.named_parameters()}
    kept, lost = (
        torch.func.functional_call(
            planted.model, start, kwargs={"encodings": s["encodings"][:], "labels": s["labels"][:]}
        )
        for s in (retain, forget)
    )
    (0.7 * kept.loss - 0.3 * lost.loss).backward()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.data, start[name].data - 0.5 * start[name].grad, msg=name)


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_a_weight_out_of_range_is_refused(alpha, planted, arguments):
    with pytest.raises(ValueError, match=rf"`alpha` is {alpha}.*between 0"):
        gradient_difference(planted.model, planted.forget, planted.retain, arguments(), alpha=alpha)
