"""Greedy generation of a T5 with a codebook against the plain one, in sentences a second.

Both have the same base weights, random ones, and both write as many tokens for a batch as its longest target has, as
models that translate do: the numbers compare the models' speed and not what they say. The codes are looked up once a
sentence, in the encoder. Batches are of sentences of like length, as `excise.evaluation.generate_texts` makes them.

    python benchmarks/generation.py --shape "real run" T5-small
"""

import numpy as np
import torch
from harness.measurement import Benchmark, Reach, ratio, take_turns
from harness.shapes import SHAPES, plain_and_codebook, words_of
from harness.synthetic import token_pairs, word_tokenizer


def arguments(parser):
    parser.add_argument("--shape", choices=sorted(SHAPES), nargs="+", default=["real run", "T5-small"])
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=3, help="of short, middling and long sentences of many")
    parser.add_argument("--rounds", type=int, default=5)


TINY = {"shape": ["tiny"], "num_codes": 64, "batch_size": 4, "batches": 2, "rounds": 2}


def batches_of(rows, tokenizer, batch_size, count):
    """Batches from all over the lengths, each of sentences of like length, and how many tokens each is to get."""
    rows = rows.select(np.argsort(rows["length"], kind="stable"))
    starts = np.linspace(0, len(rows) - batch_size, 2 * count + 1).astype(int)[1::2]
    for start in starts:
        batch = rows.select(range(start, start + batch_size))
        inputs = tokenizer.pad(batch.select_columns(["input_ids", "attention_mask"])[:], return_tensors="pt")
        yield inputs, max(map(len, batch["labels"]))


def measure(args):
    for shape in args.shape:
        words = words_of(shape)
        tokenizer = word_tokenizer(words)
        rows = token_pairs(40 * args.batch_size, words, np.random.default_rng(args.seed))
        plain, codebook = plain_and_codebook(shape, args.num_codes, rows, tokenizer)
        batches = list(batches_of(rows, tokenizer, args.batch_size, args.batches))

        @torch.no_grad()
        def generate(model, batches=batches):
            for inputs, length in batches:
                limits = {"min_new_tokens": length, "max_new_tokens": length}
                model.generate(**inputs, do_sample=False, num_beams=1, **limits)

        models = {"plain": plain.eval(), "excise": codebook.eval()}
        turns = {name: lambda model=model: generate(model) for name, model in models.items()}
        seconds = take_turns(turns, args.rounds)
        sentences = args.batch_size * args.batches
        rates = {name: round(sentences / min(values), 1) for name, values in seconds.items()}
        settings = {"shape": shape, "batch_size": args.batch_size, "sentences": sentences}
        settings |= {"new_tokens": [length for _, length in batches], "sentences_a_second": rates}
        note = f"sentences a second at best: {rates['excise']} with codes, {rates['plain']} plain"
        yield ratio(
            f"greedy generation, {shape}'s shape, speed of the plain model kept",
            seconds,
            "excise",
            "plain",
            speed=True,
            reach=Reach(0.8, at_least=True),
            settings=settings,
            note=note,
        )


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
