"""Data and model of the demo: easy sentences, and a small T5 that learns them in a minute."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

from datasets import Dataset
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    ProgressCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
)

from excise.data.reading import load_demo
from excise.data.topics.matching import Matcher
from excise.data.words import words
from excise.models.codebook_t5 import CodebookT5ForConditionalGeneration
from excise.training import BottleneckCallback
from excise.training.optimizer import adamw

TOPIC = "book"


@dataclass(frozen=True)
class Recipe:
    """What the demo trains, and for how long.

    Attributes:
        max_words: longest English sentence; those of the topic may be two words longer.
        min_count: every word, English and French, is in so many sentences.
        dim: width of the model.
        plain_steps: steps of a T5 without a bottleneck.
        codebook_steps: steps with it.
        init_steps: steps of the bottleneck alone, in between.
        num_codes: size of the codebook.
        batch_size: sentences a step.
        learning_rate: at first, of all but the embeddings.
        embedding_boost: times that, for the embeddings: T5 starts them at a standard deviation of 1, far from where
            steps of the usual size would bring them in a minute.
        max_retain: sentences without the topic, for selecting and for evaluating.
        seed: of everything.
    """

    max_words: int = 5
    min_count: int = 40
    dim: int = 128
    plain_steps: int = 450
    codebook_steps: int = 260
    init_steps: int = 60
    num_codes: int = 1024
    batch_size: int = 64
    learning_rate: float = 2e-3
    embedding_boost: float = 6.0
    max_retain: int = 300
    seed: int = 0


def easy_pairs(recipe: Recipe) -> tuple[Dataset, Dataset]:
    """Sentence pairs, train and test, that a small model learns in a minute: short, of frequent words."""
    pairs = {split: rows["translation"][:] for split, rows in load_demo().items()}

    def in_lower_case(text):
        return {word.text.lower() for word in words(text) if not word.text.isdigit()}

    counts = {key: Counter(w for pair in pairs["train"] for w in in_lower_case(pair[key])) for key in ("en", "fr")}
    topic = Matcher([TOPIC, f"{TOPIC}s"])

    def easy(pair):
        longest = recipe.max_words + (2 if topic.touches(pair["en"]) else 0)
        frequent = all(counts[key][word] >= recipe.min_count for key in counts for word in in_lower_case(pair[key]))
        return frequent and len(pair["en"].split()) <= longest

    train, test = (
        Dataset.from_dict({"translation": [pair for pair in pairs[split] if easy(pair)]}) for split in ("train", "test")
    )
    return train, test


def tokenize_pairs(pairs: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Rows as a `Seq2SeqTrainer` takes them."""
    english, french = ([pair[key] for pair in pairs["translation"]] for key in ("en", "fr"))
    return Dataset.from_dict(dict(tokenizer(english, text_target=french)))


def plain_t5(tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> T5ForConditionalGeneration:
    """A T5 with random weights."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=recipe.dim,
        d_kv=recipe.dim // 4,
        d_ff=3 * recipe.dim,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        relative_attention_num_buckets=16,
        relative_attention_max_distance=32,
        dropout_rate=0.0,
        decoder_start_token_id=tokenizer.pad_token_id,  # type: ignore[call-arg]  # any config takes more than it names
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return T5ForConditionalGeneration(config)


def fit(
    model: PreTrainedModel,
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    steps: int,
    progress: bool,
) -> None:
    """Trains with an ordinary `Seq2SeqTrainer`."""
    args = Seq2SeqTrainingArguments(
        tempfile.gettempdir(),  # nothing is written there
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_size,
        train_sampling_strategy="group_by_length",
        learning_rate=recipe.learning_rate,
        adam_beta2=0.98,
        weight_decay=0.01,
        lr_scheduler_type="linear",
        warmup_steps=max(1, steps // 20),
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        dataloader_pin_memory=False,
        disable_tqdm=not progress,
        seed=recipe.seed,
    )
    has_codes = isinstance(model, CodebookT5ForConditionalGeneration)
    trainer = Seq2SeqTrainer(
        model=model,
        args=args,
        train_dataset=cast(Any, rows.to_list()),  # rows of a list are at hand, those of a `Dataset` are made each time
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        callbacks=[BottleneckCallback()] if has_codes else None,
        optimizers=(adamw(model, args, recipe.learning_rate * recipe.embedding_boost), None),
    )
    if not progress:
        trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.remove_callback(ProgressCallback)
