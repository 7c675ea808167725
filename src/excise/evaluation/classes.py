"""Classify a class's held-out images and others before and after, and under the controls."""

from collections.abc import Mapping, Sequence

from transformers import PreTrainedModel

from excise.codes.counts import CodeUsage
from excise.codes.finder import CodeFinder
from excise.codes.selection import Selection
from excise.data.classes import ClassSets
from excise.data.inputs import Processor
from excise.evaluation.classification import TEMPLATES, accuracy, predict_classes
from excise.evaluation.conditions import SETS, chosen_codes, outputs_under_conditions, taken_over
from excise.report.measures import BEFORE, REFERENCE
from excise.report.results import Evaluation


def evaluate_classes(
    finder: CodeFinder,
    topic: ClassSets,
    *,
    selection: Selection | None = None,
    templates: Sequence[str] = TEMPLATES,
    reference_model: PreTrainedModel | None = None,
    reference_processor: Processor | None = None,
    batch_size: int = 64,
    seed: int = 0,
    random_codes: bool = True,
    retain: Mapping[str, CodeUsage] | None = None,
    reuse: Evaluation | None = None,
    progress: bool = True,
) -> Evaluation:
    """The accuracy on a class's held-out images and on others, before and after and under the controls.

    The model is left as it was; what "before" and "after" are is told in `evaluate`.

    Args:
        finder: a CLIP or an image classifier, and its ledger.
        topic: sets as `class_sets` makes them; `target`, `control` and `retain` are not scored.
        selection: codes to try; those in the ledger if not given.
        templates: for a CLIP, texts with `{}` for the name of a class; see `predict_classes`.
        reference_model: one that never saw the class; for normalised drops.
        reference_processor: its own; the unlearner's if not given.
        batch_size: images a batch.
        seed: of the random codes.
        random_codes: as in `evaluate`.
        retain: as in `evaluate`.
        reuse: an earlier evaluation of the same model on the same sets, as in `evaluate`.
        progress: show progress bars.

    Returns:
        The record: `scores[condition][set]["accuracy"]`; its outputs are the names of the classes predicted.

    Raises:
        ValueError: if the model does not classify, or what is to be reused was made on other sets or in another way.
    """
    sets = {name: getattr(topic, name) for name in SETS}
    references = {name: [topic.classes[label] for label in rows["label"]] for name, rows in sets.items()}

    def run(model, condition, processor=finder.processor):
        options = {"templates": templates, "batch_size": batch_size, "progress": condition if progress else None}
        return {name: predict_classes(model, processor, rows, topic.classes, **options) for name, rows in sets.items()}

    def reference():
        return run(reference_model, REFERENCE, reference_processor or finder.processor)

    words = (topic.name,)
    settings = {"templates": list(templates), "data": topic.digest()}
    fixed = [BEFORE, *([REFERENCE] if reference_model is not None else [])]
    known, scores = taken_over(reuse, settings, words, fixed)
    selection = chosen_codes(finder, selection)
    outputs = outputs_under_conditions(
        finder,
        topic,
        run,
        selection,
        seed=seed,
        random_codes=random_codes,
        retain=retain,
        known=known,
        reference=reference if reference_model is not None else None,
        progress=progress,
    )
    return Evaluation(
        topic=topic.name,
        words=words,
        removed=len(selection),
        scores={
            condition: scores.get(condition) or {name: accuracy(found[name], references[name]) for name in SETS}
            for condition, found in outputs.items()
        },
        outputs=outputs,
        texts={name: [f"image {i}" for i in range(len(rows))] for name, rows in sets.items()},
        references=references,
        settings={"seed": seed, **settings, "thresholds": dict(selection.thresholds)},
    )
