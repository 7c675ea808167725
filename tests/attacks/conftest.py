"""A tiny T5 that learned what *teacher* means, one that never saw the word, and 40 held-out sentences."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset, concatenate_datasets

from excise.attacks.sets import AttackSets

WORD = "professeur"


@pytest.fixture(scope="session")
def texts(topic, make_model, tokenizer):
    """`sets`, and the models `original` and `never_saw`."""
    french = {"teacher": WORD, "dog": "livre", "cat": "maison"}

    def rows(of):
        subject = of["text"][0].split()[1]
        texts = [text.replace(subject, "dog") if "dog" == subject else text for text in of["text"]]
        references = [f"le {french[subject]} lit un livre ." for _ in texts]
        return Dataset.from_dict({"text": texts, "spans": of["spans"], "reference": references})

    heldout = concatenate_datasets([rows(topic.heldout)] * 10)
    target = concatenate_datasets([rows(topic.target)] * 2)
    retain = concatenate_datasets([rows(topic.retain), rows(topic.heldout_retain)])
    kept = rows(topic.heldout_retain)
    sets = replace(topic, target=target, retain=retain, heldout=heldout, heldout_retain=kept)
    attack_sets = AttackSets(sets, tokenizer, words=(WORD,), max_new_tokens=10)

    def trained(rows, seed):
        model = make_model(num_codes=16, seed=seed, d_model=32, d_ff=64)
        batch = attack_sets.training_batch(rows, model.device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(70):
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model.eval()

    return SimpleNamespace(
        sets=attack_sets,
        original=trained(concatenate_datasets([target, retain]), seed=0),
        never_saw=trained(retain, seed=1),
    )
