"""Tiny T5s with a codebook that have learnt their sentences: one that saw *teacher*, and one that did not."""

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture(scope="session")
def taught(make_model, tokenizer, topic):
    """`model`, which translates the topic's sentences and others, and `never_saw`, of the same recipe without them."""

    def learn(*sets):
        model = make_model(d_model=32, d_kv=16, d_ff=64, num_layers=2).train()
        texts, references = ([row for rows in sets for row in rows[name]] for name in ("text", "reference"))
        batch = dict(tokenizer(texts, text_target=references, return_tensors="pt", padding=True))
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        for _ in range(60):
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return model.eval()

    with torch.random.fork_rng():
        return SimpleNamespace(model=learn(topic.target, topic.retain), never_saw=learn(topic.retain))
