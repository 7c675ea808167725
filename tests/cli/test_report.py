import json

import pytest

from excise.report import Record, write_report
from tests.helpers.evidence import enrichment_of, forgetful_model, text_evaluation


@pytest.fixture
def forgetful(make_model, tokenizer):
    return forgetful_model(make_model, tokenizer)


def test_report_makes_the_page_of_a_saved_record(excise, forgetful, tmp_path):
    record = Record.of(forgetful, evaluations=[text_evaluation()], enrichments={"teacher": enrichment_of()})
    record.save(tmp_path / "record")
    data = excise("report", tmp_path / "record", "--out", tmp_path / "report")
    assert (data["mode"], data["topics"], data["evaluations"], data["failed"]) == ("mask", ["teacher"], 1, [])
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
