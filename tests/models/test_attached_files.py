"""Files of attached models that were changed or are of a part: each is refused by a sentence, or opens masked."""

import json

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM

from excise import Selection, Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.models.attached import attach
from tests.helpers import tiny
from tests.helpers.families import FAMILIES

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
