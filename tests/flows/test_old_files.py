"""Files of results and data of version 0.1: they load, and hold what they held."""

import json
import os

import numpy as np
import pandas
import pytest
import torch
from datasets import load_from_disk

from excise import (
    ClassSets,
    Enrichment,
    Evaluation,
    Frontier,
    Ledger,
    PairCounts,
    Record,
    Selection,
    Sweep,
    TopicSets,
    Unlearner,
    select_pairs,
)
from excise.baselines.history import BaselineRun, Epoch
from excise.codes import TopicCounts
from excise.codes.count_table import CountTable
from excise.codes.counts import CodeCounts, PairedCounts
from excise.report import model_card, write_report
from tests.helpers.version_0_1 import FOLDER, TENSORS, VALUES

SITE = "encoder.block.1"


def read(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def assert_tables_are_equal(table: CountTable, expected: dict) -> None:
    assert vars(table).keys() == expected.keys()
    for name, value in vars(table).items():
        assert value is expected[name] is None or np.array_equal(value, expected[name])


def assert_frames_are_equal(frame: pandas.DataFrame, expected: dict) -> None:
    pandas.testing.assert_frame_equal(frame, pandas.DataFrame(expected), check_dtype=False)


def test_a_ledger_tells_its_requests_and_puts_the_same_masks_in_force():
    state, expected = read("ledger.json"), VALUES["ledger"]
    ledger = Ledger.from_dict(state)
    assert [{key: getattr(r, key) for key in expected["requests"][0]} for r in ledger.requests] == expected["requests"]
    assert ledger.removed("bottleneck") == expected["removed"]
    assert ledger.requests[0].thresholds == {"method": "activations", "count": len(range(0, 9_000, 7))}
    assert ledger.requests[1].data == {"target": "0" * 64}
    live = torch.ones(10_000, dtype=torch.bool)
    live[ledger.removed("bottleneck")] = False
    assert ledger.to_dict({"bottleneck": live}) == state
    assert not ledger.undo(1).removed("bottleneck", kinds=("mask",))


def test_topic_sets_are_those_that_the_ledger_has_digests_of():
    topic, expected = TopicSets.load(FOLDER / "topic"), VALUES["topic"]
    assert topic.name == expected["name"] == "teacher"
    assert topic.digest() == expected["digest"]
    assert topic.target[:] == expected["target"]
    assert (topic.text, topic.reference, topic.seed, topic.prefix) == ("en", "fr", 0, "")
    assert Unlearner.from_pretrained(FOLDER / "models" / "codebook_t5").ledger.requests[0].data == topic.digest()


def test_class_sets_are_those_that_the_ledger_has_digests_of():
    sets, expected = ClassSets.load(FOLDER / "classes"), VALUES["classes"]
    assert sets.name == expected["name"] == "green" and sets.classes == ("red", "green", "blue")
    assert sets.digest() == expected["digest"]
    assert sets.control["label"][:] == expected["labels"]
    assert sets.target[0]["image"].size == (8, 8)
    assert Unlearner.from_pretrained(FOLDER / "models" / "codebook_clip").ledger.requests[0].data == sets.digest()


def test_counts_of_a_topic_give_the_table_that_they_gave():
    counts, expected = TopicCounts.load(FOLDER / "counts"), VALUES["counts"]
    assert counts.topic == "teacher" and counts.positions == "topic" and counts.max_top_s == 9
    assert counts.data == VALUES["topic"]["digest"]
    assert_tables_are_equal(counts.pairs[SITE].table(9, counts.retain[SITE]), expected)
    assert_frames_are_equal(counts.enrich(9).to_pandas(), VALUES["enrichment"])


def test_files_of_code_usage_and_paired_usage_are_counts_of_codes():
    paired, expected = PairedCounts.load(FOLDER / "paired_usage.safetensors"), VALUES["apart"]
    assert paired.both is None
    assert_tables_are_equal(paired.table(3), expected)
    control = CodeCounts.load(FOLDER / "code_usage.safetensors")
    assert control.num_examples == expected["num_control"] and control.max_top_s == 3
    assert control.example_counts(3).tolist() == expected["control_count"]
    assert torch.equal((control + paired.control).examples, 2 * control.examples)


def test_counts_are_saved_without_what_is_no_longer_counted_and_load_again(tmp_path):
    TopicCounts.load(FOLDER / "counts").save(tmp_path / "counts")
    assert_tables_are_equal(
        TopicCounts.load(tmp_path / "counts").pairs[SITE].table(9),
        VALUES["counts"] | {"retain_count": None, "num_retain": None},
    )
    sizes = [os.path.getsize(folder / "counts" / "pairs-0.safetensors") for folder in (tmp_path, FOLDER)]
    assert sizes[0] < 0.7 * sizes[1]


def test_counts_of_pairs_are_of_the_keys_of_their_model():
    counts, expected = PairCounts.load(FOLDER / "pair_counts.safetensors"), VALUES["pair_counts"]
    assert counts.of_class(1).tolist() == expected["green"]
    assert np.array_equal(counts.examples, expected["examples"]) and counts.top_k == 1
    assert counts.enrich(1).num_target == expected["examples"][1]
    bottleneck = Unlearner.from_pretrained(FOLDER / "models" / "key_value").sites["bottleneck"]
    assert counts.keys == bottleneck.keys_id
    more = PairCounts.count(load_from_disk(FOLDER / "pairs"), bottleneck)
    assert (counts + more).of_class(1).sum() == counts.of_class(1).sum() + 6 * 15


def test_an_enrichment_table_selects_what_it_selected():
    table = Enrichment.load(FOLDER / "enrichment.parquet")
    assert_frames_are_equal(table.to_pandas(), VALUES["enrichment"])
    assert (table.method, table.top_s, table.positions) == ("mcnemar", 9, "topic")
    assert (table.num_target, table.num_control) == (30, 30)
    assert len(table.select(q=0.1))


def test_a_selection_is_that_of_the_ledgers_request():
    selection = Selection.from_dict(read("selection.json"))
    assert {site: list(codes) for site, codes in selection.codes.items()} == VALUES["selection"]["codes"]
    request = Unlearner.from_pretrained(FOLDER / "models" / "codebook_t5").ledger.requests[0]
    assert request.id == VALUES["selection"]["request"]
    assert (request.codes, request.thresholds) == (selection.codes, selection.thresholds)


def test_an_evaluation_of_texts_has_its_numbers_and_its_sentences():
    evaluation, expected = Evaluation.load(FOLDER / "evaluation.json"), VALUES["evaluation"]
    assert evaluation.scores == expected["scores"] and not evaluation.of_classes
    assert evaluation.relative_drop() == pytest.approx(expected["relative_drop"], rel=1e-12)
    assert evaluation.examples() == expected["examples"] and expected["examples"]
    assert evaluation.scores["before"]["heldout"]["recall"] == 1 and "53.7" in str(evaluation)


def test_an_evaluation_of_classes_has_its_numbers_and_its_predictions():
    evaluation, expected = Evaluation.load(FOLDER / "class_evaluation.json"), VALUES["class_evaluation"]
    assert evaluation.of_classes and evaluation.topic == "green"
    assert evaluation.scores == expected["scores"] and evaluation.outputs == expected["outputs"]
    assert evaluation.relative_drop("accuracy", "heldout") == 1


def test_a_sweep_has_its_rows_and_its_selections():
    steps = Sweep.load(FOLDER / "sweep.json")
    assert_frames_are_equal(steps.to_pandas(), VALUES["sweep"])
    assert list(steps.evaluations) == list(steps.selections) == list(steps.seconds) == [3, 9]
    assert all(steps.selections[s].num_codes == steps.evaluations[s].removed > 0 for s in (3, 9))


def test_a_frontier_has_its_points():
    curve, expected = Frontier.load(FOLDER / "frontier.json"), VALUES["frontier"]
    assert [list(point) for point in curve.points] == expected["points"]
    assert (curve.topic, list(curve.examples)) == (expected["topic"], expected["examples"])
    assert curve.method == curve.thresholds["method"] == "activations"
    assert min(curve.points, key=lambda point: (point.forget, point.removed)).count == 112


def test_a_record_makes_its_page_and_its_card(tmp_path):
    record = Record.load(FOLDER / "record")
    assert record.state["evaluations"][0]["scores"]["after"]["heldout"]["accuracy"] == 0
    assert record.state["frontiers"][0]["points"] == VALUES["frontier"]["points"]
    write_report(record, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    card = model_card(record)
    for text in (page, card.text):
        assert "green" in text and "0.1.0" in text and "120" in text
    assert {result.metric_value for result in card.data.eval_results} >= {0.0, 1.0}
    assert (tmp_path / "report" / "frontier.svg").is_file()


def test_encodings_and_pairs_are_of_the_encoder_and_the_keys_that_made_them(tmp_path):
    encodings, pairs = (load_from_disk(FOLDER / name).with_format("torch") for name in ("encodings", "pairs"))
    assert torch.equal(encodings["encodings"][:], TENSORS["encodings"])
    assert torch.equal(pairs["pairs"][:], TENSORS["pairs"])
    model = Unlearner.from_pretrained(FOLDER / "models" / "key_value").model
    again = select_pairs(model, load_from_disk(FOLDER / "encodings"), cache_dir=tmp_path, progress=False)
    assert again["labels"][:] == pairs["labels"][:].tolist() == encodings["labels"][:].tolist()


def test_the_history_of_a_baseline_is_read_from_its_table():
    # A run was never saved whole: its model was, and its history as the table that `to_pandas` gives.
    for name in ("finetuned", "retrained"):
        table, expected = pandas.read_csv(FOLDER / f"baselines-{name}.csv"), VALUES[f"run of {name}"]
        epochs = tuple(
            Epoch(row["epoch"], row["seconds"], {key: row[key] for key in ("forget", "retain")})
            for row in table.to_dict("records")
        )
        run = BaselineRun(None, epochs, epochs[-1].number)
        assert run.epoch == expected["epoch"] and run.accuracy == expected["accuracy"]
        assert run.seconds == expected["seconds"]
        assert_frames_are_equal(run.to_pandas(), table.to_dict("list"))
