"""A small classifier that has learned four colours, once for all tests."""

import copy

import pytest
import torch

from excise import encode_images, initialize_keys, select_pairs
from tests.helpers.tiny_images import images, key_value_model, processor


@pytest.fixture(scope="session")
def _learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    model = key_value_model(num_codebooks=16)
    options = {"cache_dir": folder, "progress": False}
    encodings = {
        "train": encode_images(model, images(400), processor(), **options),
        "test": encode_images(model, images(120, seed=1), processor(), **options),
    }
    initialize_keys(model, encodings["train"], epochs=3, batch_size=50, progress=False)
    pairs = {name: select_pairs(model, part, **options) for name, part in encodings.items()}
    train = pairs["train"].with_format("torch")
    optimizer = torch.optim.Adam([model.bottleneck.values], lr=0.1)
    for _ in range(30):
        model(pairs=train["pairs"][:], labels=train["labels"][:]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, encodings, pairs


@pytest.fixture
def model(_learned):
    return copy.deepcopy(_learned[0])


@pytest.fixture
def encodings(_learned):
    return _learned[1]


@pytest.fixture
def pairs(_learned):
    return _learned[2]
