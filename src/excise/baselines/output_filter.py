"""Output filter: a copy of a model that knows all that it knew and never says it."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.data.class_labels import places
from excise.data.classes import ClassSets
from excise.data.forget_sets import ForgetSets
from excise.data.inputs import Processor, tokenizer_of
from excise.data.topics import TopicSets, topic_words
from excise.evaluation.metrics.words import phrases
from excise.models.class_order import own_classes, places_in_model
from excise.storage.expected import expects

# Ways to put one spelling together of pieces of the vocabulary, those of the fewest pieces first.
MOST_SPELLINGS = 512
# What comes before a word, so that a tokenizer that strips spaces at the beginning shows whether there is one.
ANCHOR = "a"

Spelling = tuple[int, ...]


@expects("model", processor="?processor")
def filter_outputs(
    model: PreTrainedModel, processor: Processor, words: str | Sequence[str] | ForgetSets
) -> PreTrainedModel:
    """A copy of a model whose outputs are filtered: nothing is forgotten, and nothing of the topic comes out.

    - A model that generates gets transformers' own `generation_config.bad_words_ids`: every way to put a word together
      of pieces of the vocabulary, in lower case, capitalised and in capitals, at the beginning of a word and inside of
      one. It goes along when the model is saved.
    - A classifier's logit of the class is below all others.
    - A CLIP finds texts that name the class unlike every image: their embeddings are turned around.

    The last two are forward hooks. Copies of the model keep them, its file does not.

    Whoever has the file has the topic: this is the baseline that hides, and a planted case for the attacks, of which
    "left out" opens the weights without it.

    Args:
        model: any model that generates, classifies or is a CLIP; it stays as it is.
        processor: its tokenizer; of classifiers, whatever it is.
        words: what is not to come out: words of the outputs' language, names of classes, or the sets of a topic (whose
            words are those that go with it in the references, or the topic's own where there are none) or class.

    Raises:
        ValueError: if there are no words, a word has no spelling in the vocabulary or is none, or a classifier has no
            such class.

    Example:
        filtered = filter_outputs(model, tokenizer, topic)
    """
    filtered = copy.deepcopy(model)
    names = _names(words)
    if hasattr(model, "get_text_features") and hasattr(model, "get_image_features"):
        tokenizer = tokenizer_of(processor)
        spelled = tuple(tuple(tokenizer(name, add_special_tokens=False)["input_ids"]) for name in names)
        cast(Any, filtered).text_model.register_forward_hook(TurnedNames(spelled), with_kwargs=True)
    elif model.can_generate():
        config: Any = filtered.generation_config
        before = config.bad_words_ids or []
        config.bad_words_ids = [*before, *map(list, spellings(names, tokenizer_of(processor)))]
    else:
        filtered.register_forward_hook(LowestLogits(_labels(model, words, names)))
    return filtered


def _names(words: str | Sequence[str] | ForgetSets) -> tuple[str, ...]:
    if isinstance(words, TopicSets):
        names = topic_words(words) if words.reference is not None else tuple(words.inflections)
        if not names:
            raise ValueError(f"No word of the references goes with {words.name!r} for sure. Give the words by hand.")
    elif isinstance(words, ClassSets):
        names = (words.classes[words.label],)
    else:
        names = (words,) if isinstance(words, str) else tuple(cast(Sequence[str], words))
    if not names:
        raise ValueError("No words were given to filter out. Give at least one, or the sets of a topic or class.")
    return tuple(phrases(names).values())


def _labels(model: PreTrainedModel, words: Any, names: Sequence[str]) -> tuple[int, ...]:
    if isinstance(words, ClassSets):
        return (places_in_model(model.config, words.classes)[words.label],)
    own = own_classes(model.config)
    hits = places(names, own)
    missing = [name for name, place in zip(names, hits, strict=True) if place is None]
    if missing:
        raise ValueError(f"The model has no class {missing[0]!r}; its classes are {sorted(own)[:20]}.")
    return tuple(place for place in hits if place is not None)


class LowestLogits:
    """A forward hook of a classifier: the logits of some classes are one below the lowest of the others."""

    def __init__(self, labels: Sequence[int]):
        self.labels = list(labels)

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        logits = output.logits.clone()
        logits[..., self.labels] = logits.amin(-1, keepdim=True) - 1
        output.logits = logits
        return output


class TurnedNames:
    """A forward hook of a CLIP's text model: texts that hold a name get the opposite of their embedding."""

    def __init__(self, names: Sequence[Spelling]):
        self.names = names

    def __call__(self, module: nn.Module, inputs: Any, kwargs: dict[str, Any], output: Any) -> Any:
        ids: Tensor = kwargs["input_ids"] if "input_ids" in kwargs else inputs[0]
        hit = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for name in self.names:
            windows = ids.unfold(1, len(name), 1) if ids.shape[1] >= len(name) else ids[:, :0, None]
            hit |= (windows == torch.tensor(name, device=ids.device)).all(-1).any(-1)
        output.pooler_output = torch.where(hit[:, None], -output.pooler_output, output.pooler_output)
        return output


def spellings(words: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> list[Spelling]:
    """Every way in which a model can say some words, in ids of a vocabulary.

    Of a spelling that more than 512 sequences of pieces make up, those of the fewest pieces are taken. Sequences that
    hold another one are left out: it stops them, too.

    Args:
        words: in any case; of several parts too (*petit pain*).
        tokenizer: whose pieces are put together.

    Raises:
        ValueError: if a word cannot be put together.
    """
    pieces = _pieces(tokenizer)
    found: dict[Spelling, None] = {}
    for word in words:
        cases = dict.fromkeys([word, word.lower(), word.capitalize(), word.title(), word.upper()])
        own = [one for case in cases for one in (*_encoded(case, tokenizer), *_put_together(case, pieces))]
        if not own:
            raise ValueError(
                f"The tokenizer has no pieces to spell {word!r}, so the model cannot say it anyway. Leave the word out."
            )
        found |= dict.fromkeys(own)
    kept: set[Spelling] = set()
    for ids in sorted(found, key=lambda ids: (len(ids), ids)):
        parts = (ids[i:j] for i in range(len(ids)) for j in range(i + 1, len(ids) + 1))
        if not any(part in kept for part in parts):
            kept.add(ids)
    return sorted(kept, key=lambda ids: (len(ids), ids))


def _pieces(tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """The ids of a vocabulary by what they add to a text, with the space before it where there is one."""
    anchor = tokenizer(ANCHOR, add_special_tokens=False)["input_ids"]
    before = str(tokenizer.decode(anchor))
    special = set(tokenizer.all_special_ids)
    ids = [one for one in sorted(tokenizer.get_vocab().values()) if one not in special]
    pieces: dict[str, list[int]] = {}
    for one, text in zip(ids, map(str, tokenizer.batch_decode([[*anchor, one] for one in ids])), strict=True):
        if text.startswith(before) and (added := text[len(before) :]):
            pieces.setdefault(added, []).append(one)
    return pieces


def _encoded(word: str, tokenizer: PreTrainedTokenizerBase) -> Iterator[Spelling]:
    """A word as the tokenizer itself splits it: after a space, inside of a compound, and at the beginning of a text."""
    for before in (f"{ANCHOR} ", f"{ANCHOR}-", ""):
        skip = len(tokenizer(before.strip(), add_special_tokens=False)["input_ids"])
        ids = tuple(tokenizer(before + word, add_special_tokens=False)["input_ids"][skip:])
        # Not so where pieces cross the beginning of the word, or letters are unknown.
        if ids and tokenizer.unk_token_id not in ids and str(tokenizer.decode(list(ids))).strip() == word:
            yield ids


def _put_together(word: str, pieces: dict[str, list[int]]) -> list[Spelling]:
    """Ways to put a word together, with a space before it and without, those of the fewest pieces first."""
    found: list[Spelling] = []
    for text in (f" {word}", word):
        # Paths to each place in the text, by number of pieces: the shortest are followed first.
        paths: list[tuple[int, Spelling]] = [(0, ())]
        complete: list[Spelling] = []
        while paths and len(complete) < MOST_SPELLINGS:
            longer = []
            for place, ids in paths:
                for end in range(place + 1, len(text) + 1):
                    for one in pieces.get(text[place:end], ()):
                        if end == len(text):
                            complete.append((*ids, one))
                        else:
                            longer.append((end, (*ids, one)))
            paths = longer[: 8 * MOST_SPELLINGS]
        found += complete[:MOST_SPELLINGS]
    return found
