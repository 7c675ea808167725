"""Sweep over S': evaluations of an unlearning at each number of codes, the paper's figures 3 to 5."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from excise.codes.finder import CodeFinder
from excise.codes.search import Search
from excise.codes.selection import Selection
from excise.data.classes import ClassSets
from excise.data.forget_sets import ForgetSets
from excise.data.questions import QuestionSets
from excise.evaluation.classes import evaluate_classes
from excise.evaluation.controls import use_counts
from excise.evaluation.decoder_answers import evaluate_answers
from excise.evaluation.texts import evaluate
from excise.report.results import Evaluation
from excise.report.sweep import Sweep
from excise.storage.expected import expects
from excise.storage.extras import require

# The paper's S' (section 4.2): 1 to 13 times its S.
TOP_S = (8, 24, 40, 56, 72, 88, 104)


@expects("finder", topic="sets", batch_size="number")
def sweep(
    finder: CodeFinder,
    topic: ForgetSets,
    *,
    top_s: Iterable[int] = TOP_S,
    preset: str | Search | Sequence[Search] = "default",
    tested: ForgetSets | None = None,
    batch_size: int = 64,
    random_codes: bool = True,
    reuse: Evaluation | None = None,
    progress: bool = True,
    **options: Any,
) -> Sweep:
    """Selects and evaluates a topic's codes at each S' (figures 3 and 4), without changing the model.

    The codes are counted once for all S', in the model without its masks. As many random live codes of like frequency
    are removed beside each selection.

    Args:
        finder: the model and its ledger, which must hold no deletion.
        topic: sets as `topic_sets` makes them, with references, or as `class_sets` or `question_sets` do.
        top_s: numbers S' of codes counted for each token, by every search of the preset.
        preset: how codes are found, as in `Unlearner.count`.
        tested: sets to evaluate on, in place of the topic's own.
        batch_size: sentences a batch.
        random_codes: as in `evaluate`.
        reuse: as in `evaluate`.
        progress: show progress bars.
        **options: the other arguments of `evaluate`; for classes, of `evaluate_classes`; for questions, of
            `evaluate_answers`.

    Raises:
        MissingExtraError: if texts are evaluated and the extra `text` is not installed.
        ValueError: if no S' is given, one is out of range, or codes were deleted, so that there is no model before.
    """
    tested = tested or topic
    of_words = not isinstance(tested, ClassSets | QuestionSets)
    if of_words:
        require("text", purpose="A sweep over texts")
    steps = _checked_steps(top_s)
    if any(request.kind == "delete" for request in finder.ledger.requests):
        raise ValueError("Codes of this model were deleted, so there is no model before. Sweep first, delete then.")
    started = time.perf_counter()
    with finder.without_masks():
        counts = finder.count(topic, preset, max_top_s=max(steps), batch_size=batch_size, progress=progress)
        profile_seconds = time.perf_counter() - started
        if random_codes:
            # Counted as they are used, which is not how a search counts.
            options |= {name: use_counts(finder, getattr(topic, name), progress) for name in ("target", "retain")}

    evaluate_one: Any = evaluate if of_words else evaluate_classes
    if isinstance(tested, QuestionSets):
        evaluate_one = evaluate_answers
    options.setdefault("erased", False)
    evaluations: dict[int, Evaluation] = {}
    selections: dict[int, Selection] = {}
    seconds: dict[int, float] = {}
    for step in steps:
        started = time.perf_counter()
        selections[step] = counts.select(step)
        seconds[step] = time.perf_counter() - started
        evaluations[step] = evaluate_one(
            finder,
            tested,
            selection=selections[step],
            batch_size=batch_size,
            random_codes=random_codes,
            reuse=reuse,
            progress=progress,
            **options,
        )
        reuse = reuse or evaluations[step]
        if of_words:
            options["words"] = reuse.words
    return Sweep(topic.name, tested.name, evaluations, selections, seconds, profile_seconds)


def _checked_steps(top_s: Iterable[int]) -> list[int]:
    steps = sorted(set(top_s))
    if not steps or steps[0] < 1:
        raise ValueError(f"top_s={steps}: expected numbers of codes per token, from 1 up, such as (8, 24).")
    return steps
