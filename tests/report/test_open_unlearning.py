"""Result files of OpenUnlearning."""

import json

import pytest

from excise import Evaluation
from excise.report.attacks import AttackResult, Attempt
from excise.report.open_unlearning import (
    open_unlearning_logs,
    open_unlearning_summary,
    privacy_leak,
    rouge_l_recall,
    write_open_unlearning,
)

SCORES = {"loss": (0.7, 0.5), "min-k": (0.75, 0.6), "min-k++": (0.4, 0.5), "zlib": (0.6, 0.55)}
SCORES |= {"reference": (0.8, None), "gradient norm": (0.65, 0.5)}
MIA = ["mia_gradnorm", "mia_loss", "mia_min_k", "mia_min_k_plus_plus", "mia_reference", "mia_zlib"]


@pytest.fixture
def membership():
    attempts = tuple(Attempt({"how": how}, score, null) for how, (score, null) in SCORES.items())
    memorised = {"exact memorization": 0.3, "extraction strength": 0.1, "probability": 0.2}
    return AttackResult(
        attack="text membership",
        measure="auc",
        score=0.8,
        interval=(0.7, 0.9),
        null=None,
        null_is="",
        before=0.9,
        after=None,
        attempts=attempts,
        verdict="not withstood",
        reason="It is.",
        details={
            "original": dict.fromkeys(SCORES, 0.9),
            "memorised": {"removed": memorised, "original": {name: 2 * value for name, value in memorised.items()}},
        },
    )


@pytest.fixture
def evaluation():
    outputs = {"heldout": ["le chat dort", "un livre"], "heldout_retain": ["le chien court"]}
    return Evaluation(
        topic="book",
        words=("livre",),
        removed=3,
        scores={"after": {"heldout": {"bleu": 1.0}, "heldout_retain": {"bleu": 1.0}}},
        outputs={"after": outputs},
        texts={name: ["a text"] * len(of) for name, of in outputs.items()},
        references={"heldout": ["le chien dort", "un livre"], "heldout_retain": ["le chien court"]},
        settings={},
    )


def test_a_summary_has_its_names_and_values_alone(membership, evaluation):
    logs = open_unlearning_logs([membership], evaluation)
    others = ["exact_memorization", "extraction_strength", "forget_Q_A_Prob", "forget_Q_A_ROUGE", "privleak"]
    assert list(logs) == sorted([*MIA, *others, "retain_Q_A_ROUGE"])
    summary = open_unlearning_summary(logs)
    assert summary["mia_min_k"] == 0.75
    assert summary["forget_Q_A_ROUGE"] == pytest.approx((2 / 3 + 1) / 2)
    assert summary["retain_Q_A_ROUGE"] == 1
    assert summary["exact_memorization"] == 0.3
    assert all(isinstance(value, float) for value in summary.values())


def test_privacy_leak_is_relative_to_the_model_that_never_saw_it(membership):
    logs = open_unlearning_logs([membership])
    assert logs["privleak"]["agg_value"] == pytest.approx(((1 - 0.75) - (1 - 0.6)) / (1 - 0.6) * 100, abs=1e-4)
    assert privacy_leak(0.5) == 0
    assert privacy_leak(1.0) == -100


def test_logs_of_the_model_that_never_saw_it_are_what_a_retain_model_has(membership):
    logs = open_unlearning_logs([membership], of="never_saw")
    assert logs["mia_min_k"] == {"auc": 0.6, "agg_value": 0.6}
    assert "mia_reference" not in logs
    assert "privleak" not in logs
    original = open_unlearning_logs([membership], of="original")
    assert original["mia_loss"]["agg_value"] == 0.9
    assert original["forget_Q_A_Prob"]["agg_value"] == 0.4


def test_files_are_those_that_it_looks_for(membership, tmp_path):
    logs, summary = write_open_unlearning(tmp_path / "evals", [membership])
    assert (logs.name, summary.name) == ("TOFU_EVAL.json", "TOFU_SUMMARY.json")
    read = json.loads(logs.read_text())
    assert json.loads(summary.read_text()) == {name: of["agg_value"] for name, of in read.items()}


def test_other_attacks_alone_have_nothing_of_it(tmp_path):
    other = AttackResult.not_measured("left out", "recall", "There is no bottleneck.")
    assert open_unlearning_logs([other]) == {}
    with pytest.raises(ValueError, match="None of 1 attacks"):
        write_open_unlearning(tmp_path / "evals", [other])
    assert not (tmp_path / "evals").exists()


def test_another_model_is_refused(membership):
    with pytest.raises(ValueError, match="of='retain'"):
        open_unlearning_logs([membership], of="retain")


@pytest.mark.parametrize(
    ("text", "reference", "recall"),
    [
        ("", "a word", 0.0),
        ("a word", "", 0.0),
        ("b a", "a b", 0.5),
        ("the runner was running there", "he runs there", 2 / 3),
        ("très bien", "tres bien", 1 / 2),
    ],
)
def test_rouge_is_the_longest_common_sequence_of_stems(text, reference, recall):
    assert rouge_l_recall(text, reference) == pytest.approx(recall)
