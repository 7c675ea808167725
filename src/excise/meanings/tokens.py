"""The tokens that select each code, for all codes in one pass over texts."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from excise.data.batches import padded_batches, to_device
from excise.models.activations import bottleneck_inputs, eval_mode
from excise.unlearner import Unlearner

END = "(end of text)"


@torch.no_grad()
def token_meanings(
    unlearner: Unlearner,
    texts: Sequence[str],
    codes: Mapping[str, Sequence[int]] | None = None,
    *,
    top_s: int | None = None,
    count: int = 5,
    batch_size: int = 128,
    progress: bool = True,
) -> dict[tuple[str, int], dict[str, int]]:
    """How often which tokens select each code, with masks lifted: what a report shows of a code.

    Args:
        unlearner: a model of texts with codebooks.
        texts: texts to look in.
        codes: by site, the codes that are wanted; all that are ever selected if not given.
        top_s: how many of its most similar codes a token selects; as many as the model itself passes on if not given.
            An enrichment that counted more has codes which are among more only.
        count: how many tokens of each code are given, the most frequent first.
        batch_size: texts a batch.
        progress: show a progress bar.

    Returns:
        By site and code, its tokens and their numbers. Codes that no token selects are not in it.

    Raises:
        ValueError: if there is no text, or the model has no codebook.
    """
    if not texts:
        raise ValueError("There is no text to look in: give at least one.")
    unlearner.check_codebooks()
    tokenizer = unlearner.tokenizer
    input_ids = tokenizer(list(texts), truncation=True)["input_ids"]
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {site: [] for site in unlearner.sites}
    model = unlearner.model
    with unlearner.without_masks(), eval_mode(model):
        batches = padded_batches(input_ids, tokenizer, batch_size, "looking up tokens" if progress else None)
        for _, batch in batches:
            batch = to_device(batch, model.device)
            ids = batch["input_ids"][batch["attention_mask"].bool()]
            for site, hidden_states in bottleneck_inputs(model, batch).items():
                bottleneck = unlearner.sites[site]
                features = bottleneck.encode(hidden_states[batch["attention_mask"].bool()])
                most = min(top_s or bottleneck.config.top_s, int(bottleneck.live.sum()))
                selected, cosines = bottleneck.similar_codes(features, most)
                # As the model itself: a token that not even its best code is similar enough to selects none.
                passed = cosines[:, 0] >= bottleneck.min_similarity
                keys = selected[passed] * len(tokenizer) + ids[passed][:, None]
                found[site].append(np.unique(keys.flatten().cpu().numpy(), return_counts=True))
    meanings = {}
    for site, parts in found.items():
        keys, places = np.unique(np.concatenate([keys for keys, _ in parts]), return_inverse=True)
        totals = np.bincount(places, np.concatenate([counts for _, counts in parts]), len(keys)).astype(np.int64)
        wanted = None if codes is None else np.asarray(codes.get(site, ()), np.int64)
        meanings |= _by_code(site, keys, totals, wanted, tokenizer, count)
    return meanings


def _by_code(site: str, keys: np.ndarray, totals: np.ndarray, wanted, tokenizer, count: int) -> dict:
    """Keys number pairs of a code and a token, in ascending order."""
    numbers, ids = np.divmod(keys, len(tokenizer))
    names = {int(i): _name(tokenizer, int(i)) for i in np.unique(ids)}
    if wanted is not None:
        kept = np.isin(numbers, wanted)
        numbers, ids, totals = numbers[kept], ids[kept], totals[kept]
    found: dict[tuple[str, int], Counter] = {}
    for code, token, total in zip(numbers.tolist(), ids.tolist(), totals.tolist(), strict=True):
        found.setdefault((site, code), Counter())[names[token]] += total
    return {
        code: dict(sorted(tokens.items(), key=lambda item: (-item[1], item[0]))[:count])
        for code, tokens in found.items()
    }


def _name(tokenizer, token: int) -> str:
    """A token as a reader knows it: a word or a piece of one, without the space before it."""
    if token == tokenizer.eos_token_id:
        return END
    return tokenizer.decode([token]).strip() or tokenizer.convert_ids_to_tokens(token)
