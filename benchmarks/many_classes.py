"""Key-value pairs for 1,000 classes: 256 codebooks of 4,096 pairs, whose values are 4.2 GB (the paper's appendix H).

An epoch of 100,000 encodings in an ordinary `Trainer` with `sparse_optimizer` (reach: 15 minutes), a frontier on test
encodings, forgetting a class by the counts kept in training, and a bundle without the class: seconds, and the highest
resident size of the process in each (reach: 16 GiB). Dense Adam would take four times the values: themselves, the
gradient and two moments, 15.6 GiB before anything else. Encodings are made up: a centre a class, and noise. Keys are
heads of training encodings. Only Linux tells the highest resident size of a part of a run.

    python benchmarks/many_classes.py --threads 2
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, Features, Image
from harness.measurement import Benchmark, Reach, Row, missing
from lookup_memory import PEAK, resident
from PIL.Image import new as new_image
from transformers import PrinterCallback, Trainer, TrainingArguments, ViTConfig, ViTImageProcessor
from transformers.utils import logging

from excise import (
    KeyValueConfig,
    KeyValueForImageClassification,
    PairCountCallback,
    Search,
    Unlearner,
    encode_images,
    frontier,
)
from excise.models import KeyValueVisionConfig
from excise.training import sparse_optimizer

GIBIBYTE, MINUTES = 2**30, 15


def arguments(parser):
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--codebooks", type=int, default=256)
    parser.add_argument("--num-pairs", type=int, default=4096)
    parser.add_argument("--width", type=int, default=512, help="of the encodings")
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--test-examples", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--optim", default="adamw_torch", help="adamw_torch: SparseAdam; sgd: SGD without memory")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--na", type=int, nargs="+", default=[1000, 3000, 10_000], help="pairs masked, point by point")


TINY = {"classes": 5, "codebooks": 4, "num_pairs": 16, "width": 16, "examples": 100, "test_examples": 40}
TINY |= {"batch_size": 20, "optim": "adamw_torch", "learning_rate": 0.1, "na": [4, 8]}


class Stage:
    """Seconds of the clock and of processors that a part of the run takes, and its highest resident size."""

    def __init__(self):
        if PEAK.exists():
            PEAK.write_text("5")  # sets the peak back to the size now
        self.clock, self.processor = time.perf_counter(), time.process_time()

    def rows(self, what, reach=None, **settings):
        """What was measured since the start."""
        seconds, used = time.perf_counter() - self.clock, time.process_time() - self.processor
        settings = {name: value for name, value in settings.items() if value is not None}
        note = f"{used:.1f} s of processor time"
        yield Row(what, seconds, "s", reach=reach, settings=settings, note=note)
        if PEAK.exists():
            size = resident("VmHWM") / GIBIBYTE
            yield Row(f"{what}: highest resident size", size, "GiB", reach=Reach(16.0), settings=settings)
        else:
            yield missing(f"{what}: highest resident size", None, "This system tells no peak of a part of a run.")


def measure(args):
    logging.set_verbosity_error()
    sizes = f"{args.codebooks} x {args.num_pairs:,} pairs for {args.classes:,} classes"
    stage = Stage()
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    train, test = (encodings(args, count, seed) for seed, count in enumerate((args.examples, args.test_examples)))
    model = new_model(args, torch.as_tensor(train.with_format("numpy")["encodings"][: args.num_pairs]))
    values = model.bottleneck.values.nbytes / GIBIBYTE
    yield from stage.rows(f"{sizes}: model and encodings", values_gib=round(values, 2))

    stage = Stage()
    counts = trained(args, model, train)
    what = f"{sizes}: an epoch of {args.examples:,} encodings"
    yield from stage.rows(what, Reach(60.0 * MINUTES), optim=args.optim, batch_size=args.batch_size)
    right = accuracy(model, test)
    yield Row(f"{sizes}: accuracy on {args.test_examples:,} made-up test encodings", 100 * right, "%")

    unlearner, topic = Unlearner(model, processor), counts.topic(1)
    marked = with_description(model, processor, test)
    stage = Stage()
    found = frontier(unlearner, marked, topic, args.na, progress=False)
    left = f"class {100 * found.points[-1].forget:.0f} %, others {100 * found.points[-1].retain:.1f} % at its end"
    yield from stage.rows(f"{sizes}: a frontier of {len(found.points)} points", na=str(args.na), left=left)
    stage = Stage()
    request = unlearner.forget(topic, preset=Search("activations", count=args.na[-1]))
    yield from stage.rows(f"{sizes}: forgetting a class by its counts", pairs=request.num_codes)
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage()
        unlearner.save_bundle(Path(folder) / "bundle")
        yield from stage.rows(f"{sizes}: a bundle without the class, written and read back")


def encodings(args, count, seed):
    """Encodings around the centre of their class, and labels."""
    centres = np.random.default_rng(7).standard_normal((args.classes, args.width), np.float32)
    noise = np.random.default_rng(seed).standard_normal((count, args.width), np.float32)
    labels = np.arange(count) % args.classes
    noise += centres[labels]
    rows = pa.FixedSizeListArray.from_arrays(pa.array(noise.ravel()), args.width)  # as they are, without a copy
    return Dataset(pa.table({"encodings": rows, "labels": labels}))


def new_model(args, some):
    """A model whose keys are heads of some encodings."""
    heads = 1 if args.width < 64 else args.width // 64
    shape = {"hidden_size": args.width, "intermediate_size": args.width, "num_attention_heads": heads}
    encoder = ViTConfig(num_hidden_layers=1, image_size=32, patch_size=16, **shape)
    pairs = KeyValueConfig(num_codebooks=args.codebooks, num_pairs=args.num_pairs, value_init="zeros")
    config = KeyValueVisionConfig(encoder=encoder, bottleneck=pairs, pooling="first", num_labels=args.classes)
    model = KeyValueForImageClassification(config)
    with torch.no_grad():
        for start in range(0, args.num_pairs, args.batch_size):
            part = slice(start, start + args.batch_size)
            model.bottleneck.keys[:, part] = model.bottleneck.heads(some[part]).transpose(0, 1)
    model.bottleneck.config.keys_id = model.bottleneck.digest_keys()  # as `initialize_keys` notes it
    return model


def trained(args, model, train):
    """Trains an epoch; the counts of the pairs that each class selected."""
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            optim=args.optim,
            weight_decay=0.0,
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            use_cpu=True,
        )
        counting = PairCountCallback()
        options = {"optimizers": (sparse_optimizer(model, settings), None), "callbacks": [counting]}
        trainer = Trainer(model, settings, train_dataset=train.with_format("torch"), **options)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.zero_grad()
    return counting.counts


@torch.no_grad()
def accuracy(model, rows):
    """The share of encodings that are called by their class."""
    right = 0
    for part in rows.with_format("torch").iter(256):
        right += int((model(encodings=part["encodings"]).logits.argmax(1) == part["labels"]).sum())
    return right / len(rows)


def with_description(model, processor, rows):
    """Rows that say of themselves what `encode_images` would: that they are of this model's encoder."""
    features = Features({"image": Image()})
    images = Dataset.from_dict({"image": [new_image("RGB", (32, 32))] * 2}, features=features)
    with tempfile.TemporaryDirectory() as folder:
        made = encode_images(model, images, processor, cache_dir=folder, progress=False)
        rows.info.description = made.info.description
    return rows


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
