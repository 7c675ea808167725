"""BARTScore: how likely a BART finds one text given another."""

from statistics import fmean
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from transformers import AutoModelForSeq2SeqLM

from excise.evaluation.metrics.base import TextMetric
from excise.evaluation.metrics.pretrained import Pair, load, public_name, scores_of_pairs

Direction = Literal["recall", "precision", "f"]


class BartScore(TextMetric):
    """BARTScore: how likely a sequence-to-sequence model finds one text given the other. At most 0; nearer 0 is better.

    For a text y of m tokens (the model's own special tokens included) given a text x:

        score(x -> y) = 1/m * sum over t of log p(y_t | y_1 ... y_{t-1}, x)

    in natural logarithms, averaged over the examples. Of several references the best counts. `compute` gives
    `bart_score` and `bart_score_signature`.

    Args:
        model: local path or Hub id of any sequence-to-sequence model.
        direction: "recall" scores the reference given the prediction, "precision" the prediction given the
            reference, "f" the mean of the two.
        batch_size: pairs that go through the model at once.
        max_length: longest text in tokens; the rest is cut off. `None` asks the tokenizer, then the model.
        device: where the model runs; `None` takes a GPU where there is one.
        **options: see `TextMetric`.

    Raises:
        ValueError: an unknown direction.

    Source: Yuan et al. (2021), *BARTScore: Evaluating Generated Text as Text Generation*, section 3, with
    the equal weights 1/m of their code.
    """

    about = "BARTScore: mean log-likelihood of one text given the other."
    source = "Yuan et al. (2021), BARTScore"

    def __init__(
        self,
        model: str,
        direction: Direction = "recall",
        batch_size: int = 16,
        max_length: int | None = None,
        device: str | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        if direction not in get_args(Direction):
            raise ValueError(f"direction is {direction!r}: expected one of {', '.join(get_args(Direction))}.")
        self.model, self.tokenizer = load(AutoModelForSeq2SeqLM, model, max_length, device)
        self.direction = direction
        self.batch_size = batch_size
        self.known: dict[Pair, list[float]] = {}
        self.signature = (
            f"model:{public_name(model)}|direction:{direction}|max_length:{self.tokenizer.model_max_length}"
        )

    def _compute(self, *, predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
        pairs = [(text, reference) for text, group in zip(predictions, references, strict=True) for reference in group]
        turned = [(reference, prediction) for prediction, reference in pairs]
        sides = {"recall": [pairs], "precision": [turned], "f": [pairs, turned]}[self.direction]
        scores = iter(map(fmean, zip(*(self._log_likelihoods(side) for side in sides), strict=True)))
        best = [max(next(scores) for _ in group) for group in references]
        return {"bart_score": fmean(best), "bart_score_signature": self.signature}

    def _log_likelihoods(self, pairs: list[Pair]) -> list[float]:
        """Mean log-likelihood per token of the second text of each pair, given the first."""
        scores = scores_of_pairs(pairs, self.known, self._batch_log_likelihoods, self.batch_size)
        return [score for (score,) in scores]

    @torch.inference_mode()
    def _batch_log_likelihoods(self, pairs: list[Pair]) -> torch.Tensor:
        given, scored = zip(*pairs, strict=True)
        settings = {"padding": True, "truncation": True, "return_tensors": "pt"}
        inputs = self.tokenizer(list(given), **settings).to(self.model.device)
        targets = self.tokenizer(text_target=list(scored), **settings).to(self.model.device)
        # By the mask and not by the padding token's id, which a text may hold.
        labels = targets["input_ids"].masked_fill(targets["attention_mask"] == 0, -100)
        logits = self.model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels
        ).logits
        losses = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
        return -(losses.double().sum(1) / targets["attention_mask"].sum(1))[:, None].cpu()
