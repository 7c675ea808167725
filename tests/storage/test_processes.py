"""What the processes of a run tell one another, here played one after the other in one process.

Real processes are in tests/training/test_distributed.py and tests/flows.
"""

import logging

import pytest
from torch.distributed import HashStore

from excise.storage import processes
from excise.storage.processes import Run, by_main_process, is_main_process


class Odd(ValueError):
    """An error whose initialiser takes two arguments, so that pickle cannot make it again."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


@pytest.fixture
def as_process(monkeypatch):
    """Makes the next calls those of a process of a run of two."""
    store = HashStore()

    def act(rank: int) -> None:
        processes._calls_by_key.clear()
        monkeypatch.setattr(processes, "current_run", lambda: Run(store, rank, 2))

    act.store = store
    return act


@pytest.fixture
def written():
    return []


@pytest.fixture
def write(written):
    @by_main_process("path")
    def write(path, result=None):
        written.append(path)
        if isinstance(result, BaseException):
            raise result
        return result

    return write


def test_a_process_alone_calls_as_ever(write, written):
    assert write("a", 3) == 3 and written == ["a"]
    assert is_main_process()


@pytest.mark.parametrize("result", [None, {"a": [1, 2]}, b"x" * (processes.ENTRY + 1)])
def test_the_others_return_what_the_main_process_returned_and_write_nothing(as_process, write, written, result):
    as_process(0)
    assert is_main_process() and write("a", result) == result
    as_process(1)
    assert not is_main_process() and write("a") == result
    assert written == ["a"]
    assert as_process.store.num_keys() == 0  # the last that has read it clears it away


def test_calls_of_one_place_keep_their_order(as_process, write):
    as_process(0)
    assert [write("a", 1), write("b", 2), write("a", 3)] == [1, 2, 3]
    as_process(1)
    assert [write("a"), write("b"), write("a")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [(FileExistsError("there"), FileExistsError, "there"), (Odd("one", "two"), ValueError, "Odd: one and two")],
)
def test_the_others_raise_what_the_main_process_raised(as_process, write, error, kind, message):
    as_process(0)
    with pytest.raises(type(error)):
        write("a", error)
    as_process(1)
    with pytest.raises(kind, match=message):
        write("a")


def test_what_cannot_be_sent_is_told(as_process, write):
    as_process(0)
    write("a", lambda: None)
    as_process(1)
    with pytest.raises(RuntimeError, match="It is written; what the main process returned cannot be sent"):
        write("a")


def test_what_is_called_within_runs_at_once(as_process, write, written):
    @by_main_process("folder")
    def outer(folder):
        return write(f"{folder}/inner", 5)

    as_process(0)
    assert outer("a") == 5
    as_process(1)
    assert outer("a") == 5 and written == ["a/inner"]


def test_who_waits_for_what_never_begins_says_so_and_gives_up(as_process, write, monkeypatch, caplog):
    monkeypatch.setattr(processes, "NOTICE", 0.01)
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    as_process(1)
    with caplog.at_level(logging.WARNING), pytest.raises(TimeoutError, match=r"Process 1 of 2 has waited .*'a'"):
        write("a")
    assert "all must ask for the same" in caplog.text
