import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from excise.codes.selection import Selection
from excise.ledger.packing import codes_digest, pack
from excise.report import Evaluation, Record, Sweep, write_report
from excise.report.code_data import packed
from excise.report.page import embedded, page
from excise.unlearner import Unlearner
from tests.helpers import tiny_images
from tests.helpers.evidence import (
    SITE,
    class_evaluation,
    class_frontier,
    enrichment_of,
    selection_in_rounds,
    text_evaluation,
)

HOSTILE = """</script><script>alert("x")</script><img src=x onerror='alert(1)'>&amp; "quotes" 'single'"""


class Text(HTMLParser):
    """What a page says, the tags that it has, and the JSON in it."""

    def __init__(self, html: str):
        super().__init__()
        self.text, self.tags, self.data, self.inside = "", [], None, None
        self.feed(html)
        self.words = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag
        self.text += " " if tag == "br" else ""

    def handle_endtag(self, tag):
        self.inside = None
        self.text += "" if tag in ("b", "small", "del", "ins") else " "

    def handle_data(self, data):
        if self.inside == "script" and self.tags[-1][1].get("type") == "application/json":
            self.data = json.loads(data)
        elif self.inside not in ("script", "style"):
            self.text += data


def numbers(array: dict) -> list:
    import base64

    return np.frombuffer(base64.b64decode(array["data"]), f"<{array['type']}").tolist()


def test_it_says_what_was_forgotten_how_and_what_it_cost(record):
    words = Text(page(record)).words
    for fact in (
        "Partly forgotten: teacher",
        "topic recall 0.700 (0.600 to 0.800) before, 0.100 (0.000 to 0.200) after; of 40 examples.",
        "Masked: reversible",
        "2 of 32",
        "Topic recall went from 0.700 to 0.100; as many random codes left it at 0.700.",
        "Other sentences keep 98.0 % of their BLEU (30.1 of 30.7).",
        "1 of 2 held-out sentences with the topic come out otherwise",
        "0 of 1 held-out sentences without it come out otherwise",
        "mcnemar, q ≤ 0.05",
        "someone/base",
        "No check is part of this record",
        "license CC BY 2.0 FR",
    ):
        assert fact in words
    for sentence in record.state["not_shown"]:
        assert sentence in words


def test_words_that_differ_are_marked_as_deleted_and_inserted(record):
    html = page(record)
    assert "Le <del>professeur</del> voit une maison." in html
    assert "Le <ins>chat</ins> voit une maison." in html


def test_a_deletion_and_a_failed_check_are_told(record, make_model, tokenizer):
    model = make_model()
    Unlearner(model, tokenizer).delete(Selection({SITE: [3, 7]}), "teacher")
    checks = [
        {"name": "rows", "passed": False, "detail": "3 rows in optimizer.pt"},
        {"name": "logits", "passed": True, "detail": ""},
    ]
    words = Text(page(record.for_model(model, mode="delete", checks=checks))).words
    assert "Deleted: for good" in words and "Masked: reversible" not in words
    assert "✗ 1 of 2 failed" in words and "✗ failed rows 3 rows in optimizer.pt" in words
    assert "✓ passed" in words


def test_whatever_a_text_holds_is_shown_and_never_run(make_model, tokenizer):
    model = make_model()
    Unlearner(model, tokenizer).mask(Selection({SITE: [3, 7]}, {"note": HOSTILE}), HOSTILE)
    evaluation = text_evaluation(HOSTILE)
    for condition in evaluation["outputs"]:
        evaluation["outputs"][condition]["heldout"][0] = f"{condition} {HOSTILE}"
    for column in ("texts", "references"):
        evaluation[column]["heldout"][0] = HOSTILE
    record = Record.of(
        model,
        evaluations=[evaluation],
        frontiers=[class_frontier(HOSTILE)],
        enrichments={HOSTILE: enrichment_of()},
        tokens={(SITE, 3): {HOSTILE: 4}},
        data={HOSTILE: HOSTILE},
        settings={"command": HOSTILE, "deep": {"x": HOSTILE}},
        base_model={"id": HOSTILE, "revision": HOSTILE},
    ).for_model(model, mode="mask", checks=[{"name": HOSTILE, "passed": True, "detail": HOSTILE}])
    html = page(record)
    found = Text(html)
    shown = found.words.count(" ".join(HOSTILE.split()))
    assert shown >= 10
    scripts = [attributes for tag, attributes in found.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "code-data"}, {}]
    assert not [attributes for tag, attributes in found.tags if any(name.startswith("on") for name in attributes)]
    assert [attributes for tag, attributes in found.tags if tag == "img"] == []
    assert found.data["tokens"]["names"] == [HOSTILE] and found.data["plots"][0]["topic"] == HOSTILE


def test_json_in_a_script_comes_back_as_it_was():
    value = {"a": [HOSTILE, "\u2028\u2029", "é"], "b": 1}
    text = embedded(value)
    assert json.loads(text) == value
    assert not re.search("[<>&\u2028\u2029]", text)


def test_the_policy_allows_the_pages_own_script_alone_and_no_request(record):
    import base64
    import hashlib

    html = page(record)
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    sha = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = dict(tag for tag in Text(html).tags if "http-equiv" in tag[1])["meta"]["content"]
    assert f"script-src 'sha256-{sha}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", html)
    assert "http://" not in html and "https://" not in html


def test_the_codes_of_the_plot_are_those_of_the_table(record):
    data = Text(page(record)).data
    (plot,) = data["plots"]
    (table,) = record.enrichments.values()
    codes = numbers(plot["code"])
    assert sorted(codes) == table.code.tolist()
    assert codes[:2] == [3, 7]  # the surest come first
    assert [code for code, chosen in zip(codes, numbers(plot["selected"]), strict=True) if chosen] == [3, 7]
    rows = [table.code.tolist().index(code) for code in codes]
    assert np.allclose(numbers(plot["ratio"]), table.log2_ratio[rows])
    assert np.allclose(numbers(plot["surety"]), -np.log10(table.qvalue[rows]), atol=1e-6)
    assert numbers(plot["target"]) == table.target_count[rows].tolist()
    assert data["sites"] == [SITE] and list(data["thumbnails"]) == ["0:3", "0:4"]
    tokens = data["tokens"]
    starts, names = numbers(tokens["start"]), [tokens["names"][i] for i in numbers(tokens["token"])]
    assert dict(zip(numbers(tokens["code"]), starts, strict=False)) == {3: 0, 5: 2}
    assert list(zip(names, numbers(tokens["count"]), strict=True)) == [("new", 20), ("teacher", 12), ("house", 2)]


@pytest.mark.parametrize(("highest", "kind"), [(255, "u1"), (256, "u2"), (65_535, "u2"), (65_536, "u4"), (0, "u1")])
def test_numbers_take_no_more_bytes_than_they_need(highest, kind):
    array = packed(np.array([0, highest]))
    assert array["type"] == kind and numbers(array) == [0, highest]


def test_a_record_with_nothing_in_it_still_gives_a_page(make_model, forgetful):
    assert "Nothing is forgotten" in Text(page(Record.of(make_model()))).words
    found = Text(page(Record.of(forgetful)))
    assert "No evaluation is part of this record" in found.words and found.data is None
    assert not [tag for tag, _ in found.tags if tag in ("script", "svg")]
    only = Text(page(Record.of(forgetful, enrichments={"teacher": enrichment_of()})))
    assert "What it stands for" in page(record=Record.of(forgetful, enrichments={"teacher": enrichment_of()}))
    assert only.data["tokens"]["names"] == []


def test_classes_are_told_by_accuracy_and_by_what_images_are_taken_for(forgetful):
    words = Text(page(Record.of(forgetful, evaluations=[class_evaluation()], frontiers=[class_frontier()]))).words
    assert "Accuracy went from 0.900 to 0.000; as many random codes left it at 0.890." in words
    assert "Other images keep 98.8 % of their accuracy (0.790 of 0.800)." in words
    assert "2 held-out images of the class" in words
    assert "red 100.0 % 0.0 %" in words and "green 0.0 % 50.0 %" in words
    assert "red by activations, 300 codes removed 0.0 93.8" in words


def test_scores_without_the_answers_that_they_are_of_have_no_before_and_after(forgetful):
    evaluation = class_evaluation() | {"outputs": {}, "references": {}}
    words = Text(page(Record.of(forgetful, evaluations=[evaluation]))).words
    assert "Accuracy went from 0.900 to 0.000" in words
    assert "what images are taken for" not in words and "Before and after" not in words


def test_several_topics_are_set_beside_each_other(forgetful):
    topics = ("teacher", "book", "car")
    found = Text(page(Record.of(forgetful, evaluations=[text_evaluation(topic) for topic in topics])))
    for topic in topics:
        assert f"{topic} 2 codes Topic recall before 0.700, random codes 0.700, after 0.100 98.0 %" in found.words


def test_an_evaluation_after_a_deletion_has_nothing_before(forgetful):
    evaluation = text_evaluation()
    for part in ("scores", "outputs"):
        del evaluation[part]["before"]
    words = Text(page(Record.of(forgetful, evaluations=[evaluation]))).words
    assert "there is no model before to set it against" in words
    assert "there is nothing to set with the topic against" in words


def test_numbers_that_there_are_not_are_dashes(forgetful):
    evaluation = text_evaluation()
    evaluation["scores"]["after"]["heldout"] |= {"recall": float("nan"), "low": float("nan"), "high": float("nan")}
    words = Text(page(Record.of(forgetful, evaluations=[evaluation]))).words
    assert "Topic recall went from 0.700 to –" in words


def test_hundreds_of_thousands_of_removed_pairs_make_no_larger_page(record):
    few = page(record)
    state = json.loads(json.dumps(record.state))
    codes = pack(range(0, 900_000, 3))
    state["requests"][0] |= {"codes": {SITE: codes}, "num_codes": 300_000}
    state["enrichments"][0]["selected"] = {SITE: codes}
    many = page(Record(state, record.enrichments))
    assert len(many) < len(few) + 20_000
    assert codes[:200] not in many
    assert "300,000" in many


def test_the_report_is_the_same_to_the_byte_and_has_all_its_files(record, tmp_path):
    for name in "ab":
        write_report(record, tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        "enrichment-teacher.parquet",
        "frontier.png",
        "frontier.svg",
        "index.html",
        "report-1.schema.json",
        "report.json",
        "volcano-teacher.png",
        "volcano-teacher.svg",
    ]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert Record.load(tmp_path / "a").state == record.state


def test_a_report_that_cannot_be_made_leaves_no_folder(record, tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("excise.report.page.page", fail)
    with pytest.raises(KeyboardInterrupt):
        write_report(record, tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


def test_without_references_outputs_are_shown_all_the_same(forgetful):
    record = Record.of(forgetful, evaluations=[text_evaluation(references={})])
    html = page(record)
    assert "Le <del>professeur</del> voit une maison." in html
    assert "1 of 2 held-out sentences with the topic come out otherwise" in Text(html).words


def test_each_code_is_shown_with_the_round_the_table_and_the_thresholds_that_chose_it(make_model, tokenizer):
    model = make_model()
    Unlearner(model, tokenizer).mask(selection_in_rounds(), "teacher")
    found = Text(page(Record.of(model, enrichments={"teacher": selection_in_rounds()})))
    first, second = found.data["plots"]
    for plot, codes, others in ((first, [3, 7], [11]), (second, [11], [3, 7])):
        by_code = dict(zip(numbers(plot["code"]), range(32), strict=True))
        for column, marked in (("selected", codes), ("elsewhere", others)):
            assert sorted(code for code, i in by_code.items() if numbers(plot[column])[i]) == marked
        for code in codes:  # none stands where it was not found
            assert numbers(plot["ratio"])[by_code[code]] > 0 and numbers(plot["surety"])[by_code[code]] > 2
    one, other = (found.words.index(f"The removed codes of teacher, round {i} of 2") for i in (1, 2))
    assert "Chosen by: mcnemar, q ≤ 0.05" in found.words[one:other]
    assert "Chosen by: mcnemar, q ≤ 0.01" in found.words[other:]
    assert "Chosen from another table, of another round: 1 of its codes." in found.words[one:other]
    assert "mcnemar, q ≤ 0.05, in rounds: 2, 1 codes" in found.words


def test_a_record_of_old_that_does_not_tell_the_round_of_a_code_says_so(root):
    words = Text(page(Record.load(root / "tests" / "fixtures" / "version_0_1" / "record"))).words
    assert "does not tell in which" not in words
    record = Record.load(root / "model_cards" / "cifar10-clip-codebook" / "report")
    state = json.loads(json.dumps(record.state))
    for entry in state["enrichments"]:
        entry.pop("round", None)
    words = Text(page(Record(state, record.enrichments))).words
    assert "chosen in several rounds, and this record does not tell in which" in words


def test_checks_are_named_by_what_they_found_and_say_nothing_of_forgetting(forgetful):
    checks = [
        {"name": "bytes", "passed": True, "found": "no deleted row found in 9 files", "detail": "Every file was read."},
        {"name": "reload", "passed": True, "detail": ""},
    ]
    words = Text(page(Record.of(forgetful).for_model(forgetful, mode="mask", checks=checks))).words
    assert "Checks of the files bytes: no deleted row found in 9 files reload" in words
    assert "all 2 passed" not in words and "say nothing of what the model still knows" in words
    assert "Forgetting not measured: teacher" in words


def test_the_bottleneck_left_out_and_the_base_model_are_in_the_tables(forgetful):
    evaluation = text_evaluation()
    scores = evaluation["scores"]
    scores |= dict.fromkeys(("bottleneck left out", "base model", "topic-matched random codes"), scores["before"])
    words = Text(page(Record.of(forgetful, evaluations=[evaluation]))).words
    assert "Partly forgotten, and comes back without the bottleneck: teacher" in words
    assert "with the bottleneck left out it is 0.700" in words
    for label in ("Bottleneck left out", "The plain base model", "As many, as frequent with the topic"):
        assert f"{label} 0.700" in words
    assert "Bottleneck left out" not in Text(page(Record.of(forgetful, evaluations=[text_evaluation()]))).words


def test_a_key_value_model_says_why_there_is_no_bottleneck_to_leave_out():
    model = tiny_images.key_value_model()
    Unlearner(model, None).mask(Selection({"bottleneck": [3, 7]}), "red")
    record = Record.of(model, evaluations=[class_evaluation()])
    reason = "The bottleneck was not left out: A key-value model has no logits without its pairs"
    assert reason in Text(page(record)).words
    assert not any("bottleneck is left out" in sentence for sentence in record.state["not_shown"])


def test_what_was_measured_of_another_state_is_marked(forgetful):
    other = text_evaluation() | {"removed": 5}
    words = Text(page(Record.of(forgetful, evaluations=[other]))).words
    assert "Forgetting not measured in this state: teacher" in words
    assert "This was measured with other codes removed than those that are removed now." in words
    assert "teacher, after, of other codes than those in force" in words


def test_a_sweep_is_a_table_and_a_line_on_which_what_is_in_force_is_marked(forgetful):
    steps = {}
    for top_s, removed in ((8, 1), (24, 2), (40, 3)):
        steps[top_s] = Evaluation.from_dict(text_evaluation() | {"removed": removed})
    sweep = Sweep("teacher", "teacher", steps, {}, dict.fromkeys(steps, 0.1), 1.0)
    html = page(Record.of(forgetful, evaluations=[sweep]))
    found = Text(html)
    assert "Partly forgotten: teacher" in found.words and "teacher at each S′" in found.words
    assert "24 2 0.100 (0.700) 30.1 (31.9) in force 40 3" in found.words
    assert found.words.count("in force") == 4  # the table, the figure, its key, and its points as numbers
    assert "teacher, S′ = 24, 2 codes removed: in force" in html


def test_the_point_of_a_frontier_that_is_in_force_is_marked(forgetful):
    states = [codes_digest({SITE: codes}) for codes in ([], [3], [3, 7], [3, 7, 9])]
    record = Record.of(forgetful, frontiers=[class_frontier("teacher") | {"states": states}])
    found = Text(page(record))
    assert "Partly forgotten: teacher" in found.words
    assert "what was measured is the frontier below" in found.words
    assert "teacher by activations, 170 codes removed: in force 11.1" in found.words
    assert not any("no evaluation is part" in sentence for sentence in record.state["not_shown"])
    assert "in force" not in Text(page(Record.of(forgetful, frontiers=[class_frontier()]))).words
