"""`excise undo` on a saved model as small as the demo's, against what transformers needs to import and load one.

Both are processes of their own, started in turns: `excise undo MODEL --request 1 --out NEW`, which loads the model,
takes a mask back and saves it, and a Python that imports transformers and loads the plain T5 of the same size with its
tokenizer. Python's start-up is in both.

    python benchmarks/undo.py --rounds 5
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from harness.measurement import Benchmark, Reach, ratio, take_turns
from harness.shapes import SHAPES, plain_and_codebook, words_of
from harness.synthetic import token_pairs, word_tokenizer

from excise import Selection, Unlearner

UNDO = "import sys; from excise.cli import main; sys.exit(main(sys.argv[1:]))"
LOAD = """
import sys
from transformers import AutoTokenizer, T5ForConditionalGeneration
AutoTokenizer.from_pretrained(sys.argv[1])
T5ForConditionalGeneration.from_pretrained(sys.argv[1])
"""


def arguments(parser):
    parser.add_argument("--shape", choices=sorted(SHAPES), default="demo")
    parser.add_argument("--num-codes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)


TINY = {"shape": "tiny", "num_codes": 64, "rounds": 1}


def measure(args):
    words = words_of(args.shape)
    tokenizer = word_tokenizer(words)
    rows = token_pairs(500, words, np.random.default_rng(args.seed))
    plain, model = plain_and_codebook(args.shape, args.num_codes, rows, tokenizer)
    unlearner = Unlearner(model, tokenizer)
    unlearner.mask(Selection({"encoder.block.0": range(20)}), "a topic")
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    used = {"excise": [], "transformers": []}

    def run(name, program, *arguments):
        started, before = time.perf_counter(), os.times()
        command = [sys.executable, "-c", program, *map(str, arguments)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        elapsed, after = time.perf_counter() - started, os.times()
        used[name].append(sum(after[2:4]) - sum(before[2:4]))
        return elapsed

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unlearner.save_pretrained(folder / "masked")
        plain.save_pretrained(folder / "plain")
        tokenizer.save_pretrained(folder / "plain")
        out = folder / "again"

        def undo():
            elapsed = run("excise", UNDO, "undo", folder / "masked", "--request", 1, "--out", out)
            shutil.rmtree(out)
            return elapsed

        turns = {"excise": undo, "transformers": lambda: run("transformers", LOAD, folder / "plain")}
        seconds = take_turns(turns, args.rounds)
    processor = {name: round(min(values), 2) for name, values in used.items()}
    note = f"seconds of processor time at best: {processor['excise']} against {processor['transformers']}"
    settings = {"shape": args.shape, "num_codes": args.num_codes, "processor_seconds": processor}
    title = "`excise undo` on a small model, against transformers' import and load"
    yield ratio(title, seconds, "excise", "transformers", reach=Reach(1.2), settings=settings, note=note)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
