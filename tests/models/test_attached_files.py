"""Files of attached models that were changed or are of a part: each is refused by a sentence, or opens masked."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from excise import Selection, Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.models.attached import attach, families
from excise.models.auto import is_ours
from tests.helpers import tiny
from tests.helpers.families import ENDS, FAMILIES, TEXT, tokens

SIZES = {"num_codes": 24, "code_dim": 32, "active": 4, "top_s": 3}


def llama():
    return attach(FAMILIES["llama"].make(), layers=[0, 1], **SIZES)


def masked(model):
    Unlearner(model, tiny.tokenizer()).mask(Selection({"layers.0": list(range(4))}), "cat")
    return model


@pytest.mark.parametrize("lacks", ["first_token", "codebook", "live", "decoder.weight"])
def test_a_file_without_a_tensor_of_a_bottleneck_is_refused(lacks, tmp_path):
    llama().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({name: tensor for name, tensor in load_file(file).items() if not name.endswith(lacks)}, file)
    with pytest.raises(ValueError, match=rf"lacks weights of bottlenecks.*{lacks}"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


SITES = {
    "of another model": (["transformer.h.1"], "does not have.*transformer"),
    "no module": (["layers.0.__class__"], "does not have"),
    "very long": (["layers." + "9" * 5000], "does not have"),
    "one twice": (["layers.0", "layers.0"], "twice"),
    "one many times": (["layers.0"] * 100_000, "twice"),
    "parts that are not there": (["layers.0:a,b,c,d", "layers.1"], "parts"),
    "one part": (["layers.0:mlp", "layers.1"], "parts"),
    "others": (["layers.0", "layers.2"], "masks do not have the digest"),
    "a module that is no layer": (["embed_tokens", "layers.1"], "does not fit the model"),
    "none": ([], "no bottleneck"),
}


@pytest.mark.parametrize("sites", SITES)
def test_a_config_that_names_other_modules_is_refused(sites, tmp_path):
    masked(llama()).save_pretrained(tmp_path)
    named, message = SITES[sites]
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"bottleneck_sites": named}))
    with pytest.raises(ValueError, match=message) as caught:
        AutoModelForCausalLM.from_pretrained(tmp_path)
    assert len(str(caught.value)) < 1_000


def test_a_base_model_alone_is_not_saved_while_something_is_forgotten(tmp_path):
    model = llama()
    model.model.save_pretrained(tmp_path / "before")
    masked(model)
    with pytest.raises(ValueError, match="Save the model around it"):
        model.model.save_pretrained(tmp_path / "after")
    model.save_pretrained(tmp_path / "whole")
    base = AutoModel.from_pretrained(tmp_path / "whole")
    assert not bottlenecks(base)["layers.0"].in_force[:4].any()


# Of families whose layers are not known by number: settings, the path of a layer, and the Auto classes that open it.
OTHERS = {
    "Falcon": (ENDS, "h.1", ["AutoModelForCausalLM", "AutoModelForTokenClassification", "AutoModel"]),
    "Mamba": ({"state_size": 4}, "layers.1", ["AutoModelForCausalLM", "AutoModel"]),
    "Deberta": ({}, "encoder.layer.1", ["AutoModelForMaskedLM", "AutoModelForSequenceClassification", "AutoModel"]),
}


@pytest.mark.parametrize(("name", "auto"), [(name, auto) for name in OTHERS for auto in OTHERS[name][2]])
def test_the_auto_classes_open_what_is_attached_to_a_family_that_is_not_known_by_number(name, auto, tmp_path):
    settings, path, _ = OTHERS[name]
    config = getattr(transformers, f"{name}Config")(**TEXT | settings)
    assert config.model_type not in families()
    model = attach(getattr(transformers, auto).from_config(config).eval(), layers=[path], **SIZES)
    site = next(iter(bottlenecks(model)))
    unlearner = Unlearner(model, tiny.tokenizer())
    unlearner.mask(Selection({site: list(range(4))}), "cat")
    unlearner.save_pretrained(tmp_path)
    again = getattr(transformers, auto).from_pretrained(tmp_path)
    assert type(again) is type(model) and type(Unlearner.from_pretrained(tmp_path).model) is type(model)
    assert not bottlenecks(again)[site].in_force[:4].any()
    with torch.no_grad():
        assert torch.equal(again(**tokens(False))[0], model(**tokens(False))[0])


class OwnConfig(transformers.LlamaConfig):
    model_type = "my_own_llama"


class OwnModel(transformers.LlamaForCausalLM):
    config_class = OwnConfig


def test_a_model_of_a_class_of_ones_own_opens_by_its_type_and_is_told_of(tmp_path):
    settings = OwnConfig(**FAMILIES["llama"].settings)
    model = attach(OwnModel(settings).eval(), layers=["model.layers.1"], **SIZES)
    model.save_pretrained(tmp_path)
    other = OwnModel(OwnConfig(**FAMILIES["llama"].settings))
    again = type(attach(other, layers=["model.layers.0"], **SIZES)).from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(again(**tokens()).logits, model(**tokens()).logits)
    with pytest.raises(ValueError, match=r"this transformers does not have.*type\(model\).from_pretrained"):
        Unlearner.from_pretrained(tmp_path)


def test_what_attach_makes_of_every_model_of_transformers_has_its_name_in_the_tables():
    plain = {name: config for name, config in CONFIG_MAPPING._mapping.items() if not is_ours(name)}
    assert len(plain) > 300
    for name, config in plain.items():
        assert CONFIG_MAPPING._mapping[f"bottlenecked_{name}"] == f"Bottlenecked{config}"
