"""BERTScore: similarity of tokens in a BERT's layer."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, GPT2Tokenizer, PreTrainedModel, RobertaTokenizer

from excise.evaluation.metrics.base import TextMetric
from excise.evaluation.metrics.pretrained import Pair, load, public_name, scores_of_pairs
from excise.storage.extras import require


class BertScore(TextMetric):
    """BERTScore: how well the tokens of two texts match by the cosine of their contextual vectors, at most 1.

    Each token goes with its most similar one on the other side; the mean over the prediction's tokens is the
    precision, over the reference's tokens the recall. No idf weights, no rescaling. Of several references the best
    counts. A blank text scores 0.

    `compute` gives the means `bert_score_precision`, `bert_score_recall`, `bert_score_f1`, and
    `bert_score_signature`.

    Args:
        model: local path or Hub id of an encoder (or of an encoder-decoder, whose encoder is used).
        num_layers: layer whose vectors are compared, from 0 (embeddings) to the model's last. The package bert-score
            lists good ones: 17 for roberta-large, 9 for bert-base-multilingual-cased.
        batch_size: texts that go through the model at once.
        max_length: longest text in tokens; the rest is cut off. `None` asks the tokenizer, then the model.
        device: where the model runs; `None` takes a GPU where there is one.
        **options: see `TextMetric`.

    Raises:
        MissingExtraError: the extra `metrics` is not installed.
        ValueError: the model has no such layer, or a tokenizer that BERTScore does not know how to weigh.

    Source: Zhang et al. (2020), *BERTScore: Evaluating Text Generation with BERT*, section 3.
    """

    about = "BERTScore: greedy matching of contextual token vectors."
    source = "Zhang et al. (2020), BERTScore"

    def __init__(
        self,
        model: str,
        num_layers: int,
        batch_size: int = 64,
        max_length: int | None = None,
        device: str | None = None,
        **options: Any,
    ):
        require("metrics", purpose="BertScore")
        super().__init__(**options)
        encoder, self.tokenizer = load(AutoModel, model, max_length, device)
        self.model = _cut(encoder.get_encoder() if encoder.config.is_encoder_decoder else encoder, num_layers)
        marks = (self.tokenizer.cls_token, self.tokenizer.sep_token)
        if self.tokenizer.num_special_tokens_to_add() != 2 or None in marks:
            raise ValueError(
                f"The tokenizer of {model} adds {self.tokenizer.num_special_tokens_to_add()} special tokens to a text "
                f"and has {marks} for its start and end: expected 2 and both of them, as in BERT, RoBERTa or BART."
            )
        self.batch_size = batch_size
        self.known: dict[Pair, list[float]] = {}
        self.signature = (
            f"model:{public_name(model)}|layer:{num_layers}|max_length:{self.tokenizer.model_max_length}|idf:no"
        )

    def _compute(self, *, predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
        rows, pairs = [], []
        for row, (prediction, group) in enumerate(zip(predictions, references, strict=True)):
            filled = [(prediction, text) for text in group if prediction.strip() and text.strip()]
            pairs += filled
            rows += [row] * len(filled)
        scores = torch.zeros(len(predictions), 3)
        pair_rows = torch.tensor(rows, dtype=torch.long)
        matched = torch.tensor(scores_of_pairs(pairs, self.known, self._match, self.batch_size))
        # Precision, recall and F1 each take their best reference, as in the package bert-score.
        if pairs:
            scores.scatter_reduce_(0, pair_rows[:, None].expand(-1, 3), matched, "amax", include_self=False)
        precision, recall, f1 = scores.double().mean(0).tolist()
        return {
            "bert_score_precision": precision,
            "bert_score_recall": recall,
            "bert_score_f1": f1,
            "bert_score_signature": self.signature,
        }

    @torch.inference_mode()
    def _match(self, pairs: list[Pair]) -> Tensor:
        from bert_score.utils import greedy_cos_idf

        predicted, reference = (self._vectors(list(texts)) for texts in zip(*pairs, strict=True))
        return torch.stack(greedy_cos_idf(*reference, *predicted), dim=-1).cpu()

    def _vectors(self, texts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors (batch, seq, dim), the mask of real tokens, and each token's weight, 0 for special ones."""
        # These two split the first word of a text as any other only after a space.
        space = " " if isinstance(self.tokenizer, GPT2Tokenizer | RobertaTokenizer) else ""
        texts = [space + text.strip() for text in texts]
        inputs = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.model.device)
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        vectors = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        special = (ids == self.tokenizer.cls_token_id) | (ids == self.tokenizer.sep_token_id)
        return vectors, mask, mask.masked_fill(special, 0).float()


def _cut(encoder: PreTrainedModel, num_layers: int) -> PreTrainedModel:
    """The encoder without the layers after the first `num_layers`."""
    last = encoder.config.num_hidden_layers
    stacks = [part for part in encoder.modules() if isinstance(part, nn.ModuleList) and len(part) == last]
    if not 0 <= num_layers <= last:
        raise ValueError(f"num_layers is {num_layers}: this model has layers 0 to {last}.")
    if not stacks:
        raise ValueError(f"{type(encoder).__name__} does not keep its {last} layers in one list. Choose another model.")
    del stacks[0][num_layers:]
    return encoder
