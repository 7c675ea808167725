"""How long it takes to build the topic sets of a word on as many pairs as the train split of the real run has.

Without `--data`, the pairs are the packaged ones, again and again with one word of each replaced by another, until
there are 142,444 different ones: real sentences in length and words, simpler than a corpus. The first word pays for
what depends on the corpus alone, further ones do not. A round has rows of its own, which nothing kept from another
fits.

    python benchmarks/topic_sets.py --data train.parquet --words teacher car water
"""

import random
import time

from datasets import Dataset
from harness.measurement import Benchmark, Reach, missing, seconds_row

from excise import topic_sets
from excise.data import load_demo, load_rows

REACHES = Reach(5.0), Reach(1.0)


def arguments(parser):
    parser.add_argument("--data", help="parquet, JSON lines or CSV of pairs in a column `translation`")
    parser.add_argument("--text", default="en", help="key of the source")
    parser.add_argument("--reference", default="fr", help="key of the reference")
    parser.add_argument("--rows", type=int, default=142_444, help="pairs, where they are made up")
    parser.add_argument("--words", nargs="+", default=["teacher", "car", "water"])
    parser.add_argument("--rounds", type=int, default=2)


TINY = {"rows": 3000, "words": ["teacher", "water"], "rounds": 1}


def made_up_pairs(count, seed):
    """Different pairs, made from the packaged ones by replacing a word of the source by another."""
    drawn = random.Random(seed)
    pairs = [pair for split in load_demo().values() for pair in split["translation"]]
    drawn.shuffle(pairs)
    words = sorted({word for pair in pairs for word in pair["en"].split() if word.isalpha() and word.islower()})
    sources, rows = set(), []
    while len(rows) < count:
        pair = pairs[len(rows) % len(pairs)]
        tokens = pair["en"].split()
        if len(rows) >= len(pairs):
            tokens[drawn.randrange(len(tokens) - 1) if len(tokens) > 1 else 0] = drawn.choice(words)
        source = " ".join(tokens)
        if source not in sources:
            sources.add(source)
            rows.append({"en": source, "fr": pair["fr"]})
    return Dataset.from_dict({"translation": rows})


def measure(args):
    title = "topic sets"
    keys = {"text": args.text, "reference": args.reference}
    try:
        topic_sets(
            load_demo()["train"], "book", text="en", reference="fr", min_examples=1, progress=False
        )  # imports, word lists
    except ImportError as error:
        yield missing(title, None, str(error))
        return
    seconds = [[] for _ in args.words]
    for index in range(args.rounds):
        if args.data:
            rows = load_rows(args.data).shuffle(seed=args.seed + index).flatten_indices()
        else:
            rows = made_up_pairs(args.rows, args.seed + index)
        for word, of_word in zip(args.words, seconds, strict=True):
            started = time.perf_counter()
            topic_sets(rows, word, **keys, min_examples=1, progress=False)
            of_word.append(time.perf_counter() - started)
    settings = {"rows": len(rows), "words": args.words, "data": "given" if args.data else "made up of packaged pairs"}
    title = f"topic sets of a word on {len(rows):,} pairs"
    yield seconds_row(f"{title}, first word", seconds[0], reach=REACHES[0], settings=settings)
    if len(args.words) > 1:
        further = [second for of_word in seconds[1:] for second in of_word]
        yield seconds_row(f"{title}, further words", further, reach=REACHES[1], settings=settings)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
