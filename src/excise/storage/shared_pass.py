"""Passes over batches that the processes of a run share: each takes the next batch that nobody has taken yet."""

import hashlib
import json
import logging
import pickle
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from excise.storage import processes
from excise.storage.processes import ENTRY, Run, attempt, current_run, sendable

Batch = TypeVar("Batch")
Part = TypeVar("Part")

# Sums that are kept for processes that come late: so many of the newest always, and more of them up to so many bytes.
KEPT_SUMS, KEPT_BYTES = 8, 256 << 20

_calls_by_key: Counter[str] = Counter()
_kept: deque[tuple[Run, str, int, int]] = deque()


class _Over(Exception):
    """The pass was another one, over before this process came, or what came of it is no longer kept."""


def shared_pass(
    about: Callable[[], dict[str, Any]],
    batches: Iterable[Batch],
    begin: Callable[[], Part],
    step: Callable[[Part, Batch], Part],
    merged: Callable[[Sequence[Part]], Part],
    seen: Callable[[], str] | None = None,
    *,
    alone: bool = False,
) -> Part:
    """What a pass over batches adds up to: the same with one process and with many.

    Every process goes over all batches and runs those that nobody has taken; in the end all have the whole. Nobody has
    to come: a process that calls alone runs all of them, one that comes late takes what is left or gets the sum, and
    those that call for different things do not meet. It goes through the run's store, so that there is no collective
    to hang in and no process group needed.

    Args:
        about: all that the sum depends on, as JSON values; its `function` names the pass. Processes for which it is the
            same share. Not called in a process alone.
        batches: the same in all processes, and cheap to go over again.
        begin: the sum of nothing.
        step: adds a batch to a sum, into which it may write; go on with what it returns.
        merged: adds the sums of several processes, which were pickled, up.
        seen: called when all batches were gone over: tells what was read where `about` cannot, as of a stream.
        alone: whether this process runs all batches itself, as with a model whose layers all processes run together.

    Raises:
        ValueError: if processes have read different batches.
        TimeoutError: if one has taken a batch, and nothing is heard of it for half an hour.
    """
    run = None if alone else current_run()
    if run is None:
        part = begin()
        for batch in batches:
            part = step(part, batch)
        return part
    settings = about()
    key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
    while True:
        _calls_by_key[key] += 1
        try:
            joined = _Joined(run, str(settings["function"]), f"excise/{attempt()}/{key}/{_calls_by_key[key]}")
            return joined.result(batches, begin, step, merged, seen)
        except _Over:
            continue


class _Joined:
    """One pass as one of the processes that take part in it.

    In the run's store: `taken` counts the batches that processes have asked for, `done` those whose sums are there,
    `alive` signs of life; `begun/0`, `begun/1` and so on are there for processes that run a batch, `part/0` and so on
    are their sums, `sum` the whole, `error` what one of them has raised.
    """

    def __init__(self, run: Run, name: str, key: str):
        self.run, self.name, self.key = run, name, key

    def result(
        self,
        batches: Iterable[Batch],
        begin: Callable[[], Part],
        step: Callable[[Part, Batch], Part],
        merged: Callable[[Sequence[Part]], Part],
        seen: Callable[[], str] | None,
    ) -> Part:
        if self._is_there("error"):
            raise _Over
        try:
            part, mine, count = begin(), 0, 0
            place = self._take()
            with self._heard():
                for number, batch in enumerate(batches):
                    if number == place:
                        self._raise_of_others()
                        if not mine:
                            self.run.store.set(f"{self.key}/begun/{self.run.rank}", "")
                        part = step(part, batch)
                        mine, place = mine + 1, self._take()
                    count = number + 1
                read = seen() if seen else ""
            if not count:
                return part
            if mine:
                self._put(f"part/{self.run.rank}", (read, part))
                if self.run.store.add(f"{self.key}/done", mine) == count:  # the last one adds up
                    whole = self._added_up(read, part, merged)
                    self._keep("sum", (read, whole))
                    return whole
        except _Over:
            raise
        except BaseException as error:  # Ctrl-C too
            self._put("error", sendable(error))
            raise
        of_others, whole = self._wait()
        if read != of_others:  # of an earlier call, of other rows, which this process had no part in
            raise _Over
        return whole

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """A context in which others hear from this process now and then, however long a batch takes it."""
        over = threading.Event()

        def beat() -> None:
            with suppress(Exception):  # the store is gone: so is the run
                while not over.wait(min(processes.NOTICE, processes.PATIENCE / 4)):
                    self.run.store.add(f"{self.key}/alive", 1)

        threading.Thread(target=beat, daemon=True, name="excise: signs of life").start()
        try:
            yield
        finally:
            over.set()

    def _take(self) -> int:
        return self.run.store.add(f"{self.key}/taken", 1) - 1

    def _added_up(self, read: str, part: Part, merged: Callable[[Sequence[Part]], Part]) -> Part:
        reads, parts = {self.run.rank: read}, {self.run.rank: part}
        for rank in range(self.run.size):
            if rank != self.run.rank and self._is_there(f"part/{rank}"):
                reads[rank], parts[rank] = self._get(f"part/{rank}")
        self._check_read(reads)
        for rank in parts:
            self._let_go(f"part/{rank}")
        return merged([parts[rank] for rank in sorted(parts)]) if len(parts) > 1 else part

    def _check_read(self, reads: dict[int, str]) -> None:
        if len(set(reads.values())) > 1:
            raise ValueError(
                f"Processes {', '.join(map(str, sorted(reads)))} have read different rows in {self.name}. Give each "
                "process the whole stream, in the same order: its batches are shared, so do not split it by process."
            )

    def _raise_of_others(self) -> None:
        if self._is_there("error"):
            error: BaseException = self._get("error")
            raise error

    def _wait(self) -> Any:
        """Waits for the sum, as long as others come forward at all; gives it, and what was read."""
        started, notices, before = time.monotonic(), 0, None
        while not self._is_there("sum"):
            self._raise_of_others()
            if (now := self._progress()) != before:
                moved, before = time.monotonic(), now
            waited, still = time.monotonic() - started, time.monotonic() - moved
            if still > processes.PATIENCE:
                raise TimeoutError(
                    f"{self._waiting(waited)} Nothing is heard of them for {still:.0f} s; this process goes on no "
                    "more. If one was ended, start all again, by `torchrun`, which ends the others with it; a count "
                    "goes on from its `checkpoint`."
                )
            if waited > processes.NOTICE * 2**notices:
                notices += 1
                logging.getLogger(__name__).warning(self._waiting(waited))
            time.sleep(0.005)
        return self._get("sum")

    def _progress(self) -> list[int]:
        """Counts of all that processes do, so far."""
        return [self.run.store.add(f"{self.key}/{name}", 0) for name in ("taken", "done", "alive")]

    def _waiting(self, seconds: float) -> str:
        missing = [
            str(rank)
            for rank in range(self.run.size)
            if self._is_there(f"begun/{rank}") and not self._is_there(f"part/{rank}")
        ]
        of_these = f" Missing: {', '.join(missing)}." if missing else ""
        return (
            f"Process {self.run.rank} of {self.run.size} has waited {seconds:.0f} s for others to end their batches of "
            f"{self.name}.{of_these}"
        )

    def _is_there(self, name: str) -> bool:
        return self.run.store.check([f"{self.key}/{name}"])

    def _put(self, name: str, value: Any) -> tuple[int, int]:
        """Gives the numbers of entries and of bytes."""
        data = zlib.compress(pickle.dumps(value), 1)  # counts are small numbers
        entries = [data[start : start + ENTRY] for start in range(0, len(data), ENTRY)]
        for number, entry in enumerate(entries):
            self.run.store.set(f"{self.key}/{name}/{number}", entry)
        self.run.store.set(f"{self.key}/{name}", str(len(entries)))
        return len(entries), len(data)

    def _get(self, name: str) -> Any:
        count = int(self.run.store.get(f"{self.key}/{name}"))
        entries = [self.run.store.get(f"{self.key}/{name}/{number}") for number in range(count)]
        if not all(entries):  # let go meanwhile
            raise _Over
        return pickle.loads(zlib.decompress(b"".join(entries)))

    def _let_go(self, name: str, count: int | None = None) -> None:
        count = int(self.run.store.get(f"{self.key}/{name}")) if count is None else count
        for number in range(count):
            self.run.store.set(f"{self.key}/{name}/{number}", b"")

    def _keep(self, name: str, value: Any) -> None:
        """Puts a sum, and lets old ones of this process go: nobody may ever ask for them."""
        _kept.append((self.run, self.key, *self._put(name, value)))
        while len(_kept) > KEPT_SUMS and sum(size for *_, size in _kept) > KEPT_BYTES:
            run, key, count, _ = _kept.popleft()
            _Joined(run, self.name, key)._let_go(name, count)
