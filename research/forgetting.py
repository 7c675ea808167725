"""One experiment on forgetting: a model, a rule that selects codes, several topics; one line in a file of results.

The rule is one or more passes. Each counts every topic under the masks of the passes before it and adds codes, so
two equal passes are iterated selection, and passes at the topic's own positions and at all positions are a union.

    python research/forgetting.py MODEL --base BASE --topics TOPICS/*/ --results docs/method/experiments.jsonl \
        --pass positions=topic,top_s=24 --pass positions=all,top_s=24,max_retain_ratio=0.1

TOPICS are folders that `excise topic` wrote. A line that is there already (same name, model and passes) is not made
again. What the base model and the model before the masks generate is kept beside the model.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from transformers import AutoModelForSeq2SeqLM
from transformers.utils import logging

from excise import Condition, Evaluation, Search, Selection, TopicSets, Unlearner, evaluate
from excise.data import topic_words

# Words that the association takes for a topic's and that only go with it: *fleurs*, which are watered.
COMPANIONS = {"fleurs"}
NUMBERS = {"top_s": int, "q": float, "effect": float, "count": int, "max_retain_ratio": float}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--base", required=True, help="the model that never saw the topics")
    parser.add_argument("--topics", nargs="+", required=True)
    parser.add_argument("--pass", dest="passes", action="append", type=options, default=[], metavar="NAME=VALUE,...")
    parser.add_argument("--name", required=True, help="what is varied, for the table")
    parser.add_argument("--results", default="docs/method/experiments.jsonl")
    parser.add_argument("--retain", type=int, default=300, help="sentences without the topic that are scored")
    parser.add_argument("--random", action="store_true", help="score as many random codes too")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()

    key = {"name": args.name, "model": Path(args.model).name, "passes": args.passes, "seed": args.seed}
    results = Path(args.results)
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    if any(key.items() <= line.items() for line in lines):
        print(f"{args.name}: done before")
        return
    started = time.time()
    unlearner = Unlearner.from_pretrained(args.model)
    base = AutoModelForSeq2SeqLM.from_pretrained(args.base)
    topics = {}
    for folder in args.topics:
        topic = TopicSets.load(folder)
        topic = replace(topic, heldout_retain=topic.heldout_retain.select(range(args.retain)))
        topics[topic.name] = measured(args, unlearner, base, topic)
        print(args.name, topic.name, topics[topic.name], flush=True)
    names = [name for name in next(iter(topics.values())) if name != "codes"]
    trained = Path(args.model) / "all_results.json"
    line = key | {
        "training": json.loads(trained.read_text()) if trained.exists() else {},
        "mean": {name: round(fmean(topic[name] for topic in topics.values()), 4) for name in names},
        "topics": topics,
        "seconds": round(time.time() - started),
        "commit": subprocess.check_output(["git", "describe", "--always"], text=True).strip(),
        "command": shlex.join(["python", "research/forgetting.py", *map(public, sys.argv[1:])]),
    }
    with results.open("a") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(args.name, line["mean"])


def options(text):
    """`positions=topic,top_s=24` as a dictionary."""
    pairs = dict(pair.split("=") for pair in text.split(",") if pair)
    return {name: NUMBERS.get(name, str)(value) for name, value in pairs.items()}


def public(argument):
    """An argument without the folders of this machine."""
    return Path(argument).name if argument.startswith(("/", "~")) else argument


def chosen(unlearner, topic, passes):
    """The codes of all passes."""
    codes = {site: set() for site in unlearner.sites}
    for settings in passes:
        search = Search(**{name: value for name, value in settings.items() if name != "top_s"})
        with unlearner.trial(Selection(codes)):
            found = unlearner.choose(topic, search, top_s=settings.get("top_s"), progress=False)
        for site, ids in found.codes.items():
            codes[site].update(ids)
    return Selection(codes, {"passes": passes})


def measured(args, unlearner, base, topic):
    """A topic's scores before, after, with random codes and of the model that never saw it."""
    kept = Path(args.model) / "evaluations" / f"{topic.digest()['heldout']}-{args.retain}.json"
    before = Evaluation.load(kept) if kept.exists() else None
    selection = chosen(unlearner, topic, args.passes)
    found = evaluate(
        unlearner,
        topic,
        selection=selection,
        words=[word for word in topic_words(topic) if word not in COMPANIONS],
        reference_model=base,
        max_new_tokens=48,
        batch_size=512,
        seed=args.seed,
        random_codes=args.random,
        reuse=before,
        progress=False,
    )
    if before is None:
        kept.parent.mkdir(exist_ok=True)
        found.save(kept)
    heldout = {condition: scores["heldout"] for condition, scores in found.scores.items()}
    scores = {
        "codes": len(selection),
        "recall_before": heldout[Condition.BEFORE]["recall"],
        "recall_after": heldout[Condition.AFTER]["recall"],
        "recall_base": heldout[Condition.REFERENCE]["recall"],
        "mentions_after": heldout[Condition.AFTER]["mentions"],
        "recall_lost": found.normalized_drop("recall"),
        "mentions_lost": found.normalized_drop("mentions"),
        "drop": found.normalized_drop(),
        "retain_drop": found.relative_drop(),
        "rest": heldout[Condition.AFTER]["rest_bleu"] / heldout[Condition.BEFORE]["rest_bleu"],
        "bleu_before": heldout[Condition.BEFORE]["bleu"],
        "bleu_base": heldout[Condition.REFERENCE]["bleu"],
        "retain_before": found.scores[Condition.BEFORE]["heldout_retain"]["bleu"],
        "retain_base": found.scores[Condition.REFERENCE]["heldout_retain"]["bleu"],
    }
    if args.random:
        scores["random_recall_lost"] = found.normalized_drop("recall", condition=Condition.RANDOM)
        scores["random_retain_drop"] = found.relative_drop(condition=Condition.RANDOM)
    return {name: round(value, 4) for name, value in scores.items()}


if __name__ == "__main__":
    main()
