"""Tiny pretrained models with a vocabulary of a few words, saved as a user would have them."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BartConfig, BartForConditionalGeneration, BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = "le la un une chat chien professeur dort parle mange ici bien . , !".split()


def save_tokenizer(folder: Path, start: str, end: str, **settings) -> None:
    """A tokenizer of whole words between a start and an end token."""
    vocabulary = {token: i for i, token in enumerate([start, "<pad>", end, "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, 0), (end, 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", **settings
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory) -> Path:
    """A BERT of three layers whose tokenizer has no `model_max_length`, in a folder named like a T5."""
    folder = tmp_path_factory.mktemp("t5-bert")
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=4 + len(WORDS),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=14,
        pad_token_id=1,
        initializer_range=1.0,
    )
    BertModel(config).save_pretrained(folder)
    save_tokenizer(folder, "[CLS]", "[SEP]", cls_token="[CLS]", sep_token="[SEP]")
    return folder


@pytest.fixture(scope="session")
def bart_folder(tmp_path_factory) -> Path:
    """A BART of one layer on each side."""
    folder = tmp_path_factory.mktemp("bart")
    torch.manual_seed(2)
    config = BartConfig(
        vocab_size=4 + len(WORDS),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=32,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
        init_std=1.0,
    )
    BartForConditionalGeneration(config).save_pretrained(folder)
    save_tokenizer(folder, "<s>", "</s>", bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>")
    return folder
