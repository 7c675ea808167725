"""A planted truth in place of generation: the codes of a topic are known, and so is what removing them does."""

from importlib import import_module

import pytest

from excise import Unlearner
from excise.bottlenecks.site import _left_out, bottlenecks
from excise.codes.search import SearchCounts
from excise.codes.selection import Selection

SITE = "encoder.block.1"
TOPIC_CODES = (3, 4, 5)


class Generation:
    """Stands for `generate_texts`, and notes what it is asked for.

    The codebook model translates as in the references. *professeur* becomes *docteur* when all topic codes are removed,
    and *maison* is lost when ten codes or more are; with the bottleneck left out it does not matter which are. Other
    texts (a word cut out) are one word, which is all that the reference model (not a codebook model) knows.
    """

    def __init__(self, truth: dict[str, str]):
        self.truth = truth
        self.calls = []

    def __call__(self, model, tokenizer, texts, **options):
        removed = () if model == "reference" or _left_out.get() else self.removed(model)
        self.calls.append("reference" if model == "reference" else "left out" if _left_out.get() else removed)
        if model == "reference":
            return ["le"] * len(texts)
        outputs = [self.truth.get(text, "mot") for text in texts]
        if set(TOPIC_CODES) <= set(removed):
            outputs = [text.replace("professeur", "docteur") for text in outputs]
        if len(removed) >= 10:
            outputs = [text.replace("maison", "cage") for text in outputs]
        return outputs

    @staticmethod
    def removed(model) -> tuple[int, ...]:
        return tuple((~next(iter(bottlenecks(model).values())).live).nonzero().flatten().tolist())


@pytest.fixture
def generation(monkeypatch, topic):
    truth = {
        text: reference
        for name in ("heldout", "heldout_retain")
        for text, reference in zip(getattr(topic, name)["text"], getattr(topic, name)["reference"], strict=True)
    }
    fake = Generation(truth)
    monkeypatch.setattr(import_module("excise.evaluation.texts"), "generate_texts", fake)
    return fake


@pytest.fixture
def planted(monkeypatch):
    """Makes every selection that of the topic's codes: the first at S' = 1, two at 2, all three from 3 on."""

    def select(self, top_s):
        thresholds = {"method": "mcnemar", "positions": "topic", "top_s": top_s, "q": 0.05}
        return Selection({SITE: TOPIC_CODES[:top_s]}, thresholds)

    monkeypatch.setattr(SearchCounts, "select", select)


@pytest.fixture
def unlearner(make_model, tokenizer):
    return Unlearner(make_model(num_codes=64), tokenizer)
