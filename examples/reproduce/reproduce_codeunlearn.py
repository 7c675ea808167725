#!/usr/bin/env python
"""Every table and figure of CodeUnlearn that the data allows, and what the paper does not measure, in one command.

It needs the models and makes everything else: topic sets, sweeps over S' by the default rule and by the paper's, the
null control, topics forgotten one after the other, figures, and a report in Markdown. What is measured on several
codebook models stands as mean, standard deviation and number of models.

    python examples/reproduce/reproduce_codeunlearn.py --models codebook-0 codebook-1 codebook-2 --plain plain \
        --base base --train_file train.parquet --test_file test.parquet --bert_score all-MiniLM-L6-v2:5 \
        --bart_score plain --out reproduction --docs codeunlearn.md

`base` is a model that never saw the topics, `plain` the same model trained on everything without a codebook. With the
originals, models trained by examples/train/train_translation.py from t5-small:

    python examples/reproduce/reproduce_codeunlearn.py --models out/codebook --plain out/plain --base t5-small \
        --dataset_name opus_books --dataset_config en-fr --prefix "translate English to French: " \
        --topics love Julien Captain poor wish white black --sweep_topics love Julien \
        --bert_score bert-base-multilingual-cased:9 --bart_score facebook/bart-large-cnn --out reproduction

Each part is kept in `--out`, and made again only if its file is removed: a run that was cut off goes on, and one with
other arguments is refused. A metric that is given later is computed from the outputs that are kept.
"""

import argparse
import json
import os
import re
from dataclasses import replace
from pathlib import Path

from codeunlearn_report import Results, report
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging

from excise import Sweep, TopicSets, Unlearner, sweep, topic_sets
from excise.data import load_rows, null_sets, text_pairs, topic_words
from excise.evaluation import generate_texts, runtimes, synonyms
from excise.evaluation.metrics import BartScore, BertScore, Bleu, Meteor

# Presets for words; the other ones are for classes of images.
RULES = ("default", "paper")
# Of the arguments, those that change how much is made, but nothing of what is made.
FREE = ("models", "topics", "sweep_topics", "bert_score", "bart_score", "docs", "out")
# By the name of a metric's signature, the score that tells whether it was computed.
TELLING = {"meteor": "meteor", "bert_score": "bert_score_f1", "bart_score": "bart_score"}


def main():
    """Makes what is missing in `--out`, then the report."""
    args = arguments().parse_args()
    logging.disable_progress_bar()
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in vars(args).items() if name not in FREE}
    if kept(args.out / "arguments.json", lambda: settings) != settings:
        raise SystemExit(f"{args.out} holds results of other arguments (arguments.json): choose another --out.")
    metrics = metrics_of(args)
    train, test = splits(args)
    topics = {word: topic_of(args, word, train, test) for word in args.topics}
    base = AutoModelForSeq2SeqLM.from_pretrained(args.base)
    tested = first_of(topic_of(args, args.synonym[1], train, test), args.sweep_retain, args.sweep_retain)
    for i, folder in enumerate(args.models):
        unlearner = Unlearner.from_pretrained(folder)
        measure(args, unlearner, i, topics, tested, base, test, metrics)
    plain = AutoModelForSeq2SeqLM.from_pretrained(args.plain)
    quality(args.out / "quality.json", args, plain, AutoTokenizer.from_pretrained(args.plain), test, metrics)
    top_s = {rule: unlearner.preset_top_s(rule) for rule in RULES}
    judges = {name: getattr(metric, "signature", None) for name, metric in metrics.items()}
    results = Results.load(args.out, len(args.models), args.topics, args.sweep_topics, args.synonym, top_s, judges)
    report(results, args.docs)


def measure(args, unlearner, i, topics, tested, base, test, metrics):
    """All that is measured on one codebook model, by the default rule and by the paper's."""
    out, name = args.out / f"model-{i}", Path(args.models[i]).name
    if kept(out / "model.json", lambda: name) != name:
        raise SystemExit(f"{out} holds results of another model than {name!r} (model.json): choose another --out.")
    quality(out / "quality.json", args, unlearner.model, unlearner.tokenizer, test, metrics)
    for word, topic in topics.items():
        made = swept = None
        options = {"words": words_of(args, topic), "reference_model": base, "seed": i} | decoding(args)
        for rule in RULES:
            own, more = [unlearner.preset_top_s(rule)], {"random_codes": rule == "default", "cut_out": True}
            given = options | {"preset": rule, "reuse": made, "top_s": own} | more
            made = swept_once(out / rule / f"{word}.json", metrics, sweep, unlearner, topic, **given)
            if word in args.sweep_topics:
                more = {"random_codes": False, "left_out": False, "top_s": args.sweep_top_s}
                given = options | {"preset": rule, "reuse": swept} | more
                few = first_of(topic, args.sweep_retain)
                swept = swept_once(out / "sweeps" / rule / f"{word}.json", metrics, sweep, unlearner, few, **given)
    more = {"random_codes": False, "left_out": False, "top_s": args.sweep_top_s}
    given = decoding(args) | more | {"reference_model": base, "words": words_of(args, tested)}
    swept_once(out / "synonym.json", metrics, synonyms, unlearner, topics[args.synonym[0]], tested, **given)
    kept(out / "runtimes.json", times, args, unlearner, topics[args.synonym[0]])
    kept(out / "null.json", nulls, unlearner, topics, seed=i)
    kept(out / "ledger.json", one_after_the_other, args, unlearner, topics)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, help="codebook models, one a seed")
    parser.add_argument("--plain", required=True, help="the same model trained without a codebook")
    parser.add_argument("--base", required=True, help="a model that never saw the topics (the paper: zero-shot)")
    parser.add_argument("--dataset_name", help="data set: Hub id or path; a tenth is held out if it has no test split")
    parser.add_argument("--dataset_config")
    parser.add_argument("--train_file", help="a file that `load_rows` reads, in place of a name")
    parser.add_argument("--test_file")
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="fr")
    parser.add_argument("--language", default="french", help="of the references, whose stems METEOR compares")
    parser.add_argument("--prefix", default="", help="put before each source text (T5: a task)")
    parser.add_argument("--topics", nargs="+", default=["love", "Boston", "teacher", "water", "Mary", "car", "wish"])
    parser.add_argument("--no_words", nargs="*", default=["fleurs"], help="found with a topic, but none of its words")
    parser.add_argument(
        "--sweep_topics", nargs="+", default=["love", "Mary"], help="of figures 3 and 4, tables 1, 4, 5"
    )
    parser.add_argument("--sweep_top_s", type=int, nargs="+", default=[8, 24, 40, 56, 72, 88, 104])
    parser.add_argument("--synonym", nargs=2, default=["love", "like"], help="topic to forget, topic to test (fig. 5)")
    parser.add_argument("--bert_score", metavar="MODEL:LAYER", help="encoder of BERTScore, and which of its layers")
    parser.add_argument("--bart_score", metavar="MODEL", help="sequence-to-sequence model of BARTScore")
    parser.add_argument("--retain", type=int, default=1000, help="test sentences without the topic")
    parser.add_argument("--sweep_retain", type=int, default=300, help="as many of them in the sweeps over S'")
    parser.add_argument("--test", type=int, default=2000, help="test sentences for the quality of the models")
    parser.add_argument("--repeats", type=int, default=3, help="how often each time of table 3 is measured")
    parser.add_argument("--max_new_tokens", type=int, default=48)
    parser.add_argument("--docs", type=Path, help="Markdown file that the report is written to as well")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def metrics_of(args):
    """The metrics of the paper beside BLEU, but those without a model."""
    metrics = {"meteor": Meteor(language=args.language)}
    if args.bert_score:
        model, _, layer = args.bert_score.rpartition(":")
        if not model or not layer.isdecimal():
            raise SystemExit(f"--bert_score {args.bert_score}: expected MODEL:LAYER, as roberta-large:17.")
        metrics["bert_score"] = BertScore(model, int(layer))
    if args.bart_score:
        metrics["bart_score"] = BartScore(args.bart_score)
    return metrics


def kept(path, make, *args, **options):
    """Makes a JSON file, if it is not there, of what a call gives."""
    if not path.exists():
        write(path, make(*args, **options))
        print(path, flush=True)
    return json.loads(path.read_text())


def write(path, state):
    """Writes a JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(state, indent=1) + "\n")
    os.replace(partial, path)


def swept_once(path, metrics, make, *args, **options):
    """Makes a sweep's file, if it is not there, with the scores that it lacks; its first evaluation."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make(*args, **options).save(path)
        print(path, flush=True)
    swept = Sweep.load(path)
    evaluations = {step: scored(evaluation, metrics) for step, evaluation in swept.evaluations.items()}
    if evaluations != swept.evaluations:
        swept = replace(swept, evaluations=evaluations)
        swept.save(path)
    return next(iter(swept.evaluations.values()))


def scored(evaluation, metrics):
    """An evaluation with the metrics that it lacks, from the outputs that it keeps."""
    scores = {
        condition: {
            name: found | more_scores(metrics, evaluation.outputs[condition][name], evaluation.references[name], found)
            for name, found in sets.items()
        }
        for condition, sets in evaluation.scores.items()
    }
    return replace(evaluation, scores=scores)


def more_scores(metrics, outputs, references, found):
    """The scores of metrics that were not computed, or by another model."""
    scores = {}
    for name, metric in metrics.items():
        same = found.get(f"{name}_signature") == getattr(metric, "signature", None)
        if TELLING[name] not in found or not same:
            scores |= metric.compute(predictions=outputs, references=references)
    return scores


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


def first_of(topic, retain, heldout=None):
    """The sets with so many held-out sentences without the topic, and with it."""
    most = {"heldout_retain": retain, "heldout": heldout or len(topic.heldout)}
    rows = {name: getattr(topic, name) for name in most}
    return replace(topic, **{name: rows[name].select(range(min(most[name], len(rows[name])))) for name in most})


def words_of(args, topic):
    """The topic's words in the language of the references."""
    return [word for word in topic_words(topic) if word not in args.no_words]


def decoding(args):
    """How everything is generated."""
    return {"max_new_tokens": args.max_new_tokens, "batch_size": 256, "progress": False}


def quality(path, args, model, tokenizer, test, metrics):
    """Makes the file of what comes out for the test split, greedy, with its scores, or adds those that it lacks."""
    found = kept(path, translated, args, model, tokenizer, test)
    if more := more_scores(metrics, found["outputs"], found["references"], found):
        write(path, found | more)


def translated(args, model, tokenizer, test):
    """Sentences of the test split as they come out, what they should be, and BLEU."""
    rows = text_pairs(test.shuffle(seed=0).select(range(min(args.test, len(test)))), args.source, args.target)
    texts, references = [args.prefix + text for text in rows["source"]], list(rows["target"])
    outputs = generate_texts(model, tokenizer, texts, max_new_tokens=args.max_new_tokens, batch_size=256)
    scores = Bleu().compute(predictions=outputs, references=references)
    return scores | {"outputs": outputs, "references": references}


def nulls(unlearner, topics, seed):
    """Codes that presets find where there is nothing to find: two halves of each topic's retain set."""
    sets = {word: null_sets(topic, seed) for word, topic in topics.items()}
    return {
        rule: {word: len(unlearner.choose(halves, rule, progress=False)) for word, halves in sets.items()}
        for rule in RULES
    }


def times(args, unlearner, topic):
    """Seconds that it takes to find a topic's codes, by S'."""
    found = runtimes(unlearner, topic, repeats=args.repeats)
    seconds = {str(top_s): list(values) for top_s, values in found.seconds.items()}
    return {"seconds": seconds | {"all together": list(found.together)}, "settings": dict(found.settings)}


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
