"""Attacks as results, and where a record, its page and its card show them."""

import json
import math
from dataclasses import replace

import pytest

from excise.codes.selection import Selection
from excise.report import AttackReport, AttackResult, Record, plot_relearning, write_report
from excise.report.attack_lines import TRIED, attack_claim, out_of_reach
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD
from excise.report.card import model_card
from excise.report.not_shown import ATTACKED, DELETE, NO_ATTACKS
from excise.report.page import figures, page
from excise.report.relearning import half_back, panels, relearning_in_page
from excise.report.sections import removed_section
from excise.unlearner import Unlearner
from tests.helpers import grep
from tests.helpers.evidence import SITE, attack_report, forgetful_model, text_evaluation


@pytest.fixture
def deleted(make_model, tokenizer):
    model = make_model()
    Unlearner(model, tokenizer).delete(Selection({SITE: [3, 7]}, {"q": 0.05}), "teacher")
    return model


def record_of(model, *reports, mode="delete", **options):
    reports = reports or (attack_report(removed=removed_section(model)),)
    return Record.of(model, mode=mode, attacks=reports, **options)


def result(verdict, score=0.1, **changes):
    known = {"interval": (0.0, 0.2), "null": 0.0, "null_is": "never saw it", "before": 0.8, "after": 0.0}
    known |= {"attempts": (), "reason": "So it is."}
    return AttackResult("left out", "recall", score, **known | {"verdict": verdict} | changes)


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ([WITHSTOOD, WITHSTOOD], WITHSTOOD),
        ([WITHSTOOD, NOT_MEASURED], NOT_MEASURED),
        ([NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD], NOT_WITHSTOOD),
        ([], NOT_MEASURED),
    ],
)
def test_the_verdict_on_all_is_the_worst_and_each_is_counted(verdicts, worst):
    report = AttackReport("teacher", "codes", tuple(map(result, verdicts)), {})
    assert report.verdict == worst
    assert report.counts == {one: verdicts.count(one) for one in (WITHSTOOD, NOT_WITHSTOOD, NOT_MEASURED)}
    assert worst in repr(report)


def test_a_report_comes_back_as_it_was_saved(tmp_path):
    report = attack_report()
    report.save(tmp_path / "attacks.json")
    again = AttackReport.load(tmp_path / "attacks.json")
    assert again.to_dict() == report.to_dict() and again.rows() == report.rows()
    assert list(again.to_pandas()["verdict"]) == [one.verdict for one in report.results]
    assert "<table" in again._repr_html_()


def test_another_file_is_refused(tmp_path):
    (tmp_path / "other.json").write_text('{"topic": "x"}', encoding="utf-8")
    with pytest.raises(ValueError, match="is no saved report of attacks"):
        AttackReport.load(tmp_path / "other.json")


def test_what_is_no_number_is_not_judged_and_can_be_saved(tmp_path):
    first, *others = attack_report().results
    broken = replace(first, score=math.nan, attempts=(replace(first.attempts[0], score=math.nan),))
    report = attack_report(results=(broken, *others))
    report.save(tmp_path / "attacks.json")
    text = (tmp_path / "attacks.json").read_text(encoding="utf-8")
    again = AttackReport.load(tmp_path / "attacks.json").results[0]
    assert "NaN" not in text
    assert (again.verdict, again.score) == (NOT_MEASURED, None) and math.isnan(again.attempts[0].score)
    assert again.reason.startswith("No number came out as its score")
    assert result(WITHSTOOD).without_nan() == result(WITHSTOOD)
    assert result(WITHSTOOD, interval=(math.nan, 1.0)).without_nan().interval is None


def test_the_table_in_plain_text_is_aligned_and_says_what_is_missing():
    text = str(attack_report(models={"original": None, "removed": "b", "never_saw": None}))
    head, *lines = text.splitlines()
    assert head == "Attacks on 'teacher', deleted by codes: 1 withstood, 1 not withstood, 2 not measured."
    assert len({line.index("|") for line in lines[:5]}) == 1
    assert "There was no original" in text and "There was no model that never saw it" in text


def test_a_record_keeps_attacks_and_one_without_them_is_as_it_was(deleted, forgetful, tmp_path):
    record = record_of(deleted)
    record.save(tmp_path / "report")
    again = Record.load(tmp_path / "report")
    assert again.state == record.state and again.attacks[0].to_dict() == record.attacks[0].to_dict()
    assert record_of(deleted, record.attacks[0].to_dict()).state == record.state
    assert record.for_model(deleted, mode="delete").state["attacks"] == record.state["attacks"]
    assert "attacks 1" in repr(record)
    without = Record.of(forgetful)
    assert "attacks" not in without.state and without.attacks == ()


def test_a_changed_attack_is_refused_and_the_message_tells_where(deleted, tmp_path):
    record = record_of(deleted)
    record.save(tmp_path)
    state = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    state["attacks"][0]["results"][0]["verdict"] = "fine"
    (tmp_path / "report.json").write_text(json.dumps(state), encoding="utf-8")
    with pytest.raises(ValueError, match=r"at \$\.attacks\[0\]\.results\[0\]\.verdict"):
        Record.load(tmp_path)


def test_what_is_not_shown_tells_whether_this_state_was_attacked(deleted):
    def said(record):
        return [sentence for sentence in (ATTACKED, DELETE, NO_ATTACKS) if sentence in record.state["not_shown"]]

    other = attack_report(removed={"codes": 2, "digest": "0" * 64, "weights": None})
    assert said(record_of(deleted)) == [ATTACKED]
    assert said(record_of(deleted, other)) == [DELETE, NO_ATTACKS]
    assert said(Record.of(deleted, mode="delete")) == [DELETE, NO_ATTACKS]


def test_a_mask_and_the_deletion_of_it_are_one_state(make_model, tokenizer):
    masked = forgetful_model(make_model, tokenizer)
    report = attack_report(removed=removed_section(masked))
    unlearner = Unlearner(masked, tokenizer)
    unlearner.delete_request(1)
    record = record_of(masked, report)
    assert record.in_force.is_of(report) and ATTACKED in record.state["not_shown"]


def test_the_page_has_a_line_an_attack_and_the_picture_of_relearning(deleted):
    html = page(record_of(deleted))
    for text in (
        "Of 4 attacks: 1 withstood, 1 not withstood, 2 not measured",
        TRIED["left out"].replace("'", "&#39;"),
        "0.600 (0.400, 0.800)",
        "0.050 (never saw it)",
        "Why each verdict",
        "Out of reach in principle: a word or a class can be taught to any model again",
        "steps against never saw it 0.75 (0.60, 0.90), against 1.00 (never saw it)",
    ):
        assert text in html, text
    assert html.count('id="relearning-0-figure_1"') == 1
    assert "Another state" not in html
    other = attack_report(removed={"codes": 2, "digest": "0" * 64, "weights": None})
    assert "Another state" in page(record_of(deleted, other))
    assert 'id="attacks"' not in page(Record.of(deleted, mode="delete"))


def test_the_card_has_a_table_and_names_what_was_not_withstood_first(deleted):
    card = str(model_card(record_of(deleted)))
    assert "**Not withstood: left out** (teacher)." in card.split("\n# ")[0]
    assert "## What somebody gets back who has the files" in card
    assert "**not withstood** |" in card and "Out of reach in principle" in card
    assert "report/relearning-teacher.png" in card
    assert "## What somebody gets back" not in str(model_card(Record.of(deleted, mode="delete")))


def test_the_report_has_the_figure_of_relearning_the_same_to_the_byte(deleted, tmp_path):
    record = record_of(deleted)
    assert list(figures(record)) == ["relearning-teacher"]
    for name in "ab":
        write_report(record, tmp_path / name)
    for suffix in ("png", "svg"):
        files = [(tmp_path / name / f"relearning-teacher.{suffix}").read_bytes() for name in "ab"]
        assert files[0] == files[1] and len(files[0]) > 1_000


def test_curves_of_draws_are_drawn_together_and_half_of_what_was_lost_is_marked(tmp_path):
    report = attack_report()
    learnt = report.results[2]
    (panel,) = panels(learnt)
    assert (panel.title, panel.how) == ("16 examples", "all weights, as shared, rate 0.001")
    assert len(panel.shared) == len(panel.never_saw) == 3
    assert half_back(replace(learnt, details={"half": 8})) == 8 and half_back(learnt) is None
    assert half_back(replace(learnt, measure="recall")) == pytest.approx(20 * (0.75 + 0.05) / 2)
    assert "Learning 'teacher' again" not in relearning_in_page(report, "x")
    plot_relearning(report, tmp_path / "x.svg")
    assert "a model that never saw it" in (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert relearning_in_page(replace(report, results=report.results[:2]), "x") is None
    at_once = replace(learnt, attempts=(replace(learnt.attempts[0], curve=(12,), null_curve=()),))
    assert "goes from 12 to 12 hits in 0 steps" in relearning_in_page(replace(report, results=(at_once,)), "x")
    with pytest.raises(ValueError, match="There is no relearning to draw"):
        plot_relearning(replace(report, results=()), tmp_path / "y.svg")


def test_of_many_numbers_of_examples_those_with_most_draws_and_both_ends_are_drawn_at_measured_steps():
    learnt = attack_report().results[2]
    first = learnt.attempts[0]
    more = [
        replace(first, settings={**first.settings, "examples": number, "measured_at": [0, 1, 2, 5, 20]})
        for number in (1, 4, 64, 256)
    ]
    more.append(replace(first, settings={**first.settings, "examples": 64, "data": "unrelated"}))
    drawn = panels(replace(learnt, attempts=(*learnt.attempts, *more)))
    titles = [panel.title for panel in drawn]
    assert len(titles) == 4 and {"1 example", "16 examples", "64 unrelated examples"} < set(titles)
    assert drawn[0].shared[0].steps == [0, 1, 2, 5] and drawn[0].never_saw[0].steps == [0, 1, 2, 5, 20]


def test_a_private_topic_leaves_with_numbers_alone(make_model, tokenizer, topic, tmp_path):
    model = make_model()
    unlearner = Unlearner(model, tokenizer)
    unlearner.delete(Selection({SITE: [3, 7]}), topic, label="request-17", private=True)
    own = attack_report("request-17", removed=removed_section(model))
    odd = replace(own.results[0], attack="with professeur", null_is="of professeur", details={"professeur": 1})
    own = replace(own, depth="by professeur", results=(*own.results, odd))
    record = record_of(model, own, attack_report("teacher"))
    write_report(record, tmp_path / "public")
    assert not grep.places(tmp_path / "public", ["professeur", "teacher"])
    public = Record.load(tmp_path / "public")
    assert [one.verdict for one in public.attacks[0].results] == [one.verdict for one in own.results]
    assert public.attacks[0].results[2].attempts == own.results[2].attempts
    assert public.public().state == public.state
    write_report(record, tmp_path / "mine", full=True)
    assert grep.places(tmp_path / "mine", ["professeur"])
    assert "professeur" not in str(model_card(record))


def test_attacks_alone_on_private_sets_make_a_record_private(deleted):
    keyed = attack_report(settings={**attack_report().settings, "data": {"key": "0" * 16, "target": "1" * 64}})
    assert Record.of(deleted, mode="delete", attacks=[keyed]).public().state["attacks"][0]["settings"] == {
        "seed": 0,
        "cases": 20,
        "removed": {},
    }


def test_evidence_of_old_and_of_no_attack_is_said_in_words(deleted):
    assert attack_claim(attack_report(results=())) == "No attack was run"
    assert attack_claim(attack_report(results=(result(WITHSTOOD),))) == "The attack was withstood"
    assert attack_claim(attack_report(results=(result(WITHSTOOD),) * 2)) == "All 2 attacks were withstood"
    (taught,) = out_of_reach([], [{"kind": "codebook"}])
    assert taught.endswith("(not measured here).")
    assert len(out_of_reach([], [{"kind": "key_value"}])) == 2
    both = record_of(deleted, evaluations=[text_evaluation()])
    assert both.state["evaluations"] and both.state["attacks"]
