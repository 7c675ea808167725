from dataclasses import replace

import pytest
from transformers import AutoModelForSeq2SeqLM

from excise import Evaluation
from excise.cli import main
from excise.cli.demo.checks import Bounds, broken_bounds, broken_promises
from excise.cli.demo.running import DemoResult, run_demo
from excise.cli.demo.training import Recipe, easy_pairs
from excise.data.topics import TopicSets
from excise.ledger.ledger import Ledger

TINY = Recipe(
    dim=16,
    plain_steps=2,
    codebook_steps=2,
    init_steps=1,
    num_codes=128,
    batch_size=4,
    max_retain=10,
)
ANYTHING = Bounds(min_recall_before=0, min_recall_lost=-1e9, max_retain_loss=1e9, max_random_lost=1e9)


@pytest.fixture
def evaluation():
    """Recall 0.8, 0.1 and 0.7, BLEU of the rest 40, 39 and 39."""

    def scores(recall, bleu):
        return {"heldout": {"recall": recall}, "heldout_retain": {"bleu": bleu}}

    conditions = {"before": scores(0.8, 40), "after": scores(0.1, 39), "random codes": scores(0.7, 39)}
    return Evaluation("book", ("livre",), 5, conditions, {}, {}, {}, {})


def test_bounds_that_hold_are_no_problem(evaluation):
    assert broken_bounds(evaluation, Bounds()) == []


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        ({"min_recall_before": 0.9}, "topic recall before is 0.80, below 0.9"),
        ({"min_recall_lost": 0.9}, "88% of topic recall is gone, less than 90%"),
        ({"max_retain_loss": 0.02}, "2.5% of BLEU on other sentences is gone, more than 2%"),
        ({"max_random_lost": 0.1}, "random codes take 13% of topic recall, more than 10%"),
    ],
)
def test_each_bound_that_is_missed_is_named(evaluation, bound, says):
    assert broken_bounds(evaluation, replace(Bounds(), **bound)) == [says]


def test_a_model_that_writes_nothing_right_is_told_so(evaluation):
    evaluation.scores["before"]["heldout_retain"]["bleu"] = 0.0
    assert broken_bounds(evaluation, Bounds()) == ["BLEU on other sentences is 0 before"]


def test_the_command_fails_when_a_bound_is_missed(monkeypatch, capsys, tmp_path):
    missed = DemoResult("a table", {"scores": {}}, ("topic recall before is 0.10, below 0.5",))
    monkeypatch.setattr("excise.cli.demo.running.run_demo", lambda folder, **options: missed)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 1
    captured = capsys.readouterr()
    assert captured.out == "a table\n"
    assert "error: topic recall before is 0.10, below 0.5" in captured.err


def test_its_sentences_are_short_and_frequent_and_in_one_split_only():
    train, test = easy_pairs(Recipe())
    english = [{pair["en"].lower() for pair in split["translation"]} for split in (train, test)]
    assert not english[0] & english[1]
    assert len(train) > 5_000
    assert max(len(text.split()) for text in english[0]) == 7


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run of two steps: what it makes is nonsense, but all of it is made."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    steps = []
    return run_demo(folder, recipe=TINY, bounds=ANYTHING, progress=False, say=steps.append), folder, steps


def test_a_run_leaves_models_sets_evaluation_and_picture(small):
    result, folder, _ = small
    names = {"model", "plain", "topic", "unlearned", "evaluation.json", "demo.png"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert str(Evaluation.load(folder / "evaluation.json")) in result.text
    assert str(folder) in result.text


def test_what_is_saved_reloads_with_its_mask_and_comes_back_when_undone(small):
    result, folder, _ = small
    # A model of two steps may have a BLEU of 0 before, of which no share can be lost: that is told, and nothing else.
    assert not [problem for problem in result.problems if not problem.startswith("BLEU on other sentences is 0")]
    unlearned, model = (AutoModelForSeq2SeqLM.from_pretrained(folder / name) for name in ("unlearned", "model"))
    request = Ledger.from_dict(unlearned.config.unlearning).requests[0]
    assert request.topic == "book"
    assert result.data["codes"] == request.codes
    assert model.config.unlearning is None


def test_a_run_says_each_step_and_how_long_it_took(small):
    result, _, steps = small
    assert [f"{step} ..." for step in result.data["seconds"]] == steps


def test_a_promise_that_is_broken_is_named(small):
    _, folder, _ = small
    sets = TopicSets.load(folder / "topic")
    problems = broken_promises(folder / "unlearned", 1, ["other"], ["outputs"], sets)
    assert problems == [
        "the reloaded model does not put out what the saved one did",
        "undoing the request does not bring the first outputs back",
    ]


def test_an_interrupted_demo_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("excise.cli.demo.running.plain_t5", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path / "demo", recipe=TINY, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_whole_demo_keeps_its_bounds(tmp_path):
    assert run_demo(tmp_path / "demo", progress=False).problems == ()
