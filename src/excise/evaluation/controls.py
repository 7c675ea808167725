"""Controls of an evaluation: before, after, with random codes, without the bottleneck, and of other models."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel

from excise.bottlenecks.identity import weights_digest
from excise.bottlenecks.site import has_bottlenecks, needed
from excise.bottlenecks.site import left_out as without_bottlenecks
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
from excise.report.measures import FIXED, FORGET, RETAIN, Condition
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


@dataclass(frozen=True)
class Evaluated:
    """What is evaluated of a topic of one kind, and how.

    Attributes:
        words: the topic's.
        texts: by set, what is asked.
        references: by set, what is right.
        run: the outputs of a model, by set; its second argument is the condition.
        scores: by set, those of the outputs under a condition.
        settings: in what an evaluation has to agree that is reused.
        about: what its settings say beside.
        cut: the outputs with the word cut out, of those before; the condition is left out without it.
        base: gives the plain model; the condition is left out without it.
        reference: the outputs of the reference model; the condition is left out without it.
    """

    words: tuple[str, ...]
    texts: dict[str, list[str]]
    references: dict[str, list[str]]
    run: Callable[[PreTrainedModel, str], Outputs]
    scores: Callable[[str, Outputs], dict[str, dict[str, Any]]]
    settings: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)
    cut: Callable[[Outputs], Outputs] | None = None
    base: Callable[[], PreTrainedModel] | None = None
    reference: Callable[[], Outputs] | None = None


def _chosen_codes(finder: CodeFinder, selection: Selection | None) -> Selection:
    """The codes to evaluate without: a selection, or those in the ledger if none is given.

    Raises:
        ValueError: if the selection is another model's, or the model was trained since.
    """
    if selection is not None:
        return replace(selection.checked(finder.sites), identity=None)  # checked once, and not at each trial
    return Selection({site: finder.ledger.removed(site) for site in finder.sites})


def _rows_of(finder: CodeFinder, topic: ForgetSets, selection: Selection | None) -> Rows:
    """The embedding rows that go when codes of a selection, or without one those in the ledger, are deleted.

    Of a private topic there are none.
    """
    if selection is None:
        return rows_by_table(finder.model, finder.ledger.rows_of(("mask",)))
    return rows_to_erase(finder.model, finder.processor, topic, None, bool(topic.private))[0]


def _removed_after(finder: CodeFinder, selection: Selection, rows: Rows) -> dict[str, Any]:
    """Which codes are removed "after", the selection's and those that are deleted, and of which weights."""
    deleted = {site: finder.ledger.removed(site, kinds=("delete",)) for site in finder.sites}
    codes = {site: {*deleted[site], *selection.codes.get(site, ())} for site in finder.sites}
    about = {"codes": sum(map(len, codes.values())), "digest": codes_digest(codes)}
    gone = rows_by_table(finder.model, finder.ledger.erased_rows())
    erased = {name: {*gone.get(name, ()), *rows.get(name, ())} for name in {**gone, **rows}}
    return about | {"weights": weights_digest(finder.model, codes, erased)}


def evaluated(
    finder: CodeFinder,
    topic: ForgetSets,
    what: Evaluated,
    selection: Selection | None,
    *,
    seed: int,
    random_codes: bool,
    left_out: bool,
    erased: bool,
    target: Mapping[str, CodeCounts] | None,
    retain: Mapping[str, CodeCounts] | None,
    reuse: Evaluation | None,
    progress: bool,
) -> Evaluation:
    """Runs a model on a topic's held-out sets under each condition, and scores it; the model is left as it was.

    Args:
        finder: the model and its ledger.
        topic: the sets.
        what: how they are run and scored.
        selection: as in `evaluate`, and so is what follows.
        seed, random_codes, left_out, erased, target, retain, reuse, progress: likewise.

    Raises:
        ValueError: if `selection`, `target` or `retain` is of another model, or the model was trained since; or what
            is to be reused was made on other sets or in another way.
    """
    wanted = {
        Condition.BEFORE: True,
        Condition.CUT: what.cut is not None,
        Condition.LEFT_OUT: left_out,
        Condition.ERASED_LEFT_OUT: left_out and erased,
        Condition.BASE: what.base is not None,
        Condition.REFERENCE: what.reference is not None,
    }
    known, scores = _taken_over(reuse, what.settings, what.words, [c for c in FIXED if wanted[c]])
    base = None if what.base is None or Condition.BASE in known else what.base()
    rows = _rows_of(finder, topic, selection) if erased else {}
    selection = _chosen_codes(finder, selection)
    for which, given in {"target": target, "retain": retain}.items():
        for of_site in (given or {}).values():
            if of_site.identity is not None:
                again = f"Leave `{which}` out: they are made then"
                of_site.identity.check(finder.sites, f"Counts of the {which} set", again)
    outputs, settings = dict(known), {"seed": seed, **what.settings, **what.about}
    settings |= {"thresholds": dict(selection.thresholds), "removed": _removed_after(finder, selection, rows)}
    deleted = any(request.kind == "delete" for request in finder.ledger.requests)
    with finder.without_masks():
        if not deleted and Condition.BEFORE not in outputs:
            outputs[Condition.BEFORE] = what.run(finder.model, Condition.BEFORE)
        if what.cut is not None and not deleted and Condition.CUT not in outputs:
            outputs[Condition.CUT] = what.cut(outputs[Condition.BEFORE])
        with finder.trial(selection):
            outputs[Condition.AFTER] = what.run(finder.model, Condition.AFTER)
            if rows:
                with erased_for_a_while(finder.model, rows):
                    outputs[Condition.ERASED] = what.run(finder.model, Condition.ERASED)
        if random_codes and not deleted and len(selection):
            counts = {
                "target": use_counts(finder, topic.target, progress) if target is None else target,
                "retain": use_counts(finder, topic.retain, progress) if retain is None else retain,
            }
            drawn, settings["controls"] = _random_codes(finder, selection, counts, seed)
            for condition, codes in drawn.items():
                with finder.trial(codes):
                    outputs[condition] = what.run(finder.model, condition)
    if left_out and (reason := needed(finder.model)):
        settings["not_measured"] = {Condition.LEFT_OUT: reason}
    elif left_out:
        with without_bottlenecks(finder.model):
            if Condition.LEFT_OUT not in outputs:
                outputs[Condition.LEFT_OUT] = what.run(finder.model, Condition.LEFT_OUT)
            if rows and Condition.ERASED_LEFT_OUT not in outputs:
                with erased_for_a_while(finder.model, rows):
                    outputs[Condition.ERASED_LEFT_OUT] = what.run(finder.model, Condition.ERASED_LEFT_OUT)
    if base is not None:
        outputs[Condition.BASE] = what.run(base, Condition.BASE)
    if what.reference is not None and Condition.REFERENCE not in outputs:
        outputs[Condition.REFERENCE] = what.reference()
    outputs = {condition: outputs[condition] for condition in CONDITIONS if condition in outputs}
    return Evaluation(
        topic=topic.name,
        words=what.words,
        removed=len(selection),
        scores={condition: scores.get(condition) or what.scores(condition, of) for condition, of in outputs.items()},
        outputs=outputs,
        texts=what.texts,
        references=what.references,
        settings=settings,
    )


def _random_codes(
    finder: CodeFinder, selection: Selection, counts: Mapping[str, Mapping[str, CodeCounts]], seed: int
) -> tuple[dict[str, Selection], dict[str, Any]]:
    """As many random live codes, drawn twice: those that are as often used in the retain set, and in the target.

    Returns:
        The codes by condition, and what the settings say of them: how often they and the removed ones fire in the
        topic's target and retain set, each code once an example.
    """
    frequency = {name: _frequency(finder, of_set) for name, of_set in counts.items()}
    live = {site: bottleneck.live.cpu().numpy() for site, bottleneck in finder.sites.items()}
    drawn: dict[str, Selection] = {
        Condition.RANDOM: random_like(selection, frequency["retain"], live, seed),
        Condition.RANDOM_TOPIC: random_like(selection, frequency["target"], live, seed, TOPIC_NEIGHBOURS),
    }
    said: dict[str, Any] = {
        "examples": {name: next(iter(of_set.values())).num_examples for name, of_set in counts.items()},
        "fires": {
            condition: {name: _fires(codes, of_set) for name, of_set in frequency.items()}
            for condition, codes in {Condition.AFTER: selection, **drawn}.items()
        },
    }
    if (requests := _requests(finder, selection)) > 1:
        said["requests"] = requests
    return drawn, said


def _taken_over(
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
