"""Attached models with heads, several texts a row, several modalities, and layers that run for other tokens."""

import pytest
import torch
import transformers

from excise import Selection, Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.models.attached import attach
from tests.helpers import tiny
from tests.helpers.families import FAMILIES, TEXT, both, pairs, tokens

SIZES = {"num_codes": 24, "code_dim": 32, "active": 4, "top_s": 3}


def head(family, auto):
    torch.manual_seed(0)
    config = getattr(transformers, FAMILIES[family].config)(**FAMILIES[family].settings)
    config.pad_token_id = 0
    return attach(getattr(transformers, auto).from_config(config).eval(), layers=[1], **SIZES)


HEADS = ["AutoModelForSequenceClassification", "AutoModelForTokenClassification", "AutoModelForQuestionAnswering"]


@pytest.mark.parametrize("auto", HEADS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2", "roberta"])
def test_a_model_with_a_head_is_saved_and_opened(family, auto, tmp_path):
    model = head(family, auto)
    site = next(iter(bottlenecks(model)))
    Unlearner(model, tiny.tokenizer()).mask(Selection({site: list(range(6))}), "cat")
    model.save_pretrained(tmp_path)
    again = getattr(transformers, auto).from_pretrained(tmp_path)
    assert type(again) is type(model) and type(again.base_model) is type(model.base_model)
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in again.state_dict().items())
    found = again(**tokens(False))
    assert not set(found.codes[site].unique().tolist()) & set(range(6))
    for name, value in model(**tokens(False)).items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(found[name], value)
