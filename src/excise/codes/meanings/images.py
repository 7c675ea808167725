"""Images that select codes: patches of them in a codebook, whole images in a key-value bottleneck."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from datasets import Dataset

from excise.codes.finder import CodeFinder
from excise.codes.meanings.tokens import check_code, state_of
from excise.data.batches import to_device
from excise.data.images import image_column, label_column, rgb_images
from excise.data.inputs import Images, image_processor_of
from excise.models.activations import bottleneck_inputs, eval_mode
from excise.storage.expected import expects


class Hit(NamedTuple):
    """An image that selects a code.

    Args:
        similarity: cosine of its best patch with the code; of a key-value pair, minus the distance of key and head.
        row: its number in the data set.
    """

    similarity: float
    row: int


@expects("finder", "dataset")
def image_meanings(
    finder: CodeFinder,
    dataset: Dataset,
    codes: Mapping[str, Sequence[int]],
    *,
    count: int = 5,
    image: str | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[tuple[str, int], list[PIL.Image.Image]]:
    """The images in which each code fits best, with masks lifted: what a report shows of a code.

    Args:
        finder: a model of images with bottlenecks.
        dataset: images to look in.
        codes: by site, the codes that are wanted.
        count: how many images of each code are given, the most similar first.
        image: the image column; the only one if not given.
        batch_size: images a batch.
        progress: show a progress bar.

    Returns:
        By site and code, images. Codes that no image selects are not in it.

    Raises:
        ValueError: if there is no image or no such site or code, or the model takes none.
    """
    hits = _hits(finder, dataset, codes, image=image, batch_size=batch_size, progress=progress)
    best = {key: of_code[:count] for key, of_code in hits.items()}
    rows = sorted({hit.row for of_code in best.values() for hit in of_code})
    pictures = dict(zip(rows, rgb_images(dataset, rows, image), strict=True)) if rows else {}
    return {key: [pictures[hit.row] for hit in of_code] for key, of_code in best.items()}


@expects("finder", "dataset")
def code_images(
    finder: CodeFinder,
    dataset: Dataset,
    site: str,
    code: int,
    *,
    count: int = 10,
    image: str | None = None,
    label: str | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> dict[str, Any]:
    """The images that select a code, with masks lifted.

    Args:
        finder: a model of images with bottlenecks.
        dataset: images to look in, with or without labels.
        site: the code's bottleneck.
        code: its id.
        count: how many images are given, the most similar first.
        image: the image column; the only one if not given.
        label: the column of class indices; the only one if not given.
        batch_size: images a batch.
        progress: show a progress bar.

    Returns:
        `state` (live, masked or deleted), `images` and `selected` (numbers), `labels` (how many of each class select
        it), `hits` (`row`, `label` and `similarity` of the most similar ones).

    Raises:
        ValueError: as `image_meanings`, or if there is no such label column.
    """
    check_code(finder, site, code)
    by_code = _hits(finder, dataset, {site: [code]}, image=image, batch_size=batch_size, progress=progress)
    hits = by_code.get((site, code), [])
    names = _labels(dataset, label, [hit.row for hit in hits])
    labels: dict[str, int] = {}
    for name in names:
        if name is not None:
            labels[name] = labels.get(name, 0) + 1
    return {
        "state": state_of(finder, site, code),
        "images": len(dataset),
        "selected": len(hits),
        "labels": dict(sorted(labels.items(), key=lambda item: (-item[1], item[0]))),
        "hits": [
            {"row": hit.row, "label": name, "similarity": hit.similarity}
            for hit, name in zip(hits[:count], names[:count], strict=True)
        ],
    }


@torch.no_grad()
def _hits(
    finder: CodeFinder,
    dataset: Dataset,
    codes: Mapping[str, Sequence[int]],
    *,
    image: str | None,
    batch_size: int,
    progress: bool,
) -> dict[tuple[str, int], list[Hit]]:
    """By site and code, the images that select it, the most similar first."""
    processor = image_processor_of(finder.processor)
    if processor is None:
        raise ValueError(f"{type(finder.model).__name__} has no image processor: it takes texts. Give texts.")
    for site, numbers in codes.items():
        for code in numbers:
            check_code(finder, site, code)
    inputs = Images(dataset.select_columns(image_column(dataset, image)), processor)
    found: dict[tuple[str, int], list[Hit]] = {}
    model = finder.model
    with finder.without_masks(), eval_mode(model):
        for rows, batch in inputs.batches(batch_size, "looking up images" if progress else None):
            for site, arrived in bottleneck_inputs(model, to_device(batch, model.device)).items():
                wanted = torch.tensor(list(codes.get(site, ())), dtype=torch.int64, device=arrived.device)
                if not len(wanted):
                    continue
                selected, similarity = finder.sites[site].selected(arrived)
                places = torch.isin(selected, wanted).nonzero()
                chosen = selected[tuple(places.T)].tolist(), similarity[tuple(places.T)].tolist()
                best: dict[tuple[int, int], float] = {}  # of an image's patches, the one that fits best
                for row, code, value in zip(places[:, 0].tolist(), *chosen, strict=True):
                    best[row, code] = max(value, best.get((row, code), -np.inf))
                for (row, code), value in best.items():
                    found.setdefault((site, code), []).append(Hit(value, rows[row]))
    return {key: sorted(hits, key=lambda hit: (-hit.similarity, hit.row)) for key, hits in sorted(found.items())}


def _labels(dataset: Dataset, label: str | None, rows: Sequence[int]) -> list[str | None]:
    name = label_column(dataset, label)
    if name is None:
        return [None] * len(rows)
    values = dataset.select_columns(name).with_format(None)[list(rows)][name] if rows else []
    feature = dataset.features[name]
    return [feature.int2str(value) if hasattr(feature, "int2str") else str(value) for value in values]
