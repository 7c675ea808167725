"""Tokens that select each code, for all codes in one pass over texts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from excise.codes.finder import CodeFinder
from excise.data.batches import padded_batches, to_device
from excise.data.inputs import Texts
from excise.data.truncation import tokenized
from excise.models.activations import bottleneck_inputs, eval_mode
from excise.storage.expected import expects

END = "(end of text)"


@expects("finder", "texts")
@torch.no_grad()
def token_meanings(
    finder: CodeFinder,
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
        finder: a model of texts with codebooks.
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
    tokenizer = finder.tokenizer
    input_ids = tokenized(tokenizer, texts)["input_ids"]
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {site: [] for site in finder.sites}
    model = finder.model
    with finder.without_masks(), eval_mode(model):
        if finder.index is not None:
            indexed = finder.index.ranks(model, Texts(input_ids, tokenizer), top_s, passed_on=True)
            there = np.flatnonzero(indexed.has).tolist()
            tokens = np.array([token for row in there for token in input_ids[row]], np.int64)[:, None]
            for site, parts in found.items():
                known = indexed.codes(there, site)[0]
                numbers = (known.astype(np.int64) * len(tokenizer) + tokens)[known >= 0]
                parts.append(np.unique(numbers, return_counts=True))
            input_ids = [input_ids[row] for row in np.flatnonzero(~indexed.has)]
        batches = padded_batches(input_ids, tokenizer, batch_size, "looking up tokens" if progress else None)
        for _, padded in batches:
            batch = to_device(padded, model.device)
            reached = bottleneck_inputs(model, batch)
            for site, hidden_states in reached.items():
                where = reached.through_codes(site, batch["attention_mask"].bool())
                ids = batch["input_ids"][where]
                bottleneck = finder.sites[site]
                most = min(top_s or bottleneck.top_s, int(bottleneck.live.sum()))
                selected, fitting = bottleneck.ranked(hidden_states[where.to(hidden_states.device)], most)
                # As the model itself: a token that not even its best code is similar enough to selects none.
                least = 0 if bottleneck.together else torch.arange(most, device=fitting.device)
                passed = (fitting[:, None] > least).expand_as(selected)
                pairs = (selected * len(tokenizer) + ids[:, None])[passed]
                found[site].append(np.unique(pairs.cpu().numpy(), return_counts=True))
    meanings: dict[tuple[str, int], dict[str, int]] = {}
    for site, parts in found.items():
        keys, places = np.unique(np.concatenate([keys for keys, _ in parts]), return_inverse=True)
        totals = np.bincount(places, np.concatenate([counts for _, counts in parts]), len(keys)).astype(np.int64)
        wanted = None if codes is None else np.asarray(codes.get(site, ()), np.int64)
        meanings |= _by_code(site, keys, totals, wanted, tokenizer, count)
    return meanings


def _by_code(
    site: str,
    keys: np.ndarray,
    totals: np.ndarray,
    wanted: np.ndarray | None,
    tokenizer: PreTrainedTokenizerBase,
    count: int,
) -> dict[tuple[str, int], dict[str, int]]:
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


def _name(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """A token as a reader knows it: a word or a piece of one, without the space before it."""
    if token == tokenizer.eos_token_id:
        return END
    text = cast(str, tokenizer.decode([token])).strip()
    return text or cast(str, tokenizer.convert_ids_to_tokens(token))


# Characters shown on either side of a token.
CONTEXT = 40


@expects("finder", "texts")
@torch.no_grad()
def code_tokens(
    finder: CodeFinder, texts: Sequence[str], site: str, code: int, *, count: int = 10, progress: bool = True
) -> dict[str, Any]:
    """The tokens that select a code, with masks lifted.

    Args:
        finder: the model.
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
    check_code(finder, site, code)
    bottleneck = finder.sites[site]
    if not texts:
        raise ValueError("There is no text to look in: the data set is empty.")
    if not finder.tokenizer.is_fast:
        raise ValueError(f"{type(finder.tokenizer).__name__} cannot tell where its tokens stand; use a fast one.")
    encoded = tokenized(finder.tokenizer, texts, return_offsets_mapping=True)
    found = []
    model = finder.model
    with eval_mode(model), finder.without_masks():
        label = "looking up" if progress else None
        run = _texts_to_run(finder, encoded["input_ids"], site, code)
        for part, padded in padded_batches([encoded["input_ids"][i] for i in run], finder.tokenizer, progress=label):
            rows = [run[i] for i in part]
            batch = to_device(padded, model.device)
            reached = bottleneck_inputs(model, batch, until=site)
            selected, cosines = bottleneck.selected(reached[site])
            is_code = selected.unflatten(1, (-1, bottleneck.top_s)) == code
            chosen = is_code.any(-1) & reached.through_codes(site, batch["attention_mask"].bool())
            similarity = cosines.view_as(is_code)[is_code & chosen[..., None]]
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
        "state": state_of(finder, site, code),
        "texts": len(texts),
        "tokens": sum(len(ids) for ids in encoded["input_ids"]),
        "selected": len(hits),
        "top_tokens": dict(tokens.most_common(count)),
        "contexts": [_context(*hit) for hit in hits[:count]],
    }


def _texts_to_run(finder: CodeFinder, input_ids: Sequence[Sequence[int]], site: str, code: int) -> list[int]:
    """The texts with tokens that select a code, as an index tells, and those that it knows nothing of."""
    if finder.index is None:
        return list(range(len(input_ids)))
    indexed = finder.index.ranks(finder.model, Texts(input_ids, finder.tokenizer), passed_on=True)
    there, run = np.flatnonzero(indexed.has), ~indexed.has
    selected, texts = indexed.codes(there.tolist(), site)
    run[there[texts[(selected == code).any(1)]]] = True
    return np.flatnonzero(run).tolist()


def _context(similarity: float, text: str, place: tuple[int, int]) -> dict[str, Any]:
    start, end = place
    if start == end:  # the end of the text has no characters of its own
        start = end = len(text)
    before, after = text[max(0, start - CONTEXT) : start], text[end : end + CONTEXT]
    return {"similarity": similarity, "before": before, "token": text[start:end], "after": after}


def check_code(finder: CodeFinder, site: str, code: int) -> None:
    """Makes sure that a model has a code.

    Raises:
        ValueError: if there is no such site or code.
    """
    bottleneck = finder.sites.get(site)
    if bottleneck is None or not 0 <= code < bottleneck.num_codes:
        sites = ", ".join(f"{name}:0 to {module.num_codes - 1}" for name, module in finder.sites.items())
        raise ValueError(f"There is no code {site}:{code}; the model has {sites}.")


def state_of(finder: CodeFinder, site: str, code: int) -> str:
    """`"live"`, `"masked"` or `"deleted"`."""
    if code in finder.ledger.removed(site, kinds=("delete",)):
        return "deleted"
    return "live" if finder.sites[site].live[code] else "masked"
