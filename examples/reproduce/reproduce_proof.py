#!/usr/bin/env python
"""What an attacker gets back of a deletion, by depth and beside the baselines, on every topic and model.

    python examples/reproduce/reproduce_proof.py --models codebook-0 codebook-1 --never_saw never-0 --plain plain \
        --base base --train_file train.parquet --test_file test.parquet --full car teacher --out proof

`--models` are codebook models that know the topics, `--never_saw` is one of the same recipe that never saw them;
`plain` and `base` are the same without a codebook. On every topic and model the quick attacks are run on a deletion
of codes alone and on one that erases embedding rows, too. `--full` topics of the first model get all attacks, and the
baselines.

Each part is kept in `--out`, and made again only if its file is removed: a run that was cut off goes on. `proof.md` is
written anew each time of what is there.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import torch
from proof_report import read, write_report
from transformers import AutoModelForSeq2SeqLM, TrainingArguments
from transformers.utils import logging

from excise import Evaluation, Record, TopicSets, Unlearner, evaluate, topic_sets
from excise.attacks import AttackSets, LearntAgain, LeftOut, run_attacks
from excise.baselines import erase_embedding_rows, filter_outputs, gradient_difference, npo, without_topic
from excise.data import load_rows, text_pairs
from excise.evaluation import generate_texts
from excise.evaluation.metrics import Bleu

DEPTHS = ("codes", "rows")


def main():
    """Makes what is missing in `--out`, then the report."""
    args = arguments().parse_args()
    logging.disable_progress_bar()
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    train, test = (load_rows(file) for file in (args.train_file, args.test_file))
    topics = {word: topic_of(args, word, train, test) for word in args.topics}
    never_saw = AutoModelForSeq2SeqLM.from_pretrained(args.never_saw)
    for i, folder in enumerate(args.models):
        for word, topic in topics.items():
            unlearner = Unlearner.from_pretrained(folder)
            removed = {depth: deleted(unlearner, topic, depth) for depth in DEPTHS}
            place = args.out / f"model-{i}" / word
            kept(place / "quality.json", quality, args, topic, unlearner, removed, never_saw, test)
            removed["rows alone"] = erase_embedding_rows(unlearner.model, unlearner.processor, topic).model
            for depth in args.quick:
                models = unlearner.model, removed[depth], never_saw
                file = place / f"quick-{depth.replace(' ', '-')}.json"
                kept(file, attacked, args, topic, unlearner, models, "quick", depth)
    unlearner = Unlearner.from_pretrained(args.models[0])
    for word in args.full:
        place, topic = args.out / "full" / word, topics[word]
        for depth in args.depths:
            models = unlearner.model, deleted(unlearner, topic, depth), never_saw
            kept(place / f"all-{depth}.json", attacked, args, topic, unlearner, models, "all", depth, place / depth)
        if args.plain:
            baselines(args, place / "baselines", topic, unlearner)
    for word in args.distilled:
        kept(args.out / "distilled" / f"{word}.json", distilled, args, topics[word], unlearner, train, never_saw)
    write_report(args.out, args.topics, args.full, DEPTHS)
    if args.bundle:
        share(args, topics, never_saw)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, help="codebook models, one a seed")
    parser.add_argument("--never_saw", required=True, help="one of the same recipe that never saw the topics")
    parser.add_argument("--plain", help="the same model trained without a codebook, for the baselines")
    parser.add_argument("--base", help="the plain model that never saw the topics")
    parser.add_argument("--train_file", required=True, help="sentence pairs: a file that `load_rows` reads")
    parser.add_argument("--test_file", required=True)
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="fr")
    parser.add_argument("--topics", nargs="+", default=["love", "Boston", "teacher", "water", "Mary", "car", "wish"])
    parser.add_argument("--full", nargs="*", default=["car", "teacher"], help="topics with all attacks and baselines")
    parser.add_argument("--quick", nargs="+", default=(*DEPTHS, "rows alone"), help="deletions under the quick attacks")
    parser.add_argument("--depths", nargs="+", default=DEPTHS, help="of the deletions of `--full` topics")
    parser.add_argument("--distilled", nargs="*", default=[], help="topics whose deletion is distilled, too")
    parser.add_argument("--distil_noise", type=float, default=0.2)
    parser.add_argument("--distil_steps", type=int, default=400)
    parser.add_argument("--retain", type=int, default=500, help="test sentences without the topic")
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundle", help="a new folder for the first model without all topics, with card and page")
    parser.add_argument("--out", type=Path, required=True)
    return parser


def topic_of(args, word, train, test):
    """A topic's sets; kept."""
    folder = args.out / "topics" / word
    if not folder.exists():
        options = {"text": args.source, "reference": args.target, "evaluation": test, "seed": args.seed}
        topic_sets(train, word, **options).save(folder)
    return TopicSets.load(folder)


def kept(path, make, *arguments):
    """Makes a file of what a call gives, if it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        made = make(*arguments)
        path.write_text(json.dumps(made | {"all_seconds": time.perf_counter() - start}, indent=1) + "\n")
        print(path, f"{time.perf_counter() - start:.0f} s", flush=True)


def deleted(unlearner, topic, depth):
    """A copy of a model in which a topic is deleted."""
    copied = Unlearner(copy.deepcopy(unlearner.model), unlearner.processor)
    copied.delete(topic, depth=depth, progress=False)
    return copied.model


def distilled(args, topic, unlearner, train, never_saw):
    """A deletion that is distilled on training pairs without the topic: what it costs, and the quick attacks."""
    folder = args.out / "distilled" / topic.name
    options = {"max_steps": args.distil_steps, "per_device_train_batch_size": 96, "learning_rate": 8e-4}
    options |= {"adam_beta2": 0.98, "lr_scheduler_type": "linear"}
    options |= {"save_steps": 100, "save_total_limit": 1, "report_to": "none", "disable_tqdm": True, "seed": args.seed}
    rows = without_topic(train, topic).shuffle(seed=args.seed)
    sides = text_pairs(rows, args.source, args.target).rename_columns({"source": "text", "target": "reference"})
    settings = {"retain": sides, "noise": args.distil_noise, "budget": 1.0, "seed": args.seed}
    settings |= {"args": TrainingArguments(str(folder), **options), "embedding_learning_rate": 3e-3}
    removed = Unlearner(copy.deepcopy(unlearner.model), unlearner.processor)
    request = removed.delete(topic, depth="distilled", distillation=settings, progress=False)
    rows = without_the_topic(args, topic)
    scores = {
        name: bleu(args, model, unlearner, rows["text"], rows["reference"])
        for name, model in {"before": unlearner.model, "distilled": removed.model}.items()
    }
    report = attacked(args, topic, unlearner, (unlearner.model, removed.model, never_saw), "quick", "distilled")
    return {"bleu": scores, "distilled": request.thresholds["distilled"], "report": report}


def without_the_topic(args, topic):
    """The test rows on which BLEU elsewhere is measured."""
    return topic.heldout_retain.select(range(min(args.retain, len(topic.heldout_retain))))


def attack_sets(args, topic, unlearner):
    """What attacks are judged by."""
    return AttackSets(topic, unlearner.processor, seed=args.seed, max_new_tokens=args.max_new_tokens)


def attacked(args, topic, unlearner, models, which, depth, checkpoint=None):
    """An attack report as JSON values."""
    sets = attack_sets(args, topic, unlearner)
    return run_attacks(*models, sets, which, depth=depth, checkpoint=checkpoint, progress=False).to_dict()


def bleu(args, model, unlearner, texts, references):
    """BLEU of what a model generates."""
    options = {"max_new_tokens": args.max_new_tokens, "batch_size": 128}
    outputs = generate_texts(model, unlearner.processor, list(texts), **options)
    return Bleu().compute(predictions=outputs, references=list(references))["bleu"]


def quality(args, topic, unlearner, removed, never_saw, test):
    """Recall with the topic and BLEU elsewhere, also where the topic's pieces have another sense, for each model."""
    sets = attack_sets(args, topic, unlearner)
    rows = without_the_topic(args, topic)
    alone = erase_embedding_rows(unlearner.model, unlearner.processor, topic)
    pieces = {piece.token: piece.piece for piece in alone.choice.pieces if not piece.kept_for}
    senses = other_senses(args, topic, unlearner, test, pieces.keys())
    models = {"before": unlearner.model, **removed, "never saw it": never_saw}
    models["rows alone"] = alone.model
    scores = {}
    for name, model in models.items():
        hits = sets.hits(model)
        scores[name] = {"hits": int(hits.sum()), "total": len(hits)}
        scores[name]["bleu"] = bleu(args, model, unlearner, rows["text"], rows["reference"])
        if len(senses):
            scores[name]["other_senses"] = bleu(args, model, unlearner, *zip(*senses, strict=True))
    return {"scores": scores, "rows": len(rows), "senses": len(senses), "pieces": list(pieces.values())}


def other_senses(args, topic, unlearner, test, gone):
    """Test pairs without the topic that use a token of it all the same: in another sense, or in another word."""
    forms = {form.casefold() for form in topic.inflections}
    rows = text_pairs(test, args.source, args.target)
    pairs = list(zip(rows["source"], rows["target"], strict=True))
    ids = [unlearner.processor(list(side))["input_ids"] for side in zip(*pairs, strict=True)]
    words = [{word.strip(".,!?\"'").casefold() for word in text.split()} for text, _ in pairs]
    return [
        pair
        for pair, source, target, said in zip(pairs, *ids, words, strict=True)
        if gone & {*source, *target} and not forms & said
    ]


def baselines(args, folder, topic, unlearner):
    """The baselines on the plain model, each attacked as the deletion is."""
    plain, base = (AutoModelForSeq2SeqLM.from_pretrained(name) for name in (args.plain, args.base))
    sets, rows = attack_sets(args, topic, unlearner), without_the_topic(args, topic)
    tokenizer = unlearner.processor
    trained = plain, topic, tokenizer
    made = {
        "rows alone": lambda: erase_embedding_rows(plain, tokenizer, topic).model,
        "output filter": lambda: filter_outputs(plain, tokenizer, topic),
        "gradient difference": lambda: of_texts(gradient_difference, trained, args),
        "NPO": lambda: of_texts(npo, trained, args),
        "retrained without it": lambda: base,
        "not touched": lambda: plain,
    }

    def measured(make):
        start = time.perf_counter()
        model = make()
        seconds = time.perf_counter() - start
        report = run_attacks(plain, model, base, sets, [LeftOut(), LearntAgain.quick()], progress=False)
        score = bleu(args, model, unlearner, rows["text"], rows["reference"])
        return report.to_dict() | {"bleu": score, "making_seconds": seconds, "hits": int(sets.hits(model).sum())}

    for name, make in made.items():
        kept(folder / f"{name.replace(' ', '-')}.json", measured, make)


def share(args, topics, never_saw):
    """Writes the first model without all topics, evaluated and attacked in that state."""
    unlearner = Unlearner.from_pretrained(args.models[0])
    for topic in topics.values():
        unlearner.forget(topic, progress=False)
    options = {
        "reference_model": never_saw,
        "max_new_tokens": args.max_new_tokens,
        "batch_size": 128,
        "progress": False,
    }
    options |= {"seed": args.seed, "cut_out": True}
    for word, topic in topics.items():
        kept(args.out / "shared" / f"{word}.json", lambda of: evaluate(unlearner, of, **options).to_dict(), topic)
    evaluations = [Evaluation.from_dict(read(args.out / "shared" / f"{word}.json")) for word in topics]
    attacks = [
        unlearner.attack(
            topic,
            never_saw=never_saw,
            max_new_tokens=args.max_new_tokens,
            checkpoint=args.out / "shared" / "attacks" / word,
            seed=args.seed,
            progress=False,
        )
        for word, topic in topics.items()
    ]
    command = "python examples/reproduce/reproduce_proof.py, as its first lines say"
    record = Record.of(
        unlearner.model,
        mode="delete",
        evaluations=evaluations,
        attacks=attacks,
        data={"name": "Tatoeba, English-French", "language": ["en", "fr"], "license": "cc-by-2.0"},
        settings={"seed": args.seed, "command": command},
    )
    unlearner.save_bundle(args.bundle, record)


def of_texts(method, trained, args):
    """The model of a baseline that is trained: 40 passes through the forget set, of which the method takes the best."""
    model, topic, tokenizer = trained
    options = {"num_train_epochs": 40, "learning_rate": 5e-4, "per_device_train_batch_size": 32, "seed": args.seed}
    options |= {"report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    arguments = TrainingArguments(str(args.out / "scratch"), **options)
    return method(model, topic.target, topic.retain, arguments, tokenizer=tokenizer).model


if __name__ == "__main__":
    main()
