"""Evidence made by hand: what a tiny model forgot, with numbers and sentences that are known."""

from dataclasses import replace

import numpy as np

from excise.codes.enrichment import CountTable, enrich_counts
from excise.codes.selection import Selection, Step
from excise.report.attacks import (
    NOT_MEASURED,
    NOT_WITHSTOOD,
    WITHSTOOD,
    AttackReport,
    AttackResult,
    Attempt,
)
from excise.unlearner import Unlearner

SITE = "encoder.block.1"
ALL, HALF = 40, 20  # examples in which a code that is the topic's own fires, and one that is anyone's


def text_evaluation(topic="teacher", **changes) -> dict:
    """An evaluation of texts, as `Evaluation.to_dict` gives it."""

    def scores(recall, bleu, retain):
        interval = {"low": max(0.0, recall - 0.1), "high": min(1.0, recall + 0.1), "hits": round(40 * recall)}
        topic_scores = {"bleu": bleu, "chrf": bleu + 20, "rest_bleu": bleu, "recall": recall, "total": 40, **interval}
        return {"heldout": topic_scores, "heldout_retain": {"bleu": retain, "chrf": retain + 20}}

    after = ["Le chat voit une maison.", "Je lis un livre."]
    before = ["Le professeur voit une maison.", "Je lis un livre."]
    outputs = {
        condition: {"heldout": texts, "heldout_retain": ["Bonjour."]}
        for condition, texts in {"before": before, "after": after, "random codes": before}.items()
    }
    return {
        "topic": topic,
        "words": ["professeur"],
        "removed": 2,
        "scores": {
            "before": scores(0.7, 35.4, 30.7),
            "after": scores(0.1, 14.9, 30.1),
            "random codes": scores(0.7, 34.7, 31.9),
        },
        "outputs": outputs,
        "texts": {"heldout": ["The teacher sees a house.", "I read a book."], "heldout_retain": ["Hello."]},
        "references": {"heldout": ["Le professeur voit une maison.", "Je lis."], "heldout_retain": ["Bonjour."]},
        "settings": {"seed": 0, "num_beams": 1, "max_new_tokens": 24, "thresholds": {}},
    } | changes


def class_evaluation(topic="red") -> dict:
    """An evaluation of classes, as `Evaluation.to_dict` gives it."""

    def scores(forget, retain):
        def one(value):
            return {"accuracy": value, "low": value * 0.9, "high": min(1, value * 1.1), "hits": 1, "total": 10}

        return {"heldout": one(forget), "heldout_retain": one(retain)}

    return text_evaluation(topic) | {
        "words": [topic],
        "scores": {"before": scores(0.9, 0.8), "after": scores(0.0, 0.79), "random codes": scores(0.89, 0.8)},
        "outputs": {
            "before": {"heldout": ["red", "red"], "heldout_retain": ["blue"]},
            "after": {"heldout": ["blue", "green"], "heldout_retain": ["blue"]},
            "random codes": {"heldout": ["red", "red"], "heldout_retain": ["blue"]},
        },
        "texts": {"heldout": ["image 0", "image 1"], "heldout_retain": ["image 0"]},
        "references": {"heldout": ["red", "red"], "heldout_retain": ["blue"]},
    }


def class_frontier(topic="red") -> dict:
    """A frontier, as `Frontier.to_dict` gives it."""
    points = [[0, 0, 0.9, 0.8], [100, 90, 0.5, 0.8], [200, 170, 0.1, 0.79], [400, 300, 0.0, 0.75]]
    return {"topic": topic, "method": "activations", "points": points, "examples": [100, 300], "thresholds": {}}


def enrichment_of(num_codes=32, own=(3, 7), site=SITE):
    """A table in which some codes are a topic's own and all others anyone's."""
    target, control = np.full(num_codes, HALF), np.full(num_codes, HALF)
    only_target, only_control = np.full(num_codes, 5), np.full(num_codes, 5)
    target[list(own)], control[list(own)] = ALL, 0
    only_target[list(own)], only_control[list(own)] = ALL, 0
    table = CountTable(target, control, ALL, ALL, only_target, only_control)
    return enrich_counts({site: table}, "mcnemar", top_s=6, positions="topic")


def forgetful_model(make_model, tokenizer):
    """A tiny T5 that has forgotten *teacher*: two codes are masked."""
    model = make_model()
    Unlearner(model, tokenizer).mask(Selection({SITE: [3, 7]}, {"q": 0.05, "method": "mcnemar"}), "teacher")
    return model


def selection_in_rounds() -> Selection:
    """Codes of a topic that were chosen in two rounds, 3 and 7 in the first and 11 in the second, with their tables."""
    one, other = (
        Selection(
            {SITE: codes},
            thresholds := {"method": "mcnemar", "q": q},
            steps=(Step(1, {SITE: codes}, thresholds, enrichment_of(own=codes)),),
        )
        for codes, q in (((3, 7), 0.05), ((11,), 0.01))
    )
    return one.with_more(other)


def attack_report(topic="teacher", removed=None, **changes):
    """A report of attacks: one withstood, one not, one by steps, and one that failed.

    Args:
        topic: what was attacked.
        removed: of the model that was attacked, as `removed_section` tells it.
        **changes: other fields.
    """
    settings = {"examples": 16, "rate": 1e-3, "trained": "all weights", "opened": "as shared", "data": "topic"}
    steps = tuple(
        Attempt(
            settings | {"draw": draw},
            2.0 + draw,
            4.0,
            hits=12,
            total=20,
            curve=(1, 4, 8, 12),
            null_curve=(0, 1, 3, 5, 9),
        )
        for draw in range(3)
    )
    left_out = Attempt({"how": "plain class"}, 0.6, 0.05, 12, 20, quality=30.0)
    of_texts = {"null_is": "never saw it", "before": 0.75, "after": 0.05}
    found = {
        "left out": ("recall", 0.6, (0.4, 0.8), 0.05, (left_out,), NOT_WITHSTOOD, "The professeur comes back."),
        "rounded": ("recall", 0.05, (0.0, 0.2), 0.05, (), WITHSTOOD, "Nothing comes back."),
        "learnt again": ("steps", 0.75, (0.6, 0.9), 1.0, steps, NOT_MEASURED, "Too few draws of the professeur."),
    }
    results = [
        AttackResult(name, of[0], *of[1:4], **of_texts, attempts=of[4], verdict=of[5], reason=of[6], seconds=30.0)
        for name, of in found.items()
    ]
    results.append(AttackResult.not_measured("guessed", "rank", "It failed: ValueError: no such professeur."))
    known = {"seed": 0, "words": ["professeur"], "cases": 20, "removed": removed or {}}
    known["attacks"] = {"guessed": {"words": ["professeur"]}}
    models = {"original": "a" * 64, "removed": "b" * 64, "never_saw": "c" * 64}
    report = AttackReport(topic, "codes", tuple(results), models, known, 90.0)
    return replace(report, **changes)
