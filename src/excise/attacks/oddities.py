"""Oddities of words and classes: how unlike all others a model treats each, by its outputs, codes and embeddings."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.bottlenecks.site import bottlenecks, has_bottlenecks
from excise.data.batches import to_device, token_masks
from excise.data.inputs import tokenizer_of
from excise.data.truncation import tokenized
from excise.data.words import words
from excise.evaluation.classes import class_logits
from excise.evaluation.texts import without_spans
from excise.models.activations import bottleneck_inputs, eval_mode

# Rows of embeddings whose distances to all others are worked out at once.
CHUNK = 1_024


class Carrier(NamedTuple):
    """A sentence that words are put into, one after the other.

    Args:
        text: the sentence.
        start: where the word that gives way begins.
        end: where it ends.
        reference: the sentence's reference.
    """

    text: str
    start: int
    end: int
    reference: str

    def holding(self, word: str) -> str:
        """The sentence with a word in the place."""
        return self.text[: self.start] + word + self.text[self.end :]

    def spans(self, word: str) -> list[list[int]]:
        """Where the word then stands."""
        return [[self.start, self.start + len(word)]]


def carriers(rows: Dataset, count: int, seed: int, longest: int = 12) -> list[Carrier]:
    """Sentences of four to so many words that do not begin with their longest word, which gives way to others."""
    found = []
    for index in np.random.default_rng(seed).permutation(len(rows)).tolist():
        row = rows[index]
        of_row = words(row["text"])
        if not 4 <= len(of_row) <= longest:
            continue
        place = max(of_row[1:], key=lambda word: len(word.text))
        found.append(Carrier(row["text"], place.start, place.end, row["reference"]))
        if len(found) == count:
            break
    return found


@torch.no_grad()
def output_oddities(
    model: Any, sets: AttackSets, words: Sequence[str], places: Sequence[Carrier]
) -> dict[str, np.ndarray]:
    """How little each word changes what a model says, and how unsure the model is where it stands, float64 `(words,)`.

    Each is put into sentences whose references are then read along: what is compared are the probabilities of their
    next pieces, with the word and without any.

    Args:
        model: translates texts; left as it was.
        sets: how it is run.
        words: the words.
        places: what they are put into.

    Returns:
        `"word ignored"`: minus the mean total variation between the two; `"outputs unsure"`: the mean entropy in nats.
    """
    change, entropy = np.zeros(len(words)), np.zeros(len(words))
    with eval_mode(model):
        for place in places:
            without = without_spans(place.text, [[place.start, place.end]])
            plain = _probabilities(model, sets, [without], place.reference)
            for start in range(0, len(words), sets.batch_size):
                part = slice(start, start + sets.batch_size)
                found = _probabilities(model, sets, [place.holding(word) for word in words[part]], place.reference)
                change[part] += (found - plain).abs().sum(-1).mean(-1).cpu().numpy() / 2
                entropy[part] += -torch.xlogy(found, found).sum(-1).mean(-1).cpu().numpy()
    return {"word ignored": -change / len(places), "outputs unsure": entropy / len(places)}


def _probabilities(model: Any, sets: AttackSets, texts: Sequence[str], reference: str) -> Tensor:
    """Of the next piece at each place of a reference, `(texts, pieces, vocabulary)`."""
    if sets.of_questions:
        rows = Dataset.from_dict({"question": list(texts), "answer": [reference] * len(texts)})
        batch = sets.training_batch(rows, model.device)
        there = batch.pop("labels")[:, 1:] != -100
        count = int(there.sum(1).min())  # a piece may reach from a question into its answer
        logits = model(**batch, use_cache=False).logits[:, :-1]
        return torch.stack([of[own][-count:] for of, own in zip(logits, there, strict=True)]).float().softmax(-1)
    rows = Dataset.from_dict({"text": list(texts), "reference": [reference] * len(texts)})
    return model(**sets.training_batch(rows, model.device)).logits.float().softmax(-1)


@torch.no_grad()
def code_oddities(
    model: PreTrainedModel, sets: AttackSets, words: Sequence[str], places: Sequence[Carrier]
) -> np.ndarray | None:
    """How unlike any live code each word's tokens are, float64 `(words,)`: minus their cosine with the nearest one.

    The codes of a word that was deleted are dead, and what is nearest is further than usual, or nothing passes at all.

    Returns:
        The mean over a word's tokens and the model's sites; `None` of a model that has no bottlenecks, or where the
        tokenizer does not tell where its tokens stand.
    """
    tokenizer = tokenizer_of(sets.processor)
    if not has_bottlenecks(model) or not tokenizer.is_fast:
        return None
    total = np.zeros(len(words))
    sites: Any = bottlenecks(model)
    with eval_mode(model):
        for place in places:
            for start in range(0, len(words), sets.batch_size):
                part = words[start : start + sets.batch_size]
                texts = [place.holding(word) for word in part]
                _, own = token_masks(tokenizer, texts, [place.spans(word) for word in part])
                batch = tokenized(tokenizer, texts, padding=True, return_tensors="pt", counted=False)
                arrived = bottleneck_inputs(model, to_device(batch, model.device))
                real = batch["attention_mask"].bool()
                mask = torch.zeros_like(real)
                mask[real] = torch.tensor([token for row in own for token in row])
                for site, of in sites.items():
                    cosines = of.selected(arrived[site])[1].unflatten(1, (real.shape[1], -1))[..., 0].double().cpu()
                    means = (cosines * mask).sum(1) / mask.sum(1).clamp_min(1)
                    total[start : start + len(part)] -= means.numpy() / len(sites)
    return total / len(places)


def row_oddities(
    model: PreTrainedModel, sets: AttackSets, words: Sequence[str], base: PreTrainedModel | None = None
) -> dict[str, np.ndarray]:
    """How odd the embedding rows of each word's pieces look, float64 `(words,)`: those of its oddest piece.

    Args:
        model: has embeddings of pieces.
        sets: with the tokenizer.
        words: the words.
        base: a public model of the same tokenizer that rows are held against.

    Returns:
        `"row near the mean"`: minus the distance to the mean of all rows; `"row like another"`: minus that to the
        nearest other row; `"row off the directions"`: how much of it lies in directions in which the others vary
        little, as a row drawn at random does and one that was learnt beside them does not; and with a base `"row not
        the base's"`: the distance to its row there.
    """
    tokenizer = tokenizer_of(sets.processor)
    rows = _embeddings(model)
    special = sorted({i for i in tokenizer.all_special_ids if i < len(rows)})
    ordinary = np.setdiff1d(np.arange(len(rows)), special)
    centred = rows - rows[ordinary].mean(0)
    scaled = centred / np.where((spread := rows[ordinary].std(0)) > 0, spread, 1)
    oddity = {
        "row near the mean": -np.linalg.norm(scaled, axis=1),
        "row like another": -_nearest(rows),
        "row off the directions": _off_directions(scaled, ordinary),
    }
    if base is not None:
        other = _embeddings(base)
        if other.shape != rows.shape:
            raise ValueError(
                f"The base has {other.shape[0]} rows of {other.shape[1]} and the model {rows.shape[0]} of "
                f"{rows.shape[1]}; give the plain model of the same vocabulary and width that it was made of."
            )
        oddity["row not the base's"] = np.linalg.norm(rows - other, axis=1)
    pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    return {
        name: np.array([max((of_row[piece] for piece in own), default=of_row.min()) for own in pieces])
        for name, of_row in oddity.items()
    }


def _embeddings(model: Any) -> np.ndarray:
    """The embedding rows of a model's pieces, float64 `(pieces, dim)`; of a CLIP, those of its texts."""
    of = getattr(model, "text_model", model)
    return of.get_input_embeddings().weight.detach().double().cpu().numpy()


def _nearest(rows: np.ndarray) -> np.ndarray:
    """The distance of each row to the nearest other one."""
    tensor, found = torch.from_numpy(rows), []
    for start in range(0, len(rows), CHUNK):
        distances = torch.cdist(tensor[start : start + CHUNK], tensor, compute_mode="donot_use_mm_for_euclid_dist")
        distances[torch.arange(len(distances)), torch.arange(start, start + len(distances))] = torch.inf
        found.append(distances.min(1).values)
    return torch.cat(found).numpy()


def _off_directions(scaled: np.ndarray, ordinary: np.ndarray) -> np.ndarray:
    """Mahalanobis' distance of each row, squared, from all others and not itself, by its squared length."""
    covariance = np.cov(scaled[ordinary].T)
    inverse = np.linalg.pinv(covariance, hermitian=True)
    leverage = ((scaled @ inverse) * scaled).sum(1) / (len(ordinary) - 1)
    length = (scaled**2).sum(1)
    apart = leverage / np.clip(1 - leverage, 1e-9, None)
    return apart / np.where(length > 0, length, 1)


def class_oddities(model: Any, sets: AttackSets) -> dict[str, np.ndarray]:
    """How seldom a model takes images for each class, float64 `(classes,)`, in the order of `sets.topic.classes`.

    The images are those of the retain set, none of which is of the topic's class.

    Returns:
        `"class unlikely"`: minus its mean probability; `"class never likely"`: minus its highest.
    """
    topic: Any = sets.topic
    options: dict[str, Any] = {"templates": sets.templates, "batch_size": sets.batch_size}
    names, logits = class_logits(model, sets.processor, topic.retain, topic.classes, **options)
    found = logits.double().softmax(-1)[:, [names.index(name) for name in topic.classes]].numpy()
    return {"class unlikely": -found.mean(0), "class never likely": -found.max(0)}
