"""What holds for every baseline."""

import copy
import tempfile

import pytest
import torch
from transformers import BertConfig, BertModel, Trainer

from excise.baselines import finetune, gradient_difference, retrain, scrub, scrub_rewind


def run_finetune(model, sets, args, **options):
    return finetune(model, sets.retain, args, **options)


def run_retrain(model, sets, args, **options):
    return retrain(lambda: type(model)(model.config), sets.retain, args, **options)


def run_difference(model, sets, args, **options):
    return gradient_difference(model, sets.forget, sets.retain, args, **options)


def run_scrub(model, sets, args, **options):
    return scrub(model, sets.forget, sets.retain, args, **options)


def run_rewind(model, sets, args, **options):
    return scrub_rewind(model, sets.forget, sets.retain, sets.forget_test, args, **options)


RUNS = [run_finetune, run_retrain, run_difference, run_scrub, run_rewind]
FORGETTING = [run_difference, run_scrub, run_rewind]
every_baseline = pytest.mark.parametrize("baseline", RUNS, ids=lambda run: run.__name__.removeprefix("run_"))


def same(a, b) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


@every_baseline
def test_the_given_model_stays_as_it_is(baseline, planted, arguments):
    model = copy.deepcopy(planted.model).train()
    model.classifier.bias.requires_grad_(False)
    run = baseline(model, planted, arguments(epochs=2))
    assert same(model, planted.model) and not same(run.model, model)
    assert model.training and model.config.to_dict() == planted.model.config.to_dict()
    assert [p.requires_grad for p in model.parameters()] == [True, False]
    assert all(p.grad is None for p in model.parameters())


@every_baseline
def test_an_interrupted_baseline_leaves_the_given_model_as_it_was(baseline, planted, arguments):
    model = copy.deepcopy(planted.model)

    def fails(rows):
        if len(rows) > 1:  # the one row that is tried at first may pass
            raise KeyboardInterrupt
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    with pytest.raises(KeyboardInterrupt):
        baseline(model, planted, arguments(), data_collator=fails)
    assert same(model, planted.model)


@every_baseline
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(baseline, planted, arguments):
    runs = [baseline(planted.model, planted, arguments(epochs=2, seed=seed)) for seed in (0, 0, 1)]
    assert same(runs[0].model, runs[1].model)
    assert not same(runs[0].model, runs[2].model)


@every_baseline
def test_nothing_is_written_or_printed_and_the_arguments_stay_as_they_are(
    baseline, planted, arguments, tmp_path, monkeypatch, capfd
):
    temporary, here = tmp_path / "temporary", tmp_path / "here"
    temporary.mkdir()
    here.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(here)
    args = arguments(epochs=2, save_strategy="epoch", eval_strategy="epoch", output_dir=str(here / "out"))
    before = args.to_dict()
    baseline(planted.model, planted, args)
    assert not list(temporary.iterdir()) and not list(here.iterdir())
    assert args.to_dict() == before
    assert capfd.readouterr() == ("", "")


@every_baseline
def test_a_progress_bar_is_shown_if_asked_for(baseline, planted, arguments, capfd):
    baseline(planted.model, planted, arguments(epochs=1, disable_tqdm=False))
    assert "100%" in capfd.readouterr().err


@every_baseline
def test_mixed_precision_is_used_in_training_and_gone_afterwards(baseline, planted, arguments, tmp_path):
    exact, mixed = (
        baseline(planted.model, planted, arguments(epochs=1, mixed_precision=precision)).model
        for precision in ("no", "bf16")
    )
    assert not same(exact, mixed)
    mixed.save_pretrained(tmp_path)
    assert same(type(mixed).from_pretrained(tmp_path), mixed)
    encodings = torch.randn(3, 4)
    weight, bias = mixed.classifier.weight, mixed.classifier.bias
    torch.testing.assert_close(copy.deepcopy(mixed)(encodings).logits, encodings @ weight.T + bias)


def test_mixed_precision_is_used_on_a_model_that_another_trainer_has_trained(planted, arguments):
    model = copy.deepcopy(planted.model)
    Trainer(model, arguments(epochs=1), train_dataset=planted.retain).train()
    exact, mixed = (
        finetune(model, planted.retain, arguments(epochs=1, mixed_precision=precision)).model
        for precision in ("no", "bf16")
    )
    assert not same(exact, mixed)


@pytest.mark.parametrize(
    ("baseline", "name"),
    [
        (run, name)
        for run in RUNS
        for name in ("forget", "retain", "evaluation")
        if name != "forget" or run in FORGETTING
    ],
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.select([]), "empty"),
        (lambda rows: rows.remove_columns("labels"), "neither `labels` nor `label`"),
        (lambda rows: rows.map(lambda row: {"labels": 4}), "from 4 to 4, and the model has classes 0 to 3"),
        (lambda rows: rows.map(lambda row: {"labels": -100}), "from -100 to -100"),
        (lambda rows: with_labels(rows, 0.5), "float"),
        (lambda rows: with_labels(rows, [0, 1]), "shape"),
    ],
)
def test_a_data_set_that_cannot_be_used_is_named(baseline, name, change, message, planted, arguments):
    sets = copy.copy(planted)
    options = {"evaluate_on": dict(planted.tests)}
    if name == "evaluation":
        options["evaluate_on"]["forget"] = change(planted.forget_test)
    else:
        setattr(sets, name, change(getattr(sets, name)))
    with pytest.raises(ValueError, match=f"(?s){'.forget. ' if name == 'evaluation' else ''}{name}.*{message}"):
        baseline(planted.model, sets, arguments(), **options)


def with_labels(rows, label):
    return rows.remove_columns("labels").add_column("labels", [label] * len(rows))


class Headless(BertModel):
    """A model that gives no logits, with the classifier's arguments."""

    def forward(self, encodings, labels=None):
        return super().forward(inputs_embeds=encodings[:, None].repeat(1, 1, 2))


@every_baseline
def test_a_model_that_does_not_classify_is_refused(baseline, planted, arguments):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = Headless(BertConfig(num_labels=4, **sizes))
    with pytest.raises(ValueError, match=r"Headless gives a BaseModelOutput.*expected one with `loss` and `logits`"):
        baseline(model, planted, arguments())


@pytest.mark.parametrize("baseline", [run_finetune, *FORGETTING])
def test_logits_that_are_not_one_a_class_are_refused(baseline, planted, arguments):
    model = copy.deepcopy(planted.model)
    model.config.num_labels = 5
    with pytest.raises(ValueError, match=r"shape \(1, 4\).*the 5 classes"):
        baseline(model, planted, arguments())
