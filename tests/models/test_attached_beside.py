"""Attached models beside what people use with models: adapters, bundles, remote code, errors that say what to do."""

import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from excise import Selection, Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.bottlenecks.tracing import trace
from excise.models import export_plain
from excise.models.attached import attach, detach, families
from excise.models.attached.families import known
from tests.helpers import tiny
from tests.helpers.families import FAMILIES, tokens

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks for it
SIZES = {"num_codes": 24, "code_dim": 32, "active": 4, "top_s": 3}


def llama(**arguments):
    return attach(FAMILIES["llama"].make(), layers=[1], **SIZES | arguments)


def logits(model):
    with torch.no_grad():
        return model(**tokens(False)).logits


def masked(model):
    site = next(iter(bottlenecks(model)))
    used = model(**tokens(False)).codes[site].unique()
    unlearner = Unlearner(model, tiny.tokenizer())
    unlearner.mask(Selection({site: used[used >= 0][:4].tolist()}), "cat")
    return unlearner


@pytest.mark.parametrize("use_dora", [False, True])
def test_an_adapter_that_is_merged_switched_off_or_swapped_lifts_no_mask(use_dora, tmp_path):
    model = llama()
    settings = {"task_type": TaskType.CAUSAL_LM, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}
    adapted = get_peft_model(model, LoraConfig(use_dora=use_dora, **settings))
    adapted.add_adapter("other", LoraConfig(**settings))
    unlearner = Unlearner(adapted, tiny.tokenizer())
    unlearner.mask(Selection({"layers.1": list(range(6))}), "cat")

    def removed(run):
        return not (set(run(**tokens(False)).codes["layers.1"].unique().tolist()) & set(range(6)))

    assert removed(adapted)
    with adapted.disable_adapter():
        assert removed(adapted)
    adapted.set_adapter("other")
    assert removed(adapted)
    adapted.set_adapter("default")
    adapted.delete_adapter("other")
    merged = adapted.merge_and_unload()
    assert removed(merged)
    merged.save_pretrained(tmp_path)
    assert removed(AutoModelForCausalLM.from_pretrained(tmp_path))


def test_bottlenecks_alone_are_a_small_part_and_load_on_their_base(tmp_path):
    base = FAMILIES["llama"].make()
    base.save_pretrained(tmp_path / "base")
    model = attach(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), layers=[1], **SIZES)
    unlearner = masked(model)
    unlearner.save_bundle(tmp_path / "bundle", base=(tmp_path / "base", None), mode="mask")
    assert all(".bottleneck." in name for name in load_file(tmp_path / "bundle" / "bottlenecks.safetensors"))
    again = Unlearner.from_pretrained(tmp_path / "bundle")
    assert torch.equal(logits(again.model), logits(model)) and again.ledger == unlearner.ledger


def test_a_saved_model_opens_without_excise_by_its_own_code(tmp_path, without_excise):
    model = llama()
    unlearner = masked(model)
    unlearner.save_bundle(tmp_path / "bundle", mode="mask")
    torch.save(logits(model), tmp_path / "expected.pt")
    code = f"""
import torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained({str(tmp_path / "bundle")!r}, trust_remote_code=True)
ids = torch.tensor({tokens(False)["input_ids"].tolist()})
with torch.no_grad():
    found = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
assert torch.equal(found, torch.load({str(tmp_path / "expected.pt")!r}))
"""
    done = without_excise.run(code)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_plain_class_is_not_filled_with_weights_that_something_was_forgotten_of(tmp_path):
    unlearner = masked(llama())
    unlearner.save_pretrained(tmp_path)
    plain, info = LlamaForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] and not torch.equal(logits(plain), logits(FAMILIES["llama"].make()))
    with pytest.raises(ValueError, match="brings_back_what_was_forgotten"):
        export_plain(unlearner.model)
    again = export_plain(unlearner.model, brings_back_what_was_forgotten=True)
    assert type(again) is LlamaForCausalLM and torch.equal(logits(again), logits(FAMILIES["llama"].make()))


def test_while_something_is_forgotten_nothing_is_detached():
    unlearner = masked(llama())
    with pytest.raises(ValueError, match="1 requests to forget"):
        detach(unlearner.model)
    unlearner.undo(1)
    assert type(detach(unlearner.model)) is LlamaForCausalLM


def adapted():
    return get_peft_model(FAMILIES["llama"].make(), LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))


REFUSED = {
    "a folder": (lambda: attach("gpt2"), "expected a model of transformers in memory"),
    "a module": (lambda: attach(torch.nn.Linear(2, 2)), "expected a model of transformers"),
    "an adapted model": (lambda: attach(adapted()), "without an adapter"),
    "a model that has some": (lambda: attach(llama()), "has bottlenecks already.*detach"),
    "a layer too many": (lambda: attach(FAMILIES["llama"].make(), layers=[3]), "layers 0 to 2"),
    "no layers": (lambda: attach(FAMILIES["llama"].make(), layers=[]), "one or more"),
    "a layer twice": (lambda: attach(FAMILIES["llama"].make(), layers=[1, 1]), "different layers"),
    "a path that is not there": (lambda: attach(FAMILIES["llama"].make(), layers=["model.blocks.1"]), "no module"),
    "a place that is not there": (lambda: attach(FAMILIES["phi"].make(), position="attention"), "position='end'"),
    "a position that is none": (lambda: attach(FAMILIES["llama"].make(), position="middle"), "'end' or 'attention'"),
    "a setting that is none": (lambda: llama(num_code=3), "Did you mean `num_codes`"),
    "a setting of the model": (lambda: llama(attention_dropout=0.3), "settings of bottlenecks alone"),
    "another width": (lambda: llama(hidden_size=32), "width|hidden_size"),
    "a first token that is none": (lambda: llama(first_token="skip"), "'constant'"),
    "detaching a plain model": (lambda: detach(FAMILIES["llama"].make()), "that attach has given bottlenecks"),
}


@pytest.mark.parametrize("situation", REFUSED)
def test_what_cannot_work_says_why(situation):
    call, message = REFUSED[situation]
    with pytest.raises(ValueError, match=message):
        call()


def test_a_refused_model_is_as_it_was():
    model = FAMILIES["llama"].make()
    before = logits(model)
    for arguments in ({"layers": [9]}, {"num_codes": 0}, {"hidden_size": 7}, {"first_token": "x"}):
        with pytest.raises(ValueError):
            attach(model, **SIZES | arguments)
    assert type(model) is LlamaForCausalLM and model.config.model_type == "llama"
    assert torch.equal(logits(model), before) and not hasattr(model.config, "bottleneck")


@pytest.mark.parametrize("family", [name for name in FAMILIES if known(name).parts or known(name).attention])
def test_a_bottleneck_sits_after_attention_where_there_is_such_a_place(family):
    tiny_model = FAMILIES[family]
    model, plain = tiny_model.make(), tiny_model.make()
    batch = tiny_model.batch()
    attach(model, layers=[1], position="attention", first_token="codes", **SIZES)
    site, bottleneck = next(iter(bottlenecks(model).items()))
    bottleneck.register_forward_hook(lambda module, args, out: type(out)(**{**out, "reconstruction": args[0]}))
    with torch.no_grad():
        ours, theirs = model(**batch), plain(**batch)
    name = "logits" if "logits" in theirs else "logits_per_image"
    torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)
    assert ours.codes[site].shape[-1] == SIZES["top_s"]


def test_a_path_names_a_module_of_a_family_that_is_not_known():
    from transformers import FalconConfig, FalconForCausalLM

    assert "falcon" not in families()
    torch.manual_seed(0)
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = FalconForCausalLM(FalconConfig(**sizes, bos_token_id=1, eos_token_id=2)).eval()
    with pytest.raises(ValueError, match="paths"):
        attach(model, layers=[0])
    attach(model, layers=["transformer.h.1"], **SIZES)
    assert list(model(**tokens()).codes) == ["h.1"]


def test_a_model_of_a_family_that_is_not_known_is_saved_and_opened(tmp_path):
    from transformers import FalconConfig, FalconForCausalLM

    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = FalconForCausalLM(FalconConfig(**sizes, bos_token_id=1, eos_token_id=2)).eval()
    unlearner = masked(attach(model, layers=["transformer.h.1"], **SIZES))
    unlearner.save_pretrained(tmp_path)
    assert isinstance(AutoTokenizer.from_pretrained(tmp_path)("the cat")["input_ids"], list)
    assert torch.equal(logits(Unlearner.from_pretrained(tmp_path).model), logits(model))


def test_activation_checkpointing_that_was_on_stays_on():
    model = FAMILIES["llama"].make()
    model._set_gradient_checkpointing()
    attach(model, layers=[1], **SIZES)
    model.train()(**tokens()).loss.backward()
    assert all(layer.gradient_checkpointing for layer in model.model.layers)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_training_that_goes_around_the_joint_loss_is_refused(family):
    model = attach(FAMILIES[family].make(), layers=[1], **SIZES).train()
    batch = tokens(False)
    with pytest.raises(ValueError, match=r"SFTTrainer.*compute_loss"):
        model.base_model(**batch)
    with trace(batch["attention_mask"]) as traced:
        hidden = model.base_model(**batch).last_hidden_state
    (hidden.square().mean() + sum(output.loss for output in traced.outputs.values())).backward()
    with torch.no_grad():
        model.base_model(**batch)
    model.eval().base_model(**batch)
