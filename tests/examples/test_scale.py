"""The page on scale says what its script prints; a simulated cluster merges real counts to those of one pass."""

import random
import runpy

import pytest


def test_the_tables_of_the_page_are_those_that_its_script_prints(root):
    page = (root / "docs" / "scale.md").read_text(encoding="utf-8")
    tables = runpy.run_path(str(root / "benchmarks" / "scale.py"))["tables"]()
    assert tables.count("\n") > 25
    assert [line for line in tables.splitlines() if line not in page] == []


@pytest.fixture(scope="module")
def merge_tree(request):
    return runpy.run_path(str(request.config.rootpath / "benchmarks" / "merge_tree.py"))


@pytest.fixture(scope="module")
def counted(merge_tree):
    return merge_tree["counted"](shards=11, sentences=3)


@pytest.mark.parametrize(("workers", "arity"), [(1, 2), (4, 3), (16, 8)])
def test_counts_of_shards_merge_to_those_of_one_pass_though_workers_die(merge_tree, counted, workers, arity):
    shards, whole = counted
    assert whole.num_examples == 33 and whole.examples.sum()
    cluster = merge_tree["Cluster"](workers, dies=0.3, late=0.2, arity=arity)
    for seed in range(20):
        outcome = merge_tree["simulated"](cluster, shards, random.Random(seed))
        assert merge_tree["same"](outcome.total, whole)
        assert merge_tree["same"](outcome.as_it_comes, whole) or outcome.twice


def test_results_that_are_added_as_they_come_are_counted_twice(merge_tree, counted):
    shards, whole = counted
    numbers = merge_tree["correct"](shards, whole, merge_tree["Cluster"](4, dies=0.0, late=0.5), seeds=10)
    assert numbers["results_twice"] and numbers["same_as_one_pass"] == 10 > numbers["same_if_added_as_they_come"]


def test_time_grows_with_the_share_of_workers_that_die(merge_tree):
    times = [merge_tree["time_grown"](100, merge_tree["Cluster"](10, dies, 0.0), 2)["time"] for dies in (0, 0.1, 0.4)]
    assert times == sorted(times) and times[-1] > 1.3 * times[0]


@pytest.mark.parametrize(("shards", "arity"), [(1, 2), (2, 2), (9, 2), (64, 8), (65, 8)])
def test_every_result_of_a_level_is_added_once_on_the_next(merge_tree, shards, arity):
    tree = merge_tree["levels"](shards, arity)
    children = [child for some in tree.values() for child in some]
    assert sorted([*children, max(tree)]) == sorted(tree)
