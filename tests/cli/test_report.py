import json

import pytest

from excise import Selection, Unlearner
from excise.cli import main
from excise.report import Record, write_report
from tests.helpers.evidence import SITE, enrichment_of, forgetful_model, text_evaluation


@pytest.fixture
def forgetful(make_model, tokenizer):
    return forgetful_model(make_model, tokenizer)


def test_report_makes_the_page_of_a_saved_record(excise, forgetful, tmp_path):
    record = Record.of(forgetful, evaluations=[text_evaluation()], enrichments={"teacher": enrichment_of()})
    record.save(tmp_path / "record")
    data = excise("report", tmp_path / "record", "--out", tmp_path / "report")
    assert (data["mode"], data["topics"], data["evaluations"], data["failed"]) == ("mask", ["teacher"], 1, [])
    (verdict,) = data["verdicts"]
    assert (verdict["topic"], verdict["outcome"], verdict["comes_back"]) == ("teacher", "partly forgotten", None)
    write_report(record, tmp_path / "expected")
    assert data["files"] == sorted(path.name for path in (tmp_path / "expected").iterdir())
    for name in data["files"]:
        assert (tmp_path / "report" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


def test_report_finds_the_record_of_a_saved_model_and_tells_of_failed_checks(excise, forgetful, tmp_path):
    checks = [{"name": "rows", "passed": False, "detail": "3 found"}]
    write_report(Record.of(forgetful).for_model(forgetful, mode="mask", checks=checks), tmp_path / "bundle" / "report")
    data = excise("report", tmp_path / "bundle", "--out", tmp_path / "report")
    assert data["failed"] == ["rows"]
    assert (tmp_path / "report" / "index.html").is_file()


def test_report_says_of_each_topic_what_was_measured(capsys, forgetful, tmp_path):
    lines = {}
    for name, evaluations in {"measured": [text_evaluation()], "not": []}.items():
        Record.of(forgetful, evaluations=evaluations).save(tmp_path / name)
        assert main(["report", str(tmp_path / name), "--out", str(tmp_path / f"{name}-report")]) == 0
        lines[name] = capsys.readouterr().out.splitlines()[0]
    assert lines == {
        "measured": "Partly forgotten: teacher (topic recall 0.700 (0.600 to 0.800) before, 0.100 (0.000 to 0.200) "
        "after; of 40 examples).",
        "not": "Forgetting not measured: teacher (no evaluation, sweep or frontier of it is in the record).",
    }


def test_what_is_no_record_or_a_newer_one_is_refused_and_writes_nothing(failing, forgetful, tmp_path):
    assert "no file report.json" in failing("report", tmp_path, "--out", tmp_path / "report")
    Record.of(forgetful).save(tmp_path / "record")
    path = tmp_path / "record" / "report.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(state | {"version": 9}), encoding="utf-8")
    message = failing("report", tmp_path / "record", "--out", tmp_path / "report")
    assert message == "excise: error: The record has version 9; this excise reads 1. Update excise."
    path.write_text(json.dumps(state), encoding="utf-8")
    assert "not an empty folder" in failing("report", tmp_path / "record", "--out", tmp_path / "record")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["record"]


def test_words_of_a_private_request_are_in_the_page_for_their_owner_alone(
    excise, make_model, tokenizer, topic, tmp_path
):
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.mask(Selection({SITE: [3]}), topic, label="request-17", private=True)
    Record.of(unlearner.model, evaluations=[text_evaluation("request-17")]).save(tmp_path / "record")
    excise("report", tmp_path / "record", "--out", tmp_path / "public")
    excise("report", tmp_path / "record", "--out", tmp_path / "mine", "--full")
    pages = [(tmp_path / name / "index.html").read_text() for name in ("public", "mine")]
    assert ["professeur" in page for page in pages] == [False, True]
