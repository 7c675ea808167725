"""Membership inference on texts."""

import copy
import zlib

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import GPT2Config, GPT2LMHeadModel

from excise import TopicSets
from excise.attacks import TextMembership
from excise.attacks.attack_sets import AttackSets
from excise.attacks.text_membership import GRADIENT, LOSS, MIN_K, MIN_K_PLUS_PLUS, ZLIB, label_tokens, text_scores
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD

HOWS = [LOSS, MIN_K, MIN_K_PLUS_PLUS, ZLIB, "reference", GRADIENT]


def sentences(count, seed, extra=0):
    """Rows whose references nobody can guess: they can only be learnt by heart."""
    rng = np.random.default_rng(seed)
    french = "le la un une lit voit aime livre maison".split()
    texts = [f"the teacher {' '.join(rng.choice(['cat', 'dog', 'book', 'house', 'a'], 4))} ." for _ in range(count)]
    references = [" ".join(["professeur", *rng.choice(french, rng.integers(3, 6) + extra)]) for _ in range(count)]
    return Dataset.from_dict({"text": texts, "spans": [[[4, 11]]] * count, "reference": references})


def sets_of(tokenizer, topic, count=40, **change):
    parts = {"target": sentences(count, 0), "heldout": sentences(count, 1)} | change
    rest = {name: getattr(topic, name) for name in ("control", "retain", "heldout_retain")}
    made = TopicSets(("teacher",), ("teacher", "teachers"), "en", "fr", 0, **parts, **rest)
    return AttackSets(made, tokenizer, words=("professeur",), batch_size=20)


@pytest.fixture(scope="module")
def sets(tokenizer, topic):
    return sets_of(tokenizer, topic)


@pytest.fixture(scope="module")
def fresh(make_model):
    return [make_model(seed=seed, d_model=32, d_kv=8) for seed in (0, 1)]


@pytest.fixture(scope="module")
def learnt(fresh, sets):
    """A model that has its target by heart, as far as a few steps take it."""
    model = copy.deepcopy(fresh[0]).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    batch = sets.training_batch(sets.topic.target, model.device)
    for _ in range(120):
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_what_was_learnt_by_heart_is_found_and_all_models_stay_as_they_were(learnt, fresh, sets):
    before = [state_of(model) for model in (learnt, fresh[1])]
    result = TextMembership()(learnt, learnt, fresh[1], sets)
    assert result.verdict == NOT_WITHSTOOD
    assert result.score > 0.8
    assert result.before == result.score
    assert [one.settings["how"] for one in result.attempts] == HOWS
    assert min(one.score for one in result.attempts) > 0.5  # how much the weakest tells depends on the processor
    assert result.details["memorised"]["removed"]["exact memorization"] > 0.5
    for model, state in zip((learnt, fresh[1]), before, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
        assert not model.training


def test_a_model_that_never_saw_the_sentences_withstands(fresh, sets, learnt):
    result = TextMembership()(learnt, fresh[0], fresh[0], sets)
    assert result.verdict == WITHSTOOD
    assert result.before > result.score


def test_texts_that_differ_in_themselves_are_not_held_against_a_model_that_never_saw_them(fresh, tokenizer, topic):
    longer = sets_of(tokenizer, topic, heldout=sentences(40, 1, extra=6))
    alone = TextMembership(most=30)(None, fresh[0], None, longer)
    assert alone.verdict == NOT_WITHSTOOD
    assert "counts, too" in alone.reason
    beside = TextMembership(most=30)(None, fresh[0], fresh[0], longer)
    assert beside.verdict == WITHSTOOD
    zlib_score = next(one for one in beside.attempts if one.settings["how"] == ZLIB)
    assert zlib_score.null == zlib_score.score
    assert abs(zlib_score.null - 0.5) > 0.2


def test_each_score_is_what_numpy_makes_of_the_logits(learnt, sets, tokenizer):
    rows = sets.topic.target.select(range(25))
    scores = text_scores(learnt, sets, rows, k=0.4)
    for row in (0, 7, 24):
        batch = sets.training_batch(rows.select([row]), learnt.device)
        labels = batch["labels"][0].numpy()
        with torch.no_grad():
            logits = learnt(**batch).logits[0].double().numpy()
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        own = log_probs[np.arange(len(labels)), labels]
        assert scores[LOSS][row] == pytest.approx(-own.mean(), rel=1e-4)
        assert scores["probability"][row] == pytest.approx(np.exp(own.mean()), rel=1e-4)
        assert scores[ZLIB][row] == pytest.approx(
            -own.mean() / len(zlib.compress(rows["reference"][row].encode())), rel=1e-4
        )
        own, log_probs, labels = own[:-1], log_probs[:-1], labels[:-1]  # without the end of the text
        lowest = int(0.4 * len(own))
        assert lowest >= 1
        assert scores[MIN_K][row] == pytest.approx(-np.sort(own)[:lowest].mean(), rel=1e-4)
        mean = (np.exp(log_probs) * log_probs).sum(-1)
        spread = np.sqrt((np.exp(log_probs) * (log_probs - mean[:, None]) ** 2).sum(-1))
        assert scores[MIN_K_PLUS_PLUS][row] == pytest.approx(-np.sort((own - mean) / spread)[:lowest].mean(), rel=1e-3)
        right = log_probs.argmax(-1) == labels
        assert scores["exact memorization"][row] == pytest.approx(right.mean())
        strength = next((1 - start / len(right) for start in range(len(right)) if right[start:].all()), 1 / len(right))
        assert scores["extraction strength"][row] == pytest.approx(strength)


def test_the_gradient_norm_is_the_mean_norm_of_the_gradients_of_the_mean_log_probability(fresh, sets):
    rows = sets.topic.target.select(range(2))
    model = copy.deepcopy(fresh[0])
    batch = sets.training_batch(rows.select([1]), model.device)
    losses = torch.nn.functional.cross_entropy(model(**batch).logits[0], batch["labels"][0], reduction="none")
    losses[:-1].mean().backward()
    norms = [parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]
    assert text_scores(fresh[0], sets, rows)[GRADIENT][1] == pytest.approx(float(torch.stack(norms).mean()), rel=1e-4)


def test_a_reference_is_taken_off_the_loss(learnt, fresh, sets):
    result = TextMembership(most=10, reference=fresh[1], reference_is="another")(None, learnt, fresh[0], sets)
    attempt = next(one for one in result.attempts if one.settings["how"] == "reference")
    assert attempt.settings["reference"] == "another"
    members, others = (
        text_scores(fresh[1], sets, part, gradient=False)[LOSS] - text_scores(learnt, sets, part, gradient=False)[LOSS]
        for part in (sets.draw(10, 0), sets.draw(10, 0, sets.topic.heldout))
    )
    assert attempt.score == pytest.approx((members[:, None] > others).mean())
    assert attempt.null is not None
    alone = TextMembership(most=10)(None, learnt, None, sets)
    assert "reference" not in [one.settings["how"] for one in alone.attempts]


def test_few_sentences_are_not_measured(fresh, tokenizer, topic):
    few = sets_of(tokenizer, topic, heldout=sentences(9, 1))
    result = TextMembership(most=10)(None, fresh[0], None, few)
    assert result.verdict == NOT_MEASURED
    assert "9 others" in result.reason


def test_a_model_whose_answers_are_no_numbers_is_not_measured(fresh, sets):
    broken = copy.deepcopy(fresh[0])
    with torch.no_grad():
        broken.lm_head.weight.fill_(float("nan"))
    result = TextMembership(most=10).run(None, broken, None, sets)
    assert result.verdict == NOT_MEASURED
    assert "NaN" in result.reason
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        TextMembership(most=10)(None, broken, None, sets)


def test_the_most_sentences_are_drawn_by_the_seed(fresh, sets):
    results = [TextMembership(most=10)(None, fresh[0], None, sets) for _ in range(2)]
    assert results[0].details["examples"] == [10, 10]
    assert results[0].score == results[1].score


@pytest.mark.parametrize("settings", [{"k": 0.0}, {"k": 1.5}, {"most": 0}])
def test_settings_that_are_none_are_refused(settings):
    with pytest.raises(ValueError, match="expected a share"):
        TextMembership(**settings)


def test_a_decoder_alone_reads_text_and_reference_in_one(sets, tokenizer):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64)
    ).eval()
    rows = sets.topic.target.select(range(3))
    with torch.no_grad():
        every = list(label_tokens(model, sets, rows))
    for row, tokens in zip(rows, every, strict=True):
        answer = tokenizer(row["reference"]).input_ids
        prompt = tokenizer(row["text"]).input_ids[:-1]
        assert tokens.labels.tolist() == answer
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        assert torch.allclose(tokens.log_probs, logits.log_softmax(-1), atol=1e-5)
    assert set(text_scores(model, sets, rows)) >= {LOSS, GRADIENT}
