#!/usr/bin/env python
"""Every table and figure of CodeUnlearn that the data allows, and what the paper does not measure, in one command.

It needs the models and makes everything else: topic sets, sweeps over S' by the default rule and by the paper's, the
null control, topics forgotten one after the other, figures, and a report in Markdown.

    python examples/reproduce/reproduce_codeunlearn.py --models codebook-0 codebook-1 codebook-2 --plain plain \
        --base base --train_file train.parquet --test_file test.parquet --out reproduction

`base` is a model that never saw the topics, `plain` the same model trained on everything without a codebook. With the
originals, models trained by examples/train/train_translation.py from t5-small:

    python examples/reproduce/reproduce_codeunlearn.py --models out/codebook --plain out/plain --base t5-small \
        --dataset_name opus_books --dataset_config en-fr --prefix "translate English to French: " \
        --topics love Julien Captain poor wish white black --out reproduction

Each part is kept in `--out`, and made again only if its file is removed: a run that was cut off goes on.
"""

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

from codeunlearn_report import report
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging

from excise import Sweep, TopicSets, Unlearner, sweep, topic_sets
from excise.data import load_rows, null_sets, text_pairs, topic_words
from excise.evaluation import generate_texts, runtimes, synonyms
from excise.evaluation.metrics import Bleu

# Presets for words; the other ones are for classes of images.
RULES = ("default", "paper")


def main():
    """Makes what is missing in `--out`, then the report."""
    args = arguments().parse_args()
    logging.disable_progress_bar()
    args.out.mkdir(parents=True, exist_ok=True)
    train, test = splits(args)
    topics = {word: topic_of(args, word, train, test) for word in args.topics}
    base = AutoModelForSeq2SeqLM.from_pretrained(args.base)
    for i, folder in enumerate(args.models):
        unlearner = Unlearner.from_pretrained(folder)
        measure(args, unlearner, i, topics, base, test)
    forgotten, tested = args.synonym
    unlearner = Unlearner.from_pretrained(args.models[0])
    other = first_of(topic_of(args, tested, train, test), args.sweep_retain)
    kept(args.out / "synonym.json", synonyms, unlearner, topics[forgotten], other, **decoding(args))
    kept(args.out / "runtimes.md", times, unlearner, topics[forgotten])
    plain = AutoModelForSeq2SeqLM.from_pretrained(args.plain)
    kept(args.out / "quality.json", quality, args, plain, AutoTokenizer.from_pretrained(args.plain), test)
    report(args.out, args.topics, {rule: unlearner.preset_top_s(rule) for rule in RULES}, args.synonym)


def measure(args, unlearner, i, topics, base, test):
    """All that is measured on one codebook model: the default; on the first also the paper's preset, and every S'."""
    out, rules = args.out / f"model-{i}", list(RULES) if i == 0 else ["default"]
    kept(out / "quality.json", quality, args, unlearner.model, unlearner.tokenizer, test)
    kept(out / "null.json", nulls, unlearner, topics, rules, seed=i)
    kept(out / "ledger.json", one_after_the_other, args, unlearner, topics)
    for word, topic in topics.items():
        made = swept = None
        options = {"words": words_of(args, topic), "reference_model": base, "cut_out": True, "seed": i}
        for rule in rules:
            path, own = out / rule / f"{word}.json", [unlearner.preset_top_s(rule)]
            random = rule == "default"
            options |= {"preset": rule, "reuse": made} | decoding(args)
            kept(path, sweep, unlearner, topic, top_s=own, random_codes=random, **options)
            made = next(iter(Sweep.load(path).evaluations.values()))
            if i == 0:
                path = args.out / "sweeps" / rule / f"{word}.json"
                fewer = first_of(topic, args.sweep_retain)
                kept(path, sweep, unlearner, fewer, random_codes=False, **options | {"reuse": swept})
                swept = next(iter(Sweep.load(path).evaluations.values()))


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, help="codebook models, one a seed; the first is swept")
    parser.add_argument("--plain", required=True, help="the same model trained without a codebook")
    parser.add_argument("--base", required=True, help="a model that never saw the topics (the paper: zero-shot)")
    parser.add_argument("--dataset_name", help="data set: Hub id or path; a tenth is held out if it has no test split")
    parser.add_argument("--dataset_config")
    parser.add_argument("--train_file", help="a file that `load_rows` reads, in place of a name")
    parser.add_argument("--test_file")
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="fr")
    parser.add_argument("--prefix", default="", help="put before each source text (T5: a task)")
    parser.add_argument("--topics", nargs="+", default=["love", "Boston", "teacher", "water", "Mary", "car", "wish"])
    parser.add_argument("--no_words", nargs="*", default=["fleurs"], help="found with a topic, but none of its words")
    parser.add_argument("--synonym", nargs=2, default=["love", "like"], help="topic to forget, topic to test (fig. 5)")
    parser.add_argument("--retain", type=int, default=1000, help="test sentences without the topic")
    parser.add_argument("--sweep_retain", type=int, default=300, help="as many of them in the sweeps over S'")
    parser.add_argument("--test", type=int, default=2000, help="test sentences for the quality of the models")
    parser.add_argument("--max_new_tokens", type=int, default=48)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def kept(path, make, *args, **options):
    """Makes a file, if it is not there, of what a call gives."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make(*args, **options)
        print(path, flush=True)
        if isinstance(made, Sweep):
            made.save(path)
        else:
            path.write_text(made if isinstance(made, str) else json.dumps(made, indent=1) + "\n")


def splits(args):
    """Rows to choose codes on and rows to score."""
    if args.train_file:
        return load_rows(args.train_file), load_rows(args.test_file)
    train = load_rows(args.dataset_name, args.dataset_config)
    try:
        return train, load_rows(args.dataset_name, args.dataset_config, "test")
    except ValueError:  # there is no such split
        rows = train.train_test_split(0.1, seed=0)
        return rows["train"], rows["test"]


def topic_of(args, word, train, test):
    """A topic's sets, all its inflections; kept."""
    folder = args.out / "topics" / word
    if not folder.exists():
        options = {"text": args.source, "reference": args.target, "prefix": args.prefix}
        topic_sets(train, word, evaluation=test, max_retain=1000, **options).save(folder)
    return first_of(TopicSets.load(folder), args.retain)


def first_of(topic, retain):
    """The sets with so many held-out sentences without the topic."""
    rows = min(retain, len(topic.heldout_retain))
    return replace(topic, heldout_retain=topic.heldout_retain.select(range(rows)))


def words_of(args, topic):
    """The topic's words in the language of the references."""
    return [word for word in topic_words(topic) if word not in args.no_words]


def decoding(args):
    """How everything is generated."""
    return {"max_new_tokens": args.max_new_tokens, "batch_size": 256, "progress": False}


def quality(args, model, tokenizer, test):
    """BLEU on the test split, greedy."""
    rows = text_pairs(test.shuffle(seed=0).select(range(min(args.test, len(test)))), args.source, args.target)
    texts = [args.prefix + text for text in rows["source"]]
    outputs = generate_texts(model, tokenizer, texts, max_new_tokens=args.max_new_tokens, batch_size=256)
    return Bleu().compute(predictions=outputs, references=list(rows["target"])) | {"rows": len(rows)}


def nulls(unlearner, topics, rules, seed):
    """Codes that presets find where there is nothing to find: two halves of each topic's retain set."""
    sets = {word: null_sets(topic, seed) for word, topic in topics.items()}
    return {
        rule: {word: len(unlearner.choose(halves, rule, progress=False)) for word, halves in sets.items()}
        for rule in rules
    }


def times(unlearner, topic):
    """How long it takes to find a topic's codes, in Markdown."""
    return runtimes(unlearner, topic).to_markdown()


def one_after_the_other(args, unlearner, topics, count=5):
    """D_R before and after the first topics are forgotten in one ledger; then they are undone."""
    chosen = list(topics.values())[:count]
    forms = "|".join(re.escape(form) for topic in chosen for form in topic.inflections)
    says = re.compile(rf"(?<!\w)(?:{forms})(?!\w)", re.IGNORECASE)
    rows = [row for row in chosen[0].heldout_retain if not says.search(row["text"])]
    texts, references = [row["text"] for row in rows], [row["reference"] for row in rows]

    def bleu():
        outputs = generate_texts(unlearner.model, unlearner.tokenizer, texts, **decoding(args) | {"progress": None})
        return Bleu().compute(predictions=outputs, references=references)["bleu"]

    scores, requests = [bleu()], []
    for topic in chosen:
        requests.append(unlearner.forget(topic, progress=False))
        scores.append(bleu())
    for request in requests:
        unlearner.undo(request)
    codes = [request.num_codes for request in requests]
    return {"topics": [topic.name for topic in chosen], "rows": len(rows), "bleu": scores, "codes": codes}


if __name__ == "__main__":
    main()
