"""Membership inference on texts: sentences of the topic that a model was trained on told from others of the topic."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from excise.attacks.asked_sets import AskedSets
from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import NEVER_SAW, Attack, attackers_copy
from excise.attacks.rules import Scores, auc_result
from excise.data.inputs import tokenizer_of
from excise.data.truncation import tokenized
from excise.models.activations import eval_mode
from excise.report.attacks import AttackResult

# Each is large where a text is new to a model. Their AUCs carry these names in attempts.
LOSS, MIN_K, MIN_K_PLUS_PLUS = "loss", "min-k", "min-k++"
ZLIB, REFERENCE, GRADIENT = "zlib", "reference", "gradient norm"
# How much of the references a model would write by itself. No attack of its own: said beside them.
MEMORISED = ("exact memorization", "extraction strength", "probability")
IGNORED = -100


@dataclass(frozen=True)
class TextMembership(Attack):
    """Tells the sentences that a topic was learnt from (`target`) from such as no model was trained on (`heldout`).

    Six scores of the reference's tokens, as OpenUnlearning defines them; the strongest counts. They are the loss (Yeom
    et al., 2018), the mean of the least likely tokens (Min-K %; Shi et al., 2024), the same in standard deviations of
    what the model expected (Min-K %++; Zhang et al., 2024), the loss for each byte of the compressed text, the loss
    less that of another model (Carlini et al., 2021), and the norm of the loss's gradient (Nasr et al., 2019; Maini et
    al., 2021; Wang et al., 2024). All but the loss and what is made of it leave the last token out: it ends the text.

    Members and others may differ in themselves, as in length. The model that never saw the topic shows by how much: its
    AUC would be a half if they did not, and what counts is the difference to it (`auc_result` states the rule).

    Of questions, members are all that were to be forgotten, and the others are a `holdout`, or the same rows in other
    words (`AskedSets.membership_rows`).

    Attributes:
        k: the share of a text's tokens that Min-K % and Min-K %++ look at. OpenUnlearning's settings for TOFU and MUSE
            have 0.4.
        most: the most sentences of either kind, drawn by the sets' seed: the gradient norm takes a pass back for each.
        reference: what the loss is held against; the model that never saw the topic if not given.
        reference_is: what that is, in words.

    Source: OpenUnlearning, arXiv:2506.12618, `evals/metrics/mia`.
    """

    name = "text membership"
    about = "Sentences that the model was trained on are told from others by how well it knows them."

    k: float = 0.2
    most: int = 200
    reference: PreTrainedModel | None = field(default=None, repr=False, compare=False)
    reference_is: str = "public base"

    def __post_init__(self) -> None:
        if not 0 < self.k <= 1 or self.most < 1:
            raise ValueError(f"k={self.k} and most={self.most}: expected a share above 0 and at least one sentence.")

    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """As `Attack.run`."""
        if not sets.of_texts:
            return AttackResult.not_measured(self.name, "auc", "These are sets of images; the attack reads texts.")
        parts: Any = (sets.topic.target, sets.topic.heldout)
        if isinstance(sets, AskedSets):
            parts = sets.membership_rows(has_null=never_saw is not None)
        if isinstance(parts, str):
            return AttackResult.not_measured(self.name, "auc", parts)
        rows = [sets.draw(min(self.most, len(part)), 0, part) for part in parts]
        known: dict[int, list[dict[str, np.ndarray]]] = {}

        def measured(model: PreTrainedModel | None, gradient: bool = True) -> list[dict[str, np.ndarray]] | None:
            if model is not None and id(model) not in known:
                known[id(model)] = [text_scores(model, sets, part, self.k, gradient) for part in rows]
            return None if model is None else known[id(model)]

        of_removed = measured(removed)
        models = {"removed": of_removed, "never_saw": measured(never_saw), "original": measured(original)}
        reference = never_saw if self.reference is None else self.reference
        against = measured(reference, gradient=False)
        attempts: list[tuple[dict[str, Any], Scores, Scores | None, Scores | None]] = []
        own: dict[str, float | None] = {}
        for how in (LOSS, MIN_K, MIN_K_PLUS_PLUS, ZLIB, REFERENCE, GRADIENT):
            if how == REFERENCE and against is None:
                continue
            of_original, null = (_scores(models[name], how, against) for name in ("original", "never_saw"))
            if how == REFERENCE and reference is never_saw:  # whose loss less its own is 0
                null = None
            settings: dict[str, Any] = {"how": how} | ({"k": self.k} if "min-k" in how else {})
            if how == REFERENCE:
                settings |= {"reference": NEVER_SAW if self.reference is None else self.reference_is}
            attempts.append((settings, _scores(of_removed, how, against), null, of_original))  # type: ignore[arg-type]
            own[how] = None if of_original is None else of_original.auc
        details: dict[str, Any] = {
            "examples": [len(part) for part in rows],
            "original": own,
            "memorised": {
                name: {what: float(of[0][what].mean()) for what in MEMORISED} for name, of in models.items() if of
            },
        }
        result = auc_result(self.name, attempts, **details)
        if never_saw is None:
            result = replace(
                result,
                reason=f"{result.reason} No model that never saw it was given: what tells these sentences apart in "
                "themselves counts, too.",
            )
        return result


class LabelTokens(NamedTuple):
    """A text's tokens as a model foresees them.

    Args:
        log_probs: log of each token's probability, given those before it, over the vocabulary.
        labels: the tokens that there are.
    """

    log_probs: Float[Tensor, "tokens vocabulary"]
    labels: Int[Tensor, "tokens"]

    @property
    def of_labels(self) -> Float[Tensor, "tokens"]:
        """Log of the probability of the tokens that there are."""
        return self.log_probs.gather(1, self.labels[:, None])[:, 0]

    @property
    def without_end(self) -> "LabelTokens":
        """The same without the last token, which ends the text; one that is alone stays."""
        return LabelTokens(*(tensor[: max(1, len(self.labels) - 1)] for tensor in self))


def text_scores(
    model: PreTrainedModel, sets: AttackSets, rows: Dataset, k: float = 0.2, gradient: bool = True
) -> dict[str, np.ndarray]:
    """What a model makes of the references of rows: five membership scores, and how much of them it would write.

    Args:
        model: an encoder-decoder, or a decoder alone, which is given text and reference in one; left as it was.
        sets: processor and size of batches.
        rows: with `text` and `reference`.
        k: as in `TextMembership`.
        gradient: whether the norm of the gradient is wanted, too.

    Returns:
        By name, `(rows,)`: `LOSS`, `MIN_K`, `MIN_K_PLUS_PLUS`, `ZLIB`, `GRADIENT`, all larger where a text is new; and
        those of `MEMORISED`, smaller where it is.
    """
    tokenizer, size = tokenizer_of(sets.processor), sets.batch_size
    found: list[dict[str, float]] = []
    with torch.no_grad(), eval_mode(model):
        for start in range(0, len(rows), size):
            part = rows.select(range(start, min(start + size, len(rows))))
            for tokens in label_tokens(model, sets, part):
                text = str(tokenizer.decode(tokens.labels.tolist(), skip_special_tokens=True))
                found.append(token_scores(tokens, k) | memorised(tokens))
                found[-1][ZLIB] = found[-1][LOSS] / len(zlib.compress(text.encode()))
    scores = {name: np.array([of[name] for of in found]) for name in (found[0] if found else ())}
    if gradient:
        scores[GRADIENT] = gradient_norms(model, sets, rows)
    return scores


def token_scores(tokens: LabelTokens, k: float) -> dict[str, float]:
    """Loss, Min-K % and Min-K %++ of one text."""
    inner = tokens.without_end
    log_probs = inner.of_labels.double()
    every = inner.log_probs.double()
    mean = (every.exp() * every).sum(-1)
    variance = (every.exp() * every.square()).sum(-1) - mean.square()
    unexpected = (log_probs - mean) / variance.clamp(min=1e-6).sqrt()
    count = max(1, int(len(log_probs) * k))
    return {
        LOSS: -float(tokens.of_labels.double().mean()),
        MIN_K: -float(log_probs.sort().values[:count].mean()),
        MIN_K_PLUS_PLUS: -float(unexpected.sort().values[:count].mean()),
    }


def memorised(tokens: LabelTokens) -> dict[str, float]:
    """How much of one text a model would write by itself, given what goes before, as OpenUnlearning defines it.

    Exact memorization is the share of tokens that are the likeliest ones. Extraction strength is the share of tokens at
    the end that all are; of a text that ends on another token it is that of one token, not 0. Probability is the
    geometric mean of the tokens'.
    """
    inner = tokens.without_end
    right = (inner.log_probs.argmax(-1) == inner.labels).cpu().numpy()
    wrong = np.flatnonzero(~right)
    at_end = len(right) - (wrong[-1] + 1 if len(wrong) else 0)
    return {
        "exact memorization": float(right.mean()),
        "extraction strength": max(1, at_end) / len(right),
        "probability": float(tokens.of_labels.double().mean().exp()),
    }


def gradient_norms(model: PreTrainedModel, sets: AttackSets, rows: Dataset) -> np.ndarray:
    """For each row, the mean over a model's tensors of the norm of the loss's gradient; the model is left as it was."""
    attacked = attackers_copy(model).eval().requires_grad_(True)
    parameters, norms = list(attacked.parameters()), []
    for row in range(len(rows)):
        (tokens,) = label_tokens(attacked, sets, rows.select([row]))
        loss = -tokens.without_end.of_labels.mean()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        norms.append(float(torch.stack([one.float().norm() for one in gradients if one is not None]).mean()))
    return np.array(norms)


def label_tokens(model: PreTrainedModel, sets: AttackSets, rows: Dataset) -> Iterator[LabelTokens]:
    """The tokens of the references of rows, one text after another, as a model foresees them in one pass."""
    if sets.of_questions:
        batch = sets.training_batch(rows, model.device)
        labels = batch.pop("labels")[:, 1:]
        logits = model(**batch, use_cache=False).logits[:, :-1]
    elif model.config.is_encoder_decoder:
        batch = sets.training_batch(rows, model.device)
        logits, labels = model(**batch).logits, batch["labels"]
    else:
        batch, labels = _joined(sets, rows, model.device)
        logits, labels = model(**batch).logits[:, :-1], labels[:, 1:]
    for of_row, wanted in zip(logits, labels, strict=True):
        there = wanted != IGNORED
        yield LabelTokens(of_row[there].float().log_softmax(-1), wanted[there])


def _joined(sets: AttackSets, rows: Dataset, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """Text and reference in one, as a decoder alone reads them, and the reference's tokens as labels."""
    tokenizer: Any = tokenizer_of(sets.processor)
    end = tokenizer.eos_token_id
    texts = [
        [token for token in ids if token != end] for ids in tokenized(tokenizer, rows["text"], counted=False).input_ids
    ]
    answers = tokenizer([" " + text for text in rows["reference"]], add_special_tokens=False).input_ids
    joined = [[*text, *answer, end] for text, answer in zip(texts, answers, strict=True)]
    length = max(map(len, joined))
    ids = torch.tensor([[*one, *[end] * (length - len(one))] for one in joined])
    places, sizes = torch.arange(length), torch.tensor([[len(one)] for one in joined])
    starts = torch.tensor([[len(text)] for text in texts])
    labels = ids.masked_fill((places < starts) | (places >= sizes), IGNORED)
    batch = {"input_ids": ids, "attention_mask": (places < sizes).long()}
    return {name: tensor.to(device) for name, tensor in batch.items()}, labels.to(device)


def _scores(of: list[dict[str, np.ndarray]] | None, how: str, against: Any) -> Scores | None:
    """Membership scores of members and others, larger where a text is known."""
    if of is None:
        return None
    if how == REFERENCE:
        return Scores(*(other[LOSS] - own[LOSS] for own, other in zip(of, against, strict=True)))
    return Scores(*(-own[how] for own in of))
