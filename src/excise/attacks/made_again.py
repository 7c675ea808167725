"""Attack by making codes again: dead codes or key-value pairs written anew, from a few examples or from none."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from datasets import Dataset
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import Attack, attackers_copy, null_hits, share_result
from excise.attacks.learning import BOTTLENECK, in_training, learn, loss_on
from excise.bottlenecks.site import bottlenecks, has_bottlenecks, needed
from excise.data.batches import to_device
from excise.data.inputs import inputs_of
from excise.models.activations import bottleneck_inputs, eval_mode
from excise.report.attacks import AttackResult

FEATURES, NEIGHBOURS, RESIDUAL = "encoded features", "surviving neighbours", "residual"
VALUES, NO_DATA = "values trained again", "no data"
# Live codes near an encoded feature, from which a row is fitted.
NEAREST = 32
# Codes by site, bool of shape `(num_codes,)`.
Dead: TypeAlias = Mapping[str, Tensor]
# What is done to an attacker's copy in which they are dead, with what the attacker has.
Change: TypeAlias = Callable[[PreTrainedModel, Dead, AttackSets], None]
# Of more examples the draw hardly matters, and one is enough.
MOST_DRAWN_AGAIN = 8


@dataclass(frozen=True)
class MadeAgain(Attack):
    """Writes the dead codes of a model anew and marks them live; bottlenecks are all that it touches.

    From examples of the topic, in three ways: the bottleneck's own encoded features at the topic's words (of a class,
    at all positions of its images), divided by S; the best fit to these features from the 32 live codes nearest to
    each, by least squares; and what the nearest S - 1 live codes lack of them. Without any data: masks are lifted, an
    input is passed on whatever its similarity, and S is a multiple of what it was (codes are made smaller by as much,
    so that their sum keeps its size). Of sparse units, which are larger or smaller by themselves, one is written where
    a codebook has S, it is active for what has more than a share of its feature, and k is the multiple.

    Of key-value pairs, those that are dead get keys from the heads of images, and values that are trained again on
    these images, with nothing else trained. Without any data their masks are lifted.

    The model that never saw the topic is attacked in the same way, with as many of its codes drawn at random in the
    place of dead ones. The verdict is by the rule of `share_result`.

    Attributes:
        examples: numbers of sentences or images that the attacker has.
        draws: of the examples, for up to 8 of them; one for more.
        multiples: of S, tried without data.
        shares: of a feature, in codes that say it by degrees, such as sparse units: one that is written is active above
            it. At 0 it would be so for half of all inputs, and the model breaks.
        steps: of training values.
        rate: of training values, by AdamW without weight decay.
    """

    name = "made again"
    about = "Deleted codes are written anew, from a few examples of the topic or from what is left."

    examples: tuple[int, ...] = (1, 4, 8, 64)
    draws: int = 3
    multiples: tuple[int, ...] = (1, 2, 4)
    shares: tuple[float, ...] = (0.25, 0.5, 0.75)
    steps: int = 20
    rate: float = 0.1

    def __post_init__(self) -> None:
        for name in ("examples", "multiples"):
            values = getattr(self, name)
            if not values or any(not isinstance(value, int) or value < 1 for value in values):
                raise ValueError(f"{name}={values}: expected at least one whole number, and all above 0.")
        if not self.shares or not all(0 <= share < 1 for share in self.shares):
            raise ValueError(f"shares={self.shares}: expected at least one number, and all from 0 to below 1.")
        if self.draws < 1 or self.steps < 1 or not self.rate > 0:
            raise ValueError(f"draws={self.draws}, steps={self.steps}, rate={self.rate}: expected numbers above 0.")

    @classmethod
    def quick(cls) -> "MadeAgain":
        """One draw of 8 examples, one share, and nothing but masks lifted without data."""
        return cls(examples=(8,), draws=1, multiples=(1,), shares=(0.5,))

    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """As `Attack.run`."""
        if not has_bottlenecks(removed):
            return AttackResult.not_measured(
                self.name, sets.measure, "The model has no bottleneck, so there are no codes to make again."
            )
        kind = next((of.title for of in bottlenecks(removed).values() if not can_be_made(of)), None)
        if kind is not None:
            return AttackResult.not_measured(self.name, sets.measure, f"There is no way to make {kind} again.")
        dead = {site: ~bottleneck.live for site, bottleneck in bottlenecks(removed).items()}
        counts = {site: int(mask.sum()) for site, mask in dead.items()}
        usable = self._usable(sum(counts.values()), len(sets.topic.target))
        details: dict[str, Any] = {"dead": counts}
        why = f"there are {len(sets.topic.target)}." if usable else "there are no dead codes to write."
        details["skipped"] = [f"{count} examples: {why}" for count in self.examples if count not in usable]
        drawn = None if never_saw is None else drawn_instead(never_saw, dead, sets.seed)
        of_removed = sets.with_encodings(removed)
        of_null = None if never_saw is None else sets.with_encodings(never_saw)
        attempts = []
        by_degrees = any(of.by_degrees for of in bottlenecks(removed).values())
        for settings, change in self._changes(bool(needed(removed)), by_degrees, usable):
            own = None
            if never_saw is not None and of_null is not None and drawn is not None:
                own = of_null.hits(_attacked(never_saw, drawn, of_null, change))
            attacked = _attacked(removed, dead, of_removed, change)
            attempts.append((settings, of_removed.hits(attacked), own, of_removed.quality(attacked)))
        null, null_is = null_hits(original, never_saw, sets)
        before = None if original is None else sets.hits(original)
        return share_result(self.name, sets, attempts, before, of_removed.hits(removed), null, null_is, **details)

    def _usable(self, dead: int, there: int) -> list[int]:
        """The numbers of examples that can be tried; none where there are no dead codes."""
        if not dead:
            return []
        usable = [count for count in self.examples if count <= there]
        if not usable:
            raise ValueError(
                f"The smallest attack of {list(self.examples)} examples needs {min(self.examples)}, and there are "
                f"{there}. Give more rows in the target, or smaller `examples`."
            )
        return usable

    def _changes(self, of_pairs: bool, by_degrees: bool, usable: list[int]) -> Iterator[tuple[dict[str, Any], Change]]:
        """Settings of each attempt, and what it does to a copy."""
        for multiple in (1,) if of_pairs else self.multiples:
            yield (
                {"how": NO_DATA} | ({} if of_pairs else {"multiple": multiple}),
                partial(lift_masks, multiple=multiple),
            )
        for count in usable:
            for draw in range(self.draws if count <= MOST_DRAWN_AGAIN else 1):
                settings: dict[str, Any] = {"examples": count, "draw": draw}
                if of_pairs:
                    options: dict[str, Any] = {"steps": self.steps, "rate": self.rate}
                    yield {"how": VALUES, **settings, **options}, partial(train_values, **settings, **options)
                    continue
                shares: list[dict[str, Any]] = [{"share": of} for of in self.shares] if by_degrees else [{}]
                for share, way in product(shares, (FEATURES, NEIGHBOURS, RESIDUAL)):
                    options = settings | share
                    yield {"how": way, **options}, partial(write_codes, **options, way=way)


def can_be_made(bottleneck: Any) -> bool:
    """Whether codes can be written: as vectors of what is encoded, or as keys and values."""
    return bottleneck.vectors is not None or all(
        hasattr(bottleneck, name) for name in ("keys", "values", "heads", "select")
    )


def _attacked(model: PreTrainedModel, dead: Dead, sets: AttackSets, change: Change) -> PreTrainedModel:
    """An attacker's copy with the dead codes dead, changed."""
    attacked = attackers_copy(model)
    for site, bottleneck in bottlenecks(attacked).items():
        bottleneck.live[dead[site].to(bottleneck.live.device)] = False
    change(attacked, dead, sets)
    return attacked


def drawn_instead(model: PreTrainedModel, dead: Dead, seed: int) -> Dead | None:
    """Random live codes of a model, as many in each codebook as are dead in another; `None` where it has no such sites.

    Args:
        model: the one that never saw the topic.
        dead: codes of the other, by site.
        seed: of the draw.
    """
    if not has_bottlenecks(model) or set(bottlenecks(model)) != set(dead):
        return None
    generator, drawn = torch.Generator().manual_seed(seed), {}
    for site, bottleneck in bottlenecks(model).items():
        live = bottleneck.live.cpu().view(bottleneck.num_groups, -1)
        counts = dead[site].view(bottleneck.num_groups, -1).sum(1).tolist()
        mask = torch.zeros_like(live)
        for group, count in enumerate(counts):
            there = live[group].nonzero().flatten()
            if count > len(there):
                return None
            mask[group, there[torch.randperm(len(there), generator=generator)[:count]]] = True
        drawn[site] = mask.flatten()
    return drawn


@torch.no_grad()
def lift_masks(model: PreTrainedModel, dead: Dead, sets: AttackSets, *, multiple: int = 1) -> None:
    """Marks codes live whose rows are still there, lets inputs pass that resemble none, multiplies S; in place."""
    for bottleneck in bottlenecks(model).values():
        of_kind: Any = bottleneck
        rows = bottleneck.by_code(getattr(of_kind, bottleneck.code_tensors[0]))
        bottleneck.live |= rows.count_nonzero(1) > 0
        if hasattr(bottleneck, "min_similarity"):
            of_kind.min_similarity.fill_(-1.0)
        if multiple > 1:
            bottleneck.widen(min(multiple * bottleneck.top_s, int(bottleneck.live.sum())))


@torch.no_grad()
def write_codes(
    model: PreTrainedModel, dead: Dead, sets: AttackSets, *, examples: int, draw: int, way: str, share: float = 0.0
) -> None:
    """Writes dead codes anew, one site after the other, and marks them live; in place."""
    rows = sets.draw(examples, draw)
    for site, bottleneck in bottlenecks(model).items():
        of_kind: Any = bottleneck
        if hasattr(bottleneck, "min_similarity"):
            of_kind.min_similarity.fill_(-1.0)
        codes = dead[site].nonzero().flatten().to(bottleneck.live.device)
        if not len(codes):
            continue
        features = bottleneck.features(arrived_at(model, site, rows, sets)).float()
        generator = torch.Generator().manual_seed(draw)
        features = features[torch.randperm(len(features), generator=generator).to(features.device)]
        said = bottleneck.explained(features[: len(codes)], bottleneck.top_s - 1) if way == RESIDUAL else None
        if said is not None:
            new = features[: len(codes)] - said
        else:
            new = new_codes(features, of_kind.vectors[bottleneck.live].float(), len(codes), bottleneck.copies, way)
        written = codes[: len(new)]
        bottleneck.write_for(written, new, features[: len(new)], share)
        bottleneck.live[written] = True


def new_codes(
    features: Float[Tensor, "features code_dim"], live: Float[Tensor, "live code_dim"], most: int, top_s: int, way: str
) -> Float[Tensor, "made code_dim"]:
    """Codes whose sums stand for features: S equal ones for each, where there is room; of what live codes lack, one.

    Args:
        features: encoded inputs, of which the first are used.
        live: codes that are left.
        most: rows to fill.
        top_s: S.
        way: of `MadeAgain`.
    """
    copies = 1 if way == RESIDUAL else min(top_s, most)
    features = features[: most // copies]
    if way != FEATURES:
        similarities = F.normalize(features, dim=-1) @ F.normalize(live, dim=-1).T
        near = live[similarities.topk(min(NEAREST if way == NEIGHBOURS else top_s - 1, len(live))).indices].cpu()
        if way == RESIDUAL:
            return features - near.sum(1).to(features.device)
        weights = torch.linalg.lstsq(near.mT, features.cpu()[..., None]).solution
        features = (near.mT @ weights).squeeze(-1).to(features.device)
    return features.repeat_interleave(copies, 0) / top_s


@torch.no_grad()
def arrived_at(
    model: PreTrainedModel, site: str, rows: Dataset, sets: AttackSets
) -> Float[Tensor, "positions hidden_size"]:
    """What arrives at a site at the topic's words, or at all positions of images."""
    inputs, parts = inputs_of(rows, sets.processor, positions=sets.topic.positions), []
    with eval_mode(model):
        for numbers, batch in inputs.batches(sets.batch_size):
            batch = to_device(batch, model.device)
            reached = bottleneck_inputs(model, batch, until=site)
            hidden = reached[site]
            where = inputs.positions_mask(numbers, batch, hidden.shape[:-1]).to(hidden.device)
            parts.append(hidden[reached.through_codes(site, where)])
    return torch.cat(parts)


def train_values(
    model: PreTrainedModel, dead: Dead, sets: AttackSets, *, examples: int, draw: int, steps: int, rate: float
) -> None:
    """Gives dead pairs keys from the heads of images, and trains their values on these, and no others; in place."""
    anything: Any = in_training(model, BOTTLENECK, draw)
    batch = sets.training_batch(sets.draw(examples, draw), model.device)
    ((site, bottleneck),) = bottlenecks(model).items()
    of_kind: Any = bottleneck
    with torch.no_grad():
        encodings = batch["encodings"] if "encodings" in batch else anything.encode(batch["pixel_values"])
        heads, made = of_kind.heads(encodings), torch.zeros_like(bottleneck.live).view(bottleneck.num_groups, -1)
        gone = dead[site].to(made.device).view_as(made)
        for codebook in gone.any(1).nonzero().flatten().tolist():
            places = gone[codebook].nonzero().flatten()[: len(heads)]
            of_kind.keys[codebook, places] = heads[: len(places), codebook].to(of_kind.keys.dtype)
            made[codebook, places] = True
        of_kind.by_code(of_kind.values)[made.flatten()] = 0
        bottleneck.live |= made.flatten()
        pairs = of_kind.select(encodings)
    handle = of_kind.values.register_hook(lambda gradient: gradient * made[..., None])
    batches = [{"pairs": pairs, "labels": batch["labels"]}]
    for _ in learn(model, batches, lambda of, one: loss_on(of, one, sets), rate, steps, weight_decay=0.0):
        pass
    handle.remove()
