"""Budget of forgetting: the most codes within an allowed loss."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.codes.finder import CodeFinder
from excise.codes.search import SearchCounts
from excise.codes.selection import Selection
from excise.data.batches import padded_batches, to_device
from excise.data.topics import TopicSets
from excise.data.truncation import tokenized
from excise.models.activations import eval_mode
from excise.storage.expected import expects

if TYPE_CHECKING:
    from datasets import Dataset


@expects("finder", "topic")
def select_within_budget(
    finder: CodeFinder,
    counts: SearchCounts,
    topic: TopicSets,
    *,
    top_s: int | None = None,
    max_loss_rise: float = 0.01,
    batch_size: int = 64,
    progress: bool = True,
) -> Selection:
    """The longest list of a topic's codes that costs the retain set no more than a budget.

    The codes that the searches find are taken in order of their p-values. Each trial masks the first so many and
    measures by how much the cross-entropy on `topic.retain` rises. It need not rise with every code, so that a longer
    list may cost less than a shorter one: a bisection finds a list within the budget, and then every longer one is
    tried, from the longest down. That takes as many trials as codes are left out at the end, at most. What the chosen
    list costs is measured once more on `topic.heldout_retain`, sentences that did not choose it.

    Args:
        finder: the model; it is left as it was.
        counts: the codes to choose from, from `Unlearner.count`.
        topic: sets with references.
        top_s: S' of all searches; each one's own if not given.
        max_loss_rise: the budget, relative: 0.01 allows a loss on the retain set that is 1 % higher.
        batch_size: sentences a batch.
        progress: show progress bars.

    Returns:
        The codes; the thresholds tell the budget, the rise on the sentences that chose them, `loss_rise`, and on those
        that did not, `heldout_loss_rise`. Nothing, if every list is too long.

    Raises:
        ValueError: if the budget is negative, or the sets have no references.
    """
    if not max_loss_rise >= 0:
        raise ValueError(f"max_loss_rise={max_loss_rise}: expected 0 or more, such as 0.01 for 1 %.")
    if getattr(topic, "reference", None) is None:  # classes of images have none
        raise ValueError("The topic sets have no references to measure a loss on; give topic_sets a `reference`.")

    def loss(rows: "Dataset") -> float:
        label = "retain loss" if progress else None
        return mean_loss(finder.model, finder.tokenizer, rows["text"], rows["reference"], batch_size, label)

    def first(count: int) -> Selection:
        return counts.select(top_s, count) if count else Selection({})

    base = loss(topic.retain)
    # Codes that leave too few live ones are too many, too.
    spare = min(bottleneck.max_top_s - bottleneck.top_s for bottleneck in finder.sites.values())
    longest = min(len(counts.select(top_s)), spare)
    measured = {0: 0.0}

    def fits(count: int) -> bool:
        if count not in measured:
            with finder.trial(first(count)):
                measured[count] = loss(topic.retain) / base - 1
        return measured[count] <= max_loss_rise

    within, beyond, count = 0, longest + 1, longest
    while beyond - within > 1:
        within, beyond = (count, beyond) if fits(count) else (within, count)
        count = (within + beyond) // 2
    within = next((count for count in range(longest, within, -1) if fits(count)), within)
    selection = first(within)
    budget = {"max_loss_rise": max_loss_rise, "loss_rise": measured[within]}
    if len(topic.heldout_retain):
        before = loss(topic.heldout_retain)
        with finder.trial(selection):
            budget["heldout_loss_rise"] = loss(topic.heldout_retain) / before - 1
    return replace(selection, thresholds=selection.thresholds | budget)


@torch.inference_mode()
def mean_loss(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    references: Sequence[str],
    batch_size: int = 64,
    progress: str | None = None,
) -> float:
    """Cross-entropy of the references, a mean over their tokens, in nats; the model is run in eval mode."""
    encoded = tokenized(tokenizer, texts, targets=references)
    input_ids, label_ids = encoded["input_ids"], encoded["labels"]
    total = tokens = 0.0
    with eval_mode(model):
        for rows, batch in padded_batches(input_ids, tokenizer, batch_size, progress):
            target = tokenizer.pad({"input_ids": [label_ids[row] for row in rows]}, return_tensors="pt")
            labels = target["input_ids"].masked_fill(target["attention_mask"] == 0, -100).to(model.device)
            count = int((labels != -100).sum())
            total += model(**to_device(batch, model.device), labels=labels).task_loss.item() * count
            tokens += count
    return total / tokens
