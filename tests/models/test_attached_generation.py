"""Decoders with attached bottlenecks: cached, padded, packed and assisted generation says what a full forward says."""

import copy

import pytest
import torch
import transformers
from transformers import DynamicCache, StaticCache

from excise import Selection, Unlearner
from excise.bottlenecks.site import bottlenecks, left_out
from excise.models.attached import attach
from tests.helpers import tiny
from tests.helpers.families import FAMILIES

DECODERS = ["gemma2", "gpt2", "llama", "opt", "qwen3"]
SIZES = {"num_codes": 24, "code_dim": 32, "active": 4, "top_s": 3}
PROMPTS = [[1, 5, 9, 12, 33, 7], [1, 8, 4, 20], [1, 41]]
each = pytest.mark.parametrize("family", DECODERS)


def decoder(family, **arguments):
    model = attach(FAMILIES[family].make(), layers=[0, 1], **SIZES, **arguments)
    torch.manual_seed(2)
    for bottleneck in bottlenecks(model).values():
        bottleneck.decoder.weight.data.mul_(3)
        if bottleneck.first_token is not None:
            bottleneck.first_token.normal_()
    return model


@torch.no_grad()
def by_full_forwards(model, prompt, count=6):
    """The tokens that come next, each by a whole forward pass without a cache."""
    ids = torch.tensor([prompt])
    for _ in range(count):
        ids = torch.cat([ids, model(ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    return ids[0, len(prompt) :].tolist()


def generate(model, prompts, side="left", **options):
    width = max(map(len, prompts))
    pads = [[0] * (width - len(prompt)) for prompt in prompts]
    rows = [pad + prompt if side == "left" else prompt + pad for pad, prompt in zip(pads, prompts, strict=True)]
    ids = torch.tensor(rows)
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    out = model.generate(ids, attention_mask=(ids != 0).long(), **settings | options)
    return out[:, width:].tolist()


@each
def test_a_cache_gives_the_tokens_of_full_forwards(family):
    model = decoder(family)
    expected = [by_full_forwards(model, prompt) for prompt in PROMPTS]
    assert len({tuple(tokens) for tokens in expected}) > 1
    assert [generate(model, [prompt])[0] for prompt in PROMPTS] == expected
    assert generate(model, PROMPTS) == expected, "padded on the left"
    assert generate(model, PROMPTS, use_cache=False) == expected


@each
def test_a_static_cache_and_an_assistant_give_the_same_tokens(family):
    model = decoder(family)
    expected = by_full_forwards(model, PROMPTS[0])
    assert generate(model, PROMPTS[:1], cache_implementation="static", disable_compile=True)[0] == expected
    assert generate(model, PROMPTS[:1], assistant_model=FAMILIES[family].make())[0] == expected


@each
def test_packed_texts_give_what_each_gives_alone(family):
    if family in ("gpt2", "opt"):
        pytest.skip("its attention does not tell packed texts apart by their positions")
    model = decoder(family)
    first, second = PROMPTS[:2]
    ids = torch.tensor([first + second])
    positions = torch.tensor([[*range(len(first)), *range(len(second))]])
    with torch.no_grad():
        packed = model(ids, position_ids=positions, use_cache=False).logits[0]
        alone = torch.cat([model(torch.tensor([row]), use_cache=False).logits[0] for row in (first, second)])
    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)


@each
def test_the_first_token_of_a_text_says_nothing_behind_the_bottleneck(family):
    model, other = decoder(family), [30, *PROMPTS[0][1:]]
    seen = []
    site = next(iter(bottlenecks(model)))
    layer = model.base_model.get_submodule(site)
    layer.register_forward_hook(lambda _, __, out: seen.append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        first = model(torch.tensor([PROMPTS[0]]))
        model(torch.tensor([other]))
    rows = [states.view(-1, states.shape[-1])[0] for states in seen]
    assert torch.equal(*rows), "the first token reached the next layer"
    assert (first.codes[site][0, 0] == -1).all() and (first.codes[site][0, 1:] >= 0).all()


@each
def test_a_base_model_alone_holds_first_tokens_as_the_whole_does(family):
    model = decoder(family)
    ids = torch.tensor([PROMPTS[0]])
    with torch.no_grad():
        whole = model(ids, output_hidden_states=True).hidden_states[-1]
        assert torch.equal(model.base_model(ids, output_hidden_states=True).hidden_states[-1], whole)


def test_a_mask_works_on_prompt_and_generated_tokens_alike():
    model = decoder("llama")
    unlearner = Unlearner(model, tiny.tokenizer())
    site = next(iter(bottlenecks(model)))
    used = model(torch.tensor([PROMPTS[0]])).codes[site].unique()
    unlearner.mask(Selection({site: [code for code in used.tolist() if code >= 0][:3]}), "cat")
    assert generate(model, PROMPTS) == [by_full_forwards(model, prompt) for prompt in PROMPTS]
    out = model.generate(torch.tensor([PROMPTS[0]]), max_new_tokens=4, do_sample=False)
    assert not set(model(out).codes[site].unique().tolist()) & set(used.tolist()[1:3])


@pytest.mark.parametrize("kind", ["dynamic", "static", "copied"])
def test_a_cache_of_before_a_mask_is_refused(kind):
    model = decoder("llama")
    cache = (
        StaticCache(config=model.config, max_cache_len=32) if kind == "static" else DynamicCache(config=model.config)
    )
    ids = torch.tensor([PROMPTS[0]])
    with torch.no_grad():
        model(ids, past_key_values=cache, use_cache=True)
        if kind == "copied":
            cache = copy.deepcopy(cache)
        unlearner = Unlearner(model, tiny.tokenizer())
        request = unlearner.mask(Selection({"layers.0": [0, 1]}), "cat")
        with pytest.raises(ValueError, match="filled under other masks"):
            model(ids[:, :1], past_key_values=cache)
        unlearner.undo(request)
        model(ids[:, :1], past_key_values=cache)  # as it was filled


def test_codes_of_first_tokens_are_looked_up_where_that_is_asked_for():
    model = decoder("llama", first_token="codes")
    assert all(bottleneck.first_token is None for bottleneck in bottlenecks(model).values())
    assert (model(torch.tensor([PROMPTS[0]])).codes["layers.0"] >= 0).all()
    assert [generate(model, [prompt])[0] for prompt in PROMPTS] == [by_full_forwards(model, p) for p in PROMPTS]


def masked(model):
    Unlearner(model, tiny.tokenizer()).mask(Selection({"layers.0": [0, 1]}), "cat")


FILLED = {
    "the base model alone": lambda model, ids: model.model(ids, use_cache=True),
    "the plain model": lambda model, ids: FAMILIES["llama"].make()(ids, use_cache=True),
    "the model without its bottlenecks": lambda model, ids: without(model, ids),
}


def without(model, ids):
    with left_out(model):
        return model(ids, use_cache=True)


@pytest.mark.parametrize("filled", FILLED)
def test_a_cache_that_something_else_filled_is_refused_where_something_is_masked(filled):
    model, ids = decoder("llama"), torch.tensor([PROMPTS[0]])
    if filled != "the base model alone":
        masked(model)
    with torch.no_grad():
        cache = FILLED[filled](model, ids).past_key_values
        if filled == "the base model alone":
            masked(model)
        for run in (model, model.model):
            with pytest.raises(ValueError, match="Start with an empty cache"):
                run(ids[:, :1], past_key_values=cache)


def test_a_cache_of_the_base_model_goes_on_under_the_same_masks():
    model, ids = decoder("llama"), torch.tensor([PROMPTS[0]])
    masked(model)
    with torch.no_grad():
        cache = model.model(ids[:, :4], use_cache=True).past_key_values
        cached = model(ids[:, 4:], past_key_values=cache).logits
        torch.testing.assert_close(cached, model(ids, use_cache=False).logits[:, 4:], rtol=1e-4, atol=1e-4)


def recurrent(name, path, **settings):
    config = getattr(transformers, f"{name}Config")(**SMALL | settings)
    torch.manual_seed(0)
    return attach(getattr(transformers, f"{name}ForCausalLM")(config).eval(), layers=[path], **SIZES)


SMALL = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "pad_token_id": 0}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32, "head_dim": 8}
# By the name of the memory: how a model of it is made.
RECURRENT = {
    "cache_params": lambda: recurrent("Mamba", "layers.0", state_size=4),
    "state": lambda: recurrent("Rwkv", "blocks.0"),
    "past_key_values": lambda: recurrent(
        "Qwen3Next",
        "model.layers.1",
        **HEADS,
        linear_num_value_heads=2,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=2,
        num_experts_per_tok=1,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
        layer_types=["linear_attention", "full_attention"],
    ),
}


@pytest.mark.parametrize("memory", RECURRENT)
def test_a_recurrent_state_of_before_a_mask_is_refused(memory):
    model, ids = RECURRENT[memory](), torch.tensor([PROMPTS[0]])
    site = next(iter(bottlenecks(model)))
    with torch.no_grad():
        whole = model(ids, use_cache=False).logits[:, -1]
        before = model(ids[:, :-1], use_cache=True)[memory]
        again = copy.deepcopy(before)
        torch.testing.assert_close(model(ids[:, -1:], **{memory: before}).logits[:, -1], whole, rtol=1e-4, atol=1e-4)
        with left_out(model):
            without = model(ids, use_cache=True)[memory]
        request = Unlearner(model, tiny.tokenizer()).mask(Selection({site: [0, 1]}), "cat")
        for state in (before, again, without, plain_state(model, memory, ids)):
            for run in (model, model.base_model):
                with pytest.raises(ValueError, match=rf"\({memory}\).*Start with an empty cache"):
                    run(ids[:, :1], **{memory: state})
        model(ids[:, :1], **{memory: model.base_model(ids, use_cache=True)[memory]})
        Unlearner(model, tiny.tokenizer()).undo(request)
        model(ids[:, :1], **{memory: again})  # as it was filled


def plain_state(model, memory, ids):
    """A state that the plain model has made."""
    return model.plain(model.plain.config_class(**model.config.to_dict())).eval()(ids, use_cache=True)[memory]


def test_a_pass_looks_for_no_module_to_know_its_masks(monkeypatch):
    model, ids = decoder("llama"), torch.tensor([PROMPTS[0]])
    masked(model)
    with torch.no_grad():
        cache = model(ids, use_cache=True).past_key_values
        monkeypatch.setattr(torch.nn.Module, "modules", None)
        model(ids[:, :1], past_key_values=cache)
