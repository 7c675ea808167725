"""One code: the tokens that select it, and the texts in which it fits best."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from excise.data.batches import padded_batches, to_device
from excise.meanings.state import check_code, state_of
from excise.meanings.tokens import END
from excise.models.activations import bottleneck_inputs, eval_mode
from excise.unlearner import Unlearner

# Characters shown on either side of a token.
CONTEXT = 40


@torch.no_grad()
def code_tokens(
    unlearner: Unlearner, texts: Sequence[str], site: str, code: int, *, count: int = 10, progress: bool = True
) -> dict[str, Any]:
    """The tokens that select a code, with masks lifted.

    Args:
        unlearner: the model.
        texts: texts to look in.
        site: the code's bottleneck.
        code: its id.
        count: how many tokens and contexts are given.
        progress: show a progress bar.

    Returns:
        `state` (live, masked or deleted), `texts`, `tokens`, `selected` (numbers), `top_tokens` (how often each token
        selects the code), `contexts` (the tokens most similar to it by cosine, in their texts).

    Raises:
        ValueError: if there is no such site or code, no text, or the tokenizer cannot tell where its tokens stand.
    """
    check_code(unlearner, site, code)
    bottleneck = unlearner.sites[site]
    if not texts:
        raise ValueError("There is no text to look in: the data set is empty.")
    if not unlearner.tokenizer.is_fast:
        raise ValueError(f"{type(unlearner.tokenizer).__name__} cannot tell where its tokens stand; use a fast one.")
    encoded = unlearner.tokenizer(list(texts), truncation=True, return_offsets_mapping=True)
    found = []
    model = unlearner.model
    with eval_mode(model), unlearner.without_masks():
        label = "looking up" if progress else None
        for rows, batch in padded_batches(encoded["input_ids"], unlearner.tokenizer, progress=label):
            batch = to_device(batch, model.device)
            features = bottleneck.encode(bottleneck_inputs(model, batch, until=site)[site])
            chosen = (bottleneck.select(features) == code).any(-1) & batch["attention_mask"].bool()
            similarity = F.cosine_similarity(features[chosen].float(), bottleneck.codebook[code].float(), dim=-1)
            # Tokens of a row are counted from its first one, on whichever side the padding is.
            places = batch["attention_mask"].cumsum(1)[chosen] - 1
            for row, place, value in zip(
                chosen.nonzero()[:, 0].tolist(), places.tolist(), similarity.tolist(), strict=True
            ):
                found.append((value, rows[row], place))
    found.sort(key=lambda hit: (-hit[0], *hit[1:]))
    hits = [(value, texts[row], encoded["offset_mapping"][row][place]) for value, row, place in found]
    tokens = Counter(text[start:end].strip() or END for _, text, (start, end) in hits)
    return {
        "state": state_of(unlearner, site, code),
        "texts": len(texts),
        "tokens": sum(len(ids) for ids in encoded["input_ids"]),
        "selected": len(hits),
        "top_tokens": dict(tokens.most_common(count)),
        "contexts": [_context(*hit) for hit in hits[:count]],
    }


def _context(similarity: float, text: str, place: tuple[int, int]) -> dict[str, Any]:
    start, end = place
    if start == end:  # the end of the text has no characters of its own
        start = end = len(text)
    before, after = text[max(0, start - CONTEXT) : start], text[end : end + CONTEXT]
    return {"similarity": similarity, "before": before, "token": text[start:end], "after": after}
