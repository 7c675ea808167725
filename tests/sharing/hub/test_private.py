"""What nobody is to read is in no byte of what is pushed, and numbers and figures are."""

import json
import re

import pytest
from datasets import Dataset
from huggingface_hub import HfApi, snapshot_download

from excise import (
    PairCounts,
    Record,
    Search,
    TopicSets,
    Unlearner,
    class_sets,
    evaluate,
    evaluate_classes,
    frontier,
    sweep,
)
from excise.codes.meanings import image_meanings, token_meanings
from excise.report.private import NOT_SOUGHT, WEIGHTS
from excise.sharing import ErasedRows, NotPushedError, check_bundle, push_bundle
from tests.helpers import grep
from tests.helpers.tiny_images import images, processor

# huggingface_hub warns of tables in a repository of a model, where they are meant to be.
pytestmark = pytest.mark.filterwarnings("ignore:It seems that you are about to commit a data file:UserWarning")

REPO = "tester/without-request-17"
LABEL = "request-17"
NAME, SURNAME = "Élodie", "professeure"
QUIET = {"progress": False}


@pytest.fixture
def person(topic) -> TopicSets:
    """The sets of the suite with the name of a person for *teacher* and *professeur*."""

    def renamed(rows: Dataset) -> Dataset:
        def change(row):
            text = row["text"].replace("teacher", NAME)
            return {"text": text, "reference": row["reference"].replace("professeur", SURNAME)} | {
                "spans": [[4, 4 + len(NAME)]] if NAME in text else row["spans"]
            }

        return rows.map(change, load_from_cache_file=False)

    sets = {
        name: renamed(getattr(topic, name)) for name in ("target", "control", "retain", "heldout", "heldout_retain")
    }
    return TopicSets((NAME,), (NAME,), "en", "fr", 0, **sets)


@pytest.fixture
def texts_of(person):
    """Every sentence of the sets, and each half of one."""
    rows = [row for name in ("target", "control", "retain", "heldout") for row in getattr(person, name)]
    sentences = {text for row in rows for text in (row["text"], row["reference"])}
    return sorted(sentences)


def of_person(unlearner: Unlearner, topic: TopicSets) -> Record:
    """A record in which there is something of everything that is known of a topic of texts."""
    with unlearner.without_masks():
        table = unlearner.enrich(topic, **QUIET)
        tokens = token_meanings(unlearner, topic.target["text"], **QUIET)
    options = {"max_new_tokens": 4, "words": [SURNAME], **QUIET}
    one = evaluate(unlearner, topic, cut_out=True, **options)
    steps = sweep(unlearner, topic, top_s=[2, 6], preset=Search(q=1.0, count=2), **options)
    picture = next(iter(images(4)))["img"]
    return Record.of(
        unlearner.model,
        evaluations=[one, *steps.evaluations.values()],
        enrichments={topic.name: table, "elodie's friends": table},
        tokens=tokens | {("encoder.block.1", 1): {NAME: 3}},
        thumbnails={("encoder.block.1", 1): picture},
        data={"name": "letters", "split": "test", "notes": f"All of them by {NAME}.", NAME: NAME},
        settings={"seed": 0, "command": f"--word {NAME}", NAME: 1},
    )


def pushed(unlearner, record, tmp_path, **options):
    unlearner.push_to_hub(REPO, record, **options)
    return snapshot_download(REPO, local_dir=tmp_path / "down")


def test_of_a_private_topic_of_texts_no_byte_tells(hub, make_model, tokenizer, person, texts_of, tmp_path):
    unlearner = Unlearner(make_model(), tokenizer)
    topic = person.private_as(LABEL)
    unlearner.mask(topic, preset=Search(q=1.0, count=2), **QUIET)
    record = of_person(unlearner, topic)
    record.save(tmp_path / "mine")
    own = [NAME, SURNAME, "elodie", *texts_of]
    mine = {text for _, text in grep.places(tmp_path / "mine", own)}
    assert {NAME, SURNAME, "elodie", *person.heldout["text"], *person.heldout["reference"]} <= mine
    down = pushed(unlearner, record, tmp_path)
    assert not grep.places(down, own)
    assert not [data for data in grep.contents(down).values() if b"image/jpeg;base64" in data]
    state = json.loads((tmp_path / "down" / "report" / "report.json").read_text())
    for before, after in zip(record.state["evaluations"], state["evaluations"], strict=True):
        assert after["scores"] == before["scores"] and after["removed"] == before["removed"]
        assert {name: len(rows) for name, rows in after["texts"].items()} == {"heldout": 4, "heldout_retain": 12}
    assert {request["topic"] for request in state["requests"]} == {LABEL}
    assert state["requests"][0]["thresholds"] == record.state["requests"][0]["thresholds"]
    assert (tmp_path / "down" / "report" / "enrichment-request-17.parquet").is_file()
    assert (tmp_path / "down" / "report" / "volcano-request-17.png").is_file()
    checks = {check["name"]: check["detail"] for check in state["checks"]}
    assert re.match(r"\d+ private words and \d+ texts were looked for", checks["private words"])


@pytest.fixture
def green(model, pairs):
    """A classifier, and its class *green* as something private to forget, by counts and by images."""
    counts = PairCounts.count(pairs["train"], model.bottleneck)
    sets = class_sets(images(200), "green", test=images(120, seed=1), min_examples=4)
    return Unlearner(model, processor()), counts.topic("green"), sets


def test_of_a_private_class_no_byte_tells(hub, green, encodings, tmp_path):
    unlearner, counts, sets = green
    counts, sets = counts.private_as(LABEL), sets.private_as(LABEL)
    selections = {count: unlearner.choose(counts, Search("activations", count=count)) for count in (10, 400)}
    line = frontier(unlearner, encodings["test"], counts.label, selections, **QUIET)
    assert line.topic == "green"
    request = unlearner.mask(counts, preset=Search("activations", count=400))
    assert unlearner.model.config.id2label == {0: "red", 1: LABEL, 2: "blue", 3: "grey"}
    assert unlearner.model.config.label2id == {"red": 0, LABEL: 1, "blue": 2, "grey": 3}
    one = evaluate_classes(unlearner, sets, **QUIET)
    assert one.scores["before"]["heldout"]["accuracy"] > 0.9 > 0.5 > one.scores["after"]["heldout"]["accuracy"]
    table = counts.enrich(16)
    codes = {"bottleneck": [int(code) for code in request.codes["bottleneck"][:3]]}
    record = Record.of(
        unlearner.model,
        evaluations=[one],
        frontiers=[line, frontier(unlearner, encodings["test"], counts.label, selections, **QUIET)],
        enrichments={counts.name: table, "green": table},
        thumbnails=image_meanings(unlearner, images(40), codes, **QUIET),
    )
    unlearner.save_pretrained(tmp_path / "saved")
    unlearner = Unlearner.from_pretrained(tmp_path / "saved")  # goes on without the words
    down = pushed(unlearner, record, tmp_path, private_topics=[counts, sets])
    # It is a colour of the page's style too, and in words of code; wherever evidence could be, it is not.
    hits = {name for name, _ in grep.places(down, ["green"])}
    assert hits <= {"modeling_excise.py"}
    state = json.loads((tmp_path / "down" / "report" / "report.json").read_text())
    assert [line["topic"] for line in state["frontiers"]] == [LABEL, LABEL]
    assert state["frontiers"][0]["points"] == record.state["frontiers"][0]["points"]
    assert state["evaluations"][0]["scores"] == record.state["evaluations"][0]["scores"]
    assert json.loads((tmp_path / "down" / "config.json").read_text())["id2label"]["1"] == LABEL


@pytest.fixture
def private(make_model, tokenizer, person):
    """A model that forgot a private topic, with its sets."""
    unlearner = Unlearner(make_model(), tokenizer)
    topic = person.private_as(LABEL)
    unlearner.mask(topic, preset=Search(q=1.0, count=2), **QUIET)
    return unlearner, topic


@pytest.mark.parametrize("name", ["commit_message", "commit_description", "revision", "repo_id"])
def test_nothing_private_is_in_the_names_of_a_push(hub, private, name):
    unlearner, _ = private
    options = {"repo_id": REPO} | {name: "without-elodie" if name in ("revision", "repo_id") else f"without {NAME} now"}
    unlearner.private_topics["more"] = ("Elodie",)
    with pytest.raises(NotPushedError, match=rf"{name}: a private word \(\d of 2\)") as error:
        unlearner.push_to_hub(**options)
    assert "lodie" not in str(error.value)
    assert not hub.asked("")


def test_an_older_state_that_may_tell_is_not_pushed_over(hub, private, make_model, tmp_path):
    unlearner, _ = private
    make_model().push_to_hub(REPO, private=True)
    with pytest.raises(NotPushedError, match="its history would tell words that are private"):
        unlearner.push_to_hub(REPO, mode="mask")
    HfApi().create_branch(REPO, branch="old")
    with pytest.raises(NotPushedError, match=r"has other branches \(old\)"):
        unlearner.push_to_hub(REPO, mode="mask", purge_history=True)
    HfApi().delete_branch(REPO, branch="old")
    unlearner.push_to_hub(REPO, mode="mask", purge_history=True)
    again = Unlearner.from_hub(REPO)
    assert again.ledger.requests[0].topic == LABEL and again.undo(1).private


def test_a_bundle_is_looked_through_before_it_is_pushed(hub, private, tmp_path):
    unlearner, topic = private
    unlearner.private_topics.clear()
    unlearner.save_bundle(tmp_path / "bundle", Record.of(unlearner.model, data={"name": f"letters of {NAME}"}))
    erased = ErasedRows.of(unlearner.model)
    with pytest.raises(ValueError, match=r"report/report\.json: a private word"):
        push_bundle(tmp_path / "bundle", REPO, erased=erased, private_topics=[topic])
    with pytest.raises(ValueError, match=r"README\.md: a private word"):
        check_bundle(tmp_path / "bundle", [topic])
    assert not hub.asked("")


def test_an_earlier_request_with_the_words_keeps_all_from_leaving(hub, make_model, tokenizer, person, tmp_path):
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.undo(unlearner.mask(person, preset=Search(q=1.0, count=2), **QUIET))
    unlearner.mask(person, label=LABEL, private=True, preset=Search(q=1.0, count=2), **QUIET)
    with pytest.raises(ValueError, match=r"config\.json: a private word") as error:
        unlearner.push_to_hub(REPO)
    assert NAME not in str(error.value)


def test_evidence_under_the_words_goes_by_the_label_with_the_codes_that_were_removed(
    make_model, tokenizer, person, tmp_path
):
    unlearner = Unlearner(make_model(), tokenizer)
    request = unlearner.mask(person, label=LABEL, private=True, preset=Search(q=1.0, count=2), **QUIET)
    with unlearner.without_masks():
        table = unlearner.enrich(person, **QUIET)
    evaluation = evaluate(unlearner, person, words=[SURNAME], max_new_tokens=4, **QUIET)
    record = Record.of(unlearner.model, evaluations=[evaluation], enrichments={NAME: table, "other": table})
    state = unlearner.save_bundle(tmp_path / "bundle", record, compact=True).state
    assert [evaluation["topic"] for evaluation in state["evaluations"]] == [LABEL]
    named, other = state["enrichments"]
    assert (named["topic"], other["topic"]) == (LABEL, "a topic that is not named (1)")
    assert named["selected"] == {site: list(codes) for site, codes in request.codes.items()}
    assert not grep.places(tmp_path / "bundle", [NAME, SURNAME, *person.heldout["text"]])


def test_that_nothing_was_looked_for_is_said(private, tmp_path):
    unlearner, _ = private
    unlearner.save_pretrained(tmp_path / "saved")
    again = Unlearner.from_pretrained(tmp_path / "saved")
    state = again.save_bundle(tmp_path / "bundle").state
    assert NOT_SOUGHT in state["not_shown"] and WEIGHTS in state["not_shown"]
    assert Record.load(tmp_path / "bundle" / "report").state == state
    searched = again.save_bundle(tmp_path / "searched", private_topics=[NAME]).state
    assert NOT_SOUGHT not in searched["not_shown"] and "private words" in {c["name"] for c in searched["checks"]}
