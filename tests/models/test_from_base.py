"""A bottleneck put on a plain T5 leaves the rest of it exactly as it was."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, BartConfig, T5ForConditionalGeneration
from transformers.utils import logging

from excise import CodebookT5ForConditionalGeneration
from excise.bottlenecks.site import bottlenecks
from tests.helpers.tiny import VOCAB, base_t5, batch, bottleneck_config, codebook_t5

FLAN = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


def save_base(folder, **settings) -> T5ForConditionalGeneration:
    """A plain checkpoint, with a head of its own where it is not tied, as Flan-T5's are written."""
    model = base_t5(**settings)
    model.save_pretrained(folder)
    if settings.get("tie_word_embeddings") is False:
        weights = load_file(folder / "model.safetensors")
        weights["lm_head.weight"] = torch.randn_like(weights["shared.weight"])
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        config = json.loads((folder / "config.json").read_text())
        config["tie_word_embeddings"] = False
        (folder / "config.json").write_text(json.dumps(config))
    return T5ForConditionalGeneration.from_pretrained(folder).eval()


class LetThrough(torch.nn.Module):
    """Stands in for a bottleneck that changes nothing."""

    def __init__(self, bottleneck):
        super().__init__()
        self.bottleneck = bottleneck

    def forward(self, hidden_states, attention_mask=None):
        output = self.bottleneck(hidden_states, attention_mask=attention_mask)
        output.reconstruction = hidden_states
        return output


@pytest.mark.parametrize("settings", [{}, {"feed_forward_proj": "gated-gelu"}, FLAN], ids=["t5", "gated", "flan"])
@pytest.mark.parametrize("layers", [[0], [2], [0, 1, 2]], ids=str)
def test_base_weights_and_logits_are_those_of_the_plain_model(tmp_path, settings, layers):
    plain = save_base(tmp_path, **settings)
    model = CodebookT5ForConditionalGeneration.from_base(tmp_path, bottleneck_config(), layers=layers)
    assert list(bottlenecks(model)) == [f"encoder.block.{i}" for i in layers]
    state = model.state_dict()
    for key, value in plain.state_dict().items():
        assert torch.equal(state.pop(key), value), key
    assert state
    assert all(".bottleneck." in key and value.isfinite().all() for key, value in state.items())
    inputs = batch()
    expected = plain(**inputs)
    assert not torch.allclose(model(**inputs).logits, expected.logits)
    for i in layers:
        layer = model.encoder.block[i].layer[0]
        layer.bottleneck = LetThrough(layer.bottleneck)
    torch.testing.assert_close(model(**inputs).logits, expected.logits)
    torch.testing.assert_close(model(**inputs).task_loss, expected.loss)


@pytest.mark.parametrize("settings", [{}, FLAN], ids=["tied", "untied"])
def test_a_head_stays_as_tied_as_it_was_through_saving_and_loading(tmp_path, settings):
    plain = save_base(tmp_path / "plain", **settings)
    model = CodebookT5ForConditionalGeneration.from_base(tmp_path / "plain", bottleneck_config())
    model.save_pretrained(tmp_path / "ours")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours")
    for each in (plain, model, loaded):
        assert torch.equal(each.lm_head.weight, each.shared.weight) == (not settings)
        assert torch.equal(each.lm_head.weight, plain.lm_head.weight)
        assert each.config.scale_decoder_outputs == plain.config.scale_decoder_outputs
    torch.testing.assert_close(loaded(**batch()).logits, model(**batch()).logits)


def test_the_bases_settings_are_kept(tmp_path):
    settings = {"dropout_rate": 0.3, "n_positions": 77, "task_specific_params": {"a": {"prefix": "b"}}}
    plain = save_base(tmp_path, **settings)
    config = CodebookT5ForConditionalGeneration.from_base(tmp_path, bottleneck_config()).config
    ours = {"bottleneck", "bottleneck_layers", "unlearning", "model_type", "architectures"}
    kept = {key: value for key, value in config.to_dict().items() if key not in ours}
    assert kept == {key: value for key, value in plain.config.to_dict().items() if key not in ours}
    assert config.model_type == "codebook_t5" and config.unlearning is None


def test_the_defaults_are_the_first_block_and_the_papers_number_of_codes(tmp_path):
    save_base(tmp_path)
    config = CodebookT5ForConditionalGeneration.from_base(tmp_path).config
    assert config.bottleneck_layers == [0]
    assert (config.bottleneck.num_codes, config.bottleneck.top_s, config.bottleneck.hidden_size) == (25_000, 8, 16)


def test_the_callers_bottleneck_config_is_left_alone_and_can_be_used_again(tmp_path):
    save_base(tmp_path / "narrow")
    save_base(tmp_path / "wide", d_model=24)
    config = bottleneck_config()
    for folder, width in (("narrow", 16), ("wide", 24)):
        model = CodebookT5ForConditionalGeneration.from_base(tmp_path / folder, config)
        assert model.config.bottleneck.hidden_size == width
    assert config.hidden_size is None


def test_a_base_loads_in_the_dtype_asked_for(tmp_path):
    save_base(tmp_path)
    model = CodebookT5ForConditionalGeneration.from_base(tmp_path, bottleneck_config(), dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model(**batch()).loss.isfinite()


@pytest.mark.parametrize("layers", [[], [3], [-1], [1, 1]], ids=str)
def test_layers_that_there_are_not_are_refused(tmp_path, layers):
    save_base(tmp_path)
    with pytest.raises(ValueError, match="from 0 to 2"):
        CodebookT5ForConditionalGeneration.from_base(tmp_path, bottleneck_config(), layers=layers)


def test_a_base_that_is_no_plain_t5_is_refused(tmp_path):
    BartConfig(d_model=8).save_pretrained(tmp_path / "bart")
    with pytest.raises(ValueError, match="'bart' model"):
        CodebookT5ForConditionalGeneration.from_base(tmp_path / "bart")
    codebook_t5().save_pretrained(tmp_path / "ours")
    with pytest.raises(ValueError, match="from_pretrained"):
        CodebookT5ForConditionalGeneration.from_base(tmp_path / "ours")


def test_a_base_that_lacks_weights_is_refused(tmp_path):
    save_base(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.block.1.layer.0.SelfAttention.q.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    logging.set_verbosity_error()
    with pytest.raises(ValueError, match="lacks weights"):
        CodebookT5ForConditionalGeneration.from_base(tmp_path, bottleneck_config())


def test_a_codes_width_of_another_model_is_refused(tmp_path):
    save_base(tmp_path)
    with pytest.raises(ValueError, match="`hidden_size` is 9"):
        CodebookT5ForConditionalGeneration.from_base(tmp_path, bottleneck_config(hidden_size=9))


@pytest.mark.parametrize("settings", [{}, FLAN], ids=["tied", "untied"])
def test_token_embeddings_can_be_resized(tmp_path, settings):
    save_base(tmp_path, **settings)
    model = CodebookT5ForConditionalGeneration.from_base(tmp_path, bottleneck_config())
    expected = model(**batch()).logits
    model.resize_token_embeddings(VOCAB + 5, mean_resizing=False)
    assert model.config.vocab_size == VOCAB + 5
    torch.testing.assert_close(model(**batch()).logits[..., :VOCAB], expected)
    model.save_pretrained(tmp_path / "resized")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "resized")
    torch.testing.assert_close(loaded(**batch()).logits, model(**batch()).logits)
