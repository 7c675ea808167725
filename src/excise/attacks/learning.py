"""Training by an attacker: steps of AdamW on a few examples, with nothing in the way, and hits after each."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.attacks.erased_rows import draw_anew
from excise.attacks.interface import attackers_copy, opened
from excise.bottlenecks.site import has_bottlenecks, is_of_bottleneck, needed
from excise.data.classes import ClassSets
from excise.data.inputs import inputs_of
from excise.evaluation.classes import head_classes, name_embeddings

ALL, LORA, BOTTLENECK = "all weights", "LoRA", "bottleneck"
PARTS = (ALL, LORA, BOTTLENECK)
SHARED, PLAIN, REDRAWN = "as shared", "plain class", "plain class, erased rows drawn anew"
WAYS = (SHARED, PLAIN, REDRAWN)
TOPIC, UNRELATED = "topic", "unrelated"
# Where examples are many, or unrelated, not every step is measured.
MOST_EXAMPLES_BY_STEP = 16
MEASURED = (1, 2, 3, 5, 7, 10, 14, 20)
# Of low-rank adapters on every linear layer but the head.
RANK, ALPHA = 8, 16
# Gradients longer than this are shortened to it.
LONGEST_GRADIENT = 1.0
HOW = (
    "AdamW as torch has it (weight decay 0.01), fp32, gradients clipped to a norm of 1, dropout off: the models are "
    "trained in eval mode. Batches are all examples, or 64 in turn where there are more."
)
MOST_A_BATCH = 64


class Setting(NamedTuple):
    """What a training does, but for the draw of its examples.

    Args:
        examples: how many the attacker has.
        rate: of AdamW.
        trained: the part of the model.
        opened: `"as shared"`, by the `"plain class"`, or so with rows drawn anew that were erased: an erased row is the
            mean of all others, too small for training at usual rates to move it soon.
        data: of the `"topic"`, or `"unrelated"`.
    """

    examples: int
    rate: float
    trained: str = ALL
    opened: str = SHARED
    data: str = TOPIC

    def measured(self, steps: int) -> list[int]:
        """The steps, of so many, after which hits are counted."""
        if self.data == TOPIC and self.examples <= MOST_EXAMPLES_BY_STEP:
            return list(range(1, steps + 1))
        return sorted({*(step for step in MEASURED if step < steps), steps})

    def impossible(self, model: PreTrainedModel) -> str | None:
        """Why a model cannot be trained so; `None` where it can."""
        bottlenecked = has_bottlenecks(model)
        if bottlenecked and needed(model):
            if self.opened != SHARED:
                return "the model has no plain class."
            return None if self.trained == ALL else "the encoder is frozen, and the values are all that learns."
        if self.trained == BOTTLENECK and (self.opened != SHARED or not bottlenecked):
            return "there is no bottleneck to train."
        return None


def class_scores(model: PreTrainedModel, inputs: Mapping[str, Tensor], sets: AttackSets) -> Float[Tensor, "rows names"]:
    """What a model gives each class of the sets for each image, in the order of the sets' classes, with gradients.

    Of a CLIP they are its scaled similarities to the names of classes in templates, of a classifier its logits.
    """
    topic: Any = sets.topic
    anything: Any = model
    if hasattr(model, "get_text_features") and hasattr(model, "get_image_features"):
        names = name_embeddings(model, sets.processor, topic.classes, sets.templates)
        images = F.normalize(anything.get_image_features(**inputs).pooler_output, dim=-1)
        return anything.logit_scale.exp() * images @ names.T
    own = head_classes(model, topic.classes)
    return anything(**inputs).logits[:, [own.index(name) for name in topic.classes]]


def loss_on(model: PreTrainedModel, batch: Mapping[str, Tensor], sets: AttackSets) -> Float[Tensor, ""]:
    """What an attacker trains on: a text model's own loss, or the cross-entropy of the classes of the sets."""
    if sets.of_texts:
        return model(**batch).loss
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    return F.cross_entropy(class_scores(model, inputs, sets).float(), batch["labels"])


def in_training(model: PreTrainedModel, part: str, seed: int) -> PreTrainedModel:
    """A model of which a part is to be trained.

    Args:
        model: its weights are taken over, so give a copy.
        part: `"all weights"`, `"LoRA"` (new adapters, so that the model is as before) or `"bottleneck"`.
        seed: of what is new.
    """
    model.requires_grad_(part != LORA)
    if part == BOTTLENECK:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(is_of_bottleneck(name))
    if part == LORA:
        from peft import LoraConfig, get_peft_model

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapted: Any = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear"))
        return adapted.eval()
    return model.eval()


def learn(
    model: PreTrainedModel,
    batches: Sequence[Mapping[str, Tensor]],
    loss_of: Callable[[PreTrainedModel, Mapping[str, Tensor]], Tensor],
    rate: float,
    steps: int,
    weight_decay: float = 0.01,
) -> Iterator[int]:
    """Trains a model in place, and gives the number of each step when it is done.

    It ends before the last step where a loss or gradient is not finite; the model is then as before that step.

    Args:
        model: as `in_training` gives it.
        batches: gone through in turn, again and again.
        loss_of: the loss of a model on a batch.
        rate: of AdamW.
        steps: how many.
        weight_decay: of AdamW.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=weight_decay)
    for step in range(1, steps + 1):
        with torch.enable_grad():
            optimizer.zero_grad()
            loss = loss_of(model, batches[(step - 1) % len(batches)])
            if not loss.isfinite():
                return
            loss.backward()
        if not torch.nn.utils.clip_grad_norm_(trained, LONGEST_GRADIENT).isfinite():
            return
        optimizer.step()
        yield step


def training_batches(sets: AttackSets, rows: Dataset, device: torch.device) -> list[dict[str, Tensor]]:
    """Rows as a model is trained on them, so many at a time."""
    starts = range(0, len(rows), MOST_A_BATCH)
    parts = (rows.select(range(start, min(start + MOST_A_BATCH, len(rows)))) for start in starts)
    return [sets.training_batch(part, device) for part in parts]


@dataclass
class Watch:
    """Counts the cases that a model in training gets right, of images that are prepared once.

    Attributes:
        sets: of which all held-out rows are run.
    """

    sets: AttackSets

    def __post_init__(self) -> None:
        self._inputs: list[dict[str, Tensor]] = []
        if isinstance(self.sets.topic, ClassSets):
            rows = inputs_of(self.sets.topic.heldout, self.sets.processor)
            starts = range(0, len(rows), MOST_A_BATCH)
            self._inputs = [rows.batch(range(start, min(start + MOST_A_BATCH, len(rows)))) for start in starts]

    @torch.no_grad()
    def __call__(self, model: PreTrainedModel) -> float:
        """How many cases; of answers the sum of their probabilities."""
        topic = self.sets.topic
        if not isinstance(topic, ClassSets):
            total = self.sets.hits(model).sum()
            return float(total) if self.sets.of_questions else int(total)
        hits = []
        for inputs in self._inputs:
            on_device = {name: tensor.to(model.device) for name, tensor in inputs.items()}
            scores = class_scores(model, on_device, self.sets)
            right = (scores.argmax(-1) == topic.label) & scores.isfinite().all(-1)
            hits.append(right.cpu().numpy())
        return int(np.concatenate(hits).sum())


class Curve(NamedTuple):
    """Cases that a model got right in a training.

    Args:
        at: the steps that were measured, from 0.
        hits: after each of them.
        diverged: whether the training broke off, as a loss or gradient was not finite.
    """

    at: Sequence[int]
    hits: Sequence[float]
    diverged: bool = False


def steps_to(curve: Curve, enough: float, most: int) -> float:
    """How many steps it takes until there are so many hits; `most` if it never does.

    Between two steps that were measured the hits are taken to grow evenly.

    Example:
        >>> steps_to(Curve([0, 1, 2], [0, 4, 12]), 8, most=20)
        1.5
    """
    for i, (step, hits) in enumerate(zip(curve.at, curve.hits, strict=True)):
        if hits >= enough:
            if i == 0:
                return 0.0
            before, hits_before = curve.at[i - 1], curve.hits[i - 1]
            return before + (step - before) * (enough - hits_before) / (hits - hits_before)
    return float(most)


class Trainings:
    """Trainings of several models on the same examples, each of a copy.

    Args:
        models: those to be trained, or looked at.
        sets: what is watched and what is trained on.
        cases: the most held-out cases to count hits in.
        steps: of a training.
        full_curves: whether to go on when there are hits enough.
    """

    def __init__(
        self, models: Sequence[PreTrainedModel], sets: AttackSets, cases: int, steps: int, full_curves: bool = False
    ):
        self.steps, self.full_curves = steps, full_curves
        self.erased: Mapping[str, Sequence[int]] = {}  # what is drawn anew, in all models alike
        self._sets = {id(model): sets.with_encodings(model) for model in models}
        self._watches = {key: Watch(of.first(cases)) for key, of in self._sets.items()}
        self._way: str | None = None
        self._opened: dict[int, PreTrainedModel] = {}
        self._starts: dict[tuple[int, str | None], float] = {}

    @property
    def total(self) -> int:
        """The number of cases."""
        return len(next(iter(self._watches.values())).sets.cases)

    def start(self, model: PreTrainedModel) -> float:
        """Hits of a model as it is."""
        return self._watches[id(model)](model)

    def curve(self, model: PreTrainedModel, setting: Setting, draw: int, enough: float) -> Curve:
        """Hits of a copy of a model in a training, which ends when there are enough."""
        sets, watch, base = self._sets[id(model)], self._watches[id(model)], self._base(model, setting.opened)
        key = id(model), self._way
        if key not in self._starts:
            self._starts[key] = watch(base)
        at, hits, last = [0], [self._starts[key]], 0
        if hits[0] >= enough and not self.full_curves:
            return Curve(at, hits)
        trained = in_training(copy.deepcopy(base), setting.trained, 1_000 * sets.seed + draw)
        rows = sets.draw(setting.examples, draw, sets.topic.retain if setting.data == UNRELATED else None)
        batches = training_batches(sets, rows, base.device)
        measured = setting.measured(self.steps)
        for last in learn(trained, batches, lambda of, batch: loss_on(of, batch, sets), setting.rate, self.steps):
            if last in measured:
                at.append(last)
                hits.append(watch(trained))
                if hits[-1] >= enough and not self.full_curves:
                    return Curve(at, hits)
        return Curve(at, hits, diverged=last < self.steps)

    def _base(self, model: PreTrainedModel, way: str) -> PreTrainedModel:
        """A model as the attacker opens it, in fp32; those of one way are kept at a time."""
        if self._way != way:
            self._way, self._opened = way, {}
        if id(model) not in self._opened:
            base = (attackers_copy if way == SHARED else opened)(model).float()
            seed = self._sets[id(model)].seed
            self._opened[id(model)] = draw_anew(base, self.erased, seed) if way == REDRAWN else base
        return self._opened[id(model)]
