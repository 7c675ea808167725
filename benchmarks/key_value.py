"""A key-value bottleneck at the paper's size: 256 codebooks of 4,096 pairs, key dimension 8.

The look-up of ten pairs a codebook against one (reach: twice its time), what a look-up takes beside its arguments and
result (reach: 128 MiB; all distances at once are 1 GiB), an epoch of 50,000 examples whose pairs are at hand (reach:
20 s), and forgetting a class by the counts of its 5,000 examples (reach: 0.2 s). The data is random. The peer is
discrete-key-value-bottleneck-pytorch with as many examples a batch as fit into `--peer-memory` gigabytes beyond what
the process has: it repeats all values for each example. Where the highest resident size of a process cannot be set
back, as Linux does, memory is not measured.

    python benchmarks/key_value.py --examples 50000
"""

import contextlib
import tempfile

import torch
from datasets import Dataset, Features, List, Value
from harness.measurement import Benchmark, Reach, Row, Turn, missing, ratio, seconds_row, take_turns
from harness.peers import MissingPeerError, load_peer
from lookup_memory import MEGABYTE, PEAK, beyond, resident
from transformers import PrinterCallback, Trainer, TrainingArguments, ViTConfig
from transformers.utils import logging

from excise import KeyValueConfig, KeyValueForImageClassification, PairCounts, Search, Unlearner
from excise.bottlenecks import KeyValueBottleneck
from excise.models import KeyValueVisionConfig

try:
    import resource
except ImportError:  # Windows has none
    resource = None

CLASSES, WIDTH, MEBIBYTES = 10, 512, 2**20 / MEGABYTE
PEER = "discrete-key-value-bottleneck-pytorch"


def arguments(parser):
    parser.add_argument("--codebooks", type=int, default=256)
    parser.add_argument("--num-pairs", type=int, default=4096)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--na", type=int, default=200_000, help="pairs that are masked")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-memory", type=float, default=8.0, help="gigabytes that the peer may take")


TINY = {"codebooks": 8, "num_pairs": 64, "examples": 200, "batch_size": 16, "na": 20, "rounds": 1, "peer_memory": 1.0}


def measure(args):
    logging.set_verbosity_error()
    config = KeyValueConfig(num_codebooks=args.codebooks, num_pairs=args.num_pairs)
    title = f"key-value pairs, {args.codebooks} codebooks of {args.num_pairs:,}"
    yield from look_ups(args, config, title)
    encoder = ViTConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    of_model = KeyValueVisionConfig(encoder=encoder, bottleneck=config, pooling="first", num_labels=CLASSES)
    model = KeyValueForImageClassification(of_model)
    model.bottleneck.config.keys_id = model.bottleneck.digest_keys()  # as `initialize_keys` notes it
    yield from memory(args, model, title)
    yield from epoch(args, model, title)
    yield from forgetting(args, model, title)


def new_bottleneck(config):
    return KeyValueBottleneck(type(config)(**config.to_dict() | {"hidden_size": WIDTH, "value_dim": CLASSES})).eval()


@torch.no_grad()
def look_ups(args, config, title):
    """Ten pairs a codebook against one, and the whole bottleneck against the peer's."""
    bottleneck, encodings = new_bottleneck(config), torch.randn(args.batch_size, WIDTH)
    turns = {f"top {top}": lambda top=top: bottleneck.rank(encodings, top) for top in (1, 2, 10, 64)}
    seconds = take_turns(turns, args.rounds)
    sizes = {"codebooks": args.codebooks, "num_pairs": args.num_pairs, "key_dim": config.key_dim}
    settings = sizes | {"batch_size": args.batch_size}
    what = f"{title}: look-up of a batch of {args.batch_size}"
    for top in (2, 10, 64):
        reach = Reach(2.0) if top == 10 else None
        yield ratio(f"{what}, top {top}", seconds, f"top {top}", "top 1", reach=reach, settings=settings)
    try:
        module, name = load_peer(PEER)
    except MissingPeerError as error:
        yield missing(f"{title}: encodings to values", PEER, str(error), peer=True)
        return
    names = {"dim": config.key_dim, "num_memories": args.num_pairs, "num_memory_codebooks": args.codebooks}
    # Its default is a width of keys that is the product of the two, and projections to it and back: 8 GB of them.
    names |= {"codebook_dim": config.key_dim, "dim_embed": WIDTH, "dim_memory": CLASSES}
    with at_most(args.peer_memory):
        peer = module.DiscreteKeyValueBottleneck(**names).eval()
    size = largest(args, lambda size: peer(encodings[:size, None]))
    if not size:
        why = f"a single example takes more than {args.peer_memory:g} GB"
        yield missing(f"{title}: encodings to values", name, why, peer=True)
        return
    turns = {"excise": lambda: bottleneck(encodings[:size]), name: lambda: peer(encodings[:size, None])}
    seconds = take_turns(turns, args.rounds)
    more = take_turns({"excise": lambda: bottleneck(encodings)}, args.rounds)
    note = f"batch of {size}, the most that the other does in {args.peer_memory:g} GB; ours does {args.batch_size} in "
    note += f"{min(more['excise']):.2g} s at best"
    what = f"{title}: encodings to values, top 1"
    yield ratio(what, seconds, "excise", name, settings=sizes | {"batch_size": size}, note=note, peer=True)


def largest(args, run):
    """The largest batch, halved until it fits into the memory that it may take; 0 for none."""
    sizes = [args.batch_size >> halvings for halvings in range(args.batch_size.bit_length())]
    return next((size for size in sizes if fits(args, run, size)), 0)


def fits(args, run, size):
    """Whether a batch goes through within the memory."""
    try:
        with at_most(args.peer_memory):
            run(size)
    except (MemoryError, RuntimeError):  # torch's word for it is a RuntimeError
        return False
    return True


@contextlib.contextmanager
def at_most(gigabytes):
    """Keeps this process from taking more memory than it has now and so much."""
    if resource is None or not PEAK.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(resident("VmSize") + gigabytes * 10**9), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@torch.no_grad()
def memory(args, model, title):
    what = f"{title}: memory of the look-up of {args.batch_size}, beyond arguments and result"
    if not PEAK.exists():
        yield missing(what, None, "This system cannot set back the highest resident size of a process; Linux can.")
        return
    heads = torch.randn(args.batch_size, args.codebooks, 8)
    model.bottleneck.select_by_heads(heads[:2])  # threads and libraries take what they take once
    yield Row(what, beyond(model.bottleneck.select_by_heads, heads), "MB", reach=Reach(round(128 * MEBIBYTES, 1)))


def random_pairs(args):
    """Pairs that are common to a class in part, and labels."""
    labels = torch.arange(args.examples) % CLASSES
    shares = args.num_pairs // CLASSES
    own = torch.randint(0, shares, (args.examples, args.codebooks)) + shares * labels[:, None]
    anywhere = torch.randint(0, args.num_pairs, (args.examples, args.codebooks))
    pairs = torch.where(torch.rand(args.examples, args.codebooks) < 0.7, own, anywhere)
    return (pairs + args.num_pairs * torch.arange(args.codebooks)).int(), labels


def epoch(args, model, title):
    pairs, labels = random_pairs(args)
    features = Features({"pairs": List(Value("int32"), length=args.codebooks), "labels": Value("int64")})
    rows = Dataset.from_dict({"pairs": pairs.numpy(), "labels": labels.numpy()}, features=features)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=args.batch_size,
            learning_rate=0.1,
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
        trainer = Trainer(model, settings, train_dataset=rows.with_format("torch"))
        trainer.remove_callback(PrinterCallback)
        seconds = take_turns({"excise": trainer.train}, 1, warm=0)
    what = f"{title}: an epoch of {args.examples:,} examples whose pairs are at hand"
    yield seconds_row(what, seconds["excise"], reach=Reach(20.0), settings={"batch_size": args.batch_size})


def forgetting(args, model, title):
    pairs, labels = random_pairs(args)
    counts = PairCounts.of_batch(pairs.numpy(), labels.numpy(), model.bottleneck)
    topic, search = counts.topic(1), Search("activations", count=args.na)
    unlearner, requests = Unlearner(model, None), []

    def forget():
        requests.append(unlearner.forget(topic, search))

    def undo():
        if requests:
            unlearner.undo(requests.pop())
            model.config.unlearning = None  # each is the model's first

    seconds = take_turns({"excise": Turn(forget, before=undo)}, args.rounds)
    settings = {"pairs": requests[-1].num_codes}
    yield seconds_row(
        f"{title}: forgetting a class by its counts", seconds["excise"], reach=Reach(0.2), settings=settings
    )


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
