"""Processes of a run (`torchrun`): the main one writes, and the others wait for what came of it."""

import hashlib
import logging
import os
import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache, wraps
from inspect import signature
from typing import Any, NamedTuple, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

# Seconds until a process says that it waits, and until it gives up: as long as torch waits for the others by default.
NOTICE, PATIENCE = 20.0, 30 * 60.0
# Bytes in one entry of a store, which takes 8 MiB at most.
ENTRY = 4 << 20

_main_process_is_writing: ContextVar[bool] = ContextVar("main_process_is_writing", default=False)
_calls_by_key: Counter[str] = Counter()


class Run(NamedTuple):
    """A run of several processes, as one of them sees it.

    Args:
        store: entries by key, for all processes of the run.
        rank: number of this process; the main one is 0.
        size: number of processes.
    """

    store: Any
    rank: int
    size: int


def by_main_process(place: str) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Makes a function that writes run on the main process alone; the others wait, and return or raise what it does.

    Where there is one process it is an ordinary call. What is called inside it runs at once. The main process waits for
    nobody, so that a call under `if is_main_process` is no error either. No process group is set up for it.

    Args:
        place: the parameter that names what is written. It must be the same in all processes.
    """

    def decorated(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        @wraps(function)
        def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            run = None if _main_process_is_writing.get() else current_run()
            if run is None:
                return function(*args, **kwargs)
            where = str(signature(function).bind(*args, **kwargs).arguments[place])
            name = f"{function.__module__}.{function.__qualname__}"
            key = f"excise/{attempt()}/" + hashlib.sha256(f"{name}\0{where}".encode(errors="surrogatepass")).hexdigest()
            _calls_by_key[key] += 1
            key += f"/{_calls_by_key[key]}"
            if run.rank:
                return _outcome(run, key, f"{name} of {where!r}")
            run.store.set(f"{key}/begun", "")
            token = _main_process_is_writing.set(True)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                _tell(run, key, (False, sendable(error)))
                raise
            finally:
                _main_process_is_writing.reset(token)
            _tell(run, key, (True, result))
            return result

        return call

    return decorated


def current_run() -> Run | None:
    """The run that this process is part of; `None` for a process alone."""
    launched = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and os.environ.get("WORLD_SIZE", "1") != "1"
    if not launched and "torch" not in sys.modules:  # a command that needs no torch does not load it here
        return None
    import torch.distributed

    if not torch.distributed.is_available():
        return None
    if torch.distributed.is_initialized():
        size = torch.distributed.get_world_size()
        store = torch.distributed.distributed_c10d._get_default_store
        return None if size == 1 else Run(store(), torch.distributed.get_rank(), size)
    return _run_of_launcher() if launched else None


def attempt() -> str:
    """The number of times that the launcher has started this run anew: stores keep what earlier ones have put there."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")


def is_main_process() -> bool:
    """Whether this is the main process of its run, or a process alone."""
    run = current_run()
    return run is None or run.rank == 0


@cache
def _run_of_launcher() -> Run:
    """The run as `torchrun` tells of it, whose store is there before any process group."""
    import torch.distributed

    store, rank, size = next(iter(torch.distributed.rendezvous("env://")))
    return Run(store, rank, size)


def sendable(error: BaseException) -> BaseException:
    """An error that other processes can read: itself, or one of the built-in kind that it is of, with its message."""
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    except Exception:  # whatever a class's own initialiser raises
        pass
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    return kind(f"{type(error).__name__}: {error}")


def _tell(run: Run, key: str, outcome: tuple[bool, Any]) -> None:
    """Gives an outcome to the other processes, as many entries as it takes."""
    try:
        data = pickle.dumps(outcome)
    except Exception as error:
        data = pickle.dumps(
            (False, RuntimeError(f"It is written; what the main process returned cannot be sent: {error}"))
        )
    entries = [data[start : start + ENTRY] for start in range(0, len(data), ENTRY)]
    for number, entry in enumerate(entries):
        run.store.set(f"{key}/{number}", entry)
    run.store.set(f"{key}/done", str(len(entries)))


def _outcome(run: Run, key: str, what: str) -> Any:
    """Waits for the main process; gives what it returned, or raises what it raised."""
    started, noticed = time.monotonic(), False
    while not run.store.check([f"{key}/begun"]):
        waited = time.monotonic() - started
        if waited > PATIENCE:
            raise TimeoutError(
                f"{_still_waiting(run, what, waited)} Nothing is known of it; this process goes on no more."
            )
        if waited > NOTICE and not noticed:
            logging.getLogger(__name__).warning(_still_waiting(run, what, waited))
            noticed = True
        time.sleep(0.02)
    while not run.store.check([f"{key}/done"]):
        time.sleep(0.02)
    count = int(run.store.get(f"{key}/done"))
    returned, value = pickle.loads(b"".join(run.store.get(f"{key}/{number}") for number in range(count)))
    if run.store.add(f"{key}/read", 1) == run.size - 1:  # the last that has read it
        for name in ("begun", "done", "read", *map(str, range(count))):
            run.store.delete_key(f"{key}/{name}")
    if returned:
        return value
    raise value


def _still_waiting(run: Run, what: str, waited: float) -> str:
    return (
        f"Process {run.rank} of {run.size} has waited {waited:.0f} s for the main process to begin {what}. Only that "
        "one writes: all must ask for the same, of the same name, or the main one alone."
    )
