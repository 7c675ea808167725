"""The straight-through gradient."""

import torch

from excise.functional.straight_through import straight_through


def test_the_value_passes_and_both_sides_get_its_gradient_unchanged():
    value, source = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    weight = torch.randn(3, 4)
    passed = straight_through(value, source)
    torch.testing.assert_close(passed, value)
    (passed * weight).sum().backward()
    torch.testing.assert_close(value.grad, weight)
    torch.testing.assert_close(source.grad, weight)
