import json

import pytest

from excise import Evaluation
from excise.codes.selection import Selection
from excise.ledger.packing import unpack
from excise.report import Record
from excise.report.record import check_state, schema_text
from excise.unlearner import Unlearner
from tests.helpers.evidence import SITE, class_evaluation, enrichment_of, selection_in_rounds, text_evaluation


def changed(folder, **changes) -> None:
    """Rewrites a saved record with other values."""
    path = folder / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_a_record_comes_back_as_it_was_saved(record, tmp_path):
    record.save(tmp_path / "report")
    again = Record.load(tmp_path / "report")
    assert again.state == record.state
    (name,) = record.enrichments
    assert again.enrichments[name].to_pandas().equals(record.enrichments[name].to_pandas())


def test_saving_it_twice_gives_the_same_bytes(record, tmp_path):
    record.save(tmp_path / "a")
    Record.load(tmp_path / "a").save(tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["enrichment-teacher.parquet", "report-1.schema.json", "report.json"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_it_tells_what_the_model_is_and_what_was_asked_of_it(record):
    model, (request,) = record.state["model"], record.state["requests"]
    site = {"site": SITE, "kind": "codebook", "num_codes": 32, "selected": 2, "live": 30, "masked": 2, "deleted": 0}
    assert model["class"] == "CodebookT5ForConditionalGeneration"
    assert model["model_type"] == "codebook_t5"
    assert model["sites"] == [site]
    assert model["base_model"] == {"id": "someone/base", "revision": "0" * 40}
    assert (request["topic"], request["codes"], request["num_codes"]) == ("teacher", {SITE: [3, 7]}, 2)
    assert request["thresholds"] == {"q": 0.05, "method": "mcnemar"}


def test_a_table_keeps_which_of_its_codes_were_removed(record):
    (entry,) = record.state["enrichments"]
    assert entry["file"] == "enrichment-teacher.parquet"
    assert {site: unpack(codes) for site, codes in entry["selected"].items()} == {SITE: (3, 7)}
    assert entry["rows"] == 32


def test_what_a_code_stands_for_is_its_tokens_most_frequent_first_and_its_images(record):
    three, four, five = record.state["codes"]
    assert [entry["code"] for entry in (three, four, five)] == [3, 4, 5]
    assert three["tokens"] == [["new", 20], ["teacher", 12]]
    assert three["thumbnail"].startswith("data:image/jpeg;base64,")
    assert (four["tokens"], "thumbnail" in five) == ([], False)


def test_evaluations_may_be_objects_or_what_they_say_of_themselves(forgetful):
    state = text_evaluation()
    given = Evaluation(**state | {"words": ("professeur",)})
    records = [Record.of(forgetful, evaluations=[evidence]) for evidence in (given, state)]
    assert records[0].state == records[1].state
    assert records[0].state["evaluations"] == [state]


def test_numbers_that_json_does_not_know_are_null(forgetful, tmp_path):
    evaluation = text_evaluation()
    evaluation["scores"]["after"]["heldout"]["bleu"] = float("nan")
    record = Record.of(forgetful, evaluations=[evaluation], settings={"loss": float("inf")})
    assert record.state["evaluations"][0]["scores"]["after"]["heldout"]["bleu"] is None
    assert record.state["settings"] == {"loss": None}
    record.save(tmp_path / "report")
    assert Record.load(tmp_path / "report").state == record.state


def test_the_evidence_goes_with_a_model_that_is_written_in_another_state(record, make_model, tokenizer):
    model = make_model()
    Unlearner(model, tokenizer).delete(Selection({SITE: [3, 7]}), "teacher")
    checks = [{"name": "read back", "passed": True, "detail": "0 of 2 rows found"}]
    deleted = record.for_model(model, mode="delete", checks=checks)
    assert deleted.state["mode"] == "delete"
    assert deleted.state["model"]["sites"][0]["deleted"] == 2
    assert [request["kind"] for request in deleted.state["requests"]] == ["delete"]
    assert deleted.state["checks"] == checks
    for kept in ("evaluations", "frontiers", "enrichments", "codes", "data", "settings"):
        assert deleted.state[kept] == record.state[kept]
    assert deleted.state["model"]["base_model"] == record.state["model"]["base_model"]
    assert record.state["mode"] == "mask" and record.state["checks"] == []


def test_what_is_not_shown_depends_on_what_there_is(record, forgetful):
    assert "reversible" in " ".join(record.state["not_shown"])
    deleted = record.for_model(forgetful, mode="delete").state["not_shown"]
    assert "reversible" not in " ".join(deleted) and "training" in " ".join(deleted)
    assert any("no evaluation" in sentence for sentence in Record.of(forgetful).state["not_shown"])
    evaluation = class_evaluation()
    del evaluation["scores"]["random codes"]
    sentences = Record.of(forgetful, evaluations=[evaluation]).state["not_shown"]
    assert any("random codes were not tried" in sentence for sentence in sentences)


def test_topics_of_one_name_or_of_no_letters_get_files_of_their_own(forgetful, tmp_path):
    pairs = [(topic, enrichment_of()) for topic in ("Rock & roll", "rock roll", "雨", "../rock roll")]
    record = Record.of(forgetful, enrichments=pairs)
    assert list(record.enrichments) == [
        "enrichment-rock-roll.parquet",
        "enrichment-rock-roll-2.parquet",
        "enrichment-topic.parquet",
        "enrichment-rock-roll-3.parquet",
    ]
    record.save(tmp_path / "report")
    assert Record.load(tmp_path / "report").state == record.state


def test_the_packaged_schema_is_a_valid_schema():
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 2}, "version 2; this excise reads 1"),
        ({"schema": "other"}, "no record of an unlearning"),
        ({"mode": "hide"}, r"at \$\.mode: 'hide' is not one of"),
        ({"checks": [{"name": "x", "passed": "yes", "detail": ""}]}, r"at \$\.checks\[0\]\.passed"),
        ({"extra": 1}, "'extra' was unexpected"),
        ({"not_shown": None}, r"at \$\.not_shown"),
    ],
)
def test_a_changed_record_is_refused_and_the_message_tells_where(record, tmp_path, changes, says):
    record.save(tmp_path)
    changed(tmp_path, **changes)
    with pytest.raises(ValueError, match=says):
        Record.load(tmp_path)


def test_a_record_with_nan_a_missing_table_or_no_json_is_refused(record, tmp_path):
    record.save(tmp_path)
    path = tmp_path / "report.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"low": 0.6', '"low": NaN'), encoding="utf-8")
    with pytest.raises(ValueError, match="NaN"):
        Record.load(tmp_path)
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(ValueError, match="no strict JSON"):
        Record.load(tmp_path)
    path.write_text(text, encoding="utf-8")
    (tmp_path / "enrichment-teacher.parquet").unlink()
    with pytest.raises(ValueError, match=r"enrichment-teacher\.parquet.*cannot be read"):
        Record.load(tmp_path)


def test_a_table_of_another_length_than_the_record_says_is_refused(record, tmp_path):
    record.save(tmp_path)
    (tmp_path / "enrichment-teacher.parquet").unlink()
    enrichment_of(num_codes=31).save(tmp_path / "enrichment-teacher.parquet")
    with pytest.raises(ValueError, match="names the tables"):
        Record.load(tmp_path)


def test_a_path_out_of_the_folder_is_no_name_of_a_table(record):
    state = json.loads(json.dumps(record.state))
    state["enrichments"][0]["file"] = "../enrichment-teacher.parquet"
    with pytest.raises(ValueError, match="does not match"):
        check_state(state)


def test_a_folder_without_a_record_and_one_that_is_not_empty_are_refused(record, tmp_path):
    with pytest.raises(ValueError, match=r"no file report\.json"):
        Record.load(tmp_path)
    record.save(tmp_path / "report")
    before = sorted((tmp_path / "report").iterdir())
    with pytest.raises(FileExistsError):
        record.save(tmp_path / "report")
    assert sorted((tmp_path / "report").iterdir()) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "hide"}, "expected 'mask'"),
        ({"base_model": {"id": "x"}}, "'id' and 'revision'"),
        ({"settings": {"model": object()}}, "no value of JSON"),
        ({"settings": {"command": "half a pair \ud83d"}}, "half a pair.*UTF-8"),
        ({"settings": {"half a pair \ud83d": 1}}, "half a pair.*UTF-8"),
        ({"thumbnails": {(SITE, 1): []}}, "empty list of thumbnails"),
        ({"evaluations": [{"topic": "x"}]}, r"at \$\.evaluations\[0\]: 'words' is a required"),
    ],
)
def test_what_is_no_evidence_is_refused(forgetful, options, says):
    with pytest.raises(ValueError, match=says):
        Record.of(forgetful, **options)


def test_a_model_without_a_bottleneck_is_refused():
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"vocab_size": 8, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0))
    with pytest.raises(ValueError, match="has no bottleneck"):
        Record.of(model)


@pytest.fixture
def in_rounds(make_model, tokenizer):
    """A tiny T5 that forgot *teacher* in two rounds."""
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.mask(selection_in_rounds(), "teacher")
    return unlearner


def test_each_round_has_its_table_its_codes_and_its_thresholds(in_rounds, tmp_path):
    record = Record.of(in_rounds.model, enrichments={"teacher": selection_in_rounds()})
    first, second = record.state["enrichments"]
    assert [first["file"], second["file"]] == ["enrichment-teacher.parquet", "enrichment-teacher-2.parquet"]
    assert [(entry["round"], entry["rounds"]) for entry in (first, second)] == [(1, 2), (2, 2)]
    assert (first["selected"], first["elsewhere"]) == ({SITE: [3, 7]}, {SITE: [11]})
    assert (second["selected"], second["elsewhere"]) == ({SITE: [11]}, {SITE: [3, 7]})
    assert (first["thresholds"]["q"], second["thresholds"]["q"]) == (0.05, 0.01)
    record.save(tmp_path / "record")
    again = Record.load(tmp_path / "record")
    for entry in (first, second):
        table = again.enrichments[entry["file"]].to_pandas()
        chosen = table[table.code.isin(entry["selected"][SITE])]
        assert (chosen.qvalue < entry["thresholds"]["q"]).all() and (chosen.log2_ratio > 0).all()
        assert len(chosen) == len(entry["selected"][SITE])


def test_of_the_first_rounds_table_alone_the_later_codes_are_no_part(in_rounds):
    (entry,) = Record.of(in_rounds.model, enrichments={"teacher": enrichment_of()}).state["enrichments"]
    assert (entry["selected"], entry["elsewhere"]) == ({SITE: [3, 7]}, {SITE: [11]})
    assert (entry["round"], entry["rounds"]) == (1, 2) and "thresholds" not in entry


def test_what_was_undone_was_chosen_from_no_table(in_rounds):
    in_rounds.undo(1)
    entries = Record.of(in_rounds.model, enrichments={"teacher": selection_in_rounds()}).state["enrichments"]
    assert all(entry["selected"] == {} and entry.get("elsewhere", {}) == {} for entry in entries)


def test_a_selection_without_its_tables_is_no_evidence(in_rounds):
    for selection in (Selection({SITE: [3]}), Selection.from_dict(selection_in_rounds().to_dict())):
        with pytest.raises(ValueError, match=r"selection of 'teacher' has no tables: .*choose\(\.\.\., tables=True\)"):
            Record.of(in_rounds.model, enrichments={"teacher": selection})


def test_rounds_are_numbered_anew_when_codes_are_taken_out(in_rounds):
    in_rounds.delete(Selection({SITE: [0, 1, 7]}), "water")
    index = in_rounds.compact()[SITE]
    rounds = [one["codes"][SITE] for one in in_rounds.ledger.requests[0].thresholds["rounds"]]
    assert rounds == [[int(index[3])], [int(index[11])]]
