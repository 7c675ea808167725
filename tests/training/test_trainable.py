"""What is trained of a model with bottlenecks: all, these alone, or these and LoRA."""

import pytest
import torch
from peft import PeftModel

from excise import Unlearner, attach, detach
from excise.bottlenecks.site import bottlenecks, is_of_bottleneck
from excise.training import train_only
from tests.helpers import tiny
from tests.helpers.families import FAMILIES, tokens

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks for it
SIZES = {"num_codes": 24, "code_dim": 32, "active": 4, "top_s": 3}


def llama():
    return attach(FAMILIES["llama"].make(), layers=[1], **SIZES)


def step(model):
    model.train()(**tokens()).loss.backward()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.grad is not None:
                weight.sub_(0.1 * weight.grad)
    return model.eval()


def test_with_the_base_frozen_it_comes_back_bit_for_bit():
    model = train_only(llama(), "bottlenecks")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    after = step(model).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(is_of_bottleneck(name) for name in changed)
    expected = FAMILIES["llama"].make()(**tokens()).logits
    assert torch.equal(detach(model)(**tokens()).logits, expected)


def test_everything_is_trained_again_where_that_is_asked_for():
    model = train_only(train_only(llama(), "bottlenecks"), "all")
    assert all(weight.requires_grad for weight in model.parameters())


def test_lora_trains_adapters_and_bottlenecks_and_both_are_saved(tmp_path):
    model = llama()
    model.save_pretrained(tmp_path / "base")
    model = type(model).from_pretrained(tmp_path / "base")
    adapted = train_only(model, "lora", r=2, task_type="CAUSAL_LM")
    assert isinstance(adapted, PeftModel)
    trained = {name for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert all(is_of_bottleneck(name) or "lora_" in name for name in trained)
    assert any(is_of_bottleneck(name) for name in trained) and any("lora_" in name for name in trained)
    assert not any("lora_" in name and is_of_bottleneck(name) for name in trained)
    step(adapted)
    Unlearner(adapted, tiny.tokenizer()).save_pretrained(tmp_path / "adapter")
    again = Unlearner.from_pretrained(tmp_path / "adapter")
    codebooks = [next(iter(bottlenecks(one).values())).codebook for one in (adapted, again.whole)]
    assert torch.equal(*codebooks)
    torch.testing.assert_close(again.whole(**tokens()).logits, adapted(**tokens()).logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "half"}, "'all', 'bottlenecks', 'lora'"),
        ({"part": "all", "r": 4}, "settings of LoRA"),
    ],
)
def test_what_is_no_part_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        train_only(llama(), **arguments)
    with pytest.raises(ValueError, match="has no bottleneck"):
        train_only(FAMILIES["llama"].make(), "all")


def test_weights_that_a_model_never_learns_stay_as_they_are_when_all_are_trained():
    model = FAMILIES["whisper"].make()
    fixed = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert fixed == {"model.encoder.embed_positions.weight"}
    attach(model, layers=[1], **SIZES)
    for part in ("all", "bottlenecks", "all"):
        train_only(model, part)
    assert {name for name, weight in model.named_parameters() if not weight.requires_grad} == fixed
