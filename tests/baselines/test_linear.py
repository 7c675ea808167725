"""The linear layer of the paper's baseline."""

import pytest
import torch
from transformers import CLIPVisionConfig

from excise.baselines import LinearClassifier, LinearClassifierConfig
from excise.models import KeyValueVisionConfig


def test_logits_are_an_affine_function_and_the_loss_is_their_cross_entropy():
    model = LinearClassifier(LinearClassifierConfig(hidden_size=5, num_labels=3))
    encodings, labels = torch.randn(7, 5), torch.randint(3, (7,))
    output = model(encodings, labels)
    weight, bias = model.classifier.weight, model.classifier.bias
    torch.testing.assert_close(output.logits, encodings @ weight.T + bias)
    expected = -output.logits.log_softmax(-1)[torch.arange(7), labels].mean()
    torch.testing.assert_close(output.loss, expected)
    assert model(encodings).loss is None


def test_it_is_saved_as_safetensors_and_comes_back_the_same(tmp_path):
    model = LinearClassifier(LinearClassifierConfig(hidden_size=5, num_labels=3))
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = LinearClassifier.from_pretrained(tmp_path)
    assert loaded.config.num_labels == 3 and loaded.config.hidden_size == 5
    encodings = torch.randn(2, 5)
    assert torch.equal(loaded(encodings).logits, model(encodings).logits)


def test_a_width_of_nothing_is_refused():
    with pytest.raises(ValueError, match="hidden_size"):
        LinearClassifierConfig(hidden_size=0)


def test_of_clip_it_takes_what_a_key_value_model_takes():
    """The pooled output before the projection: 768 wide for ViT-B/32, not 512."""
    encoder = CLIPVisionConfig(hidden_size=768, projection_dim=512)
    assert LinearClassifierConfig().hidden_size == KeyValueVisionConfig(encoder=encoder).encoding_size == 768
