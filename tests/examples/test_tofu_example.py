"""The reproduction of TOFU runs at no size, goes on where it was cut off, and reports."""

import importlib
import json
import runpy
import sys

import pytest

METHODS = ("IdkDPO", "SimNPO", "RMU")


@pytest.fixture(scope="module")
def tofu(tofu_rows, facts, tmp_path_factory):
    """A folder of files as TOFU's, of four authors, the last of whom is forgotten."""
    folder = tmp_path_factory.mktemp("tofu")
    authors = (0, 0, 1, 1, 2, 2, 199, 199)
    rows = [row | {"author": author} for author, row in zip(authors, tofu_rows, strict=True)]
    plain = [{name: row[name] for name in ("question", "answer", "author")} for row in rows]
    files = {"full": plain, "retain_perturbed": tofu_rows[:4], "forget05_perturbed": tofu_rows[6:]}
    files |= {"real_authors_perturbed": facts, "world_facts_perturbed": facts, "holdout10": tofu_rows[4:6]}
    for name, of in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of), encoding="utf-8")
    return folder


@pytest.fixture
def reproduce(root, tofu, tmp_path, monkeypatch):
    folder = root / "examples" / "reproduce"
    monkeypatch.syspath_prepend(str(folder))
    out = tmp_path / "out"

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["reproduce_tofu", f"--data={tofu}", f"--out={out}", "--quick", *arguments])
        for imported in ("tofu_attacks", "tofu_report", "tofu_data", "tofu_chats", "tofu_bottleneck"):
            sys.modules.pop(imported, None)
        runpy.run_path(str(folder / "reproduce_tofu.py"), run_name="__main__")
        return out

    return run


def made(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.parent != out}


def test_tofu_is_reproduced_method_by_method_and_goes_on(reproduce, capsys):
    specs = ["NPO beta=0.5 learning_rate=0.01", "GradAscent learning_rate=1e30"]
    out = reproduce("--methods", *METHODS, *specs)
    lines = {of["method"]: of for of in json.loads((out / "tofu.json").read_text())["lines"]}
    diverged = "GradAscent learning_rate=1e30: diverged"
    assert {*lines} == {"before", "never saw it", *METHODS, specs[0], diverged}
    for name in METHODS:
        assert 0 < lines[name]["forget_Q_A_Prob"] < 1 and lines[name]["seconds"] > 0
        assert lines[name]["forget_quality"] is not None and lines[name]["privleak"] is not None
    assert lines[diverged]["forget_quality"] is None
    assert (out / "tofu.md").read_text().count("\n| ") == 2 + len(METHODS) + 2 + 1
    run = json.loads((out / "methods" / "NPO_beta=0.5_learning_rate=0.01" / "seed-0" / "run.json").read_text())
    assert run["settings"] == {"beta": 0.5, "learning_rate": 0.01} and len(run["history"]) == 4
    assert run["history"][0]["loss on forget"] != run["history"][-1]["loss on forget"]

    before = made(out)
    (out / "methods" / "RMU" / "seed-0" / "run.json").unlink()  # cut off after the measures were taken
    (out / "methods" / "SimNPO" / "seed-0" / "TOFU_EVAL.json").unlink()
    (out / "methods" / "SimNPO" / "seed-0" / "run.json").unlink()  # and before
    reproduce("--methods", *METHODS, *specs)
    after = made(out)
    assert {*after} == {*before}
    assert {path.parts[-3] for path in after if after[path] != before[path]} == {"RMU", "SimNPO"}
    assert {of["method"]: of["forget_Q_A_Prob"] for of in json.loads((out / "tofu.json").read_text())["lines"]} == {
        name: of["forget_Q_A_Prob"] for name, of in lines.items()
    }


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks for it
def test_bottlenecks_stand_beside_the_methods(reproduce, tmp_path, capsys):
    settings = "layers=0 init_steps=5 batch=2"
    units = f"units: sparse_units num_codes=64 active=6 used=3 teacher=0.5 others=3 vocabulary=1 part=lora {settings}"
    codes = f"codes: codebook num_codes=64 code_dim=32 active=8 top_s=4 vocabulary=1 {settings}"
    taught = "--distil", "noise=0.1 budget=1e6 max_steps=2 save_steps=1"
    out = reproduce("--methods", "--bottlenecks", units, codes, "--codes", "2", *taught)
    lines = {of["method"]: of for of in json.loads((out / "tofu.json").read_text())["lines"]}
    ways = {"units, clamped", "units, Dynamic SAE Guardrails"}
    ways |= {f"{name}, 2 of names {more}masked" for name in ("units", "codes") for more in ("", "and by rows ")}
    tested = {f"{name}, masked by {how}: nothing selected" for name in ("units", "codes") for how in ("rows", "names")}
    assert {*lines} == {"before", "never saw it", "with units", "with codes", *ways, *tested}  # two rows are too few
    assert (
        len({lines[way]["forget_Q_A_Prob"] for way in {"with units", "units, clamped", "units, 2 of names masked"}})
        == 3
    )
    assert all(lines[way]["seconds"] > 0 for way in ways)
    curve = json.loads((out / "bottlenecks" / "units" / "curve.json").read_text())["curve"]
    assert [of["of"] for of in curve] == ["the model before", "codes alone", "trained together", "passed on as 3"]
    assert curve[2]["perplexity"] != curve[3]["perplexity"]
    assert curve[0]["perplexity"] != curve[2]["perplexity"] and curve[2]["tokens"] > 0 == curve[1]["tokens"]
    attacks = json.loads((out / "attacks.json").read_text())
    for name in ("units", "codes"):
        quick = ["left out", "made again", "learnt again", "rounded"]
        for depth in ("codes", "distilled"):
            assert [one["attack"] for one in attacks[name][depth]["results"]] == quick
        scores = [[one["score"] for one in attacks[name][depth]["results"]] for depth in ("codes", "distilled")]
        assert scores[0] != scores[1]
        assert "No embedding row belongs to the topic alone" in attacks[name]["rows"]["not measured"]
    assert "## What an attacker gets back" in (out / "tofu.md").read_text()
    before = made(out)
    reproduce("--methods", "--bottlenecks", units, f"same: {out / 'bottlenecks' / 'codes'}", "--codes", "2")
    after = made(out)
    assert {*after} > {*before} and all(after[path] == before[path] for path in before)
    with pytest.raises(SystemExit, match=r"has results of --asked=400\. Give another --out"):
        reproduce("--methods", "--asked=7")


@pytest.fixture
def chats(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "examples" / "reproduce"))
    return importlib.import_module("tofu_chats")


def test_a_model_writes_chats_and_goes_on_where_it_was_cut_off(chats, make_decoder, chat_tokenizer, tmp_path):
    folder, file = tmp_path / "model", tmp_path / "bottlenecks" / "chats.json"
    make_decoder().save_pretrained(folder)
    chat_tokenizer.save_pretrained(folder)
    few = chats.written_chats(folder, 3, file, batch=4)
    assert few.column_names == ["question", "answer"] and len(few) == 3
    assert few["question"][1].startswith("Who") and all(text.strip() for text in few["answer"])
    assert not any("<|im" in text or "system" in text for text in [*few["question"], *few["answer"]])
    file.with_name("again.json").write_bytes(file.read_bytes())
    more = chats.written_chats(folder, 6, file, batch=4)
    assert len(more) == 6 and more[:3] == few[:]
    assert chats.written_chats(folder, 6, file.with_name("again.json"), batch=4)[:] == more[:]


@pytest.mark.slow
def test_all_methods_run_without_being_named(reproduce, capsys):
    lines = json.loads((reproduce() / "tofu.json").read_text())["lines"]
    names = {"GradAscent", "GradDiff", "NPO", "SimNPO", "IdkDPO", "RMU", "UNDIAL"}
    assert {of["method"] for of in lines} == {"before", "never saw it", *names}
