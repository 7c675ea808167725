"""How long it takes to find a topic's codes, for every S' from 8 to 104 in one pass.

A T5 of T5-small's shape with random weights and 25,000 codes reads 500 prompts of a topic and 500 controls. A prompt
has 33 tokens on average, as 25 words of Opus Books have. What is timed is everything from texts to selections:
tokens, activations, look-up, counts, tests. Reading 1,000 prompts without the topic, as `count_topic(retain=True)` does
besides, is timed on its own.

    python benchmarks/find_codes.py --positions all
"""

import numpy as np
from datasets import Dataset
from harness.measurement import Benchmark, Reach, seconds_row, take_turns
from harness.shapes import SHAPES, plain_and_codebook, words_of
from harness.synthetic import novel_lengths, token_pairs, word_ids, word_tokenizer

from excise import Search, TopicSets
from excise.codes import CodeFinder

TOP_S = (8, 24, 40, 56, 72, 88, 104)
TOPIC, REPLACEMENT = "w20", "w21"
REACH = 8.0


def sentences(count, mean_tokens, words, rng):
    """Made-up sentences as lists of words."""
    rows = word_ids(novel_lengths(count, mean_tokens, rng), words, rng)
    return [[f"w{word}" for word in row] for row in rows]


def dataset(texts, word=None):
    """Rows with `text` and `spans`; a word is put in the middle of each."""
    rows = {"text": [], "spans": []}
    for words in texts:
        middle = len(words) // 2
        text = " ".join([*words[:middle], word, *words[middle:]] if word else words)
        start = len(" ".join(words[:middle])) + 1
        rows["text"].append(text)
        rows["spans"].append([[start, start + len(word)]] if word else [])
    return Dataset.from_dict(rows)


def arguments(parser):
    parser.add_argument("--positions", choices=("topic", "all"), nargs="+", default=["topic", "all"])
    parser.add_argument("--pairs", type=int, default=500, help="prompts of the topic, and as many controls")
    parser.add_argument("--retain", type=int, default=1000, help="prompts without the topic")
    parser.add_argument("--tokens", type=int, default=33, help="mean length of a prompt")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="T5-small")
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--top-s", type=int, nargs="+", default=list(TOP_S))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)


TINY = {"pairs": 30, "retain": 20, "tokens": 8, "shape": "tiny", "num_codes": 64, "top_s": [2, 4]}


def measure(args):
    rng, words = np.random.default_rng(args.seed), words_of(args.shape)
    tokenizer = word_tokenizer(words)
    rows = token_pairs(max(500, args.num_codes // 4), words, rng)
    _, model = plain_and_codebook(args.shape, args.num_codes, rows, tokenizer)
    texts = sentences(args.pairs, args.tokens - 2, words, rng)
    retain = dataset(sentences(args.retain, args.tokens - 1, words, rng))
    sets = {"target": dataset(texts, TOPIC), "control": dataset(texts, REPLACEMENT), "retain": retain}
    sets |= {"heldout": retain.select([]), "heldout_retain": retain.select([])}
    topic = TopicSets((TOPIC,), (TOPIC,), "text", None, args.seed, **sets)
    finder = CodeFinder(model.eval(), tokenizer)
    options = {"max_top_s": max(args.top_s), "batch_size": args.batch_size, "progress": False}
    codes = {}

    def find(positions):
        counts = finder.count_topic(topic, positions=positions, **options)
        codes[positions] = [len(counts.enrich(top_s).select(q=0.05)) for top_s in args.top_s]

    every_code = Search("activations", positions="all", count=1)
    turns = {positions: lambda positions=positions: find(positions) for positions in args.positions}
    turns["retain"] = lambda: finder.count(retain, every_code, **options)
    seconds = take_turns(turns, args.rounds, warm=0)
    settings = {"shape": args.shape, "pairs": args.pairs, "tokens": args.tokens, "num_codes": args.num_codes}
    for positions in args.positions:
        title = f"a topic's codes at {positions} positions, S' to {max(args.top_s)}, {args.pairs} prompts and controls"
        reach = Reach(REACH) if positions == "all" else None
        more = settings | {"codes": codes[positions]}
        yield seconds_row(title, seconds[positions], reach=reach, settings=more)
    title = f"counts of {args.retain:,} prompts without the topic, all positions, S' to {max(args.top_s)}"
    yield seconds_row(title, seconds["retain"], settings=settings)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
