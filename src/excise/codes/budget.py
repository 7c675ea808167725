"""Budget of forgetting: the most codes within an allowed loss."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.codes.finder import CodeFinder
from excise.codes.search import SearchCounts
from excise.codes.selection import Selection
from excise.data.batches import padded_batches, to_device
from excise.data.questions import QuestionSets, answer_tokens
from excise.data.questions.answer_tokens import MOST_READ_AT_ONCE, AnswerTokens, answer_losses
from excise.data.questions.question_rows import ANSWER, QUESTION
from excise.data.topics import TopicSets
from excise.data.truncation import tokenized
from excise.models.activations import eval_mode
from excise.storage.expected import described, expects

if TYPE_CHECKING:
    from datasets import Dataset


@expects("finder")
def select_within_budget(
    finder: CodeFinder,
    counts: SearchCounts,
    topic: TopicSets | QuestionSets,
    *,
    top_s: int | None = None,
    max_loss_rise: float = 0.01,
    batch_size: int = 64,
    progress: bool = True,
) -> Selection:
    """The longest list of a topic's codes that costs the retain set no more than a budget.

    The codes that the searches find are taken in order of their p-values, or of how often they fire. Each trial masks
    the first so many and measures what that costs on `topic.retain`: of texts by how much the cross-entropy rises, of
    questions by how much the mean probability of the answers falls, as the loss of what is known by heart is near 0.
    It need not cost more with every code, so that a longer list may cost less than a shorter one: a bisection finds a
    list within the budget, and of texts every longer one is then tried, from the longest down. That takes as many
    trials as codes are left out at the end, at most. What the chosen list costs is measured once more on
    `topic.heldout_retain`, which did not choose it.

    Args:
        finder: the model; it is left as it was.
        counts: the codes to choose from, from `Unlearner.count`.
        topic: sets with references, or of questions.
        top_s: S' of all searches; each one's own if not given.
        max_loss_rise: the budget, relative: 0.01 allows a loss on the retain set that is 1 % higher; of questions, a
            probability that is 1 % lower.
        batch_size: sentences a batch; of questions, 8 at most.
        progress: show progress bars.

    Returns:
        The codes; the thresholds tell the budget, the cost on the rows that chose them, `loss_rise`, and on those that
        did not, `heldout_loss_rise` (of questions, `probability_fall` and `heldout_probability_fall`). Nothing, if
        every list is too long.

    Raises:
        ValueError: if the budget is negative, the sets have no references, or what it is a share of is 0 or no number.
    """
    if not max_loss_rise >= 0:
        raise ValueError(f"max_loss_rise={max_loss_rise}: expected 0 or more, such as 0.01 for 1 %.")
    asked = isinstance(topic, QuestionSets)
    if not isinstance(topic, TopicSets | QuestionSets):
        raise ValueError(f"topic: {described(topic)} was given; expected sets of a topic or of questions.")
    if isinstance(topic, TopicSets) and topic.reference is None:
        raise ValueError("The topic sets have no references to measure a loss on; give topic_sets a `reference`.")

    def measure(rows: "Dataset") -> Callable[[], float]:
        label = "retain set" if progress else None
        if isinstance(topic, QuestionSets):
            tokens = answer_tokens(finder.tokenizer, rows[QUESTION][:], rows[ANSWER][:], topic.form)
            return lambda: answer_probability(finder.model, tokens, min(batch_size, MOST_READ_AT_ONCE), label)
        texts, references = rows["text"], rows["reference"]
        return lambda: mean_loss(finder.model, finder.tokenizer, texts, references, batch_size, label)

    def cost(value: float, before: float) -> float:
        return 1 - value / before if asked else value / before - 1

    def first(count: int) -> Selection:
        return counts.select(top_s, count) if count else Selection({})

    retained = measure(topic.retain)
    base = retained()
    if not 0 < base < math.inf:
        what = "mean probability of the answers" if asked else "loss"
        raise ValueError(
            f"The {what} of the retain set is {base}: what a budget is a share of must be above 0 and finite."
        )
    # Codes that leave too few live ones are too many, too.
    spare = min(bottleneck.max_top_s - bottleneck.top_s for bottleneck in finder.sites.values())
    longest = min(len(counts.select(top_s)), spare)
    measured = {0: 0.0}

    def fits(count: int) -> bool:
        if count not in measured:
            with finder.trial(first(count)):
                measured[count] = cost(retained(), base)
        return measured[count] <= max_loss_rise

    within, beyond, count = 0, longest + 1, longest
    while beyond - within > 1:
        within, beyond = (count, beyond) if fits(count) else (within, count)
        count = (within + beyond) // 2
    if not asked:
        within = next((count for count in range(longest, within, -1) if fits(count)), within)
    selection = first(within)
    what = "probability_fall" if asked else "loss_rise"
    budget = {f"max_{what}": max_loss_rise, what: measured[within]}
    if len(topic.heldout_retain):
        others = measure(topic.heldout_retain)
        before = others()
        with finder.trial(selection):
            budget[f"heldout_{what}"] = cost(others(), before)
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


@torch.inference_mode()
def answer_probability(
    model: PreTrainedModel, tokens: AnswerTokens, batch_size: int = MOST_READ_AT_ONCE, progress: str | None = None
) -> float:
    """Mean over questions of the geometric mean of the probabilities of an answer's tokens, in eval mode."""
    rows = [row for row in tokens.order() if tokens.counts(row)]
    total = 0.0
    with eval_mode(model):
        for at in tqdm(range(0, len(rows), batch_size), desc=progress, disable=progress is None):
            batch = tokens.batch(rows[at : at + batch_size])
            labels = batch.pop("labels").to(model.device)
            losses, counts = answer_losses(model(**to_device(batch, model.device), use_cache=False).logits, labels)
            total += (-losses / counts).exp().sum().item()
    return total / len(rows)
