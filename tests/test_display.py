"""How results show themselves: in a line or a short table, and in a notebook as an HTML table that runs nothing."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from excise.baselines.history import BaselineRun, Epoch, EpochHistory
from excise.codes.count_table import CountTable
from excise.codes.counts import CodeCounts, PairedCounts
from excise.codes.pair_counts import ClassCounts, PairCounts
from excise.codes.search import Search, SearchCounts
from excise.codes.selection import Selection
from excise.codes.topic_counts import TargetCounts, TopicCounts
from excise.evaluation import TopicsTable, examples_table
from excise.evaluation.timing import Runtimes
from excise.ledger import Ledger, Request
from excise.report import Evaluation, Frontier, Record, Sweep
from excise.storage.display import MOST_ROWS, few, shortened
from excise.unlearner import Unlearner
from tests.helpers import tiny
from tests.helpers.evidence import SITE, class_frontier, enrichment_of, text_evaluation

LONG = "a very long name of a topic " * 1_000
HOSTILE = """</td><script>alert("x")</script><img src=x onerror='alert(1)'>&amp;"""
PAIRS = tuple(range(200_000))


def evaluation(topic: str, count: int = 1) -> Evaluation:
    """An evaluation of so many sentences, under the conditions of that number divided by 50, besides the usual ones."""
    state = text_evaluation(topic)
    more = {f"condition {i} {topic}": state["scores"]["after"] for i in range(count // 50)}
    outputs = {
        condition: {name: texts * count for name, texts in sets.items()} for condition, sets in state["outputs"].items()
    }
    texts, references = ({name: v * count for name, v in state[k].items()} for k in ("texts", "references"))
    changes = {"scores": state["scores"] | more, "outputs": outputs, "texts": texts, "references": references}
    return Evaluation.from_dict(state | changes)


def sweep(topic: str, count: int = 2) -> Sweep:
    evaluations = {top_s: evaluation(topic) for top_s in range(1, count + 1)}
    selections = {top_s: selection(topic, 10) for top_s in evaluations}
    return Sweep(topic, "another", evaluations, selections, dict.fromkeys(evaluations, 0.5), 1.5)


def frontier(topic: str, count: int = 4) -> Frontier:
    points = [[i, i, 0.9 / (i + 1), 0.8] for i in range(count)]
    return Frontier.from_dict(class_frontier(topic) | {"method": topic, "points": points})


def request(topic: str, count: int = 2) -> Request:
    codes = {f"{site} {topic}": PAIRS[:count] for site in range(1 + count // 10_000)}
    return Request(1, "mask", topic, codes, {"note": topic}, {"target": topic}, "2026-01-01T00:00:00+00:00")


def ledger(topic: str, count: int = 2) -> Ledger:
    return Ledger(tuple(replace(request(topic), id=i + 1) for i in range(count)))


def selection(topic: str, count: int = 2) -> Selection:
    codes = {f"{site} {topic}": range(5) for site in range(count)}
    return Selection(codes, {f"{i} {topic}": [topic] * 3 for i in range(count)})


def forgetful(topic: str, count: int = 2):
    model = tiny.codebook_t5((1,))
    unlearner = Unlearner(model, None)
    for i in range(count):
        unlearner.mask(Selection({SITE: [3]}), f"{i} {topic}")
    return unlearner


def record(topic: str, count: int = 2) -> Record:
    evaluations, tables = [evaluation(topic)] * count, [(topic, enrichment_of())] * count
    return Record.of(forgetful(topic, count).model, evaluations=evaluations, enrichments=tables)


def enrichment(topic: str, count: int = 32):
    return enrichment_of(count, own=(0, 1), site=topic)


def paired_counts(num_codes: int) -> PairedCounts:
    empty = CodeCounts.empty(num_codes, 8)
    return PairedCounts(replace(empty, num_examples=500), replace(empty, num_examples=500), empty.examples)


def topic_counts(topic: str, count: int = 2) -> TopicCounts:
    pairs = {f"{site} {topic}": paired_counts(100) for site in range(count)}
    return TopicCounts(topic, pairs, {}, "topic", {"target": topic})


def search_counts(topic: str, count: int = 2) -> SearchCounts:
    return SearchCounts(topic, (Search(),) * count, (topic_counts(topic, count),) * count, 8)


def count_table(count: int) -> CountTable:
    return CountTable(np.full(count, 3), np.full(count, 2), 40, 40)


def pair_counts(count: int) -> PairCounts:
    return PairCounts(csr_array(np.ones((10, count), np.int64)), np.full(10, 7), "key", 4)


def runtimes(topic: str, count: int = 2) -> Runtimes:
    return Runtimes(topic, dict.fromkeys(range(count), (1.0, 2.0)), (3.0,), {"note": topic})


def run(topic: str, count: int = 2) -> BaselineRun:
    accuracies = {f"{i} {topic}": 0.5 for i in range(count)}
    return BaselineRun(torch.nn.Linear(100, 100), tuple(Epoch(i, 2.0 * i, accuracies) for i in range(count)), count - 1)


def history(topic: str, count: int = 2) -> EpochHistory:
    watched = EpochHistory({f"{i} {topic}": None for i in range(count)})
    watched.epochs = list(run(topic, count).history)
    return watched


LARGE = {
    "Request": lambda: request(LONG, 200_000),
    "Ledger": lambda: ledger(LONG, 1_000),
    "Selection": lambda: selection(LONG, 300),
    "Unlearner": lambda: forgetful(LONG, 20),
    "Record": lambda: record(LONG, 20),
    "Evaluation": lambda: evaluation(LONG, 1_000),
    "Sweep": lambda: sweep(LONG, 200),
    "Frontier": lambda: frontier(LONG, 10_000),
    "Enrichment": lambda: enrichment(LONG[:400], 50_000),
    "TopicsTable": lambda: TopicsTable([evaluation(LONG)] * 1_000, 8),
    "ExamplesTable": lambda: examples_table(sweep(LONG, 200).evaluations, rows=[0, 1] * 1_000),
    "Runtimes": lambda: runtimes(LONG, 1_000),
    "TopicCounts": lambda: topic_counts(LONG, 100),
    "TargetCounts": lambda: TargetCounts(LONG, {f"{i} {LONG}": CodeCounts.empty(100, 8) for i in range(100)}),
    "SearchCounts": lambda: search_counts(LONG, 100),
    "PairCounts": lambda: pair_counts(50_000),
    "ClassCounts": lambda: ClassCounts(pair_counts(50_000), 3, LONG),
    "CodeCounts": lambda: CodeCounts.empty(50_000, 104),
    "PairedCounts": lambda: paired_counts(50_000),
    "CountTable": lambda: count_table(50_000),
    "BaselineRun": lambda: run(LONG, 1_000),
    "EpochHistory": lambda: history(LONG, 1_000),
}
TABLES = {
    "Ledger": ledger,
    "Evaluation": evaluation,
    "Sweep": sweep,
    "Frontier": frontier,
    "Enrichment": enrichment,
    "TopicsTable": lambda topic, count=2: TopicsTable([evaluation(topic)] * count, 8),
    "ExamplesTable": lambda topic, count=2: examples_table(sweep(topic).evaluations, rows=[0, 1] * count),
    "Runtimes": runtimes,
    "BaselineRun": run,
    "EpochHistory": history,
}


@pytest.mark.parametrize("name", LARGE)
def test_a_repr_is_a_line_or_a_short_table_whatever_it_is_of(name):
    text = repr(LARGE[name]())
    assert text.startswith(name)
    assert len(text) < 2_000 and len(text.splitlines()) <= 12


def test_a_repr_says_what_a_person_wants_to_know():
    assert repr(request("red", 200_000)).startswith("Request 1: mask of 'red', 4,200,000 codes at 0 red, 1 red, ")
    lines = repr(Ledger((request("red"), replace(request("blue"), id=2, undone="2026-02-01")))).splitlines()
    assert lines[0] == "Ledger: 1 of 2 requests in force"
    assert "'red'" in lines[1] and lines[1].endswith("in force") and lines[2].endswith("undone 2026-02-01")
    assert repr(evaluation("teacher")).endswith("topic recall 0.700 before, 0.100 after, 0.700 random codes")
    assert repr(forgetful("x", 1)).endswith(f"bottlenecks at {SITE}: 39 of 40 codes live; asked to forget: 0 x")
    assert "not measured: 0 x, 1 x; requests 2, evaluations 2, frontiers 0, enrichments 2" in repr(record("x"))
    assert repr(frontier("red")).endswith("accuracy 0.900 to 0.225 on the class, 0.800 to 0.800 on others")


class Tags(HTMLParser):
    """The tags of a piece of HTML, and its text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("name", TABLES)
def test_in_a_notebook_a_table_shows_what_a_text_holds_and_runs_none_of_it(name):
    html = TABLES[name](HOSTILE)._repr_html_()
    found = Tags(html)
    assert found.tags <= {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert """</td><script>alert("x")</script>""" in found.text
    assert found.text.startswith(f"{name}: ")


@pytest.mark.parametrize("name", TABLES)
def test_in_a_notebook_a_table_of_very_many_rows_is_cut(name):
    html = TABLES[name]("x", 200)._repr_html_()
    assert html.count("<tr") <= MOST_ROWS + 5


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_a_data_frame_with_a_row_for_each_entry(name):
    two, three = (len(TABLES[name]("x", count).to_pandas()) for count in (2, 3))
    assert 0 < two < three or (name == "Evaluation" and two == three == 18)


def test_the_surest_codes_are_the_ones_that_a_notebook_shows():
    table = enrichment_of(5_000)
    html = table._repr_html_()
    assert re.findall(rf"<td>{SITE}</td>\s*<td>(\d+)</td>", html)[:3] == ["3", "7", "0"]
    assert html.count("<tr") == MOST_ROWS + 1


def test_a_shortened_text_is_one_line_and_says_that_it_was_cut():
    assert shortened("two\nlines") == "two lines"
    assert shortened("x" * 60) == "x" * 60
    assert shortened("x" * 61) == "x" * 57 + "..."
    assert few(["a", "b"]) == "a, b" and few([]) == ""
    assert few("abcdef") == "a, b, c, d and 2 more"
