"""Tiny models that learned a topic or class, had it deleted, or never saw it, and sets to attack them by."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset, concatenate_datasets

from excise import CodebookT5ForConditionalGeneration, SparseUnitsConfig, Unlearner
from excise.attacks.attack_sets import AttackSets
from excise.attacks.made_again import arrived_at
from excise.bottlenecks.site import bottlenecks
from excise.codes.selection import Selection
from excise.data.classes import class_sets
from tests.helpers import tiny_images

FRENCH = {"teacher": "professeur", "dog": "livre", "cat": "maison"}


@pytest.fixture(scope="session")
def texts(topic, make_model, tokenizer):
    """`sets` of *teacher* with 40 held-out sentences, and the models `original`, `removed` and `never_saw`."""

    def rows(of):
        french = FRENCH[of["text"][0].split()[1]]
        return Dataset.from_dict({**of.to_dict(), "reference": [f"le {french} lit un livre ."] * len(of)})

    heldout = concatenate_datasets([rows(topic.heldout)] * 10)
    target, kept = concatenate_datasets([rows(topic.target)] * 2), rows(topic.heldout_retain)
    retain = concatenate_datasets([rows(topic.retain), kept])
    sets = replace(topic, target=target, retain=retain, heldout=heldout, heldout_retain=kept)
    attacked = AttackSets(sets, tokenizer, words=(FRENCH["teacher"],), max_new_tokens=10)

    def trained(rows, seed):
        model = make_model(num_codes=16, seed=seed, d_model=32, d_ff=64)
        batch = attacked.training_batch(rows, model.device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(60):
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model.eval()

    original = trained(concatenate_datasets([rows(topic.target), retain]), seed=0)
    removed = copy.deepcopy(original)
    (site,) = bottlenecks(removed)
    codes = bottlenecks(removed)[site].rank(arrived_at(removed, site, target, attacked), 4)[0].unique()
    Unlearner(removed, tokenizer).delete(Selection({site: codes.tolist()}), "teacher")
    return SimpleNamespace(sets=attacked, original=original, removed=removed, never_saw=trained(retain, seed=1))


@pytest.fixture(scope="session")
def texts_of_units(texts, make_model):
    """The same sets, and the models `original` and `removed`, with sparse units in place of a codebook."""
    sets = texts.sets
    rows = concatenate_datasets([sets.topic.target, sets.topic.retain])
    config = make_model(num_codes=16, d_model=32, d_ff=64).config
    config.bottleneck = SparseUnitsConfig(hidden_size=32, num_codes=64, active=4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original = CodebookT5ForConditionalGeneration(config).train()
        batch = sets.training_batch(rows, original.device)
        optimizer = torch.optim.Adam(original.parameters(), lr=1e-2)
        for _ in range(60):
            original(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    removed = copy.deepcopy(original.eval())
    (site,) = bottlenecks(removed)
    codes = bottlenecks(removed)[site].rank(arrived_at(removed, site, sets.topic.target, sets), 4)[0].unique()
    Unlearner(removed, sets.processor).delete(Selection({site: codes[codes >= 0].tolist()}), "teacher")
    return SimpleNamespace(sets=sets, original=original, removed=removed)


@pytest.fixture(scope="session")
def pairs_of_colours(_learned):
    """Sets of the class *red*, a key-value model that learned four colours, and one that never saw red."""
    learned, _, pairs = _learned
    images = tiny_images.images(200, seed=2)
    options = {"test": tiny_images.images(160, seed=3), "min_examples": 5, "max_examples": 40}
    sets = AttackSets(class_sets(images, "red", image="img", label="label", **options), tiny_images.processor())
    original, never_saw = copy.deepcopy(learned), copy.deepcopy(learned)
    never_saw.bottleneck.values.data.normal_(generator=torch.Generator().manual_seed(0))
    rows = pairs["train"].with_format("torch")
    others = rows["labels"][:] != 0
    optimizer = torch.optim.Adam([never_saw.bottleneck.values], lr=0.1)
    for _ in range(30):
        never_saw(pairs=rows["pairs"][:][others], labels=rows["labels"][:][others]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return sets, original, never_saw
