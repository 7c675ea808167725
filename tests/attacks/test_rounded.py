"""Rounded weights: half precision, 8 and 4 bits, noise."""

import copy
import json
import sys
from types import ModuleType

import pytest
import torch

from excise.attacks import Rounded
from excise.attacks.interface import attackers_copy
from excise.attacks.rounded import in_half, noisy, rounded_rows, with_rounded_rows
from excise.report.attacks import AttackResult
from excise.storage.digests import digest

QUICK = Rounded(noise=(0.05,), seeds=1)


def test_what_was_deleted_stays_so_when_it_is_rounded(texts):
    models = texts.original, texts.removed, texts.never_saw
    before = [digest({}, model.state_dict()) for model in models]
    result = QUICK(*models, texts.sets)
    assert result.verdict == "withstood", result.reason
    assert [attempt.settings.get("format", "noise") for attempt in result.attempts] == [
        "bf16", "fp16", "int8 dynamic", "int8", "int4", "noise",
    ]  # fmt: skip
    assert all(attempt.quality is not None and attempt.null is not None for attempt in result.attempts)
    assert [digest({}, model.state_dict()) for model in models] == before
    assert AttackResult.from_dict(json.loads(json.dumps(result.to_dict()))).row() == result.row()


def test_a_model_that_never_saw_the_topic_withstands_and_an_untouched_one_does_not(texts):
    attack = Rounded(formats=("bf16",), noise=())
    assert attack(texts.original, texts.never_saw, texts.never_saw, texts.sets).verdict == "withstood"
    assert attack(texts.original, texts.original, texts.never_saw, texts.sets).verdict == "not withstood"


def test_rows_are_whole_multiples_of_their_own_unit():
    matrix = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    for bits, most in ((8, 127), (4, 7)):
        multiples = rounded_rows(matrix, bits) / (matrix.abs().amax(1, keepdim=True) / most)
        assert torch.allclose(multiples, multiples.round(), atol=1e-3)
        assert multiples.abs().max() <= most + 1e-3
        assert (rounded_rows(matrix, bits) - matrix).abs().max() <= 0.51 * matrix.abs().max() / most
    assert rounded_rows(torch.zeros(2, 3), 8).tolist() == [[0.0] * 3] * 2


def test_rounding_is_seen_by_the_look_up_of_codes(texts):
    batch = texts.sets.training_batch(texts.sets.topic.heldout, texts.original.device)
    model = attackers_copy(texts.original)
    with torch.no_grad():
        before = model(**batch).logits  # for which the codebook is prepared
        rounded = with_rounded_rows(model, 3)(**batch).logits
        fresh = with_rounded_rows(attackers_copy(texts.original), 3)(**batch).logits
    assert torch.equal(rounded, fresh) and not torch.equal(rounded, before)


def test_halves_are_what_torch_makes_of_them_and_masks_stay(texts):
    model = in_half(attackers_copy(texts.removed), torch.bfloat16)
    for (name, tensor), original in zip(model.state_dict().items(), texts.removed.state_dict().values(), strict=True):
        wanted = original.bfloat16().float() if original.is_floating_point() else original
        assert torch.equal(tensor, wanted), name


def test_noise_has_the_size_that_it_is_asked_for_and_the_same_seed_the_same_noise(texts):
    weight = texts.original.shared.weight.detach()
    copies = (noisy(attackers_copy(texts.original), 0.1, (0, seed)) for seed in (0, 0, 1))
    one, same, other = (model.shared.weight.detach() for model in copies)
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert float((one - weight).std() / weight.std()) == pytest.approx(0.1, rel=0.1)


def test_quanto_is_used_where_it_is_installed(texts, monkeypatch):
    used = []
    fake = ModuleType("optimum.quanto")
    fake.qint8, fake.qint4 = "qint8", "qint4"
    fake.quantize = lambda model, weights: used.append(weights)
    fake.freeze = lambda model: used.append("frozen")
    package = ModuleType("optimum")
    package.quanto = fake
    monkeypatch.setitem(sys.modules, "optimum", package)
    monkeypatch.setitem(sys.modules, "optimum.quanto", fake)
    result = Rounded(formats=("int4",), noise=())(texts.original, texts.removed, None, texts.sets)
    assert used == ["qint4", "frozen"] and result.attempts[0].settings == {"format": "int4", "by": "quanto"}


def test_where_torch_has_no_engine_the_format_is_left_out_and_named(texts, monkeypatch):
    monkeypatch.setattr("excise.attacks.rounded.engines", lambda: [])
    result = Rounded(formats=("int8 dynamic",), noise=())(texts.original, texts.removed, None, texts.sets)
    assert result.verdict == "not measured" and "no engine" in result.reason


@pytest.mark.parametrize(
    "wrong", [{"formats": ("int3",)}, {"noise": (-1.0,)}, {"formats": (), "noise": ()}, {"formats": (), "seeds": 0}]
)
def test_settings_that_try_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=r"formats=|noise="):
        Rounded(**wrong)


def test_a_model_without_numbers_is_refused(texts):
    with pytest.raises(ValueError, match="meta device"):
        QUICK(texts.original, copy.deepcopy(texts.original).to("meta"), None, texts.sets)
