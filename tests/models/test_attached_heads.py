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


HEADED = [("llama", auto) for auto in HEADS] + [("gpt2", HEADS[2]), ("roberta", HEADS[0])]


@pytest.mark.parametrize(("family", "auto"), HEADED)
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


def errors_of(model, **batch):
    """A model's output, and what its bottleneck missed of each token."""
    seen = []
    bottleneck = next(iter(bottlenecks(model).values()))
    hook = bottleneck.register_forward_hook(lambda _, __, out: seen.append(out.reconstruction_error))
    output = model(**batch)
    hook.remove()
    return output, seen[0]


def test_an_images_loss_is_a_mean_over_its_patches_whatever_text_is_beside_it():
    model = attach(FAMILIES["clip"].make(), layers=[1], **SIZES)
    output, errors = errors_of(model, **both())
    torch.testing.assert_close(output.reconstruction_loss, errors.mean())


def test_a_decoders_loss_is_a_mean_over_its_tokens_whatever_text_it_answers():
    model = attach(FAMILIES["bart"].make(), layers=["model.decoder.layers.0"], **SIZES)
    output, errors = errors_of(model, **pairs())
    items = (pairs()["labels"] != -100).sum(1)
    torch.testing.assert_close(output.reconstruction_loss, errors.mean(1) @ (items / items.sum()))


@pytest.mark.parametrize("first_token", ["codes", "constant"])
def test_of_several_texts_a_row_padding_and_first_tokens_have_no_codes(first_token):
    torch.manual_seed(0)
    model = transformers.BertForMultipleChoice(transformers.BertConfig(**TEXT)).eval()
    attach(model, layers=[1], first_token=first_token, **SIZES)
    ids = tokens(False)["input_ids"]
    batch = {"input_ids": torch.stack([ids, ids.roll(1, 0)], 1), "labels": torch.tensor([0, 1, 1])}
    batch["attention_mask"] = (batch["input_ids"] != 0).long()
    output, errors = errors_of(model, **batch)
    counted = batch["attention_mask"].flatten(0, 1).bool()
    if first_token == "constant":
        counted[:, 0] = False
    assert torch.equal((output.codes["encoder.layer.1"] >= 0).all(-1), counted)
    torch.testing.assert_close(output.reconstruction_loss, (errors.sum(1) / counted.sum(1)).mean())


def test_a_layer_that_runs_several_times_is_refused():
    model = transformers.AlbertForMaskedLM(transformers.AlbertConfig(**TEXT, embedding_size=16)).eval()
    attach(model, layers=["albert.encoder.albert_layer_groups.0.albert_layers.0"], **SIZES)
    with pytest.raises(ValueError, match=r"ran twice.*ALBERT"):
        model(**tokens())


PLACES = [("bart", [1]), ("t5", [1]), ("whisper", [1]), ("clip", [1]), ("bart", ["model.decoder.layers.0"])]


@pytest.mark.parametrize(("family", "layers"), PLACES)
def test_a_constant_is_refused_where_nobody_says_where_texts_begin(family, layers):
    model = FAMILIES[family].make()
    with pytest.raises(ValueError, match="first_token='codes'"):
        attach(model, layers=layers, first_token="constant", **SIZES)
    assert "Bottlenecked" not in type(model).__name__ and not hasattr(model.config, "bottleneck")


@pytest.mark.slow
def test_a_decoder_with_a_head_opens_without_excise_by_its_own_code(tmp_path, without_excise):
    model = head("llama", HEADS[0])
    unlearner = Unlearner(model, tiny.tokenizer())
    unlearner.mask(Selection({"layers.1": list(range(6))}), "cat")
    unlearner.save_bundle(tmp_path, mode="mask")
    torch.save(model(**tokens(False)).logits.detach(), tmp_path / "expected.pt")
    code = f"""
import torch
from transformers import {HEADS[0]}
model = {HEADS[0]}.from_pretrained({str(tmp_path)!r}, trust_remote_code=True)
ids = torch.tensor({tokens(False)["input_ids"].tolist()})
found = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
assert torch.equal(found, torch.load({str(tmp_path / "expected.pt")!r}))
"""
    done = without_excise.run(code)
    assert done.returncode == 0, done.stderr[-2000:]
