"""Baselines on models that write texts: gradient difference and NPO."""

import copy
import math

import pytest
import torch
from datasets import Dataset

from excise.baselines import gradient_difference, npo
from excise.baselines.preference import npo_loss
from excise.baselines.text_training import example_losses, text_rows
from tests.baselines.test_every_baseline import same


def run_difference(model, tokenizer, topic, args, **options):
    return gradient_difference(model, topic.target, topic.retain, args, tokenizer=tokenizer, **options)


def run_npo(model, tokenizer, topic, args, **options):
    return npo(model, topic.target, topic.retain, args, tokenizer=tokenizer, **options)


both = pytest.mark.parametrize("baseline", [run_difference, run_npo], ids=["difference", "npo"])


@pytest.fixture(scope="module", params=[run_difference, run_npo], ids=["difference", "npo"])
def trained(request, taught, tokenizer, topic, arguments):
    """The model as it was, and a run of four epochs within a budget of a half."""
    model = copy.deepcopy(taught.model)
    args = arguments(0.002, 4, per_device_train_batch_size=4)
    run = request.param(model, tokenizer, topic, args, budget=0.5)
    return model, run


def test_the_epoch_that_forgot_most_within_the_budget_is_taken(trained):
    _, run = trained
    limit = run.history[0].loss["validation"] + math.log(1.5)
    within = [epoch for epoch in run.history if epoch.loss["validation"] <= limit]
    assert run.loss["forget"] == max(epoch.loss["forget"] for epoch in within)
    assert len(run.history) == 5 and [epoch.number for epoch in run.history] == list(range(5))
    assert run.epoch > 0 and run.loss["forget"] > run.history[0].loss["forget"] + 0.1


def test_the_given_model_stays_and_the_runs_model_has_the_losses_of_its_epoch(trained, taught, tokenizer, topic):
    model, run = trained
    assert same(model, taught.model) and not model.training and not same(run.model, model)
    losses, counts = example_losses(run.model, text_rows(topic.target, tokenizer, "forget"), tokenizer_batch, 5)
    assert losses.sum().item() / counts.sum().item() == pytest.approx(run.loss["forget"], rel=1e-4)
    assert "loss: forget" in repr(run) and "loss on validation" in run.to_pandas().columns


def tokenizer_batch(rows):
    """A batch of rows of one length each, without a collator."""
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0] if name != "token_type_ids"}


@both
def test_where_nothing_keeps_to_the_budget_the_model_is_as_it_was(baseline, taught, tokenizer, topic, arguments):
    run = baseline(taught.model, tokenizer, topic, arguments(0.3, 1), budget=0.0, validation=topic.retain)
    assert run.epoch == 0 and same(run.model, taught.model)
    assert run.history[1].loss["validation"] > run.history[0].loss["validation"]


@both
@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_step_goes_down_the_stated_objective(baseline, accumulated, taught, tokenizer, topic, arguments):
    args = arguments(0.1, 1, optim="sgd", per_device_train_batch_size=12 // accumulated)
    args.gradient_accumulation_steps = accumulated
    one = topic.retain.select([3])  # whichever is drawn
    rows = {"retain": one, "forget": topic.target}
    options = {"validation": topic.retain, "budget": 1e9, "tokenizer": tokenizer}
    if baseline is run_difference:
        run = gradient_difference(taught.model, topic.target, one, args, alpha=0.1, **options)
    else:
        run = npo(taught.model, topic.target, one, args, beta=0.5, gamma=2.0, alpha=0.3, **options)
    assert run.epoch == 1
    model = copy.deepcopy(taught.model).train()
    outputs = {name: model(**tokenizer_batch(text_rows(of_name, tokenizer, name))) for name, of_name in rows.items()}
    kept = outputs["retain"].loss  # with the codebook's own parts
    forget = tokenizer_batch(text_rows(topic.target, tokenizer, "forget"))["labels"]
    likelihood = outputs["forget"].logits.log_softmax(-1).gather(-1, forget[..., None]).squeeze(-1)
    if baseline is run_difference:
        (0.1 * kept + 0.9 * likelihood.mean()).backward()
    else:
        ratio = likelihood.sum(-1) - likelihood.sum(-1).detach()  # of the model to itself: all 0
        (2.0 * (2 / 0.5) * torch.log(1 + ratio.exp() ** 0.5).mean() + 0.3 * kept).backward()
    for (name, value), start in zip(run.model.named_parameters(), model.parameters(), strict=True):
        gradient = 0 if start.grad is None else start.grad
        torch.testing.assert_close(value.data, start.data - 0.1 * gradient, msg=name, rtol=1e-4, atol=1e-6)


def test_towards_a_beta_of_0_the_gradient_of_npo_is_that_of_ascent():
    # Proposition 1 of Zhang et al.
    before, losses = torch.tensor([3.0, 5.0]), torch.tensor([4.0, 9.0], requires_grad=True)
    npo_loss(losses, before, 1e-6).backward()
    torch.testing.assert_close(losses.grad, torch.full((2,), -1 / 2), rtol=1e-4, atol=0)


def test_the_gradient_of_npo_vanishes_where_a_text_is_forgotten_already():
    before, losses = torch.tensor([3.0, 3.0]), torch.tensor([3.0, 203.0], requires_grad=True)
    npo_loss(losses, before, 0.1).backward()
    assert losses.grad[0] == pytest.approx(-0.5) and abs(losses.grad[1]) < 1e-6


def test_rows_may_be_tokenised_already(taught, tokenizer, topic, arguments):
    given = [topic.target, topic.retain]
    tokenised = [Dataset.from_list(text_rows(rows, tokenizer, "rows")) for rows in given]
    options = {"tokenizer": tokenizer, "budget": 9.0}
    runs = [npo(taught.model, *rows, arguments(0.01, 1), **options) for rows in (given, tokenised)]
    assert same(runs[0].model, runs[1].model)


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.select([]), "{name} set is empty"),
        (lambda rows: rows.remove_columns("reference"), "{name} set has no `reference` beside `text`"),
        (lambda rows: rows.map(lambda row: {"reference": None}), "{name} set has rows whose `text` or"),
    ],
)
@pytest.mark.parametrize("name", ["forget", "retain", "validation"])
def test_a_set_that_cannot_be_used_is_named(baseline, change, message, name, taught, tokenizer, topic, arguments):
    sets = {"forget": topic.target, "retain": topic.retain, "validation": topic.retain}
    sets[name] = change(sets[name])
    method = gradient_difference if baseline is run_difference else npo
    with pytest.raises(ValueError, match=message.format(name=name)):
        method(
            taught.model,
            sets["forget"],
            sets["retain"],
            arguments(),
            tokenizer=tokenizer,
            validation=sets["validation"],
        )


def test_settings_out_of_range_and_models_that_do_not_fit_are_refused(planted, taught, tokenizer, topic, arguments):
    with pytest.raises(ValueError, match=r"`beta` is 0.*above 0"):
        run_npo(taught.model, tokenizer, topic, arguments(), beta=0)
    with pytest.raises(ValueError, match=r"`budget` is -0.1"):
        run_npo(taught.model, tokenizer, topic, arguments(), budget=-0.1)
    with pytest.raises(ValueError, match=r"LinearClassifier does not read a text"):
        run_npo(planted.model, tokenizer, topic, arguments())
    with pytest.raises(ValueError, match=r"writes texts: give its `tokenizer`"):
        gradient_difference(taught.model, topic.target, topic.retain, arguments())
    with pytest.raises(ValueError, match="one row; give at least two"):
        npo(taught.model, topic.target, topic.retain.select([0]), arguments(), tokenizer=tokenizer)
