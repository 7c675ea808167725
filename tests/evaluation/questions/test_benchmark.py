"""The benchmark of a decoder's answers gives what OpenUnlearning's code does, and its files are read and written."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import hmean, ks_2samp
from sklearn.metrics import roc_auc_score

from excise.data.questions import answer_tokens, question_sets
from excise.evaluation import evaluate_questions
from excise.report import QuestionScores, read_open_unlearning, write_open_unlearning
from excise.report.open_unlearning import open_unlearning_summary

ALL_OF_UTILITY = sorted(
    ["retain_Q_A_Prob", "retain_Q_A_ROUGE", "retain_Truth_Ratio"]
    + [f"{of}_{what}" for of in ("ra", "wf") for what in ("Q_A_Prob_normalised", "Q_A_ROUGE", "Truth_Ratio")]
)
OPTIONS = {"max_new_tokens": 4}


@pytest.fixture(scope="module")
def parts(tofu_rows, facts):
    rows = {"forget": tofu_rows[:2], "retain": tofu_rows[2:6]}
    return rows, {"real_authors": facts, "world_facts": facts[:1], "holdout": tofu_rows[6:]}


@pytest.fixture(scope="module")
def scores(make_decoder, chat_tokenizer, parts):
    rows, others = parts
    return evaluate_questions(make_decoder(), chat_tokenizer, rows, reference=make_decoder(1), **others, **OPTIONS)


def losses(model, tokenizer, rows, answer):
    """The mean loss of each answer, as OpenUnlearning's collator, model and loss give it, a row at a time."""
    found = []
    for row in rows:
        several = row[answer] if isinstance(row[answer], list) else [row[answer]]
        of_row = []
        for one in several:
            (ids,) = answer_tokens(tokenizer, [row["question"]], [one]).rows
            labels = torch.tensor([[-100] * ids.start + ids.input_ids[ids.start :]])
            with torch.no_grad():
                logits = model(torch.tensor([ids.input_ids])).logits
            every = torch.nn.CrossEntropyLoss(reduction="none")(logits[0, :-1], labels[0, 1:])
            of_row.append((every.sum() / (labels != -100).sum()).item())
        found.append(of_row if isinstance(row[answer], list) else of_row[0])
    return found


def ratios(model, tokenizer, rows, right):
    wrong = [np.mean(of_row) for of_row in losses(model, tokenizer, rows, "perturbed_answer")]
    return np.exp(-np.array(wrong)) / (np.exp(-np.array(losses(model, tokenizer, rows, right))) + 1e-10)


def test_probabilities_and_truth_ratios_are_those_of_its_code(scores, make_decoder, chat_tokenizer, parts, facts):
    rows, _ = parts
    model, tokenizer = make_decoder(), chat_tokenizer
    right = losses(model, tokenizer, rows["forget"], "answer")
    assert scores["forget_Q_A_Prob"] == pytest.approx(np.mean(np.exp(-np.array(right))), rel=1e-4)
    assert scores.by_row("forget_Q_A_Prob", "avg_loss") == pytest.approx(right, rel=1e-5)
    forget = ratios(model, tokenizer, rows["forget"], "paraphrased_answer")
    assert scores.by_row("forget_truth_ratio") == pytest.approx(forget, rel=1e-4)
    assert scores["forget_truth_ratio"] == pytest.approx(np.mean(np.minimum(forget, 1 / (forget + 1e-10))), rel=1e-4)
    retain = ratios(model, tokenizer, rows["retain"], "paraphrased_answer")
    assert scores["retain_Truth_Ratio"] == pytest.approx(np.mean(np.maximum(0, 1 - retain)), rel=1e-4)
    known = ratios(model, tokenizer, facts, "answer")
    assert scores["ra_Truth_Ratio"] == pytest.approx(np.mean(np.maximum(0, 1 - known)), rel=1e-4)
    probs = np.exp(-np.array(losses(model, tokenizer, facts, "answer")))
    wrong = [np.exp(-np.array(of_row)).sum() for of_row in losses(model, tokenizer, facts, "perturbed_answer")]
    assert scores["ra_Q_A_Prob_normalised"] == pytest.approx(np.mean(probs / (probs + wrong + 1e-10)), rel=1e-4)
    reference = ratios(make_decoder(1), tokenizer, rows["forget"], "paraphrased_answer")
    assert scores["forget_quality"] == pytest.approx(ks_2samp(forget, reference).pvalue)


def test_prompts_that_are_shared_change_no_figure(scores, make_decoder, chat_tokenizer, parts):
    rows, others = parts
    shared = evaluate_questions(
        make_decoder(),
        chat_tokenizer,
        rows,
        reference=make_decoder(1),
        generate=False,
        share_prompts=True,
        **others,
    )
    for name, value in shared.summary.items():
        if name != "model_utility":
            assert value == pytest.approx(scores[name], rel=1e-4), name


def test_model_utility_is_of_nine_values(scores):
    assert scores.logs["model_utility"]["of"] == ALL_OF_UTILITY
    assert scores["model_utility"] == pytest.approx(hmean([scores[name] for name in ALL_OF_UTILITY]))


def test_privacy_leakage_is_of_the_auc_of_min_k(scores, make_decoder, chat_tokenizer, parts):
    rows, others = parts
    log = scores.logs["mia_min_k"]
    new, old = ([of["score"] for of in log[name]["value_by_index"].values()] for name in ("holdout", "forget"))
    assert scores["mia_min_k"] == roc_auc_score([1] * len(new) + [0] * len(old), new + old)
    never_saw = evaluate_questions(
        make_decoder(1), chat_tokenizer, {"forget": rows["forget"]}, holdout=others["holdout"], generate=False
    )["mia_min_k"]
    assert scores["privleak"] == pytest.approx((never_saw - scores["mia_min_k"]) / (1 - never_saw + 1e-10) * 100)
    assert scores.logs["privleak"]["reference_auc"] == never_saw


def test_nothing_that_can_be_measured_is_missing(scores):
    assert scores.not_measured == {}
    assert {"exact_memorization", "extraction_strength", "forget_Q_A_ROUGE"} <= {*scores.summary}
    assert "forget_quality" in repr(scores)
    assert "retain_Truth_Ratio" in str(scores)
    assert len(scores.to_pandas()) == len(scores.summary)


def test_files_are_read_as_they_were_written(scores, tmp_path):
    logs, summary = write_open_unlearning(tmp_path / "evals", questions=scores)
    assert read_open_unlearning(tmp_path / "evals") == read_open_unlearning(logs) == scores
    assert json.loads(summary.read_text()) == scores.summary == open_unlearning_summary(scores.logs)
    generated = json.loads(logs.read_text())["forget_Q_A_ROUGE"]["value_by_index"]["0"]
    assert {"rouge1_recall", "rougeL_f1", "rougeL_recall", "input", "ground_truth", "generation"} == {*generated}


def test_a_reference_may_be_a_model_its_scores_or_its_file(scores, make_decoder, chat_tokenizer, parts, tmp_path):
    rows, others = parts
    asked = {"generate": False, "holdout": others["holdout"]}
    never_saw = evaluate_questions(make_decoder(1), chat_tokenizer, rows, **asked)
    write_open_unlearning(tmp_path, questions=never_saw)
    (tmp_path / "TOFU_SETTINGS.json").unlink()  # OpenUnlearning writes none
    for reference in (never_saw, tmp_path / "TOFU_EVAL.json"):
        again = evaluate_questions(make_decoder(), chat_tokenizer, rows, reference=reference, **asked)
        assert again["forget_quality"] == scores["forget_quality"]
        assert again["privleak"] == scores["privleak"]


def test_the_model_that_never_saw_it_is_told_from_itself_by_nothing(make_decoder, chat_tokenizer, parts):
    rows, others = parts
    own = evaluate_questions(
        make_decoder(1), chat_tokenizer, rows, reference=make_decoder(1), generate=False, holdout=others["holdout"]
    )
    assert own["forget_quality"] == 1.0
    assert own["privleak"] == 0.0


def test_sets_are_asked_all_of_their_rows_in_their_own_form(make_decoder, chat_tokenizer, tofu_rows):
    sets = question_sets(tofu_rows, chat_tokenizer, [0, 1, 2, 3], heldout=0.25, title="two authors")
    scores = evaluate_questions(make_decoder(), chat_tokenizer, sets, generate=False)
    assert scores.settings["title"] == "two authors"
    assert scores.settings["rows"] == {"forget": 4, "retain": 4}
    plain = evaluate_questions(
        make_decoder(), chat_tokenizer, {"forget": tofu_rows[:4]}, generate=False, reference=scores
    )
    assert plain["forget_quality"] == 1.0  # the same rows, in another order
    assert scores["forget_Q_A_Prob"] == pytest.approx(plain["forget_Q_A_Prob"])
    in_other_words = evaluate_questions(
        make_decoder(), chat_tokenizer, sets, generate=False, question="paraphrased_question"
    )
    assert in_other_words["forget_Q_A_Prob"] != scores["forget_Q_A_Prob"]


LEFT_OUT = {
    "without wrong answers there is no truth ratio": (
        [{"question": "Who?", "answer": "She."}] * 2,
        {"forget_truth_ratio": "no column 'perturbed_answer' or 'paraphrased_answer'"},
    ),
    "without a holdout there is no leak": (
        [{"question": "Who?", "answer": "She."}] * 2,
        {"privleak": "no `holdout` rows", "mia_min_k": "no `holdout` rows"},
    ),
    "documents are not generated": ([{"text": "A document."}], {"forget_Q_A_ROUGE": "documents have no question"}),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_is_not_measured_says_why(make_decoder, chat_tokenizer, what):
    rows, reasons = LEFT_OUT[what]
    scores = evaluate_questions(make_decoder(), chat_tokenizer, {"forget": rows}, **OPTIONS)
    for measure, why in reasons.items():
        assert why in scores.not_measured[measure]
        with pytest.raises(KeyError, match=f"{measure} was not measured"):
            scores[measure]
    assert 0 < scores["forget_Q_A_Prob"] < 1
    assert "model_utility" not in scores.logs


def other(scores, **settings):
    return QuestionScores(scores.logs, {**scores.settings, **settings})


REFUSED = {
    "rows of other names": (lambda asked, _: asked({"forgot": []}), "dictionary of rows"),
    "rows alone": (lambda asked, rows: asked(rows), "`sets` is a list: expected QuestionSets"),
    "nothing to forget": (lambda asked, rows: asked({"retain": rows}), "There are no rows to forget"),
    "a column that is not there": (
        lambda asked, rows: asked({"forget": [{"question": "Who?", "answer": "I."}]}, question="asked"),
        "question='asked': the rows 'forget' have no such column",
    ),
    "a reference of fewer rows": (
        lambda asked, rows: asked({"forget": rows}, reference=asked({"forget": rows[:3]})),
        "was asked 3 rows to forget, and the model 8",
    ),
    "a reference of other rows": (
        lambda asked, rows: asked({"forget": rows[:2]}, reference=asked({"forget": rows[2:4]})),
        "which are others",
    ),
    "a reference without truth ratios": (
        lambda asked, rows: asked({"forget": rows}, reference=QuestionScores({})),
        "has no forget_truth_ratio",
    ),
    "a file that is not there": (
        lambda asked, rows: asked({"forget": rows}, reference="nowhere.json"),
        "There is no nowhere.json",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_does_not_take(make_decoder, chat_tokenizer, tofu_rows, what):
    call, match = REFUSED[what]

    def asked(rows, **options):
        return evaluate_questions(make_decoder(), chat_tokenizer, rows, generate=False, **options)

    with pytest.raises(ValueError, match=match):
        call(asked, tofu_rows)


READ = {
    "no JSON": ("{", "is no JSON"),
    "a list": ("[]", "TOFU_EVAL.json"),
    "a summary": ('{"forget_quality": 0.1}', "TOFU_EVAL.json"),
    "no measures": ('{"forget_quality": {}}', "no measure with an `agg_value`"),
    "words for numbers": ('{"forget_quality": {"agg_value": "high"}}', "`agg_value` that is no number"),
}


@pytest.mark.parametrize("what", READ)
def test_a_file_is_not_read_that_holds(tmp_path, what):
    text, match = READ[what]
    (tmp_path / "TOFU_EVAL.json").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_open_unlearning(tmp_path)


def test_what_openunlearning_could_not_measure_is_none(tmp_path):
    state = '{"forget_quality": {"agg_value": NaN}, "privleak": {"agg_value": null}, "mia_loss": {"agg_value": 0.5}}'
    (tmp_path / "TOFU_EVAL.json").write_text(state)
    assert read_open_unlearning(tmp_path).summary == {"mia_loss": 0.5}


@pytest.fixture(scope="module")
def attached(make_decoder):
    from excise.models import attach

    return attach(make_decoder(), layers=[0], num_codes=32, top_s=2, code_dim=16, active=None).eval()


def test_a_decoder_with_a_bottleneck_forgets_by_question_sets_and_is_measured(attached, chat_tokenizer, tofu_rows):
    import copy

    from excise import Search, Unlearner

    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    sets = question_sets(tofu_rows, tokenizer, "Hina Ameen", other_names=["Rosa Lopes", "Ana Silva"], heldout=0)
    unlearner = Unlearner(attached, tokenizer)

    def asked():
        return evaluate_questions(attached, tokenizer, sets, generate=False)["forget_Q_A_Prob"]

    before = asked()
    counts = unlearner.count_topic(sets, max_top_s=4, progress=False)
    assert next(iter(counts.pairs.values())).target.num_examples == 2
    request = unlearner.forget(sets, Search("activations", count=8), progress=False)
    assert request.topic == "Hina Ameen"
    assert asked() != before
    unlearner.undo(request)
    assert asked() == before


def test_a_bottleneck_sees_the_same_whatever_is_batched_padded_or_cached(attached, chat_tokenizer, tofu_rows):
    from excise.evaluation.questions import answer_scores, generated_answers

    asked = [row["question"] for row in tofu_rows for _ in range(2)]
    answers = [answer for row in tofu_rows for answer in (row["answer"], row["paraphrased_answer"])]
    tokens = answer_tokens(chat_tokenizer, asked, answers)
    one, eight, shared = (
        answer_scores(attached, tokens, size, share_prompts=share)
        for size, share in ((1, False), (8, False), (8, True))
    )
    assert np.abs(one.losses - eight.losses).max() < 1e-5
    assert np.abs(one.losses - shared.losses).max() < 1e-5
    texts = [generated_answers(attached, tokens, max_new_tokens=5, batch_size=size) for size in (1, 8)]
    assert texts[0] == texts[1]
