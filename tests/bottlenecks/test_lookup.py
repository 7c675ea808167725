"""The look-up of codes."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from excise.bottlenecks.codebook_sae import lookup
from excise.bottlenecks.codebook_sae.lookup import MAX_SIMILARITIES, sum_of_codes, top_codes

ALL = torch.ones(50, dtype=torch.bool)


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 12))
def test_codes_are_those_of_greatest_cosine_best_first(seed, top_s, tokens):
    generator = torch.Generator().manual_seed(seed)
    queries, codebook = (torch.randn(n, 6, generator=generator) * 3 for n in (tokens, 50))
    cosine = F.cosine_similarity(queries[:, None], codebook[None], dim=-1)
    codes, cosines = top_codes(queries, codebook, top_s, ALL)
    torch.testing.assert_close(cosine.gather(1, codes), cosine.topk(top_s).values)
    torch.testing.assert_close(cosines, cosine.topk(top_s).values)
    assert all(len(set(row)) == top_s for row in codes.tolist())


def test_the_codes_norms_do_not_count():
    queries, codebook = torch.randn(9, 6), torch.randn(50, 6)
    scaled = codebook * torch.rand(50, 1).add(0.01) * 1e3
    assert torch.equal(top_codes(queries, scaled, 4, ALL)[0], top_codes(queries, codebook, 4, ALL)[0])


@pytest.mark.parametrize("limit", [1, 49, 50, 51, 173, MAX_SIMILARITIES])
def test_chunks_of_any_size_give_the_same_codes(limit):
    queries, codebook = torch.randn(23, 6), torch.randn(50, 6)
    codes, cosines = top_codes(queries, codebook, 4, ALL, max_similarities=10**9)
    found = top_codes(queries, codebook, 4, ALL, max_similarities=limit)
    assert torch.equal(found[0], codes)
    torch.testing.assert_close(found[1], cosines)


@pytest.mark.parametrize("part", [1, 3, 7, 50, 4096])
def test_parts_of_the_codebook_give_the_same_codes_where_it_is_compiled(part, monkeypatch):
    queries, codebook, live = torch.randn(23, 6), torch.randn(50, 6), torch.arange(50) % 3 != 0
    live[:21] = False  # whole parts without a live code
    codes, cosines = top_codes(queries, codebook, 4, live)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(lookup, "PART", part)
    found = top_codes(queries, codebook, 4, live)
    assert torch.equal(found[0], codes)
    torch.testing.assert_close(found[1], cosines)


def test_no_queries_give_no_codes():
    codes, cosines = top_codes(torch.empty(0, 6), torch.randn(50, 6), 4, ALL)
    assert codes.shape == cosines.shape == (0, 4) and codes.dtype == torch.int64


@pytest.mark.parametrize("rows", ["as they were", "zeroed", "all zeroed", "equal", "opposite"])
def test_codes_that_are_not_live_are_never_selected(rows):
    live = torch.arange(50) % 3 != 0
    queries, codebook = torch.randn(200, 6), torch.randn(50, 6)
    if rows == "zeroed":
        codebook[~live] = 0
    elif rows == "all zeroed":
        codebook[:] = 0
    elif rows == "equal":
        codebook[:] = codebook[0].clone()
    elif rows == "opposite":  # every live code has a negative similarity, every zeroed one would have 0
        queries, codebook = queries.abs(), -codebook.abs()
        codebook[~live] = 0
    for top_s in (1, 5, int(live.sum())):
        codes, cosines = top_codes(queries, codebook, top_s, live)
        assert live[codes].all() and cosines.isfinite().all()
        assert all(len(set(row)) == top_s for row in codes.tolist())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_compared_in_fp32(dtype):
    queries, codebook = torch.randn(300, 32).to(dtype), torch.randn(2000, 32).to(dtype)
    live = torch.ones(2000, dtype=torch.bool)
    expected, cosines = top_codes(queries.float(), codebook.float(), 8, live)
    assert torch.equal(top_codes(queries, codebook, 8, live)[0], expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = top_codes(queries, codebook, 8, live)
        assert torch.equal(found[0], expected) and torch.equal(found[1], cosines)
    rounded = F.normalize(queries, dim=1) @ F.normalize(codebook, dim=1).T
    assert not torch.equal(rounded.topk(8).indices, expected)  # so the test could have failed


def test_a_query_of_zeros_is_similar_to_nothing_and_yet_selects_codes():
    codes, cosines = top_codes(torch.zeros(2, 6), torch.randn(50, 6), 3, ALL)
    assert all(len(set(row)) == 3 for row in codes.tolist()) and not cosines.any()


def test_the_sum_of_codes_and_its_gradient_are_those_of_indexing():
    codes, codebook = torch.tensor([[0, 3], [3, 3]]), torch.randn(5, 6, requires_grad=True)
    weight, of_norms = torch.randn(2, 6), torch.randn(2)
    summed, norms = sum_of_codes(codes, codebook)
    ((summed * weight).sum() + (norms * of_norms).sum()).backward()
    indexed = codebook.detach().clone().requires_grad_()
    torch.testing.assert_close(summed, indexed[codes].sum(1))
    torch.testing.assert_close(norms, indexed[codes].abs().sum((1, 2)))
    ((indexed[codes].sum(1) * weight).sum() + (indexed[codes].abs().sum((1, 2)) * of_norms).sum()).backward()
    torch.testing.assert_close(codebook.grad, indexed.grad)


MEMORY = """
import resource, torch
from excise.bottlenecks.codebook_sae.lookup import top_codes
torch.set_num_threads(1)
queries, codebook, live = torch.randn(4096, 512), torch.randn(25_000, 512), torch.ones(25_000, dtype=torch.bool)
top_codes(queries[:1], codebook, 8, live)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
top_codes(queries, codebook, 8, live)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_4096_tokens_against_25000_codes_take_at_most_128_mb_more():
    result = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert int(result.stdout) * 1024 <= 128e6


def test_no_code_adds_nothing_and_gets_no_gradient():
    codes, codebook = torch.tensor([[0, -1], [-1, -1]]), torch.randn(5, 6, requires_grad=True)
    summed, norms = sum_of_codes(codes, codebook)
    assert torch.equal(summed[0], codebook[0]) and not summed[1].any()
    torch.testing.assert_close(norms, torch.stack([codebook[0].abs().sum(), torch.zeros(())]))
    summed.sum().backward()
    assert torch.equal(codebook.grad, torch.tensor([1.0, 0, 0, 0, 0])[:, None].expand(5, 6))
