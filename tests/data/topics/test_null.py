from dataclasses import replace

import pytest

from excise.data.topics import null_sets
from tests.data.topics.test_topic_sets import make


@pytest.fixture(scope="module")
def topic():
    return make()


def test_the_halves_are_of_the_retain_set_and_share_no_row(topic):
    null = null_sets(topic)
    halves = [*null.target["text"], *null.control["text"]]
    assert len(null.target) == len(null.control) == len(topic.retain) // 2
    assert len(set(halves)) == len(halves)
    assert set(halves) <= set(topic.retain["text"])
    assert null.retain["text"] == topic.retain["text"]


def test_each_span_is_a_word_of_its_text(topic):
    for row in null_sets(topic).target:
        ((start, end),) = row["spans"]
        assert row["text"][start:end] in row["text"].replace(".", "").split()


def test_the_seed_decides_the_halves(topic):
    assert null_sets(topic, seed=1).target["text"] == null_sets(topic, seed=1).target["text"]
    assert null_sets(topic, seed=1).target["text"] != null_sets(topic, seed=2).target["text"]


def test_one_row_has_no_halves(topic):
    with pytest.raises(ValueError, match="1 rows"):
        null_sets(replace(topic, retain=topic.retain.select([0])))
