"""What each of two processes does in `tests/flows/test_sharing.py`; each writes what it has. Not a test itself.

Arguments: a folder, and `killed` for a count in which the second process is killed, or `restarted` to go on after it.
"""

import faulthandler
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from datasets import Dataset
from torch.nn.parallel import DistributedDataParallel

from excise import Unlearner, class_sets, encode_images, initialize_codes, set_min_similarity
from excise.codes import counting, passes
from excise.codes.counting import count_apart, count_codes, count_pairs, count_used
from excise.data import batches
from excise.evaluation import example_losses, generate_texts, predict_classes
from excise.evaluation.classes import evaluate_classes
from excise.storage.digests import digest
from excise.storage.processes import attempt, current_run, is_main_process
from tests.helpers.tiny import codebook_t5, copying, tokenizer
from tests.helpers.tiny_images import NAMES, images, key_value_model, processor

OPTIONS = {"max_top_s": 5, "batch_size": 3, "progress": False}
WINDOW = 9


def t5():
    torch.manual_seed(0)
    return codebook_t5(layers=(1, 2))


def texts(rows: int = 23) -> Dataset:
    """Rows of unequal length, an odd number."""
    words = "a b c d e f g h".split()
    lines = [" ".join(words[(i * k) % 8] for k in range(1, 2 + i % 7)) for i in range(rows)]
    return Dataset.from_dict({"text": lines, "spans": [[[0, 1]]] * rows})


def of(counts: dict) -> dict[str, Any]:
    """Counts as JSON values."""
    found = {}
    for site, each in counts.items():
        parts = {"": each} if hasattr(each, "examples") else {"target": each.target, "control": each.control}
        for name, part in parts.items():
            identity = part.identity and part.identity.to_dict()
            found[f"{site} {name}"] = [digest([], {"": part.examples}), part.num_examples, identity]
        if getattr(each, "both", None) is not None:
            found[f"{site} both"] = digest([], {"": each.both})
    return found


def unlearning(folder: Path) -> dict[str, Any]:
    """All of a class, with a model of pairs: encodings, pairs, choice and evaluation."""
    model = key_value_model()
    topic = class_sets(images(61), "red", min_examples=1)
    unlearner = Unlearner(model, processor())
    encodings = encode_images(model, topic.target, processor(), shard_size=4, cache_dir=folder, progress=False)
    selection = unlearner.choose(topic, progress=False)
    evaluation = evaluate_classes(unlearner, topic, selection=selection, batch_size=4, progress=False)
    return {
        "encodings": digest([], {"": torch.tensor(encodings["encodings"][:])}),
        "selection": {site: list(map(int, codes)) for site, codes in selection.codes.items()},
        "outputs": evaluation.outputs,
        "scores": evaluation.scores,
        "settings": json.loads(json.dumps(evaluation.settings, default=str)),
    }


def initialised() -> list[str]:
    model = t5()
    errors = initialize_codes(model, copying(65), tokenizer(), steps=3, max_tokens=301, progress=False)
    least = set_min_similarity(model, copying(65), tokenizer(), max_tokens=301, progress=False)
    return [digest([], model.state_dict()), errors, least]


def passes_of(folder: Path) -> dict[str, Callable[[], Any]]:
    """All that is shared, by name."""
    model, rows, t = t5(), texts(), tokenizer()
    other = Dataset.from_dict({"text": [text[::-1] for text in rows["text"]], "spans": rows["spans"]})
    wide = {"batch_size": 4, "progress": False}
    kv, pictures = key_value_model(), images(19)
    numbers = torch.arange(176.0).view(11, 16).sin().tolist()
    encoded = Dataset.from_dict({"encodings": numbers, "labels": [0, 2] * 5 + [1]})
    streams = rows.to_iterable_dataset(), other.to_iterable_dataset()
    return {
        "codes": lambda: of(count_codes(model, t, rows, **OPTIONS)),
        "fewer rows than processes": lambda: of(count_codes(model, t, rows.select([4]), **OPTIONS)),
        "used": lambda: of(count_used(model, t, rows, **wide)),
        "pairs": lambda: of(count_pairs(model, t, rows, other, **OPTIONS)),
        "apart": lambda: of(count_apart(model, t, rows, other.select(range(8)), **OPTIONS)),
        "stream": lambda: of(count_codes(model, t, streams[0], **OPTIONS)),
        "pairs of streams": lambda: of(count_pairs(model, t, *streams, **OPTIONS)),
        "checkpoint": lambda: of(count_codes(model, t, rows, checkpoint=folder / "checkpoint", **OPTIONS)),
        "of pictures": lambda: of(count_codes(kv, processor(), pictures, **OPTIONS)),
        "classes": lambda: predict_classes(kv, processor(), pictures, NAMES, batch_size=4),
        "classes of a stream": lambda: predict_classes(kv, processor(), pictures.to_iterable_dataset(), NAMES),
        "texts": lambda: generate_texts(model, t, rows["text"][:], batch_size=4, max_new_tokens=5),
        "losses": lambda: example_losses(kv, encoded, batch_size=2).tolist(),
        "losses of a stream": lambda: example_losses(kv, encoded.to_iterable_dataset(), batch_size=2).tolist(),
        "initialised": initialised,
        "unlearning": lambda: unlearning(folder / "cache"),
    }


def what(call: Callable, *args) -> str:
    try:
        return str(call(*args))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def alone_and_apart() -> dict[str, Any]:
    """Calls that not all processes make, or not with the same: none of them waits for another."""
    model, rows, t = t5(), texts(), tokenizer()
    rank, found = current_run().rank, {}
    if is_main_process():
        for _ in range(2):
            found["alone"] = of(count_codes(model, t, rows, **OPTIONS | {"batch_size": 2}))
    found["then all"] = of(count_codes(model, t, rows, **OPTIONS | {"batch_size": 2}))
    own = rows.select(range(rank, len(rows), 2))
    found["own"] = of(count_codes(model, t, own, **OPTIONS))
    own_stream = own.to_iterable_dataset()
    found["own stream"] = what(lambda: of(count_codes(meeting(model), t, own_stream, **OPTIONS)))
    return found


def broken() -> str:
    """Not finite at one word, which is in one row."""
    model, t = t5(), tokenizer()
    rows = Dataset.from_dict({"input_ids": [[5, 6, 7, 1]] * 9 + [[5, 6, 7, 8, 1]]})
    with torch.no_grad():
        model.get_input_embeddings().weight[8] = float("nan")
    return what(lambda: count_codes(model, t, rows, **OPTIONS))


def meeting(model):
    """In its first batch each process waits for the other, so that each has a part."""
    hooks = []

    def first(*_):
        hooks.pop().remove()
        torch.distributed.barrier()

    hooks.append(model.register_forward_pre_hook(first))
    return model


def recorded(call: Callable[[], Any]) -> tuple[Any, list[int]]:
    """What a call returns, and the numbers of the batches that this process has counted in it."""
    ran, ranks = [], counting._Counter.of_batch
    counting._Counter.of_batch = lambda self, batch: ran.append(batch.number) or ranks(self, batch)
    try:
        return call(), ran
    finally:
        counting._Counter.of_batch = ranks


def balanced() -> dict[str, Any]:
    """Which batches this process has run, and the counts of all, of a model in DDP."""
    model = DistributedDataParallel(meeting(t5()))
    counts, ran = recorded(lambda: of(count_codes(model, tokenizer(), texts(), **OPTIONS | {"batch_size": 1})))
    return {"ran": ran, "counts": counts}


def count_until_killed(folder: Path, at: int) -> None:
    """Counts with a checkpoint; the last process of the run is killed before a batch, and others wait then."""
    run, ran, ranks = current_run(), [], counting._Counter.of_batch

    def until_then(self, batch):
        ran.append(batch)
        if len(ran) == at:
            if run is None or run.rank == run.size - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(100)
        return ranks(self, batch)

    counting._Counter.of_batch, passes.SECONDS = until_then, -1.0
    count_codes(t5(), tokenizer(), texts(), checkpoint=folder / "checkpoint", **OPTIONS)


def restarted(folder: Path) -> None:
    """The second process is killed at the first attempt; at the next, both go on. There is no process group."""
    if attempt() == "0":
        count_until_killed(folder, at=3)
    call = passes_of(folder)["checkpoint"]
    counts, ran = recorded(call)
    found = {"counts": counts, "ran": ran, "world": current_run().size, "attempt": attempt()}
    (folder / f"{current_run().rank}.json").write_text(json.dumps(found))
    time.sleep(2)  # the store goes with the first process to end, where no process group is waited for
    os._exit(0)


def main(folder: Path, mode: str = "") -> None:
    from accelerate import PartialState

    torch.set_num_threads(1)
    passes.SECONDS, batches.WINDOW = -1.0, WINDOW
    if mode == "restarted":
        restarted(folder)
    found: dict[str, Any] = {"before a process group": of(count_codes(t5(), tokenizer(), texts(), **OPTIONS))}
    state = PartialState(cpu=True)
    found["world"] = [state.num_processes, current_run().size]
    if mode == "killed":
        count_until_killed(folder, at=3)
    ran: dict[str, list[int]] = {}
    for name, call in passes_of(folder).items():
        found[name], ran[name] = recorded(call)
    found["ran"] = ran
    found |= {"balanced": balanced(), "broken": broken()} | alone_and_apart()
    (folder / f"{state.process_index}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    os._exit(0)  # taking down gloo's threads hangs now and then on a busy machine


if __name__ == "__main__":
    faulthandler.dump_traceback_later(240, exit=True)  # where it hangs, if it hangs, and no process left behind
    main(Path(sys.argv[1]), *sys.argv[2:])
