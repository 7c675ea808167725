"""Rows among bytes, by a search that looks at eight of theirs, against one that looks at all."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from excise.sharing.erasure import row_search
from excise.sharing.erasure.row_search import RowsAsBytes, RowSearch


def found(search, data) -> list[int]:
    return search.find(io.BytesIO(data)).tolist()


def expected(groups, data) -> list[int]:
    rows = [row.tobytes() for group in groups for row in group]
    return [i for i, row in enumerate(rows) if len(row) >= 8 and len(set(row)) > 4 and row in data]


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), max_size=12), st.integers(0, 300))
def test_it_finds_what_a_plain_search_finds(seed, planted, padding):
    rng = np.random.default_rng(seed)
    groups = [rng.integers(0, 256, (20, length), np.uint8) for length in (8, 12, 20)]
    rows = [row.tobytes() for group in groups for row in group]
    data = rng.bytes(padding) + b"".join(rows[i % 60] + rng.bytes(int(rng.integers(0, 9))) for i in planted)
    assert found(RowSearch(groups), data) == expected(groups, data)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_rows_across_the_ends_of_blocks_and_pieces_are_found(monkeypatch, size):
    monkeypatch.setattr(row_search, "BLOCK", 64)
    monkeypatch.setattr(row_search, "PIECE", 32)
    rng = np.random.default_rng(0)
    groups = [rng.integers(0, 256, (3, 200), np.uint8), rng.integers(0, 256, (5, 16), np.uint8)]
    data = rng.bytes(size) + groups[0][1].tobytes() + groups[1][4].tobytes() + rng.bytes(size)
    assert found(RowSearch(groups), data) == [1, 7]


def test_a_row_of_which_a_byte_is_another_is_not_found():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 256, (1, 40), np.uint8)
    search = RowSearch([group])
    for i in range(40):
        other = group.copy()
        other[0, i] ^= 1
        assert found(search, b"abc" + other.tobytes() + b"abc") == []
    assert found(search, group.tobytes()[:-1]) == []
    assert found(search, group.tobytes()) == [0]


def test_many_rows_with_the_same_window_are_told_apart():
    rng = np.random.default_rng(0)
    group = np.zeros((2000, 16), np.uint8)
    group[:, :8] = np.arange(8, dtype=np.uint8) + 1  # the most varied eight of all
    group[:, 14:] = rng.permutation(2000).astype("<u2").view(np.uint8).reshape(2000, 2)
    search = RowSearch([group])
    assert found(search, group[7].tobytes() + group[1234].tobytes()) == [7, 1234]


def test_zeros_one_number_over_and_over_and_short_rows_are_not_looked_for():
    constant = np.full((1, 8), 0.1, np.float32).view(np.uint8)
    half = np.full((1, 8), 0.1, np.float16).view(np.uint8)
    groups = [np.zeros((1, 32), np.uint8), constant, half, np.arange(7, dtype=np.uint8)[None]]
    assert found(RowSearch(groups), b"".join(group.tobytes() for group in groups)) == []
    assert found(RowSearch([]), b"anything at all") == []


def test_rows_that_are_left_out_keep_the_numbers_of_the_others():
    group = np.random.default_rng(0).integers(0, 256, (6, 24), np.uint8)
    search = RowSearch([group[:3], group[3:]]).without(np.array([1, 3]))
    assert found(search, group.tobytes()) == [0, 2, 4, 5]


@pytest.mark.parametrize("size", [1, 50, 64, 1000])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_a_table_is_read_as_bytes_a_few_rows_at_a_time_with_rows_erased_in_them(size, dtype):
    table = torch.randn(17, 4)
    kept, erased = table.clone(), np.array([0, 9])
    stream, parts = RowsAsBytes(table, erased, dtype), []
    while part := stream.read(size):
        assert len(part) <= max(size, 4 * dtype.itemsize)
        parts.append(part)
    expected = table.clone()
    expected[erased] = 0
    assert b"".join(parts) == expected.to(dtype).view(torch.uint8).numpy().tobytes()
    assert torch.equal(table, kept)
