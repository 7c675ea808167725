"""Sums of tensors' bits: whatever changes or moves is seen, wherever the tensor lies."""

import pytest
import torch

from excise.storage.digests import sums


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("shape", [(3, 5), (40, 1024), (7,), (300, 129)])
def test_what_moves_within_a_tensor_changes_its_sums(shape, dtype):
    torch.manual_seed(0)
    one = torch.randint(0, 2 if dtype == torch.bool else 99, shape).to(dtype)
    one.view(-1)[0], one.view(-1)[-1] = 0, 1
    swapped = one.clone()
    swapped.view(-1)[0], swapped.view(-1)[-1] = 1, 0
    moved = [one.flip(0), one.roll(1, 0), one.roll(1, -1), swapped]
    values = {sums({"a": tensor}) for tensor in (one, *moved)}
    assert len(values) == len({tuple(tensor.flatten().tolist()) for tensor in (one, *moved)})
    assert sums({"a": one}) == sums({"a": one.clone()}) != sums({"b": one})


def test_it_does_not_matter_where_a_tensor_lies():
    whole = torch.randn(1000, dtype=torch.float32).to(torch.bfloat16)
    for start in range(5):
        part = whole[start : start + 900]
        assert sums({"a": part}) == sums({"a": part.clone()})
    assert sums({"a": torch.zeros(0)}) == sums({"a": torch.zeros(0)})
    assert sums({"a": torch.zeros(4, device="meta")})
