"""Notes on an evaluation: its table in plain text, whether there was anything to forget, how well controls match."""

from math import isnan
from typing import TYPE_CHECKING

from excise.report.measures import FORGET, RETAIN, Condition, measure
from excise.statistics import clopper_pearson

if TYPE_CHECKING:
    from excise.report.results import Evaluation

# What a trained bottleneck keeps of the score without it, at least; and what is too little to tell: a BLEU, and rows.
KEPT, LEAST_BLEU, LEAST_ROWS = 0.8, 5.0, 20


def score_table(evaluation: "Evaluation") -> str:
    """One row a condition, and the notes below."""
    head, rows = {"classes": _of_classes, "answers": _of_answers, "texts": _of_texts}[evaluation.kind](evaluation)
    width = max(16, *map(len, rows)) if rows else 16
    first, *labels = head
    lines = [first, *(f"{'':{width}} | {label}" for label in labels)]
    lines += [f"{condition:{width}} | {row}" for condition, row in rows.items()]
    return "\n".join([*lines, *notes(evaluation)])


def _of_classes(evaluation: "Evaluation") -> tuple[list[str], dict[str, str]]:
    head = [
        f"Class {evaluation.topic!r}: {evaluation.removed} codes removed. {len(evaluation.texts[FORGET])} held-out "
        f"images of the class, {len(evaluation.texts[RETAIN])} of others. Accuracy (95 %):",
        f"{'of the class':<20} | {'of others':<20}",
    ]
    rows = {
        condition: " | ".join(
            f"{of_set['accuracy']:.3f} [{of_set['low']:.3f}, {of_set['high']:.3f}]"
            for of_set in (sets[FORGET], sets[RETAIN])
        )
        for condition, sets in evaluation.scores.items()
    }
    return head, rows


def _of_answers(evaluation: "Evaluation") -> tuple[list[str], dict[str, str]]:
    generated = all("rouge_l" in of_set for sets in evaluation.scores.values() for of_set in sets.values())
    head = [
        f"Questions {evaluation.topic!r}: {evaluation.removed} codes removed. {len(evaluation.texts[FORGET])} held-out "
        f"questions to forget, {len(evaluation.texts[RETAIN])} others. Probability of the answers (95 %)"
        + (", ROUGE-L recall:" if generated else ":"),
        f"{'to forget':<28} | {'others':<28}",
    ]
    rows = {
        condition: " | ".join(
            f"{of_set['probability']:.3f} [{of_set['low']:.3f}, {of_set['high']:.3f}]"
            + (f"  {of_set['rouge_l']:.3f}  " if generated else "")
            for of_set in (sets[FORGET], sets[RETAIN])
        )
        for condition, sets in evaluation.scores.items()
    }
    return head, rows


def _of_texts(evaluation: "Evaluation") -> tuple[list[str], dict[str, str]]:
    head = [
        f"Topic {evaluation.topic!r}: {evaluation.removed} codes removed. "
        f"{len(evaluation.texts[FORGET])} held-out sentences with the topic, {len(evaluation.texts[RETAIN])} without.",
        f"{'with the topic':^52} | {'without':^13}",
        f"{'BLEU':>6} {'chrF':>6} {'rest BLEU':>9}   {'topic recall (95 %)':<26} | {'BLEU':>6} {'chrF':>6}",
    ]
    rows = {}
    for condition, sets in evaluation.scores.items():
        topic, retain = sets[FORGET], sets[RETAIN]
        recall = "-"
        if "recall" in topic:
            recall = f"{topic['recall']:.3f} [{topic['low']:.3f}, {topic['high']:.3f}] of {topic['total']}"
        rows[condition] = (
            f"{topic['bleu']:6.1f} {topic['chrf']:6.1f} {topic['rest_bleu']:9.1f}   {recall:<26} "
            f"| {retain['bleu']:6.1f} {retain['chrf']:6.1f}"
        )
    return head, rows


def notes(evaluation: "Evaluation") -> list[str]:
    """Sentences that belong below an evaluation's table."""
    sentences = [nothing_to_forget(evaluation), hardly_trained(evaluation), _cost(evaluation), firings(evaluation)]
    sentences.append(_cut_off(evaluation))
    missing = evaluation.settings.get("not_measured", {})
    sentences += [f"Not measured: {condition}. {reason}" for condition, reason in missing.items()]
    return [sentence for sentence in sentences if sentence]


def nothing_to_forget(evaluation: "Evaluation") -> str | None:
    """Why there was nothing to forget, as far as can be told; `None` where there was something.

    That is where the 95 % interval of topic recall, or of the accuracy on a class, before overlaps one of these: with
    the word cut out of the sentences, where what is still said is guessed; of guessing among the classes; of none
    right. Where so few examples were tried that all of them right would overlap the last two, nothing is said of these.
    """
    name = evaluation.telling(FORGET)
    before = evaluation.score(name or "", FORGET, Condition.BEFORE)
    if name is None or before.low is None or before.high is None:
        return None
    others = []
    known = {Condition.CUT: f"with the {Condition.CUT}"}
    if evaluation.kind == "answers":
        known = {Condition.REFERENCE: f"of the {Condition.REFERENCE}"}
    for condition, said in known.items():
        floor = evaluation.score(name, FORGET, condition)
        if floor.low is not None and floor.high is not None:
            others.append((f"{said} {floor.text}", floor.low, floor.high))
    total, classes = evaluation.scores[Condition.BEFORE][FORGET].get("total"), evaluation.settings.get("num_classes")
    if total and evaluation.kind != "answers":
        hits = round(total / classes) if classes and evaluation.of_classes else 0
        guessed = f"by guessing among {classes} classes {hits / total:.3f}" if hits else f"with none of {total} right 0"
        least = clopper_pearson(hits, total)
        if least.high < clopper_pearson(total, total).low:
            others.append((guessed, *least))
    for other, low, high in others:
        if before.low <= high and low <= before.high:
            return (
                f"Nothing to forget, as far as can be told: {measure(name).label} before is {before.text} "
                f"[{before.low:.3f}, {before.high:.3f}], and {other} [{low:.3f}, {high:.3f}]. "
                + _what_to_do(evaluation, total)
            )
    return None


def _what_to_do(evaluation: "Evaluation", total: int | None) -> str:
    """What whoever finds nothing to forget looks at."""
    if total and total < LEAST_ROWS:
        return f"Only {total} examples were tried, of which so many can be chance: give more to tell."
    if evaluation.kind == "answers":
        return "Look at its answers before: the model may need more training, or other prompts (`PromptFormat`)."
    if evaluation.of_classes:
        return "Look whether the model was trained on this class and the images are processed as in its training."
    return (
        "Look at its outputs before: if they are right, give other words=; if not, see whether a prefix= is missing or "
        "the model needs more training or more sentences with the topic."
    )


def hardly_trained(evaluation: "Evaluation") -> str | None:
    """Whether the bottleneck was hardly trained, in a sentence; `None` where it was, or where that cannot be told.

    The rule: on the set without the topic, the score before is less than four fifths of the higher one of two others,
    that with the bottleneck left out and that of the base model, which a bottleneck that was trained to its end comes
    close to. Not where a score is below `LEAST_BLEU` anyway, or there are fewer than `LEAST_ROWS` rows.
    """
    name = evaluation.telling(RETAIN)
    if name not in ("bleu", "accuracy", "probability") or len(evaluation.references.get(RETAIN, ())) < LEAST_ROWS:
        return None
    scores = {c: evaluation.score(name, RETAIN, c) for c in (Condition.LEFT_OUT, Condition.BASE)}
    there = {condition: score for condition, score in scores.items() if score.value is not None}
    before = evaluation.score(name, RETAIN, Condition.BEFORE)
    if before.value is None or not there:
        return None
    condition, best = max(there.items(), key=lambda item: item[1].value or 0.0)
    if best.value is None or best.value < (LEAST_BLEU if name == "bleu" else 0.0) or before.value >= KEPT * best.value:
        return None
    which = "with the" if condition == Condition.LEFT_OUT else "of the"
    return (
        f"Hardly trained: {measure(name).label} without the topic is {before.text} before and {best.text} {which} "
        f"{condition}; a trained bottleneck keeps at least {100 * KEPT:.0f} % of it. Train the model longer: "
        "what is measured of this one says little of forgetting."
    )


def _cut_off(evaluation: "Evaluation") -> str | None:
    """How many held-out sentences were not scored, as the model does not read as far as the topic's word."""
    if not (cut := evaluation.settings.get("cut_off")):
        return None
    return (
        f"{cut['sentences']} of {cut['of']} held-out sentences are left out: they are cut off before the topic's word, "
        f"at {cut['max_length']} tokens."
    )


def _cost(evaluation: "Evaluation") -> str | None:
    """What the bottleneck itself costs, beside the base model."""
    parts = []
    for dataset, where in {FORGET: "with the topic", RETAIN: "without"}.items():
        name = evaluation.telling(dataset) or ""
        base, before = (evaluation.score(name, dataset, c).text for c in (Condition.BASE, Condition.BEFORE))
        cost = evaluation.bottleneck_cost(dataset, of=100)
        if not isnan(cost):
            parts.append(f"{measure(name).label} {where} {base} to {before} ({0 - cost:+.1f} %)")
    return f"The bottleneck itself, from the base model to before: {', '.join(parts)}." if parts else None


def firings(evaluation: "Evaluation") -> str | None:
    """How often the removed codes fire, and the random ones that are held against them; each once an example."""
    controls = evaluation.settings.get("controls")
    if not controls:
        return None
    target, retain = (controls["examples"][name] for name in ("target", "retain"))
    fires = dict(controls["fires"])
    several = controls.get("requests", 1)
    of_all = f", those of all {several} requests in force together," if several > 1 else ""
    parts = [f"the removed codes{of_all} {_times(fires.pop(Condition.AFTER))}"]
    parts += [f"{condition} {_times(of_codes)}" for condition, of_codes in fires.items()]
    return f"Firings in the topic's {target:,} and {retain:,} other examples: {', '.join(parts)}."


def _times(fires: dict[str, int]) -> str:
    return f"{fires['target']:,} and {fires['retain']:,}"
