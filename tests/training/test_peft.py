"""LoRA on the attention beside a bottleneck that is trained in full."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from excise import (
    BottleneckCallback,
    CodebookCLIPForImageClassification,
    CodebookT5ForConditionalGeneration,
    MaskMismatchError,
    Unlearner,
)
from excise.bottlenecks.site import bottleneck_copies, bottlenecks
from tests.helpers.tiny import (
    CLASSES,
    SITE,
    base_clip,
    base_t5,
    batch,
    bottleneck_config,
    codebook_t5,
    delete_codes,
    image_processor,
    mask_codes,
    pixels,
    tokenizer,
)

# peft asks under a name that transformers has deprecated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


@pytest.fixture
def base(tmp_path):
    """A folder with a base that has a bottleneck."""
    codebook_t5().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def load(folder) -> CodebookT5ForConditionalGeneration:
    return CodebookT5ForConditionalGeneration.from_pretrained(folder)


def with_lora(folder) -> PeftModel:
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"], modules_to_save=["bottleneck"])
    return get_peft_model(load(folder), config).eval()


def test_the_trainer_trains_adapters_and_bottleneck_and_nothing_else(base, trainer):
    model = with_lora(base)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    run = trainer(model, [BottleneckCallback(revive_every=2)], max_steps=4)
    run.train()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    trained = {name for name in before if "lora_" in name or "bottleneck.modules_to_save" in name}
    assert changed == trained
    assert any(name.endswith("codebook") for name in trained)
    assert "code_perplexity" in run.state.log_history[0]


def test_a_saved_adapter_keeps_bottleneck_and_mask(base, trainer, tmp_path):
    model = with_lora(base)
    trainer(model, max_steps=2).train()
    model.eval()
    mask_codes(model, model(**batch()).codes[SITE][0, 0].tolist())
    expected = model(**batch())
    Unlearner(model, tokenizer()).save_pretrained(tmp_path / "adapter")
    with pytest.warns(UserWarning, match="that the ledger in the model's config does not tell of"):
        loaded = PeftModel.from_pretrained(load(base), tmp_path / "adapter").eval()
    torch.testing.assert_close(loaded(**batch()).logits, expected.logits)
    assert torch.equal(bottlenecks(loaded)[SITE].live, bottlenecks(model)[SITE].live)
    assert not bottlenecks(loaded)[SITE].live.all()
    with loaded.disable_adapter():
        assert torch.equal(bottlenecks(loaded)[SITE].live, bottlenecks(model)[SITE].live)
    # An adapter has no model config: without the ledger that was saved beside it the mask belongs to no request.
    with pytest.raises(MaskMismatchError):
        Unlearner(loaded, None)


def test_an_unlearner_goes_on_from_a_saved_adapter_and_masks_the_base_under_it_too(base, tmp_path):
    model = with_lora(base)
    mask_codes(model, (0, 3))
    Unlearner(model, tokenizer()).save_pretrained(tmp_path / "adapter")
    unlearner = Unlearner.from_pretrained(tmp_path / "adapter")
    copies = bottleneck_copies(unlearner.whole)[SITE]
    assert len(copies) == 2
    assert all((~copy.live).nonzero().flatten().tolist() == [0, 3] for copy in copies)
    torch.testing.assert_close(unlearner.whole.eval()(**batch()).logits, model(**batch()).logits)
    unlearner.undo(1)
    assert all(copy.live.all() for copy in copies)


def test_merging_keeps_bottleneck_mask_and_ledger(base, trainer, tmp_path):
    model = with_lora(base)
    trainer(model, max_steps=2).train()
    model.eval()
    mask_codes(model)
    expected = model(**batch()).logits
    merged = model.merge_and_unload()
    torch.testing.assert_close(merged(**batch()).logits, expected, rtol=1e-4, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    loaded = load(tmp_path / "merged")
    torch.testing.assert_close(loaded(**batch()).logits, merged(**batch()).logits)
    assert Unlearner(loaded, None).ledger.removed(SITE) == [0, 3, 5, 8]


def test_switching_the_adapter_off_does_not_switch_the_mask_off(base):
    model = with_lora(base)
    codes = model(**batch()).codes[SITE].unique()[1:5]
    mask_codes(model, codes.tolist())
    with model.disable_adapter():
        assert not torch.isin(model(**batch()).codes[SITE], codes).any()
    assert len(bottleneck_copies(model)[SITE]) == 2
    assert all(not copy.live[codes].any() for copy in bottleneck_copies(model)[SITE])


def test_an_adapter_that_would_lose_the_mask_is_not_saved(base, tmp_path):
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"])
    model = get_peft_model(load(base), config).eval()
    mask_codes(model)
    with pytest.raises(ValueError, match="modules_to_save"):
        Unlearner(model, tokenizer()).save_pretrained(tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_what_was_deleted_is_erased_in_the_base_under_a_reloaded_adapter_too(base, tmp_path):
    model = with_lora(base)
    delete_codes(model, (5,))
    Unlearner(model, tokenizer()).save_pretrained(tmp_path / "adapter")
    copies = bottleneck_copies(Unlearner.from_pretrained(tmp_path / "adapter").whole)[SITE]
    assert len(copies) == 2
    assert not any(copy.codebook[5].any() for copy in copies)


def test_the_bottleneck_in_use_is_that_of_the_active_adapter(base):
    model = with_lora(base)
    second = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"], modules_to_save=["bottleneck"])
    model.add_adapter("second", second)
    wrapper = model.get_base_model().encoder.block[2].layer[0].bottleneck
    assert bottlenecks(model)[SITE] is wrapper.modules_to_save["default"]
    model.set_adapter("second")
    assert bottlenecks(model)[SITE] is wrapper.modules_to_save["second"]
    with model.disable_adapter():
        assert bottlenecks(model)[SITE] is wrapper.original_module


@pytest.mark.parametrize("request_of", [None, "mask", "delete"])
def test_an_adapter_on_a_model_fresh_from_a_plain_base_loads_again(request_of, tmp_path):
    base_t5().save_pretrained(tmp_path / "plain")
    fresh = CodebookT5ForConditionalGeneration.from_base(tmp_path / "plain", bottleneck_config(), [2])
    fresh.encoder.block[2].layer[0].bottleneck.codebook.data.normal_()
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"], modules_to_save=["bottleneck"])
    model = get_peft_model(fresh, config).eval()
    if request_of:
        {"mask": mask_codes, "delete": delete_codes}[request_of](model, (0, 3))
    expected = model(**batch()).logits
    Unlearner(model, tokenizer()).save_pretrained(tmp_path / "adapter")
    unlearner = Unlearner.from_pretrained(tmp_path / "adapter")
    torch.testing.assert_close(unlearner.whole.eval()(**batch()).logits, expected)
    assert unlearner.ledger.removed(SITE) == ([0, 3] if request_of else [])
    first, *others = bottleneck_copies(unlearner.whole)[SITE]
    assert others and all(torch.equal(first.codebook, other.codebook) for other in others)
    if request_of == "mask":
        unlearner.undo(1)
        assert bottlenecks(unlearner.whole)[SITE].live.all()


def test_a_plain_base_whose_new_layer_is_in_no_adapter_is_refused(tmp_path):
    clip = base_clip()
    clip.save_pretrained(tmp_path / "plain")
    fresh = CodebookCLIPForImageClassification.from_base(tmp_path / "plain", bottleneck_config(), [2], CLASSES)
    lost = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["bottleneck"])
    Unlearner(get_peft_model(fresh, lost), image_processor()).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match=r"lacks weights .*classifier.*modules_to_save"):
        Unlearner.from_pretrained(tmp_path / "adapter")


def test_a_classifier_that_an_adapter_has_loads_again_on_a_plain_clip(tmp_path):
    base_clip().save_pretrained(tmp_path / "plain")
    fresh = CodebookCLIPForImageClassification.from_base(tmp_path / "plain", bottleneck_config(), [2], CLASSES)
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["bottleneck", "classifier"])
    model = get_peft_model(fresh, config).eval()
    expected = model(pixel_values=pixels()).logits
    Unlearner(model, image_processor()).save_pretrained(tmp_path / "adapter")
    unlearner = Unlearner.from_pretrained(tmp_path / "adapter")
    torch.testing.assert_close(unlearner.whole.eval()(pixel_values=pixels()).logits, expected)
    assert list(unlearner.model.config.id2label.values()) == list(CLASSES)
