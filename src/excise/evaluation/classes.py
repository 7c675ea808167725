"""Evaluation of image classifiers: a class's held-out images and others, before and after and under the controls."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset, IterableDataset
from torch import Tensor
from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, PreTrainedModel

from excise.codes.counts import CodeCounts
from excise.codes.finder import CodeFinder
from excise.codes.selection import Selection
from excise.data.batches import RowBatch, RowBatches, to_device
from excise.data.classes import ClassSets
from excise.data.inputs import ENCODINGS, Processor, inputs_of, tokenizer_of
from excise.evaluation.controls import SETS, Evaluated, base_model, evaluated
from excise.evaluation.predictions import joined_pass
from excise.models.activations import eval_mode
from excise.models.class_order import own_classes, places_in_model
from excise.report.measures import Condition
from excise.report.results import Evaluation
from excise.statistics import clopper_pearson
from excise.storage.expected import expects

# What a class's name is put into, where the model is asked in words.
TEMPLATES = ("a photo of a {}",)


@expects("model", "processor", "dataset")
def predict_classes(
    model: PreTrainedModel,
    processor: Processor,
    dataset: Dataset | IterableDataset,
    classes: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    batch_size: int = 64,
    progress: str | None = None,
) -> list[str]:
    """The class that a model takes each image for, in the order of the images.

    A classifier's is that of its largest logit. A CLIP's is the one whose name, put into templates, it finds most like
    the image: zero-shot classification, with the mean of a name's embeddings over the templates.

    The processes of a run that call it share the batches, and each gets all classes.

    Args:
        model: a CLIP or an image classifier; run in eval mode and left as it was.
        processor: the model's; with a tokenizer, for a CLIP.
        dataset: rows with an image, which may be a stream; or, for a model with a frozen encoder, its `encodings`.
        classes: the names; a classifier's own decide which output is which, where its config has any.
        templates: texts with `{}` for the name.
        batch_size: images a batch.
        progress: label of a progress bar; none is shown without it.

    Raises:
        ValueError: if the model can do neither, has another number of classes, or a template has no place for a name.
    """
    options: dict[str, Any] = {"templates": templates, "batch_size": batch_size, "progress": progress}
    names, logits = class_logits(model, processor, dataset, classes, **options)
    return [names[i] for i in logits.argmax(-1).tolist()]


@torch.inference_mode()
def class_logits(
    model: PreTrainedModel,
    processor: Processor,
    dataset: Dataset | IterableDataset,
    classes: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    batch_size: int = 64,
    progress: str | None = None,
) -> tuple[list[str], Tensor]:
    """How sure a model is of each class for each image; arguments and errors as in `predict_classes`.

    A CLIP's are the similarities of image and name, times its own scale.

    Returns:
        The names of the classes in the model's order, and the logits `(images, classes)` in fp32.
    """
    clip: Any = model
    of_names: Tensor | None = None
    with eval_mode(model):
        if hasattr(model, "get_text_features") and hasattr(model, "get_image_features"):
            of_names = name_embeddings(model, processor, classes, templates)
        else:
            classes = head_classes(model, classes)

        def step(known: dict[int, Tensor], batch: RowBatch) -> dict[int, Tensor]:
            tensors = to_device(batch.tensors()[0], model.device)
            if of_names is None:
                logits = model(**tensors).logits
            else:
                similarities = F.normalize(clip.get_image_features(**tensors).pooler_output, dim=-1) @ of_names.T
                logits = similarities * clip.logit_scale.exp()
            if logits.isnan().any():  # of which the first would be taken for the largest
                raise ValueError("The model's scores are not numbers (NaN), so they tell no class.")
            return known | {batch.number: logits.float().cpu()}

        names = {"classes": list(classes), "templates": list(templates)}
        settings = {"function": "class_logits", "batch_size": batch_size, **names}
        batches = RowBatches([dataset], lambda rows: inputs_of(rows, processor), batch_size, progress)
        logits = joined_pass(model, settings, batches, step)
    every = [logits[number] for number in sorted(logits)] or [torch.empty(0, len(classes))]
    return list(classes), torch.cat(every)


def accuracy(predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """The share of predictions that are right, with the bounds of its exact 95 % interval.

    Example:
        >>> accuracy(["cat", "dog"], ["cat", "cat"])["accuracy"]
        0.5
    """
    hits, total = sum(p == r for p, r in zip(predictions, references, strict=True)), len(references)
    low, high = clopper_pearson(hits, total)
    return {"accuracy": hits / total, "hits": hits, "total": total, "low": low, "high": high}


def name_embeddings(model: Any, processor: Processor, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """A unit vector for each class, `(classes, dim)`."""
    without = [template for template in templates if "{}" not in template]
    if without or not templates:
        raise ValueError(f"templates={list(templates)}: expected at least one, each with {{}} for the name of a class.")
    tokenizer, found = tokenizer_of(processor), []
    for template in templates:
        texts = tokenizer([template.format(name) for name in classes], padding=True, return_tensors="pt")
        texts = {key: texts[key].to(model.device) for key in ("input_ids", "attention_mask")}
        found.append(F.normalize(model.get_text_features(**texts).pooler_output, dim=-1))
    return F.normalize(torch.stack(found).mean(0), dim=-1)


def head_classes(model: PreTrainedModel, classes: Sequence[str], name: str = "model") -> list[str]:
    """The names that a data set's classes have, in the order of a classifier's outputs.

    Raises:
        ValueError: if the model does not classify, tells more or fewer classes apart, or as `places_in_model`.
    """
    if type(model.config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        raise ValueError(f"{type(model).__name__} does not classify: expected a CLIP or an image classifier.")
    own = own_classes(model.config)
    if len(own) != len(classes):
        raise ValueError(f"The {name} tells {len(own)} classes apart and the data set {len(classes)}; they must agree.")
    by_output = dict(zip(places_in_model(model.config, classes, name), classes, strict=True))
    return [by_output[output] for output in range(len(own))]


@torch.inference_mode()
def as_encodings(model: Any, processor: Processor, images: Dataset, batch_size: int) -> Dataset:
    """What a frozen encoder makes of images: no condition changes it, so it runs once for all."""

    def step(found: dict[int, Tensor], batch: RowBatch) -> dict[int, Tensor]:
        (tensors,) = batch.tensors()
        return found | {batch.number: model.encode(tensors["pixel_values"].to(model.device)).float().cpu()}

    batches = RowBatches([images], lambda rows: inputs_of(rows, processor), batch_size)
    found = joined_pass(model, {"function": "encodings", "batch_size": batch_size}, batches, step)
    return Dataset.from_dict({ENCODINGS: torch.cat([found[number] for number in sorted(found)]).numpy()})


@expects("finder", "seed", batch_size="number")
def evaluate_classes(
    finder: CodeFinder,
    topic: ClassSets,
    *,
    selection: Selection | None = None,
    templates: Sequence[str] = TEMPLATES,
    reference_model: PreTrainedModel | None = None,
    reference_processor: Processor | None = None,
    base: str | os.PathLike | PreTrainedModel | None = None,
    batch_size: int = 64,
    seed: int = 0,
    random_codes: bool = True,
    left_out: bool = True,
    erased: bool = True,
    target: Mapping[str, CodeCounts] | None = None,
    retain: Mapping[str, CodeCounts] | None = None,
    reuse: Evaluation | None = None,
    progress: bool = True,
) -> Evaluation:
    """The accuracy on a class's held-out images and on others, before and after and under the controls.

    The model is left as it was; what "before" and "after" are is told in `evaluate`.

    Args:
        finder: a CLIP or an image classifier, and its ledger.
        topic: sets as `class_sets` makes them; `target`, `control` and `retain` are not scored.
        selection: codes to try, chosen on this model; those in the ledger if not given.
        templates: for a CLIP, texts with `{}` for the name of a class; see `predict_classes`.
        reference_model: one that never saw the class; for normalised drops.
        reference_processor: its own; the unlearner's if not given.
        base: the plain model that the bottlenecks were put into, as in `evaluate`.
        batch_size: images a batch.
        seed: of the random codes.
        random_codes: as in `evaluate`.
        left_out: as in `evaluate`. A key-value model gives no answer without its pairs; the settings say so.
        erased: as in `evaluate`, for a CLIP.
        target: as in `evaluate`.
        retain: as in `evaluate`.
        reuse: an earlier evaluation of the same model on the same sets, as in `evaluate`.
        progress: show progress bars.

    Returns:
        The record: `scores[condition][set]["accuracy"]`; its outputs are the names of the classes predicted.

    Raises:
        ValueError: if the model does not classify, the base model has bottlenecks, another vocabulary or another number
            of classes, or what is to be reused was made on other sets or in another way.
    """
    if not isinstance(topic, ClassSets):
        raise ValueError(f"topic is a {type(topic).__name__}; expected sets as `class_sets` makes them.")
    sets = {name: getattr(topic, name) for name in SETS}
    references = {name: [topic.classes[label] for label in rows["label"]] for name, rows in sets.items()}

    encodings: dict[str, Dataset] = {}

    def run(model, condition, processor=finder.processor):
        options: dict[str, Any] = {
            "templates": templates,
            "batch_size": batch_size,
            "progress": condition if progress else None,
        }
        if model is finder.model and hasattr(model, "encode") and not encodings:
            encodings.update({name: as_encodings(model, processor, rows, batch_size) for name, rows in sets.items()})
        of_model = encodings if model is finder.model and encodings else sets
        return {
            name: predict_classes(model, processor, rows, topic.classes, **options) for name, rows in of_model.items()
        }

    def reference():
        return run(reference_model, Condition.REFERENCE, reference_processor or finder.processor)

    def plain(base: str | os.PathLike | PreTrainedModel) -> PreTrainedModel:
        model = base_model(base, finder)
        if not hasattr(model, "get_text_features"):
            head_classes(model, topic.classes, "base model")
        return model

    what = Evaluated(
        tuple(topic.own_words),
        {name: [f"image {i}" for i in range(len(rows))] for name, rows in sets.items()},
        references,
        run,
        lambda condition, classes: {name: accuracy(classes[name], references[name]) for name in SETS},
        {"templates": list(templates), "data": topic.digest()},
        {"num_classes": len(topic.classes)},
        base=None if base is None else lambda: plain(base),
        reference=None if reference_model is None else reference,
    )
    return evaluated(
        finder,
        topic,
        what,
        selection,
        seed=seed,
        random_codes=random_codes,
        left_out=left_out,
        erased=erased,
        target=target,
        retain=retain,
        reuse=reuse,
        progress=progress,
    )
