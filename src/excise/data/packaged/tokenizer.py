"""A small subword tokenizer, trained on the texts at hand."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Where a word is cut besides spaces: Mary|'s, l'|ami, est|-ce. The mark of a space, ▁, is a symbol to Unicode.
ENGLISH_ENDING = r"'(?:s|t|m|d|ll|re|ve)\b"
ELISION = rf"▁?\p{{L}}+(?!{ENGLISH_ENDING})'(?=\p{{L}})"
HYPHENED = r"-\p{L}+"
PUNCTUATION = r"▁?(?!▁)[\p{P}\p{S}]"


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 3000, *, max_length: int = 64, min_frequency: int = 2
) -> "PreTrainedTokenizerFast":
    """A byte-pair tokenizer with T5's special tokens: `<pad>` is 0, `</s>` 1, `<unk>` 2.

    Text is cut at spaces, punctuation, English endings (*Mary|'s*), French elisions (*l'|ami*) and hyphens before
    pieces are learned, and frequent words become one piece each. Every encoding ends in `</s>`. The same texts give
    the same tokenizer.

    Args:
        texts: what to learn from, both languages of a translation together.
        vocab_size: pieces at most, the special ones and the letters included.
        max_length: tokens at which a tokenizer asked to truncate does so.
        min_frequency: how often a pair of pieces must occur to be joined.

    Returns:
        A tokenizer to save, load and give to a `Trainer` like any other.

    Raises:
        ValueError: if there is no text, or `vocab_size` does not even hold the letters.

    >>> tokenizer = train_tokenizer(["the cat sat", "the cat ran", "a cat"], vocab_size=40)
    >>> tokenizer.convert_ids_to_tokens(tokenizer("the cat").input_ids)
    ['▁the', '▁cat', '</s>']
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    texts = list(texts)
    letters = {letter for text in texts for letter in text}
    if not letters:
        raise ValueError("train_tokenizer was given no text: pass the sentences that the model will be trained on.")
    special = ["<pad>", "</s>", "<unk>"]
    needed = len(letters | {"▁"}) + len(special)
    if vocab_size < needed:
        raise ValueError(
            f"vocab_size is {vocab_size}, but the texts have {len(letters)} different characters: "
            f"give {needed} or more."
        )
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split(Regex(f"{ENGLISH_ENDING}|{ELISION}|{HYPHENED}|{PUNCTUATION}"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
