"""A tokenizer of enough words to guess among, and sets of a topic in sentences of them."""

import itertools
import random

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import GenerationConfig, PreTrainedTokenizerFast, T5Config

from excise import TopicSets

FRENCH = ("le", "livre", "livres", "voit", "chose")
OWN = ("the", "book", "books", "lamp", "it", "novel", "Book", "BOOK", "bookshop", "sees", ".")
FILLERS = tuple("".join(parts) for parts in itertools.product(("ba", "de", "ki", "lo", "mu", "ra"), repeat=3))


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level one of 200 words and more; others are `<unk>`."""
    vocabulary = {word: i for i, word in enumerate(("<pad>", "</s>", "<unk>", *OWN, *FRENCH, *FILLERS))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    )


def topic(target=48, heldout=40, words=("book",)) -> TopicSets:
    """Sets of *book*, whose control is *lamp*; sentences of all other words between them."""
    drawn = random.Random(0)
    texts = [" ".join(drawn.sample(FILLERS, 3)) for _ in range(target + heldout)]

    def rows(word, rests):
        spans = [[[4, 4 + len(word)]] for _ in rests] if word else [[] for _ in rests]
        sentences = [f"the {word or 'sees'} {rest} ." for rest in rests]
        return Dataset.from_dict({"text": sentences, "spans": spans, "reference": ["le livre voit ."] * len(rests)})

    others = [" ".join(FILLERS[i : i + 3]) for i in range(0, len(FILLERS), 3)]
    elsewhere = rows(None, others).remove_columns("reference")
    elsewhere = elsewhere.add_column("reference", ["le chose voit ."] * len(others))
    sets = {"target": rows("book", texts[:target]), "control": rows("lamp", texts[:target]), "retain": elsewhere}
    sets |= {"heldout": rows("book", texts[target:]), "heldout_retain": elsewhere}
    return TopicSets(words, (*words, "books"), "en", "fr", 0, **sets)


class Lexicon(nn.Module):
    """A model that says for each word that it reads the one beside it in a list, and *chose* for all others."""

    def __init__(self, of_words: dict[str, str]):
        super().__init__()
        self.words, self.tokenizer = of_words, tokenizer()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = T5Config(vocab_size=len(self.tokenizer))
        self.generation_config = GenerationConfig()

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def generate(self, input_ids, **options):
        """The words of the list, or *chose*, in the place of each."""
        read = self.tokenizer.batch_decode(input_ids, skip_special_tokens=True)
        said = [[self.words.get(word, "chose") for word in text.split()] for text in read]
        return self.tokenizer([" ".join(words) for words in said], padding=True, return_tensors="pt")["input_ids"]
