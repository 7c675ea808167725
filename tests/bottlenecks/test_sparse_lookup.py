"""The look-up by active units, held against the dense one."""

import copy
import gc
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from accelerate import cpu_offload
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from excise import CodebookSAEConfig
from excise.bottlenecks import CodebookSAE
from excise.bottlenecks.codebook_sae import sparse_lookup
from excise.bottlenecks.codebook_sae.lookup import top_codes
from excise.bottlenecks.codebook_sae.sparse_lookup import ActiveUnits, prepared_codebook, top_codes_of_units
from excise.bottlenecks.guard import erase_rows
from tests.helpers import tiny

WIDTH = 64


def drawn(seed, tokens, num_codes, active=5, width=WIDTH, dtype=torch.float32):
    """Units of tokens, of which some are zero, a codebook, a layer norm and a mask."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(tokens, width, generator=generator).topk(active).indices
    values = torch.randn(tokens, active, generator=generator).clamp_min(0)
    norm = nn.LayerNorm(width)
    norm.weight.data = torch.randn(width, generator=generator)
    norm.bias.data = torch.randn(width, generator=generator) * 0.3
    codebook = torch.randn(num_codes, width, generator=generator) * torch.rand(num_codes, 1, generator=generator)
    live = torch.rand(num_codes, generator=generator) > 0.3
    live[:2] = True
    return ActiveUnits(values.to(dtype), places, width), codebook, norm, live


def both(units, codebook, norm, live, top_s):
    dense = top_codes(norm(units.dense().float()).detach(), codebook, top_s, live)
    return top_codes_of_units(units, prepared_codebook(codebook, norm, live), norm, top_s), dense


def assert_same(sparse, dense, codebook, features):
    """The same similarities in order; the same codes, but where two are as similar to six digits."""
    torch.testing.assert_close(sparse[1], dense[1], rtol=0, atol=2e-6)
    cosines = torch.nn.functional.cosine_similarity(features[:, None], codebook[sparse[0]].float(), dim=-1)
    torch.testing.assert_close(cosines, sparse[1], rtol=0, atol=2e-6)
    assert all(len(set(row)) == len(row) for row in sparse[0].tolist())


@given(
    seed=st.integers(0, 10_000),
    tokens=st.integers(1, 9),
    num_codes=st.sampled_from([2, 9, 127, 128, 129, 1024, 1025, 2500]),
    active=st.integers(1, WIDTH),
    share=st.floats(0, 1),
)
def test_the_codes_are_those_of_the_dense_look_up(seed, tokens, num_codes, active, share):
    units, codebook, norm, live = drawn(seed, tokens, num_codes, active)
    top_s = 1 + int(share * (int(live.sum()) - 1))
    sparse, dense = both(units, codebook, norm, live, top_s)
    assert_same(sparse, dense, codebook, norm(units.dense()).detach())
    assert live[sparse[0]].all()


@pytest.mark.parametrize(("sums", "tokens"), [(1, 1), (1024, 3), (5000, 7), (2**22, 1024)])
def test_parts_of_any_size_give_the_same(sums, tokens, monkeypatch):
    drawn_sets = drawn(0, 23, 3000)
    expected, _ = both(*drawn_sets, 9)
    monkeypatch.setattr(sparse_lookup, "MAX_NUMBERS", sums)
    monkeypatch.setattr(sparse_lookup, "MAX_TOKENS", tokens)
    found, _ = both(*drawn_sets, 9)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_a_token_has_the_same_codes_whatever_it_comes_with():
    units, codebook, norm, live = drawn(1, 50, 3000)
    together, _ = both(units, codebook, norm, live, 8)
    for i in (0, 20, 49):
        alone, _ = both(ActiveUnits(units.values[i : i + 1], units.places[i : i + 1], WIDTH), codebook, norm, live, 8)
        assert torch.equal(alone[0][0], together[0][i]) and torch.equal(alone[1][0], together[1][i])


def test_no_tokens_have_no_codes():
    (codes, cosines), _ = both(*drawn(0, 0, 300), 4)
    assert codes.shape == cosines.shape == (0, 4) and codes.dtype == torch.int64


@pytest.mark.parametrize("kind", ["no unit is active", "equal codes", "codes of zeros", "a code of NaN is not live"])
def test_odd_numbers(kind):
    units, codebook, norm, live = drawn(3, 12, 400)
    if kind == "no unit is active":
        units.values.zero_()
    elif kind == "equal codes":
        codebook[:] = codebook[0].clone()
    elif kind == "codes of zeros":
        codebook.zero_()
    else:
        codebook[~live] = 0  # what a deletion leaves; a row that is not finite is refused elsewhere
    sparse, dense = both(units, codebook, norm, live, 6)
    torch.testing.assert_close(sparse[1], dense[1], rtol=0, atol=2e-6)
    assert live[sparse[0]].all() and all(len(set(row)) == 6 for row in sparse[0].tolist())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_units_of_half_precision_are_summed_in_fp32(dtype):
    units, codebook, norm, live = drawn(5, 200, 2000, dtype=dtype)
    wide = ActiveUnits(units.values.float(), units.places, WIDTH)
    expected = both(wide, codebook, norm, live, 8)[0]
    found = both(units, codebook, norm, live, 8)[0]
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = top_codes_of_units(units, prepared_codebook(codebook, norm, live), norm, 8)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def bottleneck(sparse=None, **settings):
    torch.manual_seed(0)
    settings = {"hidden_size": 6, "code_dim": 64, "num_codes": 1500, "active": 4, "top_s": 3} | settings
    module = CodebookSAE(CodebookSAEConfig(**settings))
    module.sparse_lookup = sparse
    return module


def similar(module, h, top_s=3):
    with torch.no_grad():
        return module.most_similar(h, top_s)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_bottleneck_passes_on_the_same_either_way(dtype):
    h = torch.randn(3, 7, 6, dtype=dtype)
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 4:] = 0
    outputs = {}
    for way in (True, False):
        module = bottleneck(way).to(dtype)
        module.live[::5] = False
        module.min_similarity.fill_(0.4)
        output = module(h, attention_mask=mask)
        (output.loss + output.reconstruction.float().square().mean()).backward()
        outputs[way] = output, {name: p.grad for name, p in module.named_parameters()}
    (sparse, of_sparse), (dense, of_dense) = outputs[True], outputs[False]
    assert torch.equal(sparse.codes, dense.codes)
    assert (sparse.codes[mask.bool()] == -1).any() and (sparse.codes[mask.bool()] >= 0).any()
    torch.testing.assert_close(sparse.reconstruction, dense.reconstruction)
    torch.testing.assert_close(of_sparse, of_dense)


def test_half_precision_selects_the_codes_that_fp32_selects():
    h = torch.randn(40, 6)
    for dtype in (torch.bfloat16, torch.float16):
        module = bottleneck(True).to(dtype)
        wide = copy.deepcopy(module).float()
        units = wide._units(h)
        chosen = module._look_up(ActiveUnits(units.values.to(dtype), units.places, units.width), 3)[0]
        exact = wide._look_up(ActiveUnits(units.values.to(dtype).float(), units.places, units.width), 3)[0]
        assert torch.equal(chosen, exact)


@pytest.mark.parametrize(
    ("device", "active", "training", "tokens", "expected"),
    [
        ("cpu", 8, False, 1, True),
        ("cpu", 9, False, 1, False),  # more than an eighth of 64
        ("cpu", 8, True, 63, False),
        ("cpu", 8, True, 64, True),
        ("meta", 8, False, 1, False),
    ],
)
def test_what_is_faster_is_chosen(device, active, training, tokens, expected):
    module = bottleneck(active=active).train(training).to(device)
    assert module._by_active_units(module._units(torch.randn(tokens, 6, device=device))) is expected


CHANGES = {
    "in place": lambda m: m.codebook.data.add_(torch.randn_like(m.codebook)),
    "rows through .data": lambda m: m.codebook.data[::3].mul_(-1),
    "an optimizer": lambda m: step(m, torch.optim.AdamW(m.parameters(), lr=0.1, fused=True)),
    "an optimizer in a loop": lambda m: step(m, torch.optim.SGD(m.parameters(), lr=10.0, foreach=False)),
    "gains": lambda m: m.layer_norm.weight.data.uniform_(-1, 1),
    "biases": lambda m: nn.init.normal_(m.layer_norm.bias),
    "a state dict": lambda m: m.load_state_dict(other(m)),
    "a new parameter": lambda m: setattr(m, "codebook", nn.Parameter(torch.randn_like(m.codebook))),
    "a mask": lambda m: m.live[::2].fill_(False),
    "another dtype": lambda m: m.to(torch.bfloat16),
    "inference mode": lambda m: in_inference_mode(m),
}


def step(module, optimizer):
    output = module(torch.randn(2, 50, 6))
    (output.loss + output.reconstruction.square().mean()).backward()
    optimizer.step()


def other(module):
    return {k: torch.randn_like(v) if v.is_floating_point() and v.dim() else v for k, v in module.state_dict().items()}


@torch.inference_mode()
def in_inference_mode(module):
    module.codebook = nn.Parameter(torch.randn_like(module.codebook), requires_grad=False)
    similar(module, torch.randn(5, 6))
    module.codebook.mul_(torch.randn(len(module.codebook), 1))


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_kept_of_a_codebook_is_made_anew_when_it_changes(change):
    module, h = bottleneck(True).eval(), torch.randn(30, 6)
    before = similar(module, h)
    CHANGES[change](module)
    found, h = similar(module, h), h.to(module.dtype)
    module.sparse_lookup = False
    expected = similar(module, h)
    assert torch.equal(found, expected)
    assert change == "another dtype" or not torch.equal(found, before)


def test_nothing_is_made_anew_while_nothing_changes(monkeypatch):
    module, h = bottleneck(True), torch.randn(30, 6)
    module(h[None])
    monkeypatch.setattr(sparse_lookup, "_blocks", lambda *_: pytest.fail("made anew"))
    module(h[None]).loss.backward()
    module.live[3] = False
    assert not (similar(module, h) == 3).any()
    module.live[3] = True
    module.eval()(h[None])


def test_what_is_made_in_inference_mode_is_used_and_made_anew_outside_of_it():
    module, h = bottleneck(True), torch.randn(2, 50, 6)
    for _ in range(3):
        with torch.inference_mode():
            module.live[::7] ^= True
            inside = similar(module, h)
        module(h).loss.backward()
        assert torch.equal(similar(module, h), inside)
        with torch.no_grad():
            module.codebook.mul_(torch.randn(len(module.codebook), 1))
        with torch.inference_mode():
            inside = similar(module, h)
        module.live[::5] ^= True
        module.live[::5] ^= True
        assert torch.equal(similar(module, h), inside)


def test_what_is_kept_is_in_no_state_and_goes_with_the_module():
    module = bottleneck(True)
    names = {*module.state_dict(), *vars(module)}
    similar(module, torch.randn(3, 6))
    assert {*module.state_dict(), *vars(module)} == names
    assert copy.deepcopy(module).layer_norm not in sparse_lookup._prepared
    kept = weakref.ref(sparse_lookup._prepared[module.layer_norm])
    assert kept() is not None
    del module
    gc.collect()
    assert kept() is None


def test_a_deleted_code_is_not_found_whatever_is_kept():
    module, h = bottleneck(True), torch.randn(30, 6)
    gone = int(similar(module, h)[0, 0])
    module.live.data[gone] = False
    module.codebook.data[gone] = 0
    assert not (similar(module, h) == gone).any()


COMPILED = """
import torch
from torch.export import Dim, export
from accelerate import cpu_offload
from excise import CodebookSAEConfig
from excise.bottlenecks import CodebookSAE

torch.manual_seed(0)
module = CodebookSAE(CodebookSAEConfig(hidden_size=6, code_dim=64, num_codes=9000, active=4, top_s=3)).eval()
module.sparse_lookup = True
module.live[::5] = False
batches = [torch.randn(2, 7, 6), torch.randn(5, 3, 6)]
expected = [module(batch) for batch in batches]
compiled = torch.compile(module, backend="eager", fullgraph=True, dynamic=True)
exported = export(module, (batches[0],), dynamic_shapes=({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},)).module()
for run in (compiled, exported):
    for batch, output in zip(batches, expected):
        found = run(batch)
        assert torch.equal(found["codes"], output.codes)
        torch.testing.assert_close(found["reconstruction"], output.reconstruction)
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
module.train()
torch.compile(module, backend="aot_eager", fullgraph=True)(batches[0]).loss.backward()
compiled_gradient, module.codebook.grad = module.codebook.grad, None
module(batches[0]).loss.backward()
torch.testing.assert_close(compiled_gradient, module.codebook.grad)
"""


@pytest.mark.slow  # TestCodebookT5 compiles and exports it in a model
def test_it_is_compiled_and_exported_as_one_graph_for_batches_of_any_size():
    # In a process of its own: the checks of shapes that the suite adds cannot be compiled.
    subprocess.run([sys.executable, "-c", COMPILED], check=True)


def test_threads_find_the_same_and_make_nothing_anew(monkeypatch):
    module, h = bottleneck(True).eval(), torch.randn(200, 6)
    expected = similar(module, h)
    monkeypatch.setattr(sparse_lookup, "_blocks", lambda *_: pytest.fail("made anew"))
    with ThreadPoolExecutor(4) as threads:
        assert all(torch.equal(found, expected) for found in threads.map(lambda _: similar(module, h), range(40)))


MEMORY = """
import resource, torch
from accelerate import cpu_offload
from excise import CodebookSAEConfig
from excise.bottlenecks import CodebookSAE
torch.set_num_threads(1)
module = CodebookSAE(CodebookSAEConfig(hidden_size=64, code_dim=512)).eval()
h = torch.randn(4096, 64)
with torch.no_grad():
    units = module._units(h)
    module._look_up(module._units(h[:1]), 104)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    module._look_up(units, 104)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_4096_tokens_take_at_most_64_mb_beside_the_prepared_codebook():
    result = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert int(result.stdout) * 1024 <= 64e6


def test_what_is_kept_is_the_same_under_autocast():
    module, h = bottleneck(True).eval(), torch.randn(60, 6)
    expected = similar(bottleneck(False), h)
    with torch.autocast("cpu", torch.bfloat16):
        similar(module, h)
    assert torch.equal(similar(module, h), expected)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_a_token_that_is_not_finite_selects_live_codes_and_spoils_no_other(sparse, value):
    module, h = bottleneck(sparse).eval(), torch.randn(20, 6)
    module.live[::2] = False
    expected = similar(module, h)
    h[7] = value
    codes = similar(module, h)
    others = torch.arange(20) != 7
    assert torch.equal(codes[others], expected[others])
    assert module.live[codes].all()


@pytest.mark.parametrize("sparse", [True, False])
def test_a_removed_code_whose_row_is_not_finite_is_not_selected(sparse):
    module, h = bottleneck(sparse).eval(), torch.randn(20, 6)
    expected = similar(module, h)
    gone = [code for code in range(1500) if code not in expected][:3]
    module.live[gone] = False
    module.codebook.data[gone[0]], module.codebook.data[gone[1]] = float("nan"), float("inf")
    assert torch.equal(similar(module, h), expected)


def test_a_layer_norm_that_does_more_is_run_as_it_is():
    module, h = bottleneck(True).eval(), torch.randn(20, 6)
    module.layer_norm.register_forward_hook(lambda *args: args[-1].flip(-1))
    found = similar(module, h)
    module.sparse_lookup = False
    assert torch.equal(found, similar(module, h))


def test_weights_that_are_elsewhere_until_they_are_used():
    model = tiny.codebook_t5(num_codes=200, code_dim=64, active=4)
    batch = {"input_ids": torch.tensor([[5, 7, 9, 1]]), "decoder_input_ids": torch.tensor([[0, 5]])}
    expected = model(**batch).logits
    cpu_offload(model, "cpu")
    torch.testing.assert_close(model(**batch).logits, expected)


def test_nothing_is_kept_of_an_erased_row():
    module, h = bottleneck(True, num_codes=1490).eval(), torch.randn(20, 6)
    similar(module, h)
    with torch.no_grad():
        erase_rows(module, torch.arange(1300, 1490))
    assert module.layer_norm not in sparse_lookup._prepared
    similar(module, h)
    erased = module.codebook.data[1299].clone()
    module.codebook.data.copy_(torch.randn(1490, 64))
    similar(module, h)
    module.codebook = nn.Parameter(module.codebook.detach()[:1200])
    module.live = torch.ones(1200, dtype=torch.bool)
    similar(module, h)
    kept = sparse_lookup._prepared[module.layer_norm].blocks
    assert not kept[9, :64, 1200 - 9 * 128 :].any() and erased.numel()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_run(dtype):
    module = bottleneck(True).to(dtype)
    module(torch.randn(2, 70, 6, dtype=dtype)).loss.backward()
