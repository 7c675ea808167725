"""Attack by leaving the bottleneck out: the plain class on the same weights, or no look-up of codes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import Attack, attackers_copy, null_hits, opened, share_result
from excise.attacks.learning import class_scores
from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.site import bottlenecks, has_bottlenecks, needed
from excise.report.attacks import AttackResult


@dataclass(frozen=True)
class LeftOut(Attack):
    """Opens the shared weights without their bottleneck: no data and no training are needed.

    Tried are the plain class of transformers (after its weights were given the names that it looks for), and the
    decoder of the bottleneck on what its encoder puts out, with no look-up of codes in between. Leaving the bottleneck
    out is also what the identity in its place does, and what `encoder_outputs` of the plain encoder do: these are the
    plain class again.
    """

    name = "left out"
    about = "The file is opened by the plain class, without the bottleneck; or the codes are skipped."

    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """As `Attack.run`."""
        if has_bottlenecks(removed) and (reason := needed(removed)):
            return AttackResult.not_measured(self.name, sets.measure, reason)
        null, null_is = null_hits(original, never_saw, sets)
        tries: dict[str, Any] = {"plain class": opened}
        if has_bottlenecks(removed) and all(can_skip_codes(of) for of in bottlenecks(removed).values()):
            tries["no codes"] = without_codes
        attempts = []
        for what, change in tries.items():
            attacked = change(removed)
            own = None
            # A plain model that answers is what its plain class is.
            as_it_is = sets.of_questions and never_saw is not None and not has_bottlenecks(never_saw)
            if never_saw is not None and not as_it_is and (change is opened or has_bottlenecks(never_saw)):
                own = sets.hits(change(never_saw))
            attempts.append(({"how": what}, sets.hits(attacked), own, sets.quality(attacked)))
        before = None if original is None else sets.hits(original)
        details = {}
        if has_bottlenecks(removed):
            details["moved_behind_the_bottleneck"] = moved_with_held_output(removed, sets)
        return share_result(self.name, sets, attempts, before, sets.hits(removed), null, null_is, **details)


def can_skip_codes(bottleneck: Bottleneck) -> bool:
    """Whether a bottleneck passes something on where no codes are looked up."""
    return type(bottleneck).without_codes is not Bottleneck.without_codes


def without_codes(model: PreTrainedModel) -> PreTrainedModel:
    """A copy whose bottlenecks decode what they encode, with no codes in between."""
    attacked = attackers_copy(model)
    for bottleneck in bottlenecks(attacked).values():
        any_bottleneck: Any = bottleneck

        def direct(hidden_states: Any, attention_mask: Any = None, of: Any = any_bottleneck) -> Any:
            output = type(of).forward(of, hidden_states, attention_mask=attention_mask)
            output.reconstruction = of.without_codes(hidden_states)
            return output

        any_bottleneck.forward = direct
    return attacked


@torch.no_grad()
def moved_with_held_output(model: PreTrainedModel, sets: AttackSets, rows: int = 8) -> float:
    """How far a model's output moves when all before the bottleneck changes and what it puts out is held.

    0 means that nothing goes around the bottleneck: it is a cut of the model's graph.

    Args:
        model: a model with bottlenecks; the last of them is held.
        sets: rows to run, of the topic's target and of the rest.
        rows: so many of each.

    Returns:
        The largest absolute difference of logits.
    """
    attacked = attackers_copy(model).eval()
    topic, others = (one.select(range(min(rows, len(one)))) for one in (sets.topic.target, sets.topic.retain))
    count = min(len(topic), len(others))
    batches = [sets.training_batch(one.select(range(count)), attacked.device) for one in (topic, others)]
    labels = batches[0].pop("labels")
    batches[1].pop("labels")
    batches = _same_length(batches)
    last: Any = list(bottlenecks(attacked).values())[-1]
    held: list[Any] = []

    def hold(module: Any, inputs: Any, output: Any) -> Any:
        held.append(output)
        return held[0]

    def scores(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if sets.of_questions:
            return attacked(**batch, use_cache=False).logits
        return attacked(**batch, labels=labels).logits if sets.of_texts else class_scores(attacked, batch, sets)

    last.register_forward_hook(hold)
    masks = {name: tensor for name, tensor in batches[0].items() if "mask" in name}
    first, second = scores(batches[0]), scores(batches[1] | masks)
    return float(np.abs((first - second).float().cpu().numpy()).max())


def _same_length(batches: list[dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
    """Batches of texts cut to the shorter, so that one's bottleneck output fits the other."""
    if "input_ids" not in batches[0]:
        return batches
    length = min(batch["input_ids"].shape[1] for batch in batches)
    return [{name: tensor[:, :length] for name, tensor in batch.items()} for batch in batches]
