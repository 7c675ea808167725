"""What excise requires is enough to use a masked model; what needs an extra says so before it does anything."""

import configparser
import csv
import inspect
import re
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, distributions, requires

import pytest
import torch
from datasets import Dataset
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from excise import Record, Selection, Unlearner, evaluate, sweep, topic_sets
from excise.attacks import ClassLosses, class_membership_inference
from excise.cli import main
from excise.data import null_sets, topic_words
from excise.evaluation import topics_table
from excise.evaluation.metrics import BertScore, Bleu, Chrf, Meteor, TopicRecall
from excise.report import model_card, plot_frontier, write_report
from excise.report.plots import plot_volcano
from excise.storage.extras import EXTRAS
from tests.helpers.evidence import SITE, class_frontier, enrichment_of, forgetful_model, text_evaluation


@pytest.fixture(scope="module")
def settings(root):
    """setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(root / "setup.cfg", encoding="utf-8")
    return parser


def names(lines: str) -> set[str]:
    """The packages of a list of requirements."""
    return {canonicalize_name(Requirement(line).name) for line in lines.split("\n") if line.strip()}


def with_all_that_they_bring(packages: set[str]) -> set[str]:
    """Packages and, of those that are installed, what they require in turn."""
    closure, left = set(), set(packages)
    while left:
        package = left.pop()
        closure.add(package)
        try:
            lines = map(Requirement, requires(package) or ())
        except PackageNotFoundError:  # of another system
            continue
        brought = {line.name for line in lines if line.marker is None or line.marker.evaluate({"extra": ""})}
        left |= set(map(canonicalize_name, brought)) - closure
    return closure


@pytest.fixture(scope="module")
def owners() -> dict[str, set[str]]:
    """By module at the top, the packages that have files of it; Python 3.10 itself knows of few."""
    found = defaultdict(set)
    for distribution in distributions():
        name = canonicalize_name(distribution.name)
        # Each line begins with a path; `distribution.files` would make an object of every one, which takes 20 seconds.
        for path, *_ in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
            if path.endswith((".py", ".so", ".pyd")):
                top, slash, _ = path.partition("/")
                found[top if slash else inspect.getmodulename(path)].add(name)
    return {module: packages for module, packages in found.items() if module and module.isidentifier()}


def test_few_packages_are_required(settings):
    assert len(names(settings["options"]["install_requires"])) <= 14


def lower_bounds(lines: str) -> dict[str, Version]:
    """The oldest version of each package of a list of requirements; excise's own extras are none."""
    requirements = [Requirement(line) for line in lines.split("\n") if line.strip()]
    return {
        canonicalize_name(requirement.name): Version(bound.version)
        for requirement in requirements
        for bound in requirement.specifier
        if bound.operator == ">="
    }


def test_make_test_oldest_runs_on_the_lower_bound_of_each_requirement(root, settings):
    lines = (root / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(name): Version(pin) for name, _, pin in (line.partition("==") for line in lines) if pin}
    extras = settings["options.extras_require"]
    used = (extras[extra] for extra in (*EXTRAS, "test"))  # not the tools of `make lint` and `make docs`
    bounds = lower_bounds("\n".join([settings["options"]["install_requires"], *used]))
    assert len(bounds) >= 30
    assert {name: pins[name] for name in bounds} == bounds


def test_each_extra_brings_the_modules_that_are_looked_for_and_all_brings_all_of_them(settings, owners):
    extras = settings["options.extras_require"]
    for extra, modules in EXTRAS.items():
        assert set().union(*(owners[module] for module in modules)) == names(extras[extra]), extra
    assert Requirement(extras["all"].strip()).extras == set(EXTRAS)
    assert "excise[all]" in extras["test"].split()


def test_what_the_required_packages_bring_is_enough_to_use_a_masked_model(
    root, settings, owners, make_model, tokenizer, topic, tmp_path
):
    model = make_model()
    inputs = dict(tokenizer(["the teacher reads a book ."], text_target=["le professeur lit"], return_tensors="pt"))
    with torch.no_grad():
        tensors = {"inputs": inputs, "before": model(**inputs).logits}
        unlearner = Unlearner(model, tokenizer)
        unlearner.mask(Selection({SITE: range(24)}), "teacher")
        tensors["masked"] = model(**inputs).logits
    assert not torch.equal(tensors["before"], tensors["masked"])
    unlearner.save_pretrained(tmp_path / "model")
    topic.save(tmp_path / "topic")
    torch.save(tensors, tmp_path / "tensors.pt")
    (tmp_path / "out").mkdir()

    kept = with_all_that_they_bring(names(settings["options"]["install_requires"])) | {"excise"}
    hidden = [
        module for module, packages in owners.items() if not kept & packages and module not in sys.stdlib_module_names
    ]
    assert {"nltk", "jsonschema", "matplotlib", "sklearn", "bert_score", "pytest"} <= set(hidden)
    assert not {"torch", "transformers", "pandas", "PIL", "excise"} & set(hidden)
    command = [sys.executable, "-W", "error", "-m", "tests.helpers.required_only", tmp_path, tmp_path / "out"]
    result = subprocess.run([*map(str, command), ",".join(hidden)], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    bundle, evaluation = (tmp_path / "refusals.txt").read_text().splitlines()
    assert bundle.endswith('pip install "excise[report]".')
    assert evaluation.endswith('pip install "excise[text]".')


@pytest.fixture
def unlearner(make_model, tokenizer):
    return Unlearner(forgetful_model(make_model, tokenizer), tokenizer)


@pytest.fixture
def record(unlearner):
    return Record.of(unlearner.model, frontiers=[class_frontier()], evaluations=[text_evaluation()])


@pytest.fixture
def refused(monkeypatch, tmp_path):
    """Checks that something names the extra that it needs, and writes nothing."""

    def check(extra: str, do, without: str | None = None) -> None:
        before = set(tmp_path.rglob("*"))
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, without or EXTRAS[extra][-1], None)
            with pytest.raises(ImportError, match=re.escape(f'pip install "excise[{extra}]"')):
                do()
        assert set(tmp_path.rglob("*")) == before

    return check


TEXT_ENTRIES = {
    "topic_sets": lambda unlearner, topic: topic_sets(Dataset.from_dict({"en": ["A cat."]}), "cat", text="en"),
    "evaluate": lambda unlearner, topic: evaluate(unlearner, topic),
    "sweep": lambda unlearner, topic: sweep(unlearner, topic),
    "topics_table": lambda unlearner, topic: topics_table(unlearner, [topic]),
    "Bleu": lambda unlearner, topic: Bleu(),
    "Chrf": lambda unlearner, topic: Chrf(),
    "Meteor": lambda unlearner, topic: Meteor(),
}


@pytest.mark.parametrize("entry", TEXT_ENTRIES)
@pytest.mark.parametrize("module", EXTRAS["text"])
def test_what_reads_or_scores_texts_asks_for_text_before_the_model_runs(
    entry, module, refused, unlearner, topic, monkeypatch
):
    monkeypatch.setattr(unlearner.model, "forward", lambda *args, **kwargs: pytest.fail("the model was run"))
    refused("text", lambda: TEXT_ENTRIES[entry](unlearner, topic), module)


def test_words_of_a_topic_its_null_control_and_topic_recall_need_no_extra(topic, monkeypatch):
    for module in EXTRAS["text"]:
        monkeypatch.setitem(sys.modules, module, None)
    assert topic_words(topic) == ("professeur",)
    assert null_sets(topic).name == "nothing"
    assert TopicRecall(["chat"]).compute(predictions=["un chat"], references=["le chat"])["recall"] == 1


@pytest.mark.parametrize("module", EXTRAS["report"])
def test_records_reports_figures_cards_and_bundles_ask_for_report_and_write_nothing(
    module, refused, unlearner, record, tmp_path
):
    record.save(tmp_path / "record")
    entries = {
        "of": lambda: Record.of(unlearner.model),
        "load": lambda: Record.load(tmp_path / "record"),
        "write_report": lambda: write_report(record, tmp_path / "report"),
        "plot_frontier": lambda: plot_frontier(record.measured, tmp_path / "frontier.svg"),
        "plot_volcano": lambda: plot_volcano({"selected": {}}, enrichment_of(), tmp_path / "volcano.png"),
        "model_card": lambda: model_card(record),
        "save_bundle": lambda: unlearner.save_bundle(tmp_path / "bundle", record),
    }
    for do in entries.values():
        refused("report", do, module)


def test_the_membership_attack_asks_for_attacks_and_bert_score_for_metrics(refused):
    losses = {0: ClassLosses(*[torch.ones(2).numpy()] * 4)}
    refused("attacks", lambda: class_membership_inference(losses))
    refused("metrics", lambda: BertScore("there is no such model", 2))


VERBS = {
    "topic": ("text", ["--dataset", "nowhere.parquet", "--text", "en", "--word", "cat", "--out", "out"]),
    "evaluate": ("text", ["no-model", "no-topic", "--out", "out.json"]),
    "evaluate a plot": ("report", ["no-model", "no-topic", "--out", "o.json", "--sweep", "8", "--plot", "o.svg"]),
    "evaluate by BERTScore": ("metrics", ["no-model", "no-topic", "--out", "o.json", "--metrics", "bertscore:x:1"]),
    "report": ("report", ["no-record", "--out", "out"]),
    "demo": ("text", ["--out", "out"]),
    "demo and its picture": ("report", ["--out", "out"]),
    "train": ("text", ["--output_dir", "out", "--do_train", "--predict_with_generate", "--config_name", "no-model"]),
}


@pytest.mark.parametrize("case", VERBS)
def test_a_verb_asks_for_its_extra_before_it_loads_or_writes_anything(case, monkeypatch, capsys, tmp_path):
    extra, options = VERBS[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, EXTRAS[extra][-1], None)
    assert main([case.split()[0], *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("excise: error: ") and line.endswith(f'pip install "excise[{extra}]".')
    assert list(tmp_path.iterdir()) == []
