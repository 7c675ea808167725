"""The code index: how long one pass over a corpus takes, how large it is, and how soon it answers.

The corpus is made-up short sentences, among them 500 with the topic; the model has the real run's shape with random
weights, and 25,000 codes. Its codes are used more evenly than a trained model's, which compresses worse. The pass runs
over fewer sentences than the real run's train split has, and its time is told for that many: it grows in proportion.
Controls are the same sentences with another word; they are in no corpus, so that the model has to run over them.

    python benchmarks/code_index.py --sentences 20000
"""

import tempfile
from pathlib import Path

import numpy as np
from find_codes import REPLACEMENT, TOPIC, dataset
from harness.measurement import Benchmark, Reach, Row, Turn, missing, seconds_row, take_turns
from harness.shapes import SHAPES, plain_and_codebook, words_of
from harness.synthetic import short_lengths, token_pairs, word_ids, word_tokenizer

import excise.codes
from excise import Search, TopicSets

SPLIT = 142_444  # sentences of the real run's train split


def arguments(parser):
    parser.add_argument("--sentences", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=500, help="prompts of the topic, and as many controls")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="real run")
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--max-top-s", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5, help="of queries")


TINY = {"sentences": 60, "pairs": 30, "shape": "tiny", "num_codes": 64, "max_top_s": 4, "rounds": 2}


def measure(args):
    title = f"code index, S' to {args.max_top_s}"
    CodeIndex = getattr(excise.codes, "CodeIndex", None)
    if CodeIndex is None:
        yield missing(title, None, "this version of excise has no `excise.codes.CodeIndex`")
        return
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
    built = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "index"
        build = {"text": "text", "max_top_s": args.max_top_s, "progress": False}
        turn = Turn(lambda: built.append(CodeIndex.build(model.eval(), tokenizer, corpus, folder, **build)))
        passes = take_turns({"excise": turn}, 1, warm=0)["excise"]
        index = built.pop()
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        settings = {"shape": args.shape, "sentences": len(corpus), "num_codes": args.num_codes}
        scaled = [second * SPLIT / len(corpus) for second in passes]
        note = f"{passes[0]:.1f} s for {len(corpus):,} sentences"
        what = f"{title}: pass over {SPLIT:,} sentences"
        yield seconds_row(what, scaled, reach=Reach(720.0), settings=settings, note=note)
        yield Row(f"{title}: bytes a sentence", size / len(index), "bytes", reach=Reach(450.0), settings=settings)

        finder = excise.codes.CodeFinder(model, tokenizer, index=index)
        options = {"max_top_s": args.max_top_s, "progress": False}
        of_word = Search("activations", positions="topic", count=100)
        everywhere = Search("activations", positions="all", count=100)
        turns = {
            "word": lambda: finder.count(sets["target"], of_word, **options),
            "all": lambda: finder.count(sets["target"], everywhere, **options),
            "controls": lambda: finder.count_topic(topic, positions="all", **options).enrich(args.max_top_s),
        }
        seconds = take_turns(turns, args.rounds)
        what = f"{title}: a new word, {args.pairs} prompts, no controls"
        yield seconds_row(what, seconds["word"], reach=Reach(0.3), settings=settings)
        what = f"{title}: a topic's codes at all positions, {args.pairs} prompts"
        yield seconds_row(f"{what}, controls left out", seconds["all"], reach=Reach(1.0), settings=settings)
        yield seconds_row(f"{what} and controls", seconds["controls"], reach=Reach(5.0), settings=settings)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
