import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from excise import KeyValueConfig
from excise.bottlenecks import KeyValueBottleneck

SIZES = {"hidden_size": 12, "num_codebooks": 4, "num_pairs": 16, "key_dim": 3, "value_dim": 5}


def bottleneck(**settings) -> KeyValueBottleneck:
    return KeyValueBottleneck(KeyValueConfig(**SIZES | settings)).eval()


@pytest.mark.parametrize("projection", ["random", "chunk"])
@pytest.mark.parametrize("top_k", [1, 3])
def test_it_passes_on_the_mean_of_the_values_of_the_nearest_keys(top_k, projection):
    module = bottleneck(top_k=top_k, projection=projection)
    encodings = torch.randn(7, 12)
    heads = encodings @ module.projection if projection == "random" else encodings
    expected = torch.zeros(7, 5)
    for codebook, head in enumerate(heads.split(3, dim=1)):
        nearest = torch.cdist(head, module.keys[codebook]).topk(top_k, largest=False).indices
        expected += module.values[codebook][nearest].sum(1)
    torch.testing.assert_close(module(encodings).values, expected / (4 * top_k))


def test_the_gradient_reaches_the_selected_values_and_nothing_else():
    module = bottleneck(top_k=2)
    encodings = torch.randn(3, 12, requires_grad=True)
    output = module(encodings)
    output.values.square().sum().backward()
    touched = module.by_code(module.values.grad).any(1).nonzero().flatten()
    assert set(touched.tolist()) == set(output.pairs.flatten().tolist())
    assert encodings.grad is None
    assert [name for name, _ in module.named_parameters()] == ["values"]


def test_a_removed_pair_is_not_selected_and_the_next_nearest_is():
    module = bottleneck()
    encodings = torch.randn(9, 12)
    first = module(encodings).pairs
    module.live[first.unique()] = False
    again = module(encodings).pairs
    assert not set(first.unique().tolist()) & set(again.unique().tolist())
    assert torch.equal(again // 16, first // 16)  # still one of each codebook


def test_looking_again_only_where_pairs_are_gone_gives_what_looking_everywhere_gives():
    for top_k in (1, 2):
        module = bottleneck(top_k=top_k)
        heads = module.heads(torch.randn(50, 12))
        pairs = module.select_by_heads(heads)
        for _ in range(3):
            module.live[pairs.flatten()[torch.randperm(pairs.numel())[:8]]] = False
            pairs = module.select_again(heads, pairs)
            assert torch.equal(pairs, module.select_by_heads(heads))


def test_a_codebook_with_too_few_live_pairs_is_named():
    module = bottleneck(top_k=3)
    live = torch.ones(64, dtype=torch.bool)
    assert module.too_few(live) is None
    live[16:30] = False
    assert "codebook 1 would keep 2 live pairs, fewer than the 3" in module.too_few(live)


@pytest.mark.parametrize(("init", "low", "high"), [("zeros", 0, 0), ("uniform", 0, 1), ("normal", -6, 6)])
def test_values_start_as_asked_for(init, low, high):
    values = bottleneck(value_init=init).values
    assert low <= values.min() and values.max() <= high
    assert (values.std() > 0.2) == (init != "zeros")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_pairs": 0}, "`num_pairs` is 0"),
        ({"top_k": 17}, "more than the 16 pairs"),
        ({"projection": "chunk", "key_dim": 4}, "take 16 numbers, but `hidden_size` is 12"),
        ({"hidden_size": None}, "`hidden_size` is not set"),
        ({"value_dim": None}, "`value_dim` is not set"),
    ],
)
def test_sizes_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        bottleneck(**settings)


class _Largest(TorchDispatchMode):
    """Notes the largest tensor that is made."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **kwargs or {})
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return made


def test_no_tensor_of_a_look_up_at_paper_size_is_larger_than_the_keys():
    module = KeyValueBottleneck(KeyValueConfig(hidden_size=8, value_dim=2))
    with _Largest() as largest:
        module.select_by_heads(torch.randn(32, 256, 8))
    assert largest.bytes == module.keys.numel() * 4  # all distances at once would be four times that, at this batch


@pytest.mark.parametrize("top_k", [1, 3])
def test_a_sparse_gradient_is_the_dense_one_and_holds_what_was_read_alone(top_k):
    module = bottleneck(top_k=top_k)
    encodings, weights = torch.randn(9, 12), torch.randn(9, 5)
    gradients, outputs = [], []
    for module.sparse_gradients in (False, True):
        module.values.grad = None
        output = module(encodings)
        (output.values * weights).sum().backward()
        gradients.append(module.values.grad.coalesce() if module.sparse_gradients else module.values.grad)
        outputs.append(output)
    torch.testing.assert_close(outputs[1].values, outputs[0].values)
    assert gradients[1].is_sparse and len(gradients[1].indices()[0]) == len(outputs[1].pairs.unique())
    torch.testing.assert_close(gradients[1].to_dense(), gradients[0])
    read = gradients[1].indices()
    assert (read[0] * 16 + read[1]).tolist() == outputs[1].pairs.unique().tolist()
    with torch.no_grad():
        torch.testing.assert_close(module(encodings).values, outputs[0].values)


def test_sparse_gradients_add_up_and_a_pair_that_is_read_twice_counts_twice():
    module = bottleneck()
    module.sparse_gradients = True
    pairs = torch.tensor([[3, 3], [3, 40]])
    for _ in range(2):
        module.read(pairs).sum().backward()
    expected = torch.zeros(64, 5)
    expected[3], expected[40] = 2 * 1.5, 2 * 0.5
    torch.testing.assert_close(module.by_code(module.values.grad.to_dense()), expected)
