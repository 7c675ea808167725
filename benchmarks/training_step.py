"""What the bottleneck adds to a training, in steps of a `Seq2SeqTrainer` as users run it.

A plain T5 and the same with a codebook of the default settings take turns of a few steps, each with its own `Trainer`
(the one with codes has excise's callback and optimizer), on the same batches: made-up pairs whose lengths are as uneven
as real ones, grouped by length as in the real run. A step is what lies between a Trainer's `on_step_begin` and
`on_step_end`: forward, backward, clipping, optimizer. The first steps of each turn count for nothing. A ratio of steps
is a ratio of epochs, as both models do the same number of them.

    python benchmarks/training_step.py --shape "real run"
"""

import statistics
import tempfile
import time

import numpy as np
from harness.measurement import Benchmark, Reach, ratio
from harness.shapes import SHAPES, plain_and_codebook, words_of
from harness.synthetic import token_pairs, word_tokenizer
from transformers import (
    DataCollatorForSeq2Seq,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
)
from transformers.utils import logging

from excise import BottleneckCallback
from excise.training import adamw

STARTING = 2  # steps of a turn that make an optimizer's state and warm caches

# Rounds, timed steps a turn, and pairs a batch.
PLANS = {"real run": (5, 6, 96), "T5-small": (4, 3, 96), "tiny": (2, 2, 8)}


def arguments(parser):
    parser.add_argument("--shape", choices=sorted(SHAPES), nargs="+", default=["real run"])
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, help="turns of each model; by shape if not given")
    parser.add_argument("--steps", type=int, help="timed steps of a turn; by shape if not given")
    parser.add_argument("--batch-size", type=int, help="pairs; by shape if not given")


TINY = {"shape": ["tiny"], "num_codes": 64}


class StepTimes(TrainerCallback):
    """Keeps the seconds of each step of a Trainer."""

    def __init__(self):
        self.seconds = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.started = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(time.perf_counter() - self.started)


def train(model, has_codes, rows, tokenizer, folder, steps, batch_size, seed):
    """The median seconds of a few steps of a new Trainer."""
    settings = Seq2SeqTrainingArguments(
        folder,
        max_steps=steps + STARTING,
        per_device_train_batch_size=batch_size,
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        learning_rate=1e-4,
        seed=seed,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        use_cpu=True,
    )
    times = StepTimes()
    trainer = Seq2SeqTrainer(
        model,
        settings,
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        callbacks=[BottleneckCallback()] if has_codes else None,
        optimizers=(adamw(model, settings) if has_codes else None, None),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(times)
    trainer.train()
    return statistics.median(times.seconds[STARTING:])


def measure(args):
    logging.set_verbosity_error()
    for shape in args.shape:
        rounds, steps, batch_size = PLANS[shape]
        rounds, steps = args.rounds or rounds, args.steps or steps
        batch_size = args.batch_size or batch_size
        words = words_of(shape)
        tokenizer = word_tokenizer(words)
        # As many rows as Trainer's groups of 50 batches need to be of one length within a batch.
        rows = token_pairs(50 * batch_size, words, np.random.default_rng(args.seed))
        plain, codebook = plain_and_codebook(shape, args.num_codes, rows, tokenizer)
        models = {"plain": (plain, False), "excise": (codebook, True)}
        seconds = {name: [] for name in models}
        with tempfile.TemporaryDirectory() as folder:
            for index in range(rounds):
                for name in list(models)[:: -1 if index % 2 else 1]:
                    taken = train(*models[name], rows, tokenizer, folder, steps, batch_size, args.seed + index)
                    seconds[name].append(taken)
        settings = {"shape": shape, "pairs_a_batch": batch_size, "steps_a_turn": steps, "num_codes": args.num_codes}
        reach = Reach(1.25) if shape == "real run" else None
        note = f"batches of {batch_size} pairs, 11 tokens a source on average, grouped by length; AdamW"
        yield ratio(f"training, {shape}'s shape", seconds, "excise", "plain", reach=reach, settings=settings, note=note)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
