"""A private request: the model knows a label and keyed digests, its owner knows the rest."""

import json
import stat

import pytest
from datasets import Dataset

from excise import ClassSets, Ledger, Record, Selection, TopicSets, Unlearner, evaluate_classes
from excise.data import DigestKey
from excise.report import write_report
from excise.report.private import public_thresholds
from tests.helpers import grep
from tests.helpers.evidence import SITE, enrichment_of, text_evaluation
from tests.helpers.tiny_images import NAMES, images, key_value_model, processor

SOME = Selection(
    {SITE: [3, 7]}, {"q": 0.05, "method": "mcnemar", "words": ["teacher"], "searches": [{"q": 1, "a": "b"}]}
)


@pytest.fixture
def unlearner(make_model, tokenizer):
    return Unlearner(make_model(), tokenizer)


def state(unlearner) -> str:
    return json.dumps(unlearner.model.config.to_dict(), ensure_ascii=False, default=str)


def test_the_ledger_has_the_label_and_numbers_alone(unlearner, topic):
    request = unlearner.mask(SOME, topic, label="request-17", private=True)
    assert (request.topic, request.private) == ("request-17", True)
    assert request.thresholds == {"q": 0.05, "method": "mcnemar", "searches": [{"q": 1}]}
    assert "teacher" not in state(unlearner) and not set(topic.digest().values()) & set(request.data.values())
    assert Ledger.from_dict(json.loads(json.dumps(unlearner.model.config.unlearning))) == unlearner.ledger


def test_a_request_that_is_not_private_is_written_as_it_ever_was(unlearner, topic):
    unlearner.mask(SOME, topic, depth="codes")
    written = unlearner.model.config.unlearning
    assert written["version"] == 2 and not {"private", "rows"} & written["requests"][0].keys()
    assert written["requests"][0]["data"] == topic.digest()


def test_without_a_label_it_goes_by_its_number(unlearner, topic):
    unlearner.mask(SOME, "all")
    assert unlearner.mask(SOME, topic, private=True).topic == "request-2"


@pytest.mark.parametrize("label", ["the teacher", "TEACHERS", "", "two\nlines", "my_teacher-2"])
def test_a_label_that_tells_or_is_none_is_refused_before_anything_changes(unlearner, topic, label):
    with pytest.raises(ValueError, match="label") as error:
        unlearner.mask(SOME, topic, label=label or " ", private=True)
    assert "eacher" not in str(error.value).lower() and not unlearner.ledger.requests


def test_sets_may_be_private_from_the_start_and_go_by_their_label_everywhere(unlearner, topic, tmp_path):
    private = topic.private_as("request-17")
    assert private.name == "request-17" and "teacher" not in repr(private) + repr(private.private)
    request = unlearner.mask(SOME, private)
    assert request.private and request.topic == "request-17"
    private.save(tmp_path / "sets")
    again = TopicSets.load(tmp_path / "sets")
    assert again.name == "request-17" and again.digest() == private.digest() and again.words == ("teacher",)
    key = tmp_path / "sets" / "private.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and DigestKey.load(key) == private.private.key
    with pytest.raises(FileExistsError):
        private.private.key.save(key)
    key.write_text("no key")
    with pytest.raises(ValueError, match="holds no key") as error:
        TopicSets.load(tmp_path / "sets")
    assert "no key'" not in str(error.value)


def test_the_owner_of_the_key_can_show_which_data_it_was(unlearner, topic, tmp_path):
    key = DigestKey.new()
    request = unlearner.mask(SOME, topic, label="request-17", private=key)
    assert request.data["key"] == key.id
    assert topic.is_data_of(request.data, key) and topic.private_as("x", key).is_data_of(request.data)
    assert not topic.is_data_of(request.data) and not topic.is_data_of(request.data, DigestKey.new())
    other = topic.__class__(**{**vars(topic), "heldout": topic.target})
    assert not other.is_data_of(request.data, key)
    unlearner.save_bundle(tmp_path / "bundle")
    assert not grep.places(tmp_path / "bundle", [key._secret.hex()])


def test_a_key_that_was_drawn_can_be_had_for_as_long_as_the_unlearner_is_there(unlearner, topic):
    request = unlearner.mask(SOME, topic, private=True)
    assert topic.is_data_of(request.data, unlearner.private_topics["request-1"][0].key)


def test_it_stays_private_through_saving_undoing_and_deleting(unlearner, topic, tmp_path):
    unlearner.mask(SOME, topic, label="request-17", private=True)
    unlearner.mask(Selection({SITE: [9]}), Dataset.from_dict({"text": ["a b c d e"]}), label="other", private=True)
    unlearner.save_pretrained(tmp_path / "saved")
    again = Unlearner.from_pretrained(tmp_path / "saved")
    assert again.ledger == unlearner.ledger
    deleted = again.delete_request(1)
    assert deleted.private and deleted.topic == "request-17" and deleted.data == again.ledger.requests[0].data
    assert deleted.thresholds["deletes_request"] == 1
    assert again.undo(2).private
    again.save_pretrained(tmp_path / "again")
    assert "teacher" not in (tmp_path / "again" / "config.json").read_text()


def test_thresholds_of_unknown_names_or_kinds_do_not_leave():
    given = {"method": "of teacher", "positions": "teacher", "preset": "mine", "q": "teacher", "count": ["teacher"]}
    assert public_thresholds(given | {"teacher": 1, "like": {"q": 1}, "top_s": 4, "seed": None}) == {
        "top_s": 4,
        "seed": None,
    }


@pytest.fixture
def record(unlearner, topic):
    unlearner.mask(SOME, topic, label="request-17", private=True)
    return Record.of(
        unlearner.model,
        evaluations=[text_evaluation("request-17"), text_evaluation("teacher")],
        enrichments={"request-17": enrichment_of(), "teacher": enrichment_of()},
        tokens={(SITE, 3): {"teacher": 12}},
        data={"name": "pairs", "notes": "of the teacher"},
    )


def test_a_record_is_kept_whole_and_its_public_part_is_a_record_too(record, tmp_path):
    record.save(tmp_path / "mine")
    assert Record.load(tmp_path / "mine").state == record.state
    public = record.public()
    public.save(tmp_path / "public")
    assert Record.load(tmp_path / "public").public().state == public.state
    words = ["teacher", "professeur", "sees a house", "chat voit"]
    assert {text for _, text in grep.places(tmp_path / "mine", words)} == set(words)
    assert not grep.places(tmp_path / "public", words)
    assert [len(table) for table in public.enrichments.values()] == [32, 32]
    scores = [evaluation["scores"] for evaluation in record.state["evaluations"]]
    assert [evaluation["scores"] for evaluation in public.state["evaluations"]] == scores


def test_a_report_is_public_unless_its_owner_asks_for_all(record, tmp_path):
    write_report(record, tmp_path / "public")
    write_report(record, tmp_path / "mine", full=True)
    assert not grep.places(tmp_path / "public", ["teacher", "professeur"])
    page = (tmp_path / "public" / "index.html").read_text()
    assert "request-17" in page and "Private: what was forgotten goes by a label" in page
    assert "topic recall" in page.lower() and "0.100" in page
    assert {name for name, _ in grep.places(tmp_path / "mine", ["professeur"])} == {"index.html", "report.json"}


def test_a_public_record_stays_as_it_is(unlearner, topic):
    unlearner.mask(SOME, topic)
    record = Record.of(unlearner.model, evaluations=[text_evaluation()])
    assert record.public() is record


def test_of_a_class_the_name_is_gone_from_the_config_and_it_can_still_be_evaluated(tmp_path):
    model = key_value_model()
    names = ["blue", "green", "red", "grey"]  # in another order than in the data set
    model.config.id2label = dict(enumerate(names))
    unlearner = Unlearner(model, processor())
    rows = images(40).rename_columns({"img": "image"})
    sets = ClassSets(tuple(NAMES), 1, 0, *[rows] * 5).private_as("request-17")
    before = evaluate_classes(unlearner, sets, selection=Selection({}), progress=False)
    unlearner.mask(Selection({"bottleneck": [1]}), sets)
    assert model.config.id2label == dict(enumerate(["blue", "request-17", "red", "grey"]))
    after = evaluate_classes(unlearner, sets, selection=Selection({}), progress=False)
    assert after.outputs["before"] == before.outputs["before"] and set(after.outputs["before"]["heldout"]) <= set(NAMES)
    unlearner.save_pretrained(tmp_path / "saved")
    assert "green" not in (tmp_path / "saved" / "config.json").read_text()


def classifier(names=("blue", "green", "red", "grey")) -> Unlearner:
    model = key_value_model()
    for config in (model.config, model.config.encoder):  # an encoder may have been a classifier
        config.id2label = dict(enumerate(names))
        config.label2id = {name: index for index, name in enumerate(names)}
    return Unlearner(model, processor())


def of_class(name: str, label: str) -> ClassSets:
    rows = images(40).rename_columns({"img": "image"})
    return ClassSets(tuple(NAMES), NAMES.index(name), 0, *[rows] * 5).private_as(label)


def test_the_name_is_gone_from_the_config_of_an_encoder_too(tmp_path):
    unlearner = classifier()
    unlearner.mask(Selection({"bottleneck": [1]}), of_class("green", "request-17"))
    unlearner.save_pretrained(tmp_path / "saved")
    assert "green" not in (tmp_path / "saved" / "config.json").read_text()


@pytest.mark.parametrize("label", ["blue", "request-1"])
def test_a_label_that_another_class_goes_by_is_refused_before_anything_changes(label):
    unlearner = classifier()
    unlearner.mask(Selection({"bottleneck": [1]}), of_class("red", "request-1"))
    with pytest.raises(ValueError, match="another class by that label"):
        unlearner.mask(Selection({"bottleneck": [2]}), of_class("green", label))
    assert len(unlearner.ledger.requests) == 1 and unlearner.model.config.id2label[1] == "green"


def test_where_two_classes_are_private_and_the_order_is_another_nothing_is_evaluated_wrongly():
    unlearner = classifier()
    sets = of_class("green", "request-2")
    unlearner.mask(Selection({"bottleneck": [1]}), of_class("red", "request-1"))
    unlearner.mask(Selection({"bottleneck": [2]}), sets)
    with pytest.raises(ValueError, match="which is which is not known"):
        evaluate_classes(unlearner, sets, selection=Selection({}), progress=False)


def test_scores_that_are_no_numbers_tell_no_class():
    unlearner = classifier()
    unlearner.model.bottleneck.values.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        evaluate_classes(unlearner, of_class("green", "request-1"), selection=Selection({}), progress=False)


def test_rounds_and_firings_stay_and_words_among_them_do_not(record):
    state = record.state
    rounds = [{"codes": {SITE: [3]}, "thresholds": {"q": 0.1, "word": "teacher"}, "word": "teacher"}]
    state["requests"][0]["thresholds"] = {"rounds": rounds, "searches": [{"word": "teacher"}]}
    fires = {"examples": {"target": 4, "teacher": 4}, "fires": {"after": {"target": 1, "retain": "teacher"}}}
    state["evaluations"][0]["settings"] |= {"controls": fires, "not_measured": {"bottleneck left out": "of teacher"}}
    public = record.public().state
    kept = [{"codes": {SITE: [3]}, "thresholds": {"q": 0.1}}]
    assert public["requests"][0]["thresholds"] == {"rounds": kept, "searches": [{}]}
    settings = public["evaluations"][0]["settings"]
    assert settings["controls"] == {"examples": {"target": 4}, "fires": {"after": {"target": 1, "retain": None}}}
    assert "teacher" not in json.dumps(public)


def test_a_key_beside_that_of_private_sets_is_refused(unlearner, topic):
    private, key = topic.private_as("request-17"), DigestKey.new()
    with pytest.raises(ValueError, match="another key"):
        unlearner.mask(SOME, private, private=key)
    assert unlearner.mask(SOME, private, private=private.private.key).data["key"] == private.private.key.id
