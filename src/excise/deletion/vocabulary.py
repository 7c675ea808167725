"""Vocabulary without its erased pieces: they are taken out of tokenizer, embeddings and settings."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.bottlenecks.site import bottlenecks
from excise.ledger.embeddings import guard_tables, vocabulary_modules, vocabulary_tables
from excise.ledger.erased_tables import rows_by_table
from excise.ledger.ledger import Ledger, Request
from excise.storage.expected import expects


def without_pieces(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> PreTrainedTokenizerBase:
    """A tokenizer that lacks some pieces; those above them have lower numbers, and texts with them are read by others.

    Args:
        tokenizer: a fast one, of unigrams, words, word pieces or byte pairs; it stays as it is.
        tokens: numbers of the pieces.

    Raises:
        ValueError: if it is of another kind, or a piece is a special one, or longer pieces are merged from it.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(f"A {type(tokenizer).__name__} has no pieces that can be taken out. Load the fast tokenizer.")
    fast: Any = tokenizer
    state = json.loads(fast.backend_tokenizer.to_str())
    gone, model = set(tokens), state["model"]
    if special := gone & {*tokenizer.all_special_ids, *(one["id"] for one in state["added_tokens"])}:
        raise ValueError(f"Tokens {sorted(special)} are special or were added, and cannot be taken out.")
    size = len(tokenizer)
    if outside := [token for token in gone if not 0 <= token < size]:
        raise ValueError(f"The tokenizer has {size} tokens; {outside[:5]} are none of them.")
    number = {old: new for new, old in enumerate(token for token in range(size) if token not in gone)}
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, list):
        model["vocab"] = [entry for token, entry in enumerate(vocabulary) if token not in gone]
        model["unk_id"] = number.get(model.get("unk_id"))
    elif isinstance(vocabulary, Mapping):
        pieces = {piece for piece, token in vocabulary.items() if token in gone}
        merges = [tuple(one.split(" ")) if isinstance(one, str) else tuple(one) for one in model.get("merges", [])]
        needed = {half for one in merges if "".join(one) not in pieces for half in one} & pieces
        if needed:
            raise ValueError(f"Longer pieces are merged from {sorted(needed)[:5]}, which cannot be taken out.")
        if "merges" in model:
            model["merges"] = [list(one) for one in merges if "".join(one) not in pieces]
        model["vocab"] = {piece: number[token] for piece, token in vocabulary.items() if token not in gone}
    else:
        raise ValueError(f"A tokenizer of kind {model.get('type')!r} has no list of pieces.")
    for one in state["added_tokens"]:
        one["id"] = number[one["id"]]
    _renumber(state.get("post_processor"), number)
    smaller: Any = copy.deepcopy(tokenizer)
    smaller._tokenizer = Tokenizer.from_str(json.dumps(state))
    return smaller


def _renumber(part: Any, number: Mapping[int, int]) -> None:
    """Gives the special tokens that are put around a text their new numbers, in place."""
    for one in part.get("processors", [part]) if isinstance(part, dict) else []:
        specials = one.get("special_tokens")
        for special in specials.values() if isinstance(specials, dict) else []:
            special["ids"] = [number[token] for token in special["ids"]]
        for name in ("sep", "cls"):
            if isinstance(one.get(name), list):
                one[name] = [one[name][0], number[one[name][1]]]


@expects("model", tokenizer="processor")
@torch.no_grad()
def drop_erased_pieces(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Takes the pieces whose embedding rows were erased out of a model, in place, and of its tokenizer, in a copy.

    What the model computes of texts without these pieces stays the same. Others are read by smaller pieces from now
    on. The ledger keeps how many went.

    Args:
        model: a model with bottlenecks.
        tokenizer: its tokenizer.

    Returns:
        The tokenizer that goes with the model from now on.

    Raises:
        ValueError: as `without_pieces`, or if nothing was erased.
    """
    ledger = Ledger.from_dict(model.config.unlearning)
    erased, tables = rows_by_table(model, ledger.erased_rows()), vocabulary_tables(model)
    if not erased:
        raise ValueError("No embedding rows were erased, so there is nothing to take out of the vocabulary.")
    gone = next(iter(erased.values()))
    smaller = without_pieces(tokenizer, gone)
    size = len(next(iter(tables.values())))
    stays = torch.ones(size, dtype=torch.bool)
    stays[gone] = False
    number = {old: new for new, old in enumerate(stays.nonzero().flatten().tolist())}
    taken = {id(table): nn.Parameter(table[stays.to(table.device)], table.requires_grad) for table in tables.values()}
    guard_tables(model, {}, vouched=True)
    for module in vocabulary_modules(model):
        module.weight = taken[id(module.weight)]
        if isinstance(getattr(module, "bias", None), nn.Parameter):
            module.bias = nn.Parameter(module.bias[stays.to(module.bias.device)], module.bias.requires_grad)
        for name in ("num_embeddings", "out_features"):
            if getattr(module, name, None) == size:
                setattr(module, name, size - len(gone))
        if getattr(module, "padding_idx", None) is not None:
            module.padding_idx = number[module.padding_idx]
    several = (model.config, model.config.get_text_config(), getattr(model, "generation_config", None))
    for settings in {id(one): one for one in several}.values():  # once, as numbers change
        _renumber_settings(settings, number, size - len(gone))
    smaller_ledger = Ledger(tuple(_renumbered(r, number) for r in ledger.requests))
    model.config.unlearning = smaller_ledger.to_dict(smaller_ledger.live(bottlenecks(model)))
    return smaller


def _renumbered(request: Request, number: Mapping[int, int]) -> Request:
    """A request with the new numbers of the rows that stay, as those of a mask, and how many were taken out."""
    rows = {name: tuple(number[one] for one in tokens if one in number) for name, tokens in request.rows.items()}
    renumbered = replace(request, rows={name: tokens for name, tokens in rows.items() if tokens})
    if not (taken_out := request.num_rows - renumbered.num_rows):
        return renumbered
    said = {**request.thresholds.get("rows", {}), "taken_out": taken_out}
    return replace(renumbered, thresholds={**request.thresholds, "rows": said})


def _renumber_settings(settings: Any, number: Mapping[int, int], size: int) -> None:
    """Gives the tokens that settings name their new numbers, and the vocabulary its new size."""
    if settings is None:
        return
    if getattr(settings, "vocab_size", None):
        settings.vocab_size = size
    for name in [name for name in vars(settings) if name.endswith("_token_id")]:
        token = getattr(settings, name)
        if isinstance(token, list):
            setattr(settings, name, [number.get(one, one) for one in token])
        elif isinstance(token, int):
            setattr(settings, name, number.get(token, token))
