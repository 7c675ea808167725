"""Arithmetic for a billion sentences and for a model of 70 billion parameters: the tables of docs/scale.md.

    python benchmarks/scale.py              # prints the tables
    python benchmarks/scale.py --measure    # measures anew, on this machine, what they take as measured

Bytes and operations follow from shapes. Hours on a GPU are estimates: operations over an assumed rate. What is measured
is measured on one core, in seconds of its own time, so that others on the machine do not count.
"""

import argparse
import json
import time
from dataclasses import dataclass

import torch
from datasets import Dataset

from excise import CodebookSAEConfig, CodebookT5ForConditionalGeneration, Search
from excise.codes import CodeFinder
from excise.data import train_tokenizer
from excise.models import CodebookT5Config

SENTENCES = 10**9
TOKENS = 33  # a sentence; 25 words of Opus Books have as many
NUM_CODES, ACTIVE = 25_000, 32
INDEX_BYTES = 35  # a token, for S' to 24; of 100,037 texts of 11.8 tokens (docs/how-it-works.md, "The code index")
# By `--measure`, the slower of two runs on a busy machine with an AMD EPYC (AVX-512): tokens that one core counts a
# second in T5-small's shape, for S' to 24, and seconds to add two tables of counts for S' to 104.
MEASURED = {"tokens_a_second": 4_372, "seconds_to_add": 0.012}
# Assumed of one GPU of the H100's kind: operations a second in dense bf16 and fp32, and the part that programs reach.
BF16, FP32, REACHED, GPU_BYTES = 989e12, 67e12, 0.4, 80e9
WEEK = 7 * 24


@dataclass(frozen=True)
class Shape:
    """A model as far as its codebook: `weights` that a token passes on the way, of `all_weights`."""

    name: str
    width: int
    weights: int
    all_weights: int

    @property
    def code_dim(self):
        """Width of a code, by default."""
        return 4 * self.width

    @property
    def codebook(self):
        """Numbers in the codes."""
        return NUM_CODES * self.code_dim

    @property
    def bottleneck(self):
        """Numbers in codes, encoder and decoder, which are trained."""
        return self.codebook + 2 * self.width * self.code_dim

    def flops(self, sparse):
        """Operations a token on the way to its codes."""
        lookup = 2 * NUM_CODES * (ACTIVE if sparse else self.code_dim)
        return {
            "model": 2 * self.weights,
            "encoder of the codebook": 2 * self.width * self.code_dim,
            "look-up": lookup,
        }

    def gpu_hours(self, tokens, sparse):
        """The model in bf16, the codes in fp32."""
        parts = self.flops(sparse)
        seconds = parts.pop("model") / (REACHED * BF16) + sum(parts.values()) / (REACHED * FP32)
        return tokens * seconds / 3600


# T5-small's first block up to its attention; 40 of the 80 blocks of a decoder of 70 billion parameters.
SMALL = Shape("T5-small, block 0", 512, 4 * 512 * 512, 60_500_000)
LARGE = Shape("70B, block 40 of 80", 8192, 35 * 10**9, 70 * 10**9)


def billion():
    """Rows of the table of a billion sentences: what, how much, whence."""
    tokens = SENTENCES * TOKENS
    core_hours = tokens / MEASURED["tokens_a_second"] / 3600
    table = 104 * NUM_CODES * 8
    shards = 1_000
    return [
        ("tokens", f"{tokens:.1e}", f"{TOKENS} a sentence"),
        ("operations, dense look-up", f"{tokens * sum(SMALL.flops(False).values()):.1e}", "T5-small, codes 2,048 wide"),
        ("operations, sparse look-up", f"{tokens * sum(SMALL.flops(True).values()):.1e}", f"{ACTIVE} active units"),
        ("hours of one core", f"{core_hours:,.0f}", f"measured: {MEASURED['tokens_a_second']:,} tokens a second"),
        ("cores to be done in a week", f"{core_hours / WEEK:,.0f}", "hours of one core / 168"),
        ("hours of one GPU, dense", f"{SMALL.gpu_hours(tokens, False):,.0f}", "estimate"),
        ("hours of one GPU, sparse", f"{SMALL.gpu_hours(tokens, True):,.1f}", "estimate; gathers will not reach it"),
        ("code index, S' to 24", shown(tokens * INDEX_BYTES), f"{INDEX_BYTES} bytes a token, measured"),
        ("the same, uncompressed", shown(tokens * 24 * 2), "24 codes a token, 2 bytes each"),
        ("a table of counts, S' to 104", shown(table), f"104 x {NUM_CODES:,} x 8 bytes, however many sentences"),
        (f"tables of {shards:,} shards", shown(shards * table), "all that is sent to be merged"),
        ("adding them, one after the other", f"{shards * MEASURED['seconds_to_add']:,.0f} s", "measured, one core"),
        ("largest count", f"{SENTENCES:.0e} of {2**63 - 1:.0e}", "int64"),
    ]


def large():
    """Rows of the table of a model of 70 billion parameters."""
    shape, tokens, batch = LARGE, SENTENCES * TOKENS, 8 * 2048
    training = 16  # bytes a number: weight, gradient, two moments, fp32
    return [
        ("weights in bf16", shown(2 * shape.all_weights), f"{2 * shape.all_weights / GPU_BYTES:.2f} GPUs of 80 GB"),
        ("codes in fp32", shown(4 * shape.codebook), f"{NUM_CODES:,} x {shape.code_dim:,}"),
        ("their prepared copy", shown(4 * shape.codebook), "as large, kept while codes do not change"),
        (
            "codes, encoder, decoder in fp32",
            shown(4 * shape.bottleneck),
            f"{shape.bottleneck / 1e9:.2f} billion numbers",
        ),
        ("training these alone, model frozen", shown(training * shape.bottleneck), f"{training} bytes a number"),
        ("training all by Adam in fp32", shown(training * shape.all_weights), f"{training} bytes a number"),
        ("activations at the site, bf16", shown(2 * batch * shape.width), "8 x 2,048 tokens x 8,192"),
        ("encoded, fp32, all units", shown(4 * batch * shape.code_dim), f"8 x 2,048 tokens x {shape.code_dim:,}"),
        ("encoded, active units alone", shown(8 * batch * ACTIVE), f"{ACTIVE} numbers and their places"),
        ("similarities, if all were kept", shown(4 * batch * NUM_CODES), "they are not: look-ups go block by block"),
        ("operations a token, model", f"{shape.flops(True)['model']:.1e}", "two a weight that is passed"),
        ("encoder of the codebook", f"{shape.flops(True)['encoder of the codebook']:.1e}", "two a weight"),
        ("look-up, dense", f"{shape.flops(False)['look-up']:.1e}", f"2 x {NUM_CODES:,} x {shape.code_dim:,}"),
        ("look-up, sparse", f"{shape.flops(True)['look-up']:.1e}", f"2 x {NUM_CODES:,} x {ACTIVE}"),
        ("a billion sentences, GPU hours, dense", f"{shape.gpu_hours(tokens, False):,.0f}", "estimate"),
        ("the same, sparse", f"{shape.gpu_hours(tokens, True):,.0f}", "estimate"),
        ("a topic: 1,000 sentences, GPU seconds", f"{3600 * shape.gpu_hours(1_000 * TOKENS, False):.0f}", "estimate"),
    ]


def shown(count):
    """Bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def tables():
    """Both tables in Markdown."""
    text = {}
    for title, rows in {"A billion sentences": billion(), "70 billion parameters": large()}.items():
        lines = [f"| {title} | | |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
        text[title] = "\n".join(lines)
    return "\n\n".join(text.values())


def measured(sentences=512, repeats=3):
    """What one core counts in a second of its own time, and what it takes to add two tables of counts."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    words = [chr(97 + i) + chr(97 + j) for i in range(20) for j in range(20)]
    draws = torch.randint(len(words), (sentences, TOKENS - 1)).tolist()
    tokenizer = train_tokenizer(words, vocab_size=500)
    texts = [" ".join(words[i] for i in row) for row in draws]
    tokenizer.model_max_length = 512
    ids = tokenizer(texts)["input_ids"]
    texts = [tokenizer.decode(row[: TOKENS - 1], skip_special_tokens=True) for row in ids]
    tokens = sum(map(len, tokenizer(texts)["input_ids"]))
    config = CodebookT5Config(bottleneck=CodebookSAEConfig(num_codes=NUM_CODES))
    finder = CodeFinder(CodebookT5ForConditionalGeneration(config).eval(), tokenizer)
    rows, every_code = Dataset.from_dict({"text": texts}), Search("activations", count=1)

    def count(rows):
        return finder.count(rows, every_code, max_top_s=24, batch_size=64, progress=False)

    count(rows.select(range(64)))  # what is made once
    counting = min(seconds_of(lambda: count(rows)) for _ in range(repeats))
    (counts,) = finder.count(rows.select([0]), every_code, max_top_s=104, progress=False).counts[0].target.values()
    adding = min(seconds_of(lambda: counts + counts) for _ in range(repeats))
    return {"tokens_a_second": round(tokens / counting), "seconds_to_add": round(adding, 4), "tokens": tokens}


def seconds_of(function):
    started = time.process_time()
    function()
    return time.process_time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    args = parser.parse_args()
    print(json.dumps({"benchmark": "scale", **measured()}) if args.measure else tables())


if __name__ == "__main__":
    main()
