"""Passes over batches that processes share; here they are threads with a store of one process."""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from torch.distributed import HashStore

from excise.storage import processes, shared_pass
from excise.storage.processes import Run
from excise.storage.shared_pass import _Joined, _Over

KEY = "excise/a pass/1"


def add(total: list[int], batch: int) -> list[int]:
    return [*total, batch]


def merged(parts) -> list[int]:
    return sorted(number for part in parts for number in part)


class Processes:
    """Threads that go through one pass as processes do."""

    def __init__(self, size: int):
        self.store, self.size = HashStore(), size
        self.results: dict[int, Any] = {}

    def joined(self, rank: int, key: str = KEY) -> _Joined:
        return _Joined(Run(self.store, rank, self.size), "counting", key)

    def run(self, rank: int, step: Callable = add, batches=range(20), seen=None, key: str = KEY) -> None:
        try:
            self.results[rank] = self.joined(rank, key).result(batches, list, step, merged, seen)
        except Exception as error:
            self.results[rank] = error

    def all(self, *steps: Callable, **options) -> list:
        threads = [threading.Thread(target=self.run, args=(i, step), kwargs=options) for i, step in enumerate(steps)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return [self.results[rank] for rank in range(len(steps))]


def slow(seed: int, ran: list[int] | None = None) -> Callable:
    rng = random.Random(seed)

    def step(total, batch):
        time.sleep(rng.random() * 0.003)
        if ran is not None:
            ran.append(batch)
        return add(total, batch)

    return step


@pytest.mark.parametrize("size", [2, 3, 5])
def test_each_batch_is_run_once_and_every_process_has_the_whole(size):
    ran: list[list[int]] = [[] for _ in range(size)]
    results = Processes(size).all(*(slow(i, ran[i]) for i in range(size)))
    assert [sorted(result) for result in results] == [list(range(20))] * size
    assert sorted(batch for each in ran for batch in each) == list(range(20))
    assert all(ran)


def test_there_may_be_more_processes_than_batches_or_none():
    ran: list[list[int]] = [[], [], []]
    results = Processes(3).all(*(slow(i, ran[i]) for i in range(3)), batches=range(2))
    assert [sorted(result) for result in results] == [[0, 1]] * 3 and sum(map(len, ran)) == 2
    assert Processes(2).all(add, add, batches=range(0)) == [[], []]


def test_a_process_that_calls_alone_waits_for_nobody_and_one_that_comes_late_gets_the_sum():
    together = Processes(2)
    together.run(0)
    assert together.results[0] == list(range(20))

    def never(total, batch):
        raise AssertionError

    together.run(1, never)
    assert together.results[1] == list(range(20))


def test_one_that_comes_late_to_what_has_failed_or_is_no_longer_kept_does_it_by_itself(monkeypatch):
    together = Processes(2)

    def fail(total, batch):
        raise FloatingPointError("Not finite.")

    together.run(0, fail)
    assert isinstance(together.results[0], FloatingPointError)
    with pytest.raises(_Over):
        together.joined(1).result(range(20), list, add, merged, None)
    monkeypatch.setattr(shared_pass, "KEPT_BYTES", 0)
    monkeypatch.setattr(shared_pass, "KEPT_SUMS", 1)
    for number in (2, 3):
        together.run(0, key=f"excise/a pass/{number}")
    with pytest.raises(_Over):
        together.joined(1, "excise/a pass/2").result(range(20), list, add, merged, None)
    together.run(1, key="excise/a pass/3")
    assert together.results[1] == list(range(20))


def test_what_one_raises_all_raise():
    begun = threading.Barrier(2)

    def fail(total, batch):
        begun.wait(10)
        raise FloatingPointError("Not finite.")

    def wait(total, batch):
        begun.wait(10)
        time.sleep(0.2)
        return add(total, batch)

    first, second = Processes(2).all(fail, wait)
    assert type(first) is type(second) is FloatingPointError and str(second) == "Not finite."


def test_processes_that_read_different_rows_are_told():
    begun = threading.Barrier(2)

    def step(total, batch):
        if not total:
            begun.wait(10)
        return add(total, batch)

    streams = Processes(2)
    threads = [threading.Thread(target=streams.run, args=(i, step, range(20), lambda i=i: f"rows {i}")) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for found in streams.results.values():
        assert "have read different rows in counting. Give each process the whole stream" in str(found)


def test_one_that_comes_late_with_other_rows_does_not_take_what_came_of_others():
    late = Processes(2)
    late.run(0, seen=lambda: "some")
    with pytest.raises(_Over):
        late.joined(1).result(range(20), list, add, merged, lambda: "others")


def test_who_waits_says_so(monkeypatch, caplog):
    monkeypatch.setattr(processes, "NOTICE", 0.02)

    def last(total, batch):
        time.sleep(0.2)
        return add(total, batch)

    Processes(2).all(last, last, batches=range(1))
    assert "of 2 has waited 0 s for others to end their batches of counting." in caplog.text


def test_in_a_process_alone_nothing_is_asked_of_a_pass():
    assert shared_pass.shared_pass(None, range(3), list, add, None) == [0, 1, 2]


def test_what_one_that_was_ended_has_taken_is_not_waited_for_without_end(monkeypatch, caplog):
    monkeypatch.setattr(processes, "PATIENCE", 0.3)
    monkeypatch.setattr(processes, "NOTICE", 0.05)
    together = Processes(3)

    def ended(total, batch):
        raise SystemExit  # as if killed: it tells nobody

    dead = together.joined(1)
    monkeypatch.setattr(dead, "_put", lambda *_: None)
    with pytest.raises(SystemExit):
        dead.result(range(20), list, ended, merged, None)
    together.run(0)
    assert isinstance(together.results[0], TimeoutError)
    assert "others to end their batches of counting. Missing: 1. Nothing is heard" in str(together.results[0])
    assert "Missing: 1." in caplog.text


def test_one_whose_batch_takes_long_is_waited_for(monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 0.8)
    together, begun = Processes(2), threading.Event()

    def long(total, batch):
        begun.set()
        time.sleep(1.6)
        return add(total, batch)

    thread = threading.Thread(target=together.run, args=(0, long), kwargs={"batches": range(1)})
    thread.start()
    begun.wait(10)
    together.run(1, batches=range(1))
    thread.join(10)
    assert together.results == {0: [0], 1: [0]}
