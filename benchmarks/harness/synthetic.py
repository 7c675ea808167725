"""Made-up sentences: words as uneven as a language's, lengths as uneven as real ones, one token a word."""

import numpy as np
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "</s>", "<unk>")


def word_tokenizer(words: int) -> PreTrainedTokenizerFast:
    """A tokenizer with one token a word, `w0`, `w1` and so on, so that the length of a sentence is known."""
    vocabulary = {name: i for i, name in enumerate((*SPECIAL, *(f"w{i}" for i in range(words))))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def word_ids(lengths: np.ndarray, words: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Word numbers of sentences of some lengths, by Zipf's law as Mandelbrot has it."""
    weights = 1 / (np.arange(words) + 2.7)
    drawn = rng.choice(words, int(lengths.sum()), p=weights / weights.sum())
    return np.split(drawn, np.cumsum(lengths)[:-1])


def short_lengths(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of sources and targets: 11.4 and 13.3 on average, as everyday sentences in English and French have."""
    sources = rng.lognormal(2.386, 0.317, count)
    targets = sources * rng.lognormal(0.14, 0.18, count)
    return tuple(np.clip(np.round(lengths), 3, 64).astype(int) for lengths in (sources, targets))


def novel_lengths(count: int, mean_tokens: float, rng: np.random.Generator) -> np.ndarray:
    """Tokens of sentences whose lengths are as uneven as a novel's."""
    return np.clip(rng.lognormal(np.log(mean_tokens) - 0.18, 0.6, count), 4, 128).astype(int)


def token_pairs(count: int, words: int, rng: np.random.Generator) -> Dataset:
    """Tokenised short pairs, `input_ids`, `attention_mask`, `labels` and the longer side's `length`."""
    sides = [
        [[*(ids + len(SPECIAL)).tolist(), 1] for ids in word_ids(lengths - 1, words, rng)]
        for lengths in short_lengths(count, rng)
    ]
    return Dataset.from_dict(
        {
            "input_ids": sides[0],
            "attention_mask": [[1] * len(row) for row in sides[0]],
            "labels": sides[1],
            "length": [max(len(source), len(target)) for source, target in zip(*sides, strict=True)],
        }
    )
