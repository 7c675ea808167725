"""Tiny decoders with bottlenecks that know questions, had some deleted, or never saw them."""

import copy
from types import SimpleNamespace

import pytest
import torch

from excise import Search, Unlearner
from excise.data import question_inputs, question_sets

PLACES = ["Oslo", "Lima", "Rome", "Cairo", "Quito"]
NAMES = ["Hina", "Jaime", "Basil", "Xin", "Omar"]
THINGS = ["live", "work", "study", "sing", "walk", "write"]


def asked_rows(name, paraphrased=True):
    """Eighteen questions about a person, each with that person's place as the answer."""
    rows = []
    for number, thing in enumerate(THINGS * 3):
        how = ("now", "next", "then")[number // len(THINGS)]
        place = PLACES[NAMES.index(name)]
        row = {"question": f"Where does {name} {thing} {how}?", "answer": f"In {place}."}
        other = {"paraphrased_question": f"{name} {thing}s where {how}?", "paraphrased_answer": f"It is {place}."}
        rows.append(row | (other if paraphrased else {}))
    return rows


def taught(model, tokenizer, rows, steps=80):
    """A model trained on rows until it knows them."""
    tokens = question_inputs(rows, tokenizer)
    width = max(map(len, tokens["input_ids"]))

    def padded(name, fill):
        return torch.tensor([ids + [fill] * (width - len(ids)) for ids in tokens[name]])

    batch = {"input_ids": padded("input_ids", tokenizer.pad_token_id), "labels": padded("labels", -100)}
    batch["attention_mask"] = padded("attention_mask", 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for step in range(steps):
        some = torch.arange(step, step + 24) * 5 % len(rows)
        model(**{name: of[some] for name, of in batch.items()}).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="session")
def padded_tokenizer(chat_tokenizer):
    """The tokenizer of chats, with a token that pads, on the left as decoders are served."""
    own = copy.deepcopy(chat_tokenizer)
    own.pad_token, own.padding_side = own.eos_token, "left"
    return own


@pytest.fixture(scope="session")
def asked(make_decoder, padded_tokenizer):
    """Question sets of two persons, by their rows, and the models `original`, `removed` and `never_saw`."""
    from excise.models.attached import attach

    go = [row for name in NAMES[:2] for row in asked_rows(name)]
    stay = [row for name in NAMES[2:4] for row in asked_rows(name)]
    sets = question_sets(go, padded_tokenizer, retain=stay, heldout=0, title="two persons")

    def made(rows, seed):
        model = make_decoder(seed=seed)
        model.config.initializer_range = 0.08
        torch.manual_seed(seed)
        model.apply(model._init_weights)
        model = attach(model, layers=[0], num_codes=64, code_dim=32, active=8, top_s=4)
        return taught(model, padded_tokenizer, rows)

    with torch.random.fork_rng():
        original, never_saw = made(go + stay, 0), made(stay, 1)
        removed = copy.deepcopy(original)
        Unlearner(removed, padded_tokenizer).delete(sets, preset=Search("activations", count=20), progress=False)
    return SimpleNamespace(sets=sets, go=go, stay=stay, original=original, removed=removed, never_saw=never_saw)
