"""Controls of an evaluation: before, after, with random codes, without the bottleneck, and of other models."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel

from excise.bottlenecks.identity import weights_digest
from excise.bottlenecks.site import has_bottlenecks, left_out, needed
from excise.codes.counting import count_used
from excise.codes.counts import CodeCounts
from excise.codes.finder import CodeFinder
from excise.codes.selection import Selection, random_like
from excise.data.forget_sets import ForgetSets
from excise.data.inputs import tokenizer_of
from excise.deletion.depth import rows_to_erase
from excise.ledger.embeddings import erased_for_a_while
from excise.ledger.erased_tables import rows_by_table
from excise.ledger.packing import codes_digest
from excise.ledger.request import Rows
from excise.models.loading import has_tokenizer, load_model, load_processor
from excise.report.measures import FORGET, RETAIN, Condition
from excise.report.results import Evaluation

SETS = (FORGET, RETAIN)
CONDITIONS = (
    Condition.BEFORE,
    Condition.CUT,
    Condition.AFTER,
    Condition.LEFT_OUT,
    Condition.ERASED,
    Condition.ERASED_LEFT_OUT,
    Condition.RANDOM,
    Condition.RANDOM_TOPIC,
    Condition.BASE,
    Condition.REFERENCE,
)
# Few codes but the selected fire as often on the topic's sentences: a draw among more would match badly.
TOPIC_NEIGHBOURS = 5
Outputs = dict[str, list[str]]


class Controlled(NamedTuple):
    """What an evaluation ran.

    Args:
        outputs: by condition, in the order in which they are shown.
        settings: what the evaluation's settings say of it: `controls`, how often the removed and the random codes fire
            in the topic's target and retain set, each code once an example; `not_measured`, by condition why.
    """

    outputs: dict[str, Outputs]
    settings: dict[str, Any]


def chosen_codes(finder: CodeFinder, selection: Selection | None) -> Selection:
    """The codes to evaluate without: a selection, or those in the ledger if none is given.

    Raises:
        ValueError: if the selection is another model's, or the model was trained since.
    """
    if selection is not None:
        return replace(selection.checked(finder.sites), identity=None)  # checked once, and not at each trial
    return Selection({site: finder.ledger.removed(site) for site in finder.sites})


def rows_of(finder: CodeFinder, topic: ForgetSets, selection: Selection | None) -> Rows:
    """The embedding rows that go with the codes to evaluate without, when these are deleted; none of a private topic.

    Args:
        finder: the model and its ledger.
        topic: the sets.
        selection: codes to try; those in the ledger, with their rows, if not given.
    """
    if selection is None:
        return rows_by_table(finder.model, finder.ledger.rows_of(("mask",)))
    return rows_to_erase(finder.model, finder.processor, topic, None, bool(topic.private))[0]


def removed_after(finder: CodeFinder, selection: Selection, rows: Rows) -> dict[str, Any]:
    """Which codes are removed "after", the selection's and those that are deleted, and of which weights."""
    deleted = {site: finder.ledger.removed(site, kinds=("delete",)) for site in finder.sites}
    codes = {site: {*deleted[site], *selection.codes.get(site, ())} for site in finder.sites}
    about = {"codes": sum(map(len, codes.values())), "digest": codes_digest(codes)}
    gone = rows_by_table(finder.model, finder.ledger.erased_rows())
    erased = {name: {*gone.get(name, ()), *rows.get(name, ())} for name in {**gone, **rows}}
    return about | {"weights": weights_digest(finder.model, codes, erased)}


def outputs_under_conditions(
    finder: CodeFinder,
    topic: ForgetSets,
    run: Callable[[PreTrainedModel, str], Outputs],
    selection: Selection,
    *,
    seed: int,
    random_codes: bool,
    leave_out: bool,
    target: Mapping[str, CodeCounts] | None,
    retain: Mapping[str, CodeCounts] | None,
    known: Mapping[str, Outputs],
    rows: Rows,
    cut: Callable[[Outputs], Outputs] | None = None,
    base: PreTrainedModel | None = None,
    reference: Callable[[], Outputs] | None = None,
    progress: bool = True,
) -> Controlled:
    """What a model puts out on the held-out sets under each condition; the model is left as it was.

    Once codes are deleted there is no "before" and no random control.

    Args:
        finder: the model and its ledger.
        topic: the sets.
        run: the outputs of a model, by set; its second argument is the condition.
        selection: the codes that are removed "after".
        seed: of the random codes.
        random_codes: whether to run with as many random live codes removed instead, drawn twice: those that are as
            often used in the retain set, and in the target.
        leave_out: whether to run without the bottlenecks.
        target: counts over the target, on which the second are matched; made if not given.
        retain: counts over the retain set, on which the first are matched; made if not given.
        known: outputs under conditions that need not be run again.
        rows: by embedding table, the tokens whose rows go when the codes are deleted.
        cut: the outputs with the word cut out, of those before; the condition is left out without it.
        base: the plain model; the condition is left out without it.
        reference: the outputs of the reference model; the condition is left out without it.
        progress: show progress bars.

    Raises:
        ValueError: if `target` or `retain` is of another model, or the model was trained since.
    """
    for which, given in {"target": target, "retain": retain}.items():
        for of_site in (given or {}).values():
            if of_site.identity is not None:
                again = f"Leave `{which}` out: they are made then"
                of_site.identity.check(finder.sites, f"Counts of the {which} set", again)
    outputs, settings = dict(known), {}
    deleted = any(request.kind == "delete" for request in finder.ledger.requests)
    with finder.without_masks():
        if not deleted and Condition.BEFORE not in outputs:
            outputs[Condition.BEFORE] = run(finder.model, Condition.BEFORE)
        if cut is not None and not deleted and Condition.CUT not in outputs:
            outputs[Condition.CUT] = cut(outputs[Condition.BEFORE])
        with finder.trial(selection):
            outputs[Condition.AFTER] = run(finder.model, Condition.AFTER)
            if rows:
                with erased_for_a_while(finder.model, rows):
                    outputs[Condition.ERASED] = run(finder.model, Condition.ERASED)
        if random_codes and not deleted and len(selection):
            counts = {
                "target": use_counts(finder, topic.target, progress) if target is None else target,
                "retain": use_counts(finder, topic.retain, progress) if retain is None else retain,
            }
            frequency = {name: _frequency(finder, of_set) for name, of_set in counts.items()}
            live = {site: bottleneck.live.cpu().numpy() for site, bottleneck in finder.sites.items()}
            drawn = {
                Condition.RANDOM: random_like(selection, frequency["retain"], live, seed),
                Condition.RANDOM_TOPIC: random_like(selection, frequency["target"], live, seed, TOPIC_NEIGHBOURS),
            }
            for condition, codes in drawn.items():
                with finder.trial(codes):
                    outputs[condition] = run(finder.model, condition)
            settings["controls"] = {
                "examples": {name: next(iter(of_set.values())).num_examples for name, of_set in counts.items()},
                "fires": {
                    condition: {name: _fires(codes, of_set) for name, of_set in frequency.items()}
                    for condition, codes in {Condition.AFTER: selection, **drawn}.items()
                },
            }
            if (requests := _requests(finder, selection)) > 1:
                settings["controls"]["requests"] = requests
    if leave_out and (reason := needed(finder.model)):
        settings["not_measured"] = {Condition.LEFT_OUT: reason}
    elif leave_out and Condition.LEFT_OUT not in outputs:
        with left_out(finder.model):
            outputs[Condition.LEFT_OUT] = run(finder.model, Condition.LEFT_OUT)
    if leave_out and rows and not needed(finder.model) and Condition.ERASED_LEFT_OUT not in outputs:
        with left_out(finder.model), erased_for_a_while(finder.model, rows):
            outputs[Condition.ERASED_LEFT_OUT] = run(finder.model, Condition.ERASED_LEFT_OUT)
    if base is not None and Condition.BASE not in outputs:
        outputs[Condition.BASE] = run(base, Condition.BASE)
    if reference is not None and Condition.REFERENCE not in outputs:
        outputs[Condition.REFERENCE] = reference()
    return Controlled({condition: outputs[condition] for condition in CONDITIONS if condition in outputs}, settings)


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


def base_model(base: str | os.PathLike | PreTrainedModel, finder: CodeFinder) -> PreTrainedModel:
    """The plain model that a finder's was built on; one that is given by name is loaded to where that is.

    Raises:
        ValueError: if it has bottlenecks itself, does not generate where the finder's does, or reads texts by another
            vocabulary.
    """
    named = None if isinstance(base, PreTrainedModel) else os.fspath(base)
    model = base if isinstance(base, PreTrainedModel) else load_model(base).eval().to(finder.model.device)
    name = f"The base model, {f'a {type(model).__name__},' if named is None else repr(named) + ','}"
    if has_bottlenecks(model):
        raise ValueError(
            f"{name} has bottlenecks. Give the plain model that they were put into, as it was or trained on in "
            "the same way; another model is a `reference_model`."
        )
    if finder.model.can_generate() and not model.can_generate():
        raise ValueError(f"{name} does not generate texts. Give the one that the bottlenecks were put into.")
    if not (model.can_generate() or hasattr(model, "get_text_features")):
        return model
    sizes = [getattr(of.config.get_text_config(), "vocab_size", None) for of in (model, finder.model)]
    own, words = tokenizer_of(finder.processor), None
    if named is not None and has_tokenizer(named):
        words = tokenizer_of(load_processor(named)).get_vocab()
    if sizes[0] != sizes[1] or (words is not None and words != own.get_vocab()):
        raise ValueError(
            f"{name} reads another vocabulary than the model: it has {sizes[0]} embeddings"
            + (f" and a tokenizer of {len(words)} tokens" if words is not None else "")
            + f", the model has {sizes[1]} and a tokenizer of {len(own)} tokens. Give the model that the bottlenecks "
            "were put into; one with a tokenizer of its own is a `reference_model` with a `reference_tokenizer`."
        )
    return model


def use_counts(finder: CodeFinder, rows: Dataset, progress: bool = True) -> dict[str, CodeCounts]:
    """How often each code is used in a set: what random codes are matched on."""
    return count_used(finder.model, finder.processor, rows, progress=progress, index=finder.index)


def _frequency(finder: CodeFinder, counts: Mapping[str, CodeCounts]) -> dict[str, np.ndarray]:
    """By site, in how many examples each code is used, `(num_codes,)`."""
    return {site: of.example_counts(min(finder.top_s, of.max_top_s)).numpy() for site, of in counts.items()}


def _requests(finder: CodeFinder, selection: Selection) -> int:
    """How many requests removed the codes of a selection: all that are in force, if it is all that is removed."""
    of_all = all({*finder.ledger.removed(site)} == {*selection.codes.get(site, ())} for site in finder.sites)
    return len(finder.ledger.requests_in_force()) if of_all else 1


def _fires(codes: Selection, frequency: Mapping[str, np.ndarray]) -> int:
    """How often codes fire, each once an example."""
    return sum(int(frequency[site][list(ids)].sum()) for site, ids in codes.codes.items())
