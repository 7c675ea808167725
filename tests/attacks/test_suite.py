"""Suites of attacks: what is chosen, what goes wrong, what a killed run goes on from, and what is left as it was."""

import copy
import json
from dataclasses import dataclass, replace

import pytest
import torch

from excise import Search, Unlearner, class_sets
from excise.attacks import AttackSets, run_attacks
from excise.attacks.attacked import attack_deletion, attacked_models, requests_of
from excise.attacks.interface import Attack
from excise.attacks.left_out import LeftOut
from excise.attacks.suite import ALL, ATTACKS, QUICK, Planned, chosen_attacks, model_digest
from excise.codes.asked import Asked, put_in_force
from excise.codes.selection import Selection
from excise.report import AttackReport, AttackResult, Record
from excise.report.attack_lines import TRIED
from excise.report.attacks import NOT_MEASURED, WITHSTOOD
from tests.helpers import tiny, tiny_images
from tests.helpers.evidence import SITE

# All their settings take minutes; their quick ones are run.
LONG = {"left out", "made again", "learnt again", "rounded"}
CODES = Selection({SITE: [3, 7]}, {"q": 0.05})


@dataclass(frozen=True)
class Counted(Attack):
    """Withstood, always; counts how often it is run."""

    name = "counted"
    about = "Nothing is done."
    ran = []
    strength: int = 1

    def run(self, original, removed, never_saw, sets):
        self.ran.append((original, removed, never_saw))
        return AttackResult(
            self.name, sets.measure, 0.0, None, 0.0, "nothing", 0.5, 0.0, (), WITHSTOOD, f"By {self.strength}."
        )


@dataclass(frozen=True)
class Failing(Attack):
    """Fails, by whatever error it is given."""

    error: BaseException
    name = "failing"
    about = "Nothing is done."

    def run(self, original, removed, never_saw, sets):
        raise self.error


@dataclass(frozen=True)
class Broken(Counted):
    """Has no number for a score."""

    name = "broken"

    def run(self, original, removed, never_saw, sets):
        return replace(super().run(original, removed, never_saw, sets), score=float("nan"))


@pytest.fixture(autouse=True)
def none_ran():
    Counted.ran.clear()


@pytest.fixture
def sets(topic, tokenizer):
    return AttackSets(topic, tokenizer, words=("professeur",), max_new_tokens=4)


@pytest.fixture
def run(make_model, sets):
    """Runs attacks on tiny models."""

    def attacked(attacks, removed=None, never_saw=None, of=sets, **options):
        return run_attacks(make_model(), removed or make_model(), never_saw, of, attacks, progress=False, **options)

    return attacked


def test_suites_and_names_are_chosen_in_order_and_once():
    assert chosen_attacks("quick", True) == list(QUICK)
    assert [one.name for one in chosen_attacks(["left-out", "Said_Otherwise", "left out"], True)] == [
        "left out",
        "said otherwise",
    ]
    own = Counted()
    assert chosen_attacks([own, own, "rounded"], True) == [own, Planned("rounded")]
    assert chosen_attacks(own, True) == [own]
    of_texts, of_classes = ({one.name for one in chosen_attacks("all", texts)} for texts in (True, False))
    assert of_texts == set(ATTACKS) - {"class membership", "example membership"}
    assert of_classes == set(ATTACKS) - {"text membership"}
    assert {one.name for one in ALL} == set(ATTACKS) == set(TRIED)


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_of_the_table_can_be_made_under_its_name(name):
    for planned in (Planned(name), Planned(name, quick=True)):
        made = planned.made()
        assert isinstance(made, Attack) and made.name == name and made.about


@pytest.mark.parametrize(
    ("attacks", "says"), [("everything", "expected one of quick, all, left-out"), ([], "is empty")]
)
def test_an_attack_that_is_not_known_is_refused_before_anything_is_run(run, attacks, says):
    with pytest.raises(ValueError, match=says):
        run([Counted(), attacks] if attacks else attacks)
    assert not Counted.ran


def test_one_that_fails_is_not_measured_with_its_error_and_the_others_go_on(run):
    report = run([Failing(RuntimeError("out of\nmemory")), Counted(), Broken()])
    failed, counted, broken = report.results
    assert (failed.verdict, failed.reason) == (NOT_MEASURED, "It failed: RuntimeError: out of memory")
    assert counted.verdict == WITHSTOOD
    assert (broken.verdict, broken.score) == (NOT_MEASURED, None) and "No number" in broken.reason
    assert report.verdict == NOT_MEASURED and report.counts[WITHSTOOD] == 1


def test_a_killed_run_goes_on_from_what_was_finished(run, tmp_path):
    folder = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        run([Counted(), Counted(2), Failing(KeyboardInterrupt())], checkpoint=folder)
    assert len(Counted.ran) == len(list(folder.iterdir())) == 2
    again = run([Counted(), Counted(2), Counted(3)], checkpoint=folder)
    assert len(Counted.ran) == 3
    assert [result.reason for result in again.results] == ["By 1.", "By 2.", "By 3."]
    assert again.to_dict() == run([Counted(), Counted(2), Counted(3)], checkpoint=folder).to_dict()


def test_what_failed_is_not_kept_and_tried_again(run, tmp_path):
    for _ in range(2):
        assert run([Failing(ValueError("no"))], checkpoint=tmp_path).verdict == NOT_MEASURED
    assert list(tmp_path.iterdir()) == []


def test_a_result_of_other_models_sets_or_settings_is_not_taken(run, make_model, sets, tmp_path):
    run(Counted(), checkpoint=tmp_path)
    other = make_model()
    with torch.no_grad():
        other.lm_head.weight[0, 0] += 1
    hidden = make_model()
    hidden.generation_config.bad_words_ids = [[3]]

    def masked(topic):
        model = make_model()
        put_in_force(model, "mask", {SITE: (3,)}, Asked(topic, {}, False), thresholds={})
        return model

    for options in (
        {"removed": other},
        {"removed": masked("water")},
        {"removed": masked("wine")},
        {"removed": hidden},
        {"never_saw": make_model()},
        {"of": replace(sets, seed=1)},
        {"of": replace(sets, words=("livre",))},
    ):
        before = len(Counted.ran)
        run(Counted(), checkpoint=tmp_path, **options)
        assert len(Counted.ran) == before + 1, options
    again = masked("wine")
    again.config.unlearning["requests"][0]["created"] = "2020-01-01T00:00:00+00:00"
    run(Counted(), checkpoint=tmp_path, removed=again)  # made at another time
    assert len(Counted.ran) == before + 1
    assert len(list(tmp_path.iterdir())) == 8


def test_a_file_of_a_checkpoint_that_holds_something_else_is_refused(run, tmp_path):
    run(Counted(), checkpoint=tmp_path)
    (file,) = tmp_path.iterdir()
    for text in ("{", "[]", json.dumps(json.loads(file.read_text()) | {"key": "0"})):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="is no result of this attack"):
            run(Counted(), checkpoint=tmp_path)


def test_models_of_another_vocabulary_are_refused_before_anything_is_run(run, make_model):
    with pytest.raises(ValueError, match="vocabularies"):
        run(Counted(), never_saw=make_model(vocab_size=30))
    assert not Counted.ran


def test_a_report_tells_what_was_run_on_what(run, make_model, sets):
    model = make_model()
    report = run([Counted(), LeftOut()], never_saw=model)
    assert report.models == dict.fromkeys(("original", "removed", "never_saw"), model_digest(model))
    assert report.settings["data"] == sets.topic.digest() and report.settings["words"] == ["professeur"]
    assert report.settings["attacks"] == {"counted": {"strength": 1}, "left out": {}}
    assert report.topic == "teacher" and report.seconds == sum(result.seconds for result in report.results)
    assert AttackReport.from_dict(json.loads(json.dumps(report.to_dict()))).to_dict() == report.to_dict()


@pytest.fixture
def unlearner(make_model, tokenizer):
    return Unlearner(make_model(), tokenizer)


def of(unlearner, topic, **options):
    options = {"attacks": Counted(), "words": ["professeur"], "max_new_tokens": 4, "progress": False} | options
    return unlearner.attack(topic, **options)


def state(unlearner):
    model = unlearner.model
    return model_digest(model), model.config.to_dict(), [b.removed is not None for b in unlearner.sites.values()]


def test_a_masked_topic_is_attacked_as_it_would_be_deleted_and_the_model_stays(unlearner, topic):
    unlearner.mask(CODES, topic)
    unlearner.mask(Selection({SITE: [9]}), "another")
    before = state(unlearner)
    report = of(unlearner, topic)
    assert state(unlearner) == before
    ((original, removed, never_saw),) = Counted.ran
    assert never_saw is None and report.depth == requests_of(Unlearner(removed, None).ledger, topic)[-1].depth
    assert original.config.unlearning is None and Unlearner(original, unlearner.processor).sites[SITE].live.all()
    requests = Unlearner(removed, unlearner.processor).ledger.requests
    assert [request.kind for request in requests] == ["mask", "mask", "delete"]
    assert requests[-1].codes == {SITE: (3, 7)}
    assert "There was no original" not in str(report) and "There was no model that never saw it" in str(report)
    unlearner.delete_request(1)
    record = Record.of(unlearner.model, mode="delete", attacks=[report])
    assert record.in_force.is_of(report)  # the state that is shared is the one that was attacked


def test_a_topic_that_is_not_forgotten_is_deleted_in_a_copy(unlearner, topic, monkeypatch):
    monkeypatch.setattr(Unlearner, "choose", lambda self, *args, **options: CODES)
    of(unlearner, topic)
    ((original, removed, _),) = Counted.ran
    assert removed.config.unlearning["requests"][0]["kind"] == "delete" and original.config.unlearning is None
    assert unlearner.ledger.requests == () and unlearner.sites[SITE].live.all()


def test_a_deleted_topic_is_attacked_as_it_is_and_the_original_must_be_given(unlearner, make_model, tokenizer, topic):
    unlearner.delete(CODES, topic)
    assert "There was no original" in str(of(unlearner, topic))
    original = make_model()
    report = of(unlearner, topic, original=original)
    (none, removed, _), (given, _, _) = Counted.ran
    assert none is None and removed is unlearner.model and given is original
    assert report.models["original"] and "There was no original" not in str(report)


def test_the_topics_of_a_ledger_are_known_by_name_label_or_data(unlearner, topic):
    unlearner.mask(CODES, topic, label="request-17")
    assert len(attacked_models(unlearner, topic, lambda model: Unlearner(model, None)).removed.config.unlearning) == 3
    unlearner.undo(1)
    private = topic.private_as("secret")
    unlearner.mask(CODES, private)
    report = of(unlearner, private)
    assert report.topic == "secret" and "teacher" not in str(report)
    assert Counted.ran[-1][1].config.unlearning["requests"][-1]["kind"] == "delete"


def test_models_are_loaded_by_name_and_those_of_another_vocabulary_refused(unlearner, make_model, topic, tmp_path):
    unlearner.delete(CODES, topic)
    make_model().save_pretrained(tmp_path / "model")
    unlearner.processor.save_pretrained(tmp_path / "model")
    report = of(unlearner, topic, never_saw=tmp_path / "model", original=str(tmp_path / "model"))
    assert report.models["never_saw"] == report.models["original"] == model_digest(make_model())
    words = tmp_path / "model" / "tokenizer.json"
    words.write_text(words.read_text(encoding="utf-8").replace('"teacher"', '"lehrer"'), encoding="utf-8")
    for role in ("original", "never_saw"):
        with pytest.raises(ValueError, match=f"{role}=.*another vocabulary"):
            of(unlearner, topic, **{role: tmp_path / "model"})
        with pytest.raises(ValueError, match=f"{role}='nowhere' cannot be loaded"):
            of(unlearner, topic, **{role: "nowhere"})
    assert len(Counted.ran) == 1


def test_the_bottleneck_left_out_is_measured_on_a_tiny_model_and_says_that_there_is_nothing(unlearner, topic):
    unlearner.mask(CODES, topic)
    report = attack_deletion(
        unlearner,
        topic,
        lambda model: Unlearner(model, unlearner.processor),
        attacks="left-out",
        words=["professeur"],
        max_new_tokens=4,
        progress=False,
    )
    (result,) = report.results
    assert result.verdict == NOT_MEASURED and "nothing to bring back" in result.reason
    assert len(result.attempts) == 2 and result.details["moved_behind_the_bottleneck"] < 1e-5


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ({"original": "a", "removed": "b", "never_saw": "b"}, "the very model that was attacked, which"),
        ({"original": "a", "removed": "b", "never_saw": "a"}, "The model that never saw it is the original"),
        ({"original": "a", "removed": "a", "never_saw": "b"}, "nothing was removed"),
    ],
)
def test_a_report_tells_which_models_are_one(models, sentence):
    (note,) = AttackReport("book", "codes", (), models).notes
    assert sentence in note


@pytest.mark.parametrize("wrong", [None, 3])
def test_what_is_no_attack_is_refused_in_words(wrong):
    with pytest.raises(ValueError, match=f"attacks={wrong}: expected"):
        chosen_attacks(wrong, True)


def test_what_is_measured_in_steps_is_not_said_to_have_taken_a_share_of_steps_before():
    row = AttackResult("learnt again", "steps", 0.86, None, 1.0, "never saw it", 0.73, 0.0, (), WITHSTOOD, "").row()
    assert (row["before"], row["deleted"], row["attacked"]) == ("0.730 of cases", "0.000 of cases", "0.86")


@pytest.mark.parametrize("kind", ["clip", "key_value"])
def test_no_attack_on_a_class_fails_on_any_kind_of_model(kind):
    """What cannot be tried on a model is not measured, with its reason; an error is none."""
    torch.manual_seed(0)
    module = tiny if kind == "clip" else tiny_images
    processor = tiny.clip_processor() if kind == "clip" else tiny_images.processor()
    make = tiny.codebook_clip if kind == "clip" else tiny_images.key_value_model
    rows, test = module.images(120), module.images(60, seed=1)
    topic = class_sets(rows, "red", test=test, min_examples=5, max_examples=20)
    original, never_saw = make(), make()
    unlearner = Unlearner(copy.deepcopy(original), processor)
    unlearner.delete(topic, preset=Search("activations", count=4), depth="codes", progress=False)
    attacks = ["quick", *(name for name, (_, _, of) in ATTACKS.items() if of != "texts" and name not in LONG)]
    sets = AttackSets(topic, processor)
    report = run_attacks(original, unlearner.model, never_saw, sets, attacks, progress=False)
    assert {result.attack for result in report.results} >= {"left out", "probed", "guessed", "example membership"}
    assert not [result.reason for result in report.results if result.reason.startswith("It failed")]
