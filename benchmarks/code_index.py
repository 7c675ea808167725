"""The code index: how long one pass over a corpus takes, how large it is, and how soon it answers.

Given a trained model and its pairs (`--model`, `--data`), the corpus is all of them, or the first `--sentences`.
Otherwise it is made-up short sentences, among them 500 with the topic, and the model has the real run's shape with
random weights and 25,000 codes: it uses them more evenly than a trained model, so that the index is larger, and its
size is told and not judged. The time of the pass is told for as many sentences as the real run's train split has: it
grows in proportion. Controls are the topic's sentences with another word; they are in no corpus, so the model has to
run over them.

    python benchmarks/code_index.py --sentences 20000
    python benchmarks/code_index.py --model trained --data train.parquet --word teacher
"""

import tempfile
from pathlib import Path

import numpy as np
from find_codes import REPLACEMENT, TOPIC, dataset
from harness.measurement import Benchmark, Reach, Row, Turn, missing, seconds_row, take_turns
from harness.shapes import SHAPES, plain_and_codebook, words_of
from harness.synthetic import short_lengths, token_pairs, word_ids, word_tokenizer
from transformers import AutoTokenizer

import excise.codes
from excise import CodebookT5ForConditionalGeneration, Search, TopicSets, topic_sets
from excise.bottlenecks import bottlenecks
from excise.data import load_rows

SPLIT = 142_444  # sentences of the real run's train split


def arguments(parser):
    parser.add_argument("--model", help="folder of a trained model with codes, and its tokenizer")
    parser.add_argument("--data", help="parquet, JSON lines or CSV of pairs in a column `translation`, for the model")
    parser.add_argument("--text", default="en", help="key of the source")
    parser.add_argument("--word", default="teacher", help="the topic, in the data")
    parser.add_argument("--sentences", type=int, default=20_000, help="0 for all of the data")
    parser.add_argument("--pairs", type=int, default=500, help="prompts of the topic, and as many controls")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="real run")
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--max-top-s", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5, help="of queries")


TINY = {"sentences": 60, "pairs": 30, "shape": "tiny", "num_codes": 64, "max_top_s": 4, "rounds": 2}


def given(args):
    """A trained model, its tokenizer, its corpus, and the sets of a topic in it."""
    rows = load_rows(args.data)
    rows = rows.select(range(min(len(rows), args.sentences or len(rows))))
    model = CodebookT5ForConditionalGeneration.from_pretrained(args.model)
    topic = topic_sets(rows, args.word, text=args.text, max_examples=args.pairs, min_examples=1, progress=False)
    return model, AutoTokenizer.from_pretrained(args.model), rows, topic


def made_up(args):
    """The same of random weights and made-up sentences."""
    rng, words = np.random.default_rng(args.seed), words_of(args.shape)
    tokenizer = word_tokenizer(words)
    rows = token_pairs(max(500, args.num_codes // 4), words, rng)
    _, model = plain_and_codebook(args.shape, args.num_codes, rows, tokenizer)
    texts = [[f"w{word}" for word in ids] for ids in word_ids(short_lengths(args.sentences, rng)[0] - 1, words, rng)]
    target, others = texts[: args.pairs], dataset(texts[args.pairs :])
    sets = {"target": dataset(target, TOPIC), "control": dataset(target, REPLACEMENT)}
    sets |= {"retain": others.select(range(args.pairs // 2))}
    sets |= {"heldout": others.select([]), "heldout_retain": others.select([])}
    topic = TopicSets((TOPIC,), (TOPIC,), "text", None, args.seed, **sets)
    corpus = dataset([text.split() for text in [*sets["target"]["text"], *others["text"]]])
    return model, tokenizer, corpus, topic


def measure(args):
    title = f"code index, S' to {args.max_top_s}"
    CodeIndex = getattr(excise.codes, "CodeIndex", None)
    if CodeIndex is None:
        yield missing(title, None, "this version of excise has no `excise.codes.CodeIndex`")
        return
    real = bool(args.model and args.data)
    model, tokenizer, corpus, topic = given(args) if real else made_up(args)
    key = args.text if real else "text"
    built = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "index"
        build = {"text": key, "max_top_s": args.max_top_s, "progress": False}
        turn = Turn(lambda: built.append(CodeIndex.build(model.eval(), tokenizer, corpus, folder, **build)))
        passes = take_turns({"excise": turn}, 1, warm=0)["excise"]
        index = built.pop()
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        codes = {site: of.num_codes for site, of in bottlenecks(model).items()}
        settings = {"sentences": len(corpus), "num_codes": codes, "trained": real}
        scaled = [second * SPLIT / len(corpus) for second in passes]
        note = f"{passes[0]:.1f} s for {len(corpus):,} sentences"
        what = f"{title}: pass over {SPLIT:,} sentences"
        yield seconds_row(what, scaled, reach=Reach(720.0), settings=settings, note=note)
        reach, note = (
            (Reach(450.0), "") if real else (None, "random weights, which use codes more evenly than trained ones")
        )
        what = f"{title}: bytes a sentence"
        yield Row(what, size / len(index), "bytes", reach=reach, settings=settings, note=note)

        finder = excise.codes.CodeFinder(model, tokenizer, index=index)
        options = {"max_top_s": args.max_top_s, "progress": False}
        of_word = Search("activations", positions="topic", count=100)
        everywhere = Search("activations", positions="all", count=100)
        turns = {
            "word": lambda: finder.count(topic.target, of_word, **options),
            "all": lambda: finder.count(topic.target, everywhere, **options),
            "controls": lambda: finder.count_topic(topic, positions="all", **options).enrich(args.max_top_s),
        }
        seconds = take_turns(turns, args.rounds)
        what = f"{title}: a new word, {len(topic.target)} prompts, no controls"
        yield seconds_row(what, seconds["word"], reach=Reach(0.3), settings=settings)
        what = f"{title}: a topic's codes at all positions, {len(topic.target)} prompts"
        yield seconds_row(f"{what}, controls left out", seconds["all"], reach=Reach(1.0), settings=settings)
        yield seconds_row(f"{what} and controls", seconds["controls"], reach=Reach(5.0), settings=settings)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
