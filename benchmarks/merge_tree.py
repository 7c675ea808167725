"""Counting by many workers that die, and merging by a tree: the same integers as one pass, and how the time grows.

A small T5 counts shards of made-up sentences, and all sentences in one pass. Then, for many seeds, a simulated cluster
counts and merges: a task (a shard, or the sum of some results) is leased to a worker. Some workers die in the middle of
a task; some are taken for dead and finish late, so that a result comes twice. Results are kept under the number of
their task, and the second is written over the first. What adding them as they come would give is compared, too. The
clock is simulated; the counts are real.

    python benchmarks/merge_tree.py --seeds 200
"""

import argparse
import heapq
import json
import random
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from datasets import Dataset

from excise import CodebookSAEConfig, CodebookT5ForConditionalGeneration, Search
from excise.codes import CodeFinder
from excise.data import train_tokenizer
from excise.models import CodebookT5Config

WORDS = ["cat", "dog", "teacher", "mat", "tree", "house", "river", "sings", "runs", "sleeps", "the", "a", "on", "with"]
SMALL = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
TOP_S = 6


class Cluster(NamedTuple):
    """What a simulated cluster is like; times are in units of what a shard takes to count.

    Args:
        workers: tasks at a time.
        dies: probability that an attempt at a task is lost with its worker.
        late: probability that an attempt is taken for lost and finishes all the same, after it was given to another.
        lease: time after which a task that nobody has finished is given to another worker.
        arity: results that are merged at once.
        merge: time to add one result to another.
    """

    workers: int
    dies: float
    late: float
    lease: float = 3.0
    arity: int = 8
    merge: float = 0.01


class Outcome(NamedTuple):
    """What came of it: the total, what adding without numbers would give, time, attempts, results that came twice."""

    total: object
    as_it_comes: object
    time: float
    attempts: int
    twice: int


def simulated(cluster, shards, rng):
    """Counts and merges once; `shards` are anything that adds up."""
    tree = levels(len(shards), cluster.arity)
    results, as_it_comes, attempts, twice = {}, [], 0, 0
    ready = [(0, number) for number in range(len(shards))]
    events, idle, now = [], cluster.workers, 0.0  # (time, its order, what happens, task, whether a worker is free then)
    while True:
        while ready and idle:
            task = ready.pop(0)
            if task in results:
                continue
            idle, attempts = idle - 1, attempts + 1
            children = tree[task]
            takes = cluster.merge * len(children) if children else rng.lognormvariate(0, 0.25)
            fate = rng.random()
            if fate < cluster.dies:  # its worker is replaced when the lease is over
                heapq.heappush(events, (now + cluster.lease, attempts, "lost", task))
            elif fate < cluster.dies + cluster.late:
                heapq.heappush(events, (now + cluster.lease, attempts, "given to another", task))
                heapq.heappush(events, (now + cluster.lease + takes, attempts, "done", task))
            else:
                heapq.heappush(events, (now + takes, attempts, "done", task))
        if not events:
            break
        now, _, what, task = heapq.heappop(events)
        if what == "given to another":
            ready.append(task)
            continue
        idle += 1
        if what == "lost":
            ready.append(task)
            continue
        level, number = task
        children = tree[task]
        result = reduce(add, [results[child] for child in children]) if children else shards[number]
        if not level:
            as_it_comes.append(result)
        twice += task in results
        known, results[task] = task in results, result
        parent = level + 1, number // cluster.arity
        if not known and parent in tree and all(child in results for child in tree[parent]):
            ready.append(parent)
        if parent not in tree:
            break
    return Outcome(results[max(tree)], reduce(add, as_it_comes), now, attempts, twice)


def levels(shards, arity):
    """By task, `(level, number)`, the tasks whose results it adds up; none of a shard."""
    tree, level, width = {(0, number): [] for number in range(shards)}, 0, shards
    while width > 1:
        below, level, width = width, level + 1, -(-width // arity)
        for number in range(width):
            some = range(number * arity, min(below, (number + 1) * arity))
            tree[level, number] = [(level - 1, child) for child in some]
    return tree


def counted(shards, sentences, seed=0):
    """The counts of each shard, and those of all sentences in one pass."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(3, 12))) for _ in range(shards * sentences)]
    tokenizer = train_tokenizer(texts, vocab_size=60)
    config = CodebookT5Config(
        **SMALL, vocab_size=len(tokenizer), bottleneck=CodebookSAEConfig(num_codes=200, top_s=2), bottleneck_layers=[0]
    )
    finder = CodeFinder(CodebookT5ForConditionalGeneration(config).eval(), tokenizer)

    def count(part):
        rows = Dataset.from_dict({"text": part})
        counts = finder.count(rows, Search("activations", count=1), max_top_s=TOP_S, progress=False)
        (of_site,) = counts.counts[0].target.values()
        return of_site

    return [count(texts[i * sentences : (i + 1) * sentences]) for i in range(shards)], count(texts)


def same(counts, others):
    """Whether all integers are equal."""
    return torch.equal(counts.examples, others.examples) and counts.num_examples == others.num_examples


def correct(shards, whole, cluster, seeds):
    """How often the total is that of one pass, and how often it is when results are added as they come."""
    outcomes = [simulated(cluster, shards, random.Random(seed)) for seed in range(seeds)]
    return {
        "dies": cluster.dies,
        "late": cluster.late,
        "seeds": seeds,
        "results_twice": sum(outcome.twice for outcome in outcomes),
        "same_as_one_pass": sum(same(outcome.total, whole) for outcome in outcomes),
        "same_if_added_as_they_come": sum(same(outcome.as_it_comes, whole) for outcome in outcomes),
    }


def time_grown(shards, cluster, seeds):
    """How long it takes, against the time that the same workers need for the shards where none is lost."""
    outcomes = [simulated(cluster, [1] * shards, random.Random(seed)) for seed in range(seeds)]
    assert all(outcome.total == shards for outcome in outcomes)
    time = sum(outcome.time for outcome in outcomes) / seeds
    calm = cluster._replace(dies=0.0, late=0.0)
    without = sum(simulated(calm, [1] * shards, random.Random(seed)).time for seed in range(seeds)) / seeds
    return {
        "shards": shards,
        "workers": cluster.workers,
        "dies": cluster.dies,
        "time": round(time, 2),
        "times_as_long": round(time / without, 2),
        "attempts_a_task": round(sum(outcome.attempts for outcome in outcomes) / seeds / len(levels(shards, 8)), 3),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=50)
    parser.add_argument("--sentences", type=int, default=8, help="in a shard")
    parser.add_argument("--seeds", type=int, default=200)
    args = parser.parse_args()
    shards, whole = counted(args.shards, args.sentences)
    for dies in (0.0, 0.05, 0.3):
        numbers = correct(shards, whole, Cluster(workers=16, dies=dies, late=dies / 2), args.seeds)
        print(json.dumps({"benchmark": "merge tree: integers", **numbers}), flush=True)
    for count, workers in ((1_000, 100), (10_000, 1_000)):
        for dies in (0.0, 0.01, 0.05, 0.1, 0.3):
            numbers = time_grown(count, Cluster(workers=workers, dies=dies, late=0.0), seeds=3)
            print(json.dumps({"benchmark": "merge tree: time", **numbers}), flush=True)


if __name__ == "__main__":
    main()
