"""Controls of an evaluation: the conditions before, after, with random codes and without the bottleneck."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import PreTrainedModel

from excise.codes.counting import count_codes
from excise.codes.counts import CodeCounts
from excise.codes.finder import CodeFinder
from excise.codes.selection import Selection, random_like
from excise.data.forget_sets import ForgetSets
from excise.report.measures import FORGET, RETAIN, Condition
from excise.report.results import Evaluation

SETS = (FORGET, RETAIN)
CONDITIONS = (Condition.BEFORE, Condition.CUT, Condition.AFTER, Condition.RANDOM, Condition.REFERENCE)
Outputs = dict[str, list[str]]


def chosen_codes(finder: CodeFinder, selection: Selection | None) -> Selection:
    """The codes to evaluate without: a selection, or those in the ledger if none is given."""
    if selection is not None:
        return selection
    return Selection({site: finder.ledger.removed(site) for site in finder.sites})


def outputs_under_conditions(
    finder: CodeFinder,
    topic: ForgetSets,
    run: Callable[[PreTrainedModel, str], Outputs],
    selection: Selection,
    *,
    seed: int,
    random_codes: bool,
    retain: Mapping[str, CodeCounts] | None,
    known: Mapping[str, Outputs],
    cut: Callable[[Outputs], Outputs] | None = None,
    reference: Callable[[], Outputs] | None = None,
    progress: bool = True,
) -> dict[str, Outputs]:
    """What a model puts out on the held-out sets under each condition; the model is left as it was.

    Once codes are deleted there is no "before" and no random control.

    Args:
        finder: the model and its ledger.
        topic: the sets.
        run: the outputs of a model, by set; its second argument is the condition.
        selection: the codes that are removed "after".
        seed: of the random codes.
        random_codes: whether to run with as many random live codes removed instead.
        retain: counts over the retain set, on which these are matched; made if not given.
        known: outputs under conditions that need not be run again.
        cut: the outputs with the word cut out, of those before; the condition is left out without it.
        reference: the outputs of the reference model; the condition is left out without it.
        progress: show progress bars.
    """
    outputs = dict(known)
    deleted = any(request.kind == "delete" for request in finder.ledger.requests)
    with finder.without_masks():
        if not deleted and Condition.BEFORE not in outputs:
            outputs[Condition.BEFORE] = run(finder.model, Condition.BEFORE)
        if cut is not None and not deleted and Condition.CUT not in outputs:
            outputs[Condition.CUT] = cut(outputs[Condition.BEFORE])
        with finder.trial(selection):
            outputs[Condition.AFTER] = run(finder.model, Condition.AFTER)
        if random_codes and not deleted and len(selection):
            with finder.trial(_random_codes(finder, topic, selection, seed, retain, progress)):
                outputs[Condition.RANDOM] = run(finder.model, Condition.RANDOM)
    if reference is not None and Condition.REFERENCE not in outputs:
        outputs[Condition.REFERENCE] = reference()
    return {condition: outputs[condition] for condition in CONDITIONS if condition in outputs}


def taken_over(
    reuse: Evaluation | None, settings: Mapping[str, Any], words: tuple[str, ...], wanted: Sequence[str]
) -> tuple[dict, dict]:
    """Outputs and scores that an earlier evaluation made under conditions that do not change.

    Raises:
        ValueError: if it was made on other sets or in another way.
    """
    if reuse is None:
        return {}, {}
    made = {name: reuse.settings.get(name) for name in settings} | {"words": tuple(reuse.words)}
    other = [name for name, value in {**settings, "words": words}.items() if made[name] != value]
    if other:
        raise ValueError(
            f"The evaluation to reuse differs in {', '.join(other)}. Give one made in the same way, or none."
        )
    kept = [condition for condition in wanted if condition in reuse.outputs]
    return {c: reuse.outputs[c] for c in kept}, {c: reuse.scores[c] for c in kept}


def retain_counts(finder: CodeFinder, topic: ForgetSets, progress: bool = True) -> dict[str, CodeCounts]:
    """How often each code is used on the retain set: what random codes are matched on."""
    return count_codes(finder.model, finder.processor, topic.retain, max_top_s=finder.top_s, progress=progress)


def _random_codes(
    finder: CodeFinder,
    topic: ForgetSets,
    selection: Selection,
    seed: int,
    retain: Mapping[str, CodeCounts] | None,
    progress: bool,
) -> Selection:
    """As many live codes as were selected, of like frequency on the retain set."""
    retain = retain_counts(finder, topic, progress) if retain is None else retain
    top_s = finder.top_s
    frequency = {site: counts.example_counts(min(top_s, counts.max_top_s)).numpy() for site, counts in retain.items()}
    live = {site: bottleneck.live.cpu().numpy() for site, bottleneck in finder.sites.items()}
    return random_like(selection, frequency, live, seed)
