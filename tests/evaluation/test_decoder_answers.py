"""Answers of a decoder with bottlenecks, evaluated before and after a request, and what records say of it."""

import copy

import numpy as np
import pytest
import torch

from excise import Record, Selection, SparseUnitsConfig, Unlearner, attach, initialize_codes
from excise.data import question_inputs, question_sets
from excise.data.questions import answer_tokens
from excise.evaluation import evaluate_answers, evaluate_questions, sweep
from excise.report import Evaluation
from excise.report.measures import Condition
from excise.report.page import page
from excise.report.verdict import Outcome, Share, judged


@pytest.fixture(scope="module")
def known(tofu_rows, chat_tokenizer, make_decoder):
    """An unlearner of a decoder that has learnt the rows through sparse units, and one that never saw the last two."""

    def learnt(rows, steps):
        model = make_decoder()
        attach(model, SparseUnitsConfig(num_codes=128, active=16), layers=[0])
        tokens = answer_tokens(chat_tokenizer, *([row[name] for row in rows] for name in ("question", "answer")))
        batch = tokens.batch(range(len(rows)))
        initialize_codes(model, question_inputs(rows, chat_tokenizer), chat_tokenizer, steps=20, progress=False)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            model(**batch).task_loss.backward()
            optimizer.step()
        return model.eval()

    torch.manual_seed(0)
    return Unlearner(learnt(tofu_rows, 60), chat_tokenizer), learnt(tofu_rows[:6], 40)


@pytest.fixture(scope="module")
def sets(tofu_rows, chat_tokenizer):
    return question_sets(tofu_rows, chat_tokenizer, range(6, 8), heldout=0.5, title="Basil")


@pytest.fixture
def masked(known):
    """The unlearner with the units masked that the two rows use most; lifted afterwards."""
    unlearner, never_saw = known
    request = unlearner.mask(Selection({"layers.0": list(range(0, 128, 2))}), "Basil")
    yield unlearner, never_saw
    unlearner.undo(request)


@pytest.fixture(scope="module")
def options():
    return {"random_codes": False, "progress": False, "max_new_tokens": 8}


def test_each_condition_has_the_probability_that_the_benchmark_gives(masked, sets, chat_tokenizer, options):
    unlearner, never_saw = masked
    result = evaluate_answers(unlearner, sets, reference_model=never_saw, **options)
    asked = {"forget": sets.heldout.to_list(), "retain": sets.heldout_retain.to_list()}
    models = {Condition.AFTER: unlearner.model, Condition.REFERENCE: never_saw}
    for condition, model in models.items():
        own = evaluate_questions(model, chat_tokenizer, asked, generate=False)
        for name, dataset in (("forget", "heldout"), ("retain", "heldout_retain")):
            assert result.scores[condition][dataset]["probability"] == pytest.approx(own[f"{name}_Q_A_Prob"])
    with unlearner.without_masks():
        own = evaluate_questions(unlearner.model, chat_tokenizer, asked, max_new_tokens=8)
    before = result.scores[Condition.BEFORE]["heldout"]
    assert before["probability"] == pytest.approx(own["forget_Q_A_Prob"])
    assert before["rouge_l"] == pytest.approx(own["forget_Q_A_ROUGE"])
    assert before["low"] <= before["probability"] <= before["high"]
    values = [
        result.scores[c]["heldout"]["probability"] for c in (Condition.BEFORE, Condition.AFTER, Condition.LEFT_OUT)
    ]
    assert len(set(values)) == 3 and values[0] > 0.5 > values[1]
    assert result.kind == "answers" and result.telling("heldout") == "probability"
    assert "held-out questions to forget" in str(result) and "reference model" in str(result)
    assert result.examples()[0]["text"] == sets.heldout["question"][0]


def test_the_masks_are_as_they_were(masked, sets, options):
    unlearner, _ = masked
    live = unlearner.sites["layers.0"].live.clone()
    evaluate_answers(unlearner, sets, generate=False, **options)
    assert torch.equal(unlearner.sites["layers.0"].live, live)


def test_random_codes_and_a_trial(known, sets):
    unlearner, _ = known
    trial = Selection({"layers.0": [1, 5, 9]})
    result = evaluate_answers(unlearner, sets, selection=trial, generate=False, progress=False)
    assert {Condition.RANDOM, Condition.RANDOM_TOPIC} < set(result.conditions) and result.removed == 3
    assert result.outputs[Condition.AFTER] == {} and "rouge_l" not in result.scores[Condition.AFTER]["heldout"]
    again = evaluate_answers(unlearner, sets, selection=trial, generate=False, progress=False, reuse=result)
    assert again.scores == result.scores


def test_a_sweep_takes_questions(known, sets):
    unlearner, _ = known
    steps = sweep(unlearner, sets, top_s=(16, 32), preset="class", generate=False, random_codes=False, progress=False)
    assert [*steps.evaluations] == [16, 32] and "answer probability" in str(steps)


def test_a_record_a_page_and_a_verdict_are_made_of_it(masked, sets, options, tmp_path):
    unlearner, never_saw = masked
    result = evaluate_answers(unlearner, sets, reference_model=never_saw, **options)
    result.save(tmp_path / "evaluation.json")
    assert Evaluation.load(tmp_path / "evaluation.json").scores == result.scores
    record = Record.of(unlearner.model, evaluations=[result])
    (verdict,) = record.verdicts
    assert verdict.score == "probability" and "of the reference model" in verdict.sentence
    record.save(tmp_path / "record")
    html = page(Record.load(tmp_path / "record"))
    assert "held-out questions to forget" in html and "Answer probability" in html
    unlearner.save_bundle(tmp_path / "bundle", record, mode="mask")
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert "answer probability, to forget" in card and "text-generation" in card


def test_what_never_saw_it_is_the_floor():
    shares = [Share(value, value - 0.05, value + 0.05, 80) for value in (0.85, 0.12, 0.1)]
    assert judged(*shares) is Outcome.FORGOTTEN and judged(*shares[:2]) is Outcome.PARTLY


@pytest.mark.filterwarnings("ignore:.*are cut off there")
@pytest.mark.parametrize("what", ["no sets", "an encoder-decoder", "no answers"])
def test_what_cannot_be_asked_is_refused(known, sets, chat_tokenizer, what, request):
    unlearner, _ = known
    given, said = sets, "expected sets as `question_sets` makes them"
    if what == "no sets":
        given = sets.heldout
    elif what == "an encoder-decoder":
        unlearner, said = request.getfixturevalue("unlearner"), "is no decoder language model"
    else:
        said = r"answers are cut off before they begin, at 4 tokens\. Set max_length higher"
        short = copy.deepcopy(chat_tokenizer)
        short.model_max_length = 4
        unlearner = Unlearner(unlearner.model, short)
    with pytest.raises(ValueError, match=said):
        evaluate_answers(unlearner, given, progress=False)


def test_an_interval_of_one_value_is_that_value():
    from excise.evaluation.metrics.answers import mean_interval

    assert mean_interval(np.array([0.25])) == (0.25, 0.25)
    with pytest.raises(ValueError, match="no values"):
        mean_interval(np.array([]))
