"""Presets of a key-value classifier's training."""

import pytest

from excise import KeyValueConfig
from excise.cli.train_classifier import classification
from excise.cli.train_classifier.arguments import PRESET_NAMES
from excise.training import KEY_VALUE_PRESETS
from tests.helpers.tiny_images import images

# Table 4 of the paper: top-k, values at first, learning rate, epochs.
TABLE_4 = {
    "paper": (1, "normal", 0.1, 74),
    "paper-cifar100": (10, "zeros", 0.3, 71),
    "paper-lacuna100": (10, "uniform", 0.3, 7),
}


@pytest.mark.parametrize("name", TABLE_4)
def test_the_papers_settings_are_those_of_its_table_4(name):
    preset = KEY_VALUE_PRESETS[name]
    assert (preset.top_k, preset.value_init, preset.learning_rate, preset.num_train_epochs) == TABLE_4[name]
    sizes = (preset.num_codebooks, preset.num_pairs, preset.key_dim, preset.key_epochs, preset.components)
    assert sizes == (256, 4096, 8, 10, None)


def test_the_defaults_of_a_bottleneck_are_the_papers():
    assert KEY_VALUE_PRESETS["paper"].config().to_dict() == KeyValueConfig().to_dict()
    assert KEY_VALUE_PRESETS["whitened"].config(num_pairs=99).num_pairs == 99


def test_the_command_line_knows_each_preset():
    assert list(KEY_VALUE_PRESETS) == PRESET_NAMES


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", (1, None, 74, 0.1)),
        ("--preset paper-cifar100", (10, None, 71, 0.3)),
        ("--preset=paper-cifar100 --top_k=4 --num_train_epochs=2", (4, None, 2, 0.3)),
        ("--learning_rate=0.7 --preset paper-lacuna100", (10, None, 7, 0.7)),
        ("--preset whitened --components 5", (KEY_VALUE_PRESETS["whitened"].top_k, 5, None, None)),
    ],
    ids=["none", "a preset", "settings after it", "settings before it", "ours, with other components"],
)
def test_what_is_given_beside_a_preset_stands(words, expected, monkeypatch, tmp_path):
    seen = {}

    class Made:
        @staticmethod
        def from_encoder(name, bottleneck, **_):
            seen["bottleneck"] = bottleneck
            raise InterruptedError

    monkeypatch.setattr(classification, "KeyValueForImageClassification", Made)
    monkeypatch.setattr(classification, "check_there", lambda name: None)
    parsed = classification.parsed
    calls = []
    monkeypatch.setattr(classification, "parsed", lambda *given: calls.append(parsed(*given)) or calls[-1])
    images(8).to_parquet(tmp_path / "images.parquet")
    data = [f"--dataset_name={tmp_path / 'images.parquet'}", f"--output_dir={tmp_path / 'out'}", "--use_cpu"]
    with pytest.raises(InterruptedError):
        classification.main([*data, *words.split()], progress=False)
    model_args, _, args = calls[-1]
    found = (seen["bottleneck"].top_k, model_args.components, args.num_train_epochs, args.learning_rate)
    assert all(value in (None, other) for value, other in zip(expected, found, strict=True))
