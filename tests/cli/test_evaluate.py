import json
import shutil
from importlib import import_module

import pytest
from transformers import T5Config, T5ForConditionalGeneration

from excise import Evaluation, Sweep
from excise.cli.evaluate import metric_names


@pytest.fixture
def evaluate(excise, saved, tmp_path):
    def run(*options):
        words = ["--word", "professeur", "--max-new-tokens", 4]
        return excise("evaluate", saved / "model", saved / "topic", *words, *options, "--out", tmp_path / "out.json")

    return run


def test_evaluate_writes_what_it_shows(evaluate, tmp_path):
    data = evaluate()
    result = Evaluation.load(tmp_path / "out.json")
    assert data["scores"] == json.loads(json.dumps(result.scores))
    # Nothing is removed, so there is no random control.
    assert set(data["scores"]) == {"before", "after", "bottleneck left out"}
    assert data["words"] == ["professeur"]
    assert data["examples"] == []


def test_codes_of_a_file_are_tried_beside_random_ones(evaluate, excise, saved, tmp_path):
    unlearn = ["unlearn", saved / "model", saved / "topic", "--count", 2, "--q", 0.5, "--out", tmp_path / "model"]
    excise(*unlearn, "--codes-out", tmp_path / "codes.json")
    data = evaluate("--codes", tmp_path / "codes.json", "--metrics", "meteor")
    assert data["removed"] == 2
    drawn = {"random codes", "topic-matched random codes"}
    erased = {"embedding rows erased too", "rows erased, bottleneck left out"}
    assert set(data["scores"]) == {"before", "after", "bottleneck left out", *erased, *drawn}
    assert data["notes"][-1].startswith("Firings in the topic's 12 and 12 other examples: the removed codes ")
    assert "meteor" in data["scores"]["after"]["heldout"]


def test_the_model_itself_as_reference_has_scores_but_no_scale_for_a_normalised_drop(evaluate, saved):
    data = evaluate("--reference-model", saved / "model")
    assert data["scores"]["reference model"] == data["scores"]["before"]
    assert data["drops"]["heldout_bleu_normalized"] is None


def test_a_base_model_shows_what_the_bottleneck_costs(evaluate, failing, saved, tmp_path):
    settings = json.loads((saved / "model" / "config.json").read_text())
    plain = {name: value for name, value in settings.items() if "bottleneck" not in name and name != "unlearning"}
    T5ForConditionalGeneration(T5Config(**plain | {"model_type": "t5"})).save_pretrained(tmp_path / "plain")
    data = evaluate("--base", tmp_path / "plain")
    assert list(data["scores"]) == ["before", "after", "bottleneck left out", "base model"]
    scores = {name: sets["heldout_retain"]["bleu"] for name, sets in data["scores"].items()}
    expected = 1 - scores["before"] / scores["base model"] if scores["base model"] else None
    assert data["drops"]["heldout_retain_bleu_bottleneck"] == (expected and pytest.approx(expected))
    arguments = ["evaluate", saved / "model", saved / "topic", "--out", tmp_path / "x.json"]
    assert "has bottlenecks. Give the plain" in failing(*arguments, "--base", saved / "model", "--word", "professeur")
    assert "There is no folder ./nowhere" in failing(*arguments, "--base", "./nowhere")
    assert not (tmp_path / "x.json").exists()


def test_a_reference_model_goes_with_its_own_tokenizer(evaluate, saved, tmp_path, monkeypatch):
    def generate(model, tokenizer, texts, **options):
        return [f"{model.name_or_path} {tokenizer.name_or_path}"] * len(texts)

    monkeypatch.setattr(import_module("excise.evaluation.texts"), "generate_texts", generate)
    other = shutil.copytree(saved / "model", tmp_path / "other")
    evaluate("--reference-model", other)
    outputs = Evaluation.load(tmp_path / "out.json").outputs
    assert outputs["reference model"]["heldout"][0] == f"{other} {other}"
    assert outputs["before"]["heldout"][0] == f"{saved / 'model'} {saved / 'model'}"


def test_a_sweep_evaluates_each_number_of_codes_and_draws_them(evaluate, tmp_path):
    data = evaluate("--sweep", "2,4", "--q", 0.5, "--count", 2, "--plot", tmp_path / "sweep.png")
    sweep = Sweep.load(tmp_path / "out.json")
    assert list(data["steps"]) == ["2", "4"]
    assert {str(top_s): step.removed for top_s, step in sweep.evaluations.items()} == {
        top_s: step["removed"] for top_s, step in data["steps"].items()
    }
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_names_of_metrics_are_read_with_their_models():
    names = metric_names("meteor,bertscore:bert-base-cased:9,bartscore:C:/bart")
    assert names == (("meteor",), ("bertscore", "bert-base-cased", "9"), ("bartscore", "C:/bart"))


@pytest.mark.parametrize("name", ["rouge", "meteor:x", "bartscore", "bertscore:bert", "bertscore:bert:last", ""])
def test_a_metric_that_is_not_known_or_lacks_its_model_is_wrong_usage(failing, saved, name):
    options = ["evaluate", saved / "model", saved / "topic", "--out", "x.json", "--metrics", name]
    assert "expected meteor, bertscore:MODEL:LAYER or bartscore:MODEL" in failing(*options, status=2)


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["--sweep", "8,x"], 2, "expected whole numbers"),
        (["--sweep", "8", "--codes", "c.json"], 2, "leave out --codes"),
        (["--plot", "x.png"], 2, "give --sweep too"),
        (["--word", "zzz"], 1, "None of the"),
        (["--codes", "nothing.json"], 1, "nothing.json"),
        (["--sweep", "8", "--plot", "x.gif"], 1, "written as .svg or .png"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_writes_nothing(failing, saved, tmp_path, options, status, says):
    arguments = ["evaluate", saved / "model", saved / "topic", "--out", tmp_path / "out.json", "--max-new-tokens", 2]
    assert says in failing(*arguments, *options, status=status)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--out", "{model}"], "model is a folder"),
        (["--out", "{model}/config.json/out.json"], "config.json is no folder"),
        (["--out", "{out}", "--sweep", "8", "--plot", "{model}.png/x.png"], "model.png is no folder"),
    ],
)
def test_where_results_cannot_go_is_said_before_a_model_is_loaded(failing, saved, tmp_path, monkeypatch, options, says):
    monkeypatch.setattr("excise.cli.evaluate.load_unlearner", None)
    (tmp_path / "model").mkdir()
    for name in ("model/config.json", "model.png"):
        (tmp_path / name).touch()
    options = [option.format(model=tmp_path / "model", out=tmp_path / "out.json") for option in options]
    assert says in failing("evaluate", saved / "model", saved / "topic", *options)


def test_a_folder_that_takes_no_files_is_no_place_for_results(failing, saved, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    message = failing("evaluate", saved / "model", saved / "topic", "--out", tmp_path / "new" / "out.json")
    assert f"{tmp_path} is no folder that can be written to" in message


def test_an_interrupted_evaluation_leaves_nothing(failing, saved, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("excise.report.results.Evaluation.to_dict", interrupt)
    arguments = ["evaluate", saved / "model", saved / "topic", "--word", "professeur", "--out", tmp_path / "out.json"]
    assert failing(*arguments, status=130) == "excise: interrupted"
    assert list(tmp_path.iterdir()) == []
