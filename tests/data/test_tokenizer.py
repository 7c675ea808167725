"""The demo's tokenizer."""

import pytest
from transformers import AutoTokenizer

from excise.data.packaged import load_demo, train_tokenizer


@pytest.fixture(scope="module")
def texts():
    return [text for pair in load_demo()["train"]["translation"][:3000] for text in pair.values()]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return train_tokenizer(texts, 2000)


def test_special_tokens_have_the_numbers_of_t5(tokenizer):
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer("Tom").input_ids[-1] == 1


def test_decoding_gives_every_text_back(tokenizer, texts):
    encoded = tokenizer(texts).input_ids
    assert tokenizer.batch_decode(encoded, skip_special_tokens=True) == texts


def test_words_are_cut_from_english_endings_elisions_hyphens_and_punctuation(tokenizer):
    assert tokenizer.tokenize("Mary's car isn't here.") == ["▁Mary", "'s", "▁car", "▁isn", "'t", "▁here", "."]
    assert tokenizer.tokenize("Est-ce que j'ai dit ça ?") == ["▁Est", "-ce", "▁que", "▁j'", "ai", "▁dit", "▁ça", "▁?"]


def test_the_same_texts_give_the_same_tokenizer(tokenizer, texts):
    again = train_tokenizer(iter(texts), 2000)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_a_saved_tokenizer_is_read_back_by_transformers(tokenizer, texts, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(texts[:200]).input_ids == tokenizer(texts[:200]).input_ids
    assert loaded.batch_decode(loaded(texts[:200]).input_ids, skip_special_tokens=True) == texts[:200]
    assert (loaded.pad_token_id, loaded.eos_token_id, loaded.unk_token_id) == (0, 1, 2)


def test_no_text_and_too_small_a_vocabulary_are_refused_with_what_to_give():
    with pytest.raises(ValueError, match="no text"):
        train_tokenizer([])
    with pytest.raises(ValueError, match="give 7 or more"):
        train_tokenizer(["abc"], vocab_size=6)
