import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from excise.bottlenecks.key_value import lookup
from excise.bottlenecks.key_value.lookup import nearest_keys


def random_case(batch, codebooks, pairs, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    heads = torch.randn(batch, codebooks, dim, generator=generator)
    keys = torch.randn(codebooks, pairs, dim, generator=generator)
    live = torch.rand(codebooks, pairs, generator=generator) < 0.7
    live[:, :3] = True
    return heads, keys, live


@given(
    st.integers(1, 5), st.integers(1, 4), st.sampled_from([3, 7, 64, 128, 100]), st.integers(1, 3), st.integers(0, 9)
)
def test_the_keys_found_are_those_of_an_exhaustive_search(batch, codebooks, pairs, top_k, seed):
    heads, keys, live = random_case(batch, codebooks, pairs, 4, seed)
    found = nearest_keys(heads, keys, top_k, live, max_distances=2 * pairs)
    exact = (heads[:, :, None] - keys).square().sum(-1).masked_fill(~live, torch.inf)
    expected = exact.topk(top_k, largest=False)
    assert torch.equal(found.keys, expected.indices)
    torch.testing.assert_close(found.distances, expected.values, rtol=1e-4, atol=1e-4)


def sorted_densely(heads, keys, top_k, live):
    """All distances, sorted; of equal ones the first."""
    offsets = keys.float().square().sum(-1).masked_fill(~live, torch.inf)
    lengths = heads.float().square().sum(-1)
    to_keys = torch.baddbmm(offsets[:, None], heads.float().transpose(0, 1), keys.float().transpose(1, 2), alpha=-2)
    distances, order = to_keys.transpose(0, 1).sort(dim=-1, stable=True)
    return order[..., :top_k], (distances[..., :top_k] + lengths[..., None]).clamp_min(0)


@settings(max_examples=60)
@given(
    st.integers(0, 7),
    st.integers(1, 5),
    st.sampled_from([2, 40, 63, 200, 257, 1000, 1024, 1300]),
    st.integers(1, 40),
    st.sampled_from(["random", "repeated", "k live", "all equal"]),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    st.sampled_from([1, 3000, 2**20]),
    st.integers(0, 9),
)
def test_several_keys_are_those_of_a_dense_sort_ties_included(
    batch, codebooks, pairs, top_k, kind, dtype, max_distances, seed
):
    top_k = min(top_k, pairs)
    generator = torch.Generator().manual_seed(seed)
    # Small whole numbers: no distance is rounded, and many are equal.
    heads = torch.randint(-2, 3, (batch, codebooks, 3), generator=generator).to(dtype)
    keys = torch.randint(-2, 3, (codebooks, pairs, 3), generator=generator).to(dtype)
    live = torch.rand(codebooks, pairs, generator=generator) < 0.7
    live[:, :top_k] = True
    if kind == "random":
        keys = torch.randn(keys.shape, generator=generator).mul_(8).round_().to(dtype)
    elif kind == "k live":
        live = torch.zeros(codebooks, pairs).scatter_(
            1, torch.rand(codebooks, pairs, generator=generator).topk(top_k).indices, 1
        )
    elif kind == "all equal":
        keys[:] = 1
    found = nearest_keys(heads, keys, top_k, live.bool(), max_distances=max_distances)
    order, distances = sorted_densely(heads, keys, top_k, live.bool())
    assert torch.equal(found.keys, order)
    assert torch.equal(found.distances, distances) and found.distances.dtype == torch.float32


@pytest.mark.parametrize("pairs", [30, 1024, 1100])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_head_that_is_not_finite_selects_live_keys_and_leaves_the_other_heads_alone(pairs, bad):
    heads, keys, live = random_case(4, 3, pairs, 8)
    expected = nearest_keys(heads, keys, 5, live)
    heads[1, :, 0] = bad
    found = nearest_keys(heads, keys, 5, live)
    others = [0, 2, 3]
    assert torch.equal(found.keys[others], expected.keys[others])
    assert live[torch.arange(3)[:, None], found.keys].all()
    assert (found.keys.sort(dim=-1).values.diff() > 0).all()  # each once
    assert not found.distances[1].isfinite().any()


def test_candidates_are_held_for_as_many_codebooks_as_are_allowed(monkeypatch):
    heads, keys, live = random_case(9, 7, 512, 4)
    expected = nearest_keys(heads, keys, 3, live)
    for candidates in (1, 9 * 3 * 64 * 2, 2**20):
        monkeypatch.setattr(lookup, "MAX_CANDIDATES", candidates)
        found = nearest_keys(heads, keys, 3, live)
        assert torch.equal(found.keys, expected.keys) and torch.equal(found.distances, expected.distances)


@pytest.mark.parametrize(("pairs", "top_k"), [(64, 1), (100, 1), (64, 5), (512, 3), (700, 4)])
@pytest.mark.parametrize("part", [1, 150, 1500, 2**16])
def test_codebooks_at_once_give_the_same_keys_where_it_is_compiled(pairs, top_k, part, monkeypatch):
    heads, keys, live = random_case(9, 5, pairs, 4)
    expected = nearest_keys(heads, keys, top_k, live)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(lookup, "PART", part)
    found = nearest_keys(heads, keys, top_k, live)
    assert torch.equal(found.keys, expected.keys)
    torch.testing.assert_close(found.distances, expected.distances)


def test_a_removed_key_is_never_found_even_when_it_is_all_zero_and_the_head_is_too():
    heads, keys, live = torch.zeros(2, 3, 4), torch.randn(3, 64, 4), torch.ones(3, 64, dtype=torch.bool)
    keys[:, 5], live[:, 5] = 0, False
    assert not (nearest_keys(heads, keys, 1, live).keys == 5).any()


def test_a_head_far_from_all_keys_still_finds_the_nearest_and_no_distance_is_negative():
    heads, keys, live = random_case(4, 2, 64, 8)
    keys[:, 9] = heads[0]
    found = nearest_keys(heads, keys, 1, torch.ones_like(live))
    assert (found.keys[0] == 9).all()
    assert (found.distances >= 0).all()
    far = nearest_keys(heads + 1e4, keys, 1, live)
    assert live.gather(1, far.keys[0]).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_distances_are_computed_in_fp32_whatever_the_dtype(dtype):
    heads, keys, live = random_case(4, 2, 64, 8)
    half = nearest_keys(heads.to(dtype), keys.to(dtype), 2, live)
    full = nearest_keys(heads.to(dtype).float(), keys.to(dtype).float(), 2, live)
    assert torch.equal(half.keys, full.keys) and half.distances.dtype == torch.float32


@pytest.mark.parametrize("pairs", [64, 192, 100])
def test_of_equal_keys_the_first_is_nearest_whatever_the_size_of_the_codebook(pairs):
    heads, keys, _ = random_case(6, 2, pairs, 4)
    keys[:, 70 % pairs] = keys[:, 3] = heads[0]
    keys[:, 1] = keys[:, pairs - 1] = heads[1]
    for top_k in (1, 2):
        found = nearest_keys(heads, keys, top_k, torch.ones(2, pairs, dtype=torch.bool)).keys
        assert (found[0, :, 0] == 3).all() and (found[1, :, 0] == 1).all()
