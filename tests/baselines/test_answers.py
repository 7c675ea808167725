"""Baselines on answers of decoders: each loss against a plain formula, what is trained, and what is left as it was."""

import copy
import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from excise import CodebookSAEConfig, Selection, Unlearner, attach
from excise.baselines import forget_answers
from excise.baselines.answers import METHODS, answer_method
from excise.baselines.answers.answer_pairs import answer_rows, padded
from excise.baselines.answers.objective import AnswerStep
from excise.baselines.hyperparameters import Hyperparameters
from excise.bottlenecks.site import bottlenecks
from tests.baselines.test_every_baseline import same

every_method = pytest.mark.parametrize("method", METHODS)
# Those that look at what is to stay by its loss.
KEEPING = ("GradDiff", "NPO", "SimNPO", "IdkDPO")


def arguments(learning_rate=0.001, epochs=1, batch_size=4, seed=0, **changes):
    args = Hyperparameters(learning_rate, epochs, batch_size=batch_size).arguments(seed=seed, use_cpu=True)
    for name, value in changes.items():
        setattr(args, name, value)
    return args


@pytest.fixture(scope="module")
def sets(tofu_rows):
    """Two rows to forget and two to keep."""
    return tofu_rows[:2], tofu_rows[2:4]


@pytest.fixture(scope="module")
def make_step(make_decoder, chat_tokenizer, sets):
    """Makes a step of a model that has moved away from its reference, in eval mode, on batches of two rows."""

    def make(padding=0, dtype=torch.float32, seed=3, rows=slice(0, 2)):
        student = make_decoder()
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(7)
            for parameter in student.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        other = [{"question": row["question"], "answer": "I don't know."} for row in sets[0]]
        batches = [
            extended(padded(answer_rows(part, chat_tokenizer, None, "rows")[rows], 0), padding)
            for part in (*sets, other)
        ]
        student, reference = student.to(dtype), make_decoder().to(dtype).requires_grad_(False)
        return AnswerStep(student, student, reference, *batches, seed)

    return make


def extended(batch, count):
    """A batch with more padding, of a token that means something."""
    fills = {"input_ids": 5, "attention_mask": 0, "labels": -100}
    return {name: torch.nn.functional.pad(tensor, (0, count), value=fills[name]) for name, tensor in batch.items()}


def plain_losses(model, batch):
    """The loss and the number of tokens of each answer, token by token."""
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.double()
    losses, counts = [], []
    for row, labels in enumerate(batch["labels"].tolist()):
        own = [
            math.log(sum(math.exp(v) for v in logits[row, place - 1].tolist())) - logits[row, place - 1, label].item()
            for place, label in enumerate(labels)
            if label != -100
        ]
        losses.append(sum(own))
        counts.append(len(own))
    return losses, counts


def log_sigmoid(x):
    return -math.log(1 + math.exp(-x))


def plain_activations(model, batch, layer):
    """What a layer puts out, by hidden states, at the tokens of the answer, a tensor a row."""
    states = model(batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True)
    return [states.hidden_states[layer + 1][row][batch["labels"][row] != -100].double() for row in (0, 1)]


def plain_loss(method, step):
    """The loss of a method with its authors' settings, written out."""
    now, counts = plain_losses(step.model, step.forget)
    before, _ = plain_losses(step.reference, step.forget)
    kept, kept_counts = plain_losses(step.model, step.retain)
    keep = sum(kept) / sum(kept_counts)
    if method == "GradAscent":
        return -sum(now) / sum(counts)
    if method == "GradDiff":
        return -sum(now) / sum(counts) + keep
    if method == "NPO":
        return sum(-20 * log_sigmoid(0.1 * (a - b)) for a, b in zip(now, before, strict=True)) / 2 + keep
    if method == "SimNPO":
        each = [-2 / 4.5 * log_sigmoid(4.5 * loss / count) for loss, count in zip(now, counts, strict=True)]
        return 0.125 * sum(each) / 2 + keep
    if method == "IdkDPO":
        wins = zip(*(plain_losses(model, step.instead)[0] for model in (step.model, step.reference)), strict=True)
        margins = [(a - b) - (c - d) for (a, b), (c, d) in zip(zip(now, before, strict=True), wins, strict=True)]
        return sum(-20 * log_sigmoid(0.1 * margin) for margin in margins) / 2 + keep
    if method == "RMU":
        drawn = torch.rand(32, generator=torch.Generator().manual_seed(step.seed))
        vector = 2.0 * drawn / drawn.norm()
        moved = [((row - vector) ** 2).mean() for row in plain_activations(step.model, step.forget, 0)]
        both = zip(*(plain_activations(model, step.retain, 0) for model in (step.model, step.reference)), strict=True)
        return (sum(moved) / 2 + sum(((a - b) ** 2).mean() for a, b in both) / 2).item()
    return plain_distillation(step)


def plain_distillation(step):
    own, old = (model(**without_labels(step.forget)).logits.double() for model in (step.model, step.reference))
    parts = []
    for row, labels in enumerate(step.forget["labels"].tolist()):
        for place, label in enumerate(labels):
            if label != -100:
                target = old[row, place - 1].clone()
                target[label] -= 10
                parts.append(-(target.softmax(0) * own[row, place - 1].log_softmax(0)).sum().item())
    return sum(parts) / len(parts)


def without_labels(batch):
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def loss_of(method, step):
    return answer_method(method, {"layer": 0} if method == "RMU" else None).loss(step)


@every_method
@torch.no_grad()
def test_a_loss_is_its_formula(method, make_step):
    step = make_step()
    assert loss_of(method, step).item() == pytest.approx(plain_loss(method, step), rel=1e-5)


@every_method
@torch.no_grad()
def test_padding_changes_no_loss(method, make_step):
    assert loss_of(method, make_step(9)).item() == pytest.approx(loss_of(method, make_step()).item(), rel=1e-5)


@every_method
@torch.no_grad()
def test_a_loss_of_a_model_in_bfloat16_is_computed_in_float32(method, make_step):
    loss = loss_of(method, make_step(dtype=torch.bfloat16))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(loss_of(method, make_step()).item(), rel=0.1)


@every_method
def test_no_gradient_comes_to_the_reference_and_one_comes_to_the_model(method, make_step):
    step = make_step()
    step.reference.requires_grad_(True)  # so that there could be one
    loss_of(method, step).backward()
    assert all(parameter.grad is None for parameter in step.reference.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in step.student.parameters())


@pytest.mark.parametrize("method", KEEPING)
def test_weights_of_both_parts_are_weights(method, make_step):
    step = make_step()
    parts = [answer_method(method, {"gamma": gamma, "alpha": 1 - gamma}).loss(step) for gamma in (0.0, 1.0)]
    both = answer_method(method, {"gamma": 0.3, "alpha": 0.7}).loss(step)
    torch.testing.assert_close(both, 0.7 * parts[0] + 0.3 * parts[1])
    torch.testing.assert_close(parts[0], answer_method("GradDiff", {"gamma": 0}).loss(step))


def test_as_it_was_npo_and_dpo_are_at_two_logarithms_of_two_by_beta(make_step):
    step = make_step()
    step = AnswerStep(step.reference, step.reference, step.reference, step.forget, step.retain, step.instead)
    for method in ("NPO", "IdkDPO"):
        loss = answer_method(method, {"beta": 0.5, "alpha": 0.0}).loss(step)
        assert loss.item() == pytest.approx(4 * math.log(2), rel=1e-5)


@every_method
def test_a_training_forgets_more_than_it_loses_elsewhere(
    method, make_decoder, chat_tokenizer, tofu_rows, taught_answers
):
    forget, retain = tofu_rows[:4], tofu_rows[4:]
    settings = {"RMU": {"coefficient": 20.0, "layer": 0}, "SimNPO": {"gamma": 1.0}}.get(method)
    args = arguments(0.002, 4)
    given = copy.deepcopy(taught_answers)
    options = {"tokenizer": chat_tokenizer, "method": method, "settings": settings}
    run = forget_answers(given, forget, retain, args, **options, evaluate_on={"all": tofu_rows})
    first, last = run.history[0].loss, run.loss
    risen = {name: last[name] - first[name] for name in first}
    assert first["forget"] < 0.5 and first["retain"] < 0.5
    assert risen["forget"] > 0.2
    if method != "GradAscent":
        assert risen["forget"] > risen["retain"]
    assert risen["all"] == pytest.approx((risen["forget"] + risen["retain"]) / 2, rel=0.3)
    assert run.epoch == 4 and run.seconds > 0
    assert same(given, taught_answers) and all(parameter.grad is None for parameter in given.parameters())
    assert not run.model.training and all(parameter.requires_grad for parameter in run.model.parameters())


@pytest.fixture(scope="module")
def taught_answers(make_decoder, chat_tokenizer, tofu_rows):
    """A decoder that knows all answers."""
    model = make_decoder(2)
    rows = answer_rows(tofu_rows, chat_tokenizer, None, "rows")
    batch = padded(rows, 0)
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    for _ in range(60):
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def test_rmu_trains_three_layers_and_leaves_all_else(chat_tokenizer, sets):
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 6, "n_head": 2, "n_positions": 128}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(chat_tokenizer), **sizes))
    model.transformer.h[2].ln_1.weight.requires_grad_(False)
    options = {"tokenizer": chat_tokenizer, "method": "RMU"}
    run = forget_answers(model, *sets, arguments(0.01, 2, 2), **options, settings={"layer": 3})
    changed = changed_parameters(model, run.model)
    assert {name.split(".")[2] for name in changed} == {"1", "2", "3"}
    assert all(name.startswith("transformer.h.") for name in changed)
    assert not run.model.transformer.h[2].ln_1.weight.requires_grad
    assert "transformer.h.2.ln_1.weight" not in changed
    one = {"layer": 3, "parameters": "mlp.c_proj.weight"}
    run = forget_answers(model, *sets, arguments(0.01, 1, 2), **options, settings=one)
    assert changed_parameters(model, run.model) == {f"transformer.h.{layer}.mlp.c_proj.weight" for layer in (1, 2, 3)}


def changed_parameters(model, other):
    pairs = zip(model.named_parameters(), other.parameters(), strict=True)
    return {name for (name, parameter), of_other in pairs if not torch.equal(parameter, of_other)}


def test_the_layer_of_rmu_is_the_eighth_or_half_of_the_model():
    for layers, wanted in ((1, 0), (2, 1), (6, 3), (16, 7), (30, 7)):
        model = GPT2LMHeadModel(GPT2Config(vocab_size=5, n_embd=4, n_layer=layers, n_head=1))
        assert answer_method("RMU").steered(model) == wanted


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(make_decoder, chat_tokenizer, tofu_rows):
    runs = [
        forget_answers(
            make_decoder(),
            tofu_rows[:4],
            tofu_rows[4:],
            arguments(batch_size=4, seed=seed),
            tokenizer=chat_tokenizer,
            method="IdkDPO",
        )
        for seed in (0, 0, 1)
    ]
    assert same(runs[0].model, runs[1].model)
    assert not same(runs[0].model, runs[2].model)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_steps_of_parts_of_a_batch_add_up(accumulated, make_decoder, chat_tokenizer, sets):
    args = arguments(0.1, 1, 2 // accumulated, optim="sgd", gradient_accumulation_steps=accumulated)
    one = sets[1][:1]  # whichever is drawn
    run = forget_answers(make_decoder(), sets[0], one, args, tokenizer=chat_tokenizer, method="NPO")
    model, reference = make_decoder(), make_decoder().requires_grad_(False)
    forget, retain = (padded(answer_rows(rows, chat_tokenizer, None, "rows"), 0) for rows in (sets[0], one))
    answer_method("NPO").loss(AnswerStep(model, model, reference, forget, retain)).backward()
    for (name, value), start in zip(run.model.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(value.data, start.data - 0.1 * start.grad, msg=name, rtol=1e-4, atol=1e-6)


def test_a_training_that_diverges_is_named_and_leaves_the_model(make_decoder, chat_tokenizer, sets):
    model = make_decoder()
    args = arguments(1e20, 5, 1, max_grad_norm=0.0)
    with pytest.raises(ValueError, match=r"GradAscent has diverged: after \d+ of 10 steps a loss is (nan|-?inf)"):
        forget_answers(model, *sets, args, tokenizer=chat_tokenizer, method="gradascent")
    assert same(model, make_decoder())


def test_bottlenecks_take_part_and_masked_codes_stay_masked(make_decoder, chat_tokenizer, sets):
    config = CodebookSAEConfig(num_codes=16, top_s=2, code_dim=16, active=None)
    model = attach(make_decoder(), config, layers=[0])
    (site,) = bottlenecks(model)
    Unlearner(model, chat_tokenizer).mask(Selection({site: [3]}), "geology")
    run = forget_answers(model, *sets, arguments(0.01, 1, 2), tokenizer=chat_tokenizer, method="NPO")
    assert not bottlenecks(run.model)[site].live[3] and not same(model, run.model)
    assert "bottleneck" in "".join(changed_parameters(model, run.model))
    rmu = forget_answers(model, *sets, arguments(0.01, 1, 2), tokenizer=chat_tokenizer, method="RMU")
    assert "bottleneck" not in "".join(changed_parameters(model, rmu.model))
