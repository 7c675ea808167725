"""The reproduction of CodeUnlearn runs at no size on two models, goes on, takes more metrics later, and reports."""

import json
import re
import runpy
import sys

import pytest
from datasets import Dataset
from transformers import BertConfig, BertModel, T5Config, T5ForConditionalGeneration, set_seed

import excise.evaluation.texts
from excise import CodebookSAEConfig, CodebookT5ForConditionalGeneration, Sweep
from excise.data import load_demo, train_tokenizer
from tests.evaluation.metrics.conftest import WORDS, save_tokenizer

TOPIC, OTHER = "book", "dog"
METRICS = ("BLEU", "METEOR", "BERTScore P", "BERTScore R", "BERTScore F1", "BARTScore")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Random models of three classes, and pairs of sentences of which many hold the topic."""
    folder = tmp_path_factory.mktemp("codeunlearn")
    texts = []
    for split, most in {"train": 60, "test": 22}.items():
        rows = load_demo()[split]["translation"][:]
        parts = [[row for row in rows if re.search(rf"\b{word}s?\b", row["en"])][:most] for word in (TOPIC, OTHER)]
        plain = [row for row in rows if not re.search(rf"\b(?:{TOPIC}|{OTHER})s?\b", row["en"])][: 4 * most]
        pairs = [*parts[0], *parts[1], *plain]
        Dataset.from_dict({"translation": pairs}).to_parquet(folder / f"{split}.parquet")
        texts += [text for pair in pairs for text in pair.values()]
    tokenizer = train_tokenizer(texts, 400)
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 4}
    config = T5Config(vocab_size=len(tokenizer), decoder_start_token_id=0, **sizes)
    for seed, name in enumerate(("base", "plain", "codes-a", "codes-b")):
        set_seed(seed)
        model = T5ForConditionalGeneration(config)
        if name.startswith("codes"):
            bottleneck = CodebookSAEConfig(num_codes=300, top_s=4, code_dim=16, active=None)
            model = CodebookT5ForConditionalGeneration.from_base(model, bottleneck, [0])
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=4 + len(WORDS), pad_token_id=1, **sizes)).save_pretrained(folder / "bert")
    save_tokenizer(folder / "bert", "[CLS]", "[SEP]", cls_token="[CLS]", sep_token="[SEP]")
    return folder


@pytest.fixture
def reproduce(root, inputs, tmp_path, monkeypatch, capsys):
    folder, out = root / "examples" / "reproduce", tmp_path / "out"
    monkeypatch.syspath_prepend(str(folder))
    given = [f"--{name}={inputs / name}" for name in ("plain", "base")]
    given += [f"--{split}_file={inputs / split}.parquet" for split in ("train", "test")]
    given += [f"--topics={TOPIC}", f"--sweep_topics={TOPIC}", "--synonym", TOPIC, OTHER, "--sweep_top_s", "8"]
    given += ["--test=8", "--repeats=1", "--max_new_tokens=4", f"--out={out}"]

    def run(*more):
        models = ["--models", str(inputs / "codes-a"), str(inputs / "codes-b")]
        monkeypatch.setattr(sys, "argv", ["reproduce_codeunlearn", *models, *given, "--retain=12", *more])
        for name in ("codeunlearn_report", "codeunlearn_tables", "codeunlearn_figures"):
            sys.modules.pop(name, None)
        runpy.run_path(str(folder / "reproduce_codeunlearn.py"), run_name="__main__")
        return out

    return run


def made(out):
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.glob("model-*/**/*.json")}


def cells(text, title):
    """The rows of the first table under a title, by its header."""
    lines = [line for line in text.partition(f"## {title}")[2].splitlines() if line.startswith("|")]
    lines = lines[: next((i for i, line in enumerate(lines[2:], 2) if set(line) <= set("|-")), len(lines) + 1) - 1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


@pytest.mark.slow
def test_all_tables_are_made_of_two_models_go_on_where_cut_off_and_take_metrics_later(
    reproduce, inputs, tmp_path, monkeypatch
):
    docs = tmp_path / "page.md"
    docs.write_text("# By hand\n\n")
    out = reproduce(f"--docs={docs}")
    first, text = made(out), docs.read_text()
    assert text.startswith("# By hand\n\n<!-- Below: made by") and "# CodeUnlearn, measured" not in text
    titles = ("Targets", "Topic recall", "Table 1", "Table 2: default", "Table 2: paper", "Table 3", "Table 5")
    assert all(f"## {title}" in text for title in titles)
    for rule in ("default", "paper"):
        rows = cells(text, f"Table 2: {rule}")
        assert [row["Set"] for row in rows] == ["D'_T", "D_R"]
        for row in rows:
            assert all(row[name] == "missing" for name in METRICS if name.startswith("B") and name != "BLEU")
            assert all(re.fullmatch(r"\S+ ± \S+ \(.+\) \[2\]", row[name]) for name in ("BLEU", "METEOR"))
    pictures = re.findall(r"\]\((page/.+?\.svg)\)", text)
    assert len(pictures) == 4 and all((tmp_path / name).exists() for name in pictures)
    assert (out / "report.md").read_text().count("](frontier.svg)") == 1

    gone = ["model-1/ledger.json", f"model-0/sweeps/paper/{TOPIC}.json"]  # as where a run was cut off
    for name in gone:
        (out / name).unlink()
    generated, generate = [], excise.evaluation.texts.generate_texts
    monkeypatch.setattr(
        excise.evaluation.texts, "generate_texts", lambda *a, **o: generated.append(len(a[2])) or generate(*a, **o)
    )
    reproduce(f"--docs={docs}", f"--bert_score={inputs / 'bert'}:1", f"--bart_score={inputs / 'plain'}")
    second = made(out)
    kept = {name for name in first if name.endswith(("model.json", "null.json", "ledger.json", "runtimes.json"))}
    assert {*second} == {*first} and {name for name in kept if second[name] != first[name]} == {gone[0]}
    assert 0 < len(generated) <= 10  # of the one sweep that was gone: what was kept is scored and not made again
    for row in cells(docs.read_text(), "Table 2: default"):
        assert all(re.fullmatch(r"\S+ ± \S+ \(.+\) \[2\]", row[name]) for name in METRICS)
    assert "BARTScore: `model:plain|direction:recall" in docs.read_text()
    (evaluation,) = Sweep.load(out / "model-1" / "default" / f"{TOPIC}.json").evaluations.values()
    assert all("bert_score_f1" in scores for sets in evaluation.scores.values() for scores in sets.values())

    with pytest.raises(SystemExit, match="holds results of other arguments"):
        reproduce("--retain=11")
    (out / "model-0" / "model.json").write_text(json.dumps("another"))
    with pytest.raises(SystemExit, match="holds results of another model than 'codes-a'"):
        reproduce()


def test_a_bert_score_without_a_layer_is_refused(reproduce):
    with pytest.raises(SystemExit, match="expected MODEL:LAYER, as roberta-large:17"):
        reproduce("--bert_score=roberta-large")
