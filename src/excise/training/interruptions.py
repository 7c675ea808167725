"""Interrupted trainings: the last whole checkpoint to go on from, and saving that Ctrl-C does not cut off."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from excise.storage.expected import expects


@expects(folder="?folder")
def last_whole_checkpoint(folder: str | os.PathLike | None) -> str | None:
    """The last checkpoint of a training whose writing was not cut off: what the `Trainer` writes last is there, whole.

    Args:
        folder: the `output_dir` of the training.

    Returns:
        The checkpoint's folder, for `trainer.train(resume_from_checkpoint=...)`; none if there is no whole one.
    """
    checkpoints = Path(folder).glob("checkpoint-*/trainer_state.json") if folder else []
    numbers = {path.parent: path.parent.name.partition("-")[2] for path in checkpoints}
    found = {path: int(number) for path, number in numbers.items() if number.isdecimal()}
    last_first = sorted(found, key=found.__getitem__, reverse=True)
    return next((os.fspath(path) for path in last_first if _is_json(path / "trainer_state.json")), None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # empty, or cut off
        return False
    return True


@contextmanager
def interruptions_wait() -> Iterator[None]:
    """Ctrl-C takes effect when the context ends, so that what is being written is written whole."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = []
    handler = signal.signal(signal.SIGINT, lambda *_: interrupted.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if interrupted:
        raise KeyboardInterrupt
