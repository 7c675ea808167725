"""Situations of people who expect of a model what transformers has taught them: each is right, or refused by name."""

import json

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSeq2SeqLM,
    GPT2Config,
    GPT2LMHeadModel,
    MT5Config,
    MT5ForConditionalGeneration,
    T5EncoderModel,
    UMT5Config,
    UMT5ForConditionalGeneration,
)

from excise import CodebookCLIPModel, CodebookSAEConfig, CodebookT5ForConditionalGeneration, Selection, Unlearner
from excise.bottlenecks.site import bottlenecks, left_out
from excise.models import export_plain
from tests.helpers.tiny import T5, base_clip, base_t5, batch, codebook_t5, tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")

SIZES = {"num_codes": 40, "top_s": 3}
FIRST = "encoder.block.0"


# ---------------------------------------------------------------------------------------------- what from_base takes


def plain(kind):
    """A tiny T5, mT5 or UMT5 whose weights are all at random, position biases too."""
    torch.manual_seed(0)
    gated = T5 | {"feed_forward_proj": "gated-gelu"}
    models = {
        "t5": lambda: base_t5(),
        "flan": lambda: base_t5(feed_forward_proj="gated-gelu"),
        "mt5": lambda: MT5ForConditionalGeneration(MT5Config(**gated)),
        "umt5": lambda: UMT5ForConditionalGeneration(UMT5Config(**gated)),
    }
    model = models[kind]().eval()
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return model


def inputs():
    return {key: value for key, value in batch().items() if key != "labels"}


@pytest.mark.parametrize("given", ["in memory", "a folder"])
@pytest.mark.parametrize("kind", ["t5", "flan", "mt5", "umt5"])
def test_a_base_of_every_kind_is_itself_with_bottlenecks(kind, given, tmp_path):
    base = plain(kind)
    base.save_pretrained(tmp_path / "plain")
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    model = CodebookT5ForConditionalGeneration.from_base(base if given == "in memory" else tmp_path / "plain", **SIZES)
    assert bottlenecks(model)[FIRST].num_codes == 40 and not model.training
    with left_out(model):
        torch.testing.assert_close(model(**batch()).logits, base(**batch()).logits)
        assert torch.equal(model.generate(**inputs(), max_new_tokens=5), base.generate(**inputs(), max_new_tokens=5))
    model(**batch()).loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())
    Unlearner(model, tokenizer()).mask(Selection({FIRST: [3]}, {"q": 0.05}), "a topic")
    model.save_pretrained(tmp_path / "ours")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours")
    assert type(loaded) is type(model) and loaded.config.plain_type == kind.replace("flan", "t5")
    torch.testing.assert_close(loaded(**batch()).logits, model(**batch()).logits)
    assert torch.equal(loaded.generate(**inputs(), max_new_tokens=5), model.generate(**inputs(), max_new_tokens=5))
    back = export_plain(loaded, brings_back_what_was_forgotten=True)
    assert type(back) is type(base)
    with left_out(loaded):
        torch.testing.assert_close(back(**batch()).logits, loaded(**batch()).logits)


def test_every_layer_of_a_umt5_keeps_a_position_bias_of_its_own():
    model = CodebookT5ForConditionalGeneration.from_base(plain("umt5"), layers=(0, 2), **SIZES)
    for stack in (model.encoder, model.decoder):
        biases = [block.layer[0].SelfAttention.relative_attention_bias.weight for block in stack.block]
        assert len({bias.data_ptr() for bias in biases}) == len(stack.block)


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({"num_codes": 41}, {"num_codes": 41}),
        ({"num_codes": 41, "top_s": 2, "active": None}, {"num_codes": 41, "top_s": 2, "active": None}),
        ({"bottleneck": CodebookSAEConfig(top_s=5), "num_codes": 41}, {"num_codes": 41, "top_s": 5}),
        ({"bottleneck": {"num_codes": 41}}, {"num_codes": 41}),
    ],
    ids=["one field", "several", "on top of settings", "settings as a dict"],
)
def test_fields_of_the_settings_go_through_from_base(given, settings):
    model = CodebookT5ForConditionalGeneration.from_base(base_t5(), **given)
    assert {name: getattr(model.config.bottleneck, name) for name in settings} == settings
    assert bottlenecks(model)[FIRST].num_codes == 41
    assert CodebookCLIPModel.from_base(base_clip(), **given).config.vision_config.bottleneck.num_codes == 41


def test_fields_of_the_base_and_of_the_loading_go_through_from_base():
    model = CodebookT5ForConditionalGeneration.from_base(base_t5(), dropout_rate=0.3, dtype=torch.bfloat16, **SIZES)
    assert model.config.dropout_rate == 0.3 and model.encoder.dropout.p == 0.3 and model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_code": 4096}, r"`num_code` is no setting .* Did you mean `num_codes`\?.*top_s.*dropout_rate"),
        ({"layer": (0,)}, r"Did you mean `layers`\?"),
        ({"codebook_size": 9}, r"`codebook_size` is no setting that from_base knows. Fields .* num_codes"),
        ({"num_layers": 2}, "`num_layers` is 3 in the base, whose weights are made for that"),
        ({"num_codes": "many"}, "'num_codes' expected int, got str"),
        ({"num_codes": 0}, "`num_codes` is 0; it must be at least 1"),
        ({"bottleneck": 4096}, "bottleneck=4096: expected settings.*num_codes=4096"),
        ({"revision": "main"}, "revision: a model in memory has one state"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ", ".join(value),
)
def test_what_from_base_does_not_know_is_named_with_what_it_knows(given, message):
    with pytest.raises(ValueError, match=message):
        CodebookT5ForConditionalGeneration.from_base(base_t5(), **given)


class Pipeline:
    """What a pipeline of transformers looks like."""

    def __init__(self):
        self.model, self.preprocess = base_t5(), None


def plain_with_lora():
    return get_peft_model(base_t5(), LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q"]))


NO_BASE = {
    "nothing": (lambda: None, r"None \(of type NoneType\) was given as the base; expected a plain T5"),
    "a number": (lambda: 25_000, r"25000 \(of type int\) was given as the base"),
    "empty text": (lambda: "", "expected a plain T5: a Hub id, a local path, or a model in memory"),
    "a tokenizer": (tokenizer, "was given as the base"),
    "a data set": (lambda: Dataset.from_dict({"a": [1]}), "A Dataset was given as the base"),
    "a pipeline": (Pipeline, "Give its model: pipe.model"),
    "an adapter": (plain_with_lora, "merge_and_unload"),
    "one that has codes": (codebook_t5, "has bottlenecks already, so it needs no from_base"),
    "a CLIP": (base_clip, "is a 'clip' model; from_base takes a plain T5"),
    "a GPT-2": (lambda: GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9)), "is a 'gpt2' model"),
    "half a T5": (lambda: T5EncoderModel(base_t5().config), "lacks weights of a T5: .*decoder"),
}


@pytest.mark.parametrize("situation", NO_BASE)
def test_what_is_no_base_is_named(situation):
    make, message = NO_BASE[situation]
    with pytest.raises(ValueError, match=message):
        CodebookT5ForConditionalGeneration.from_base(make())


@pytest.mark.parametrize(
    ("name", "remembered"),
    [("google/mt5-small", {"id": "google/mt5-small", "revision": None}), ("", None), ("a folder", None)],
    ids=["a name on the Hub", "none", "a folder"],
)
def test_a_model_remembers_the_base_that_others_can_have(name, remembered, tmp_path):
    base = base_t5()
    base.config.name_or_path = str(tmp_path) if name == "a folder" else name
    model = CodebookT5ForConditionalGeneration.from_base(base, **SIZES)
    assert model.name_or_path == base.config.name_or_path
    model.save_pretrained(tmp_path / "ours")
    loaded = CodebookT5ForConditionalGeneration.from_pretrained(tmp_path / "ours")
    assert getattr(loaded.config, "base_model", None) == remembered
    assert str(tmp_path) not in (tmp_path / "ours" / "config.json").read_text()


# ------------------------------------------------------------------------------------- LoRA on a model from from_base


def with_lora(model, **options):
    return get_peft_model(model, LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"], **options)).eval()


def test_an_adapter_on_a_model_fresh_from_from_base_loads_again(tmp_path):
    base_t5().save_pretrained(tmp_path / "plain")
    model = with_lora(
        CodebookT5ForConditionalGeneration.from_base(tmp_path / "plain", **SIZES), modules_to_save=["bottleneck"]
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.05 * torch.randn_like(parameter))
    unlearner = Unlearner(model, tokenizer())
    unlearner.mask(Selection({FIRST: [3, 5]}, {"q": 0.05}), "a topic")
    unlearner.save_pretrained(tmp_path / "adapter")
    again = Unlearner.from_pretrained(tmp_path / "adapter")
    torch.testing.assert_close(again.whole.eval()(**batch()).logits, model(**batch()).logits)
    assert again.ledger == unlearner.ledger
    with again.whole.disable_adapter():
        assert not bottlenecks(again.model)[FIRST].live[[3, 5]].any()


def test_an_adapter_without_bottlenecks_on_a_plain_model_is_refused_with_what_to_do(tmp_path):
    base_t5().save_pretrained(tmp_path / "plain")
    model = with_lora(CodebookT5ForConditionalGeneration.from_base(tmp_path / "plain", **SIZES))
    model.save_pretrained(tmp_path / "adapter")
    model.get_base_model().config.save_pretrained(tmp_path / "adapter")
    tokenizer().save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match=r'a plain model, and holds no bottlenecks.*modules_to_save=\["bottleneck"\]'):
        Unlearner.from_pretrained(tmp_path / "adapter")


@pytest.mark.parametrize("gone", ["never saved", "moved"])
def test_an_adapter_whose_base_is_nowhere_says_what_to_do(tmp_path, gone):
    codebook_t5().save_pretrained(tmp_path / "base")
    model = CodebookT5ForConditionalGeneration.from_pretrained(tmp_path / "base")
    adapted = with_lora(model, modules_to_save=["bottleneck"])
    Unlearner(adapted, tokenizer()).save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    name = "" if gone == "never saved" else str(tmp_path / "elsewhere")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": name}))
    with pytest.raises(ValueError, match="base_model_name_or_path"):
        Unlearner.from_pretrained(tmp_path / "adapter")
