"""Rows of any kind as what a model takes."""

import sys

import pytest
import torch
from datasets import Dataset
from transformers import ProcessorMixin

from excise.data.inputs import Images, Texts, image_processor_of, inputs_of, shuffled_inputs, tokenizer_of
from excise.data.reading import is_dataset
from tests.helpers import tiny

TEXTS = Dataset.from_dict({"text": ["the cat", "a cat and a dog", "the teacher ran"]})


def test_texts_come_longest_first_and_padded():
    inputs = inputs_of(TEXTS, tiny.tokenizer())
    ((rows, first), (_, second)) = inputs.batches(2)
    assert isinstance(inputs, Texts) and len(inputs) == 3
    lengths = [len(ids) for ids in inputs.input_ids]
    assert sorted(rows, key=lambda i: -lengths[i]) == list(rows)
    assert first["attention_mask"].sum(1).tolist() == [lengths[i] for i in rows]
    assert second["input_ids"].shape == (1, min(lengths))
    assert torch.equal(
        inputs.positions_mask(rows, first, first["attention_mask"].shape), first["attention_mask"].bool()
    )


@pytest.mark.parametrize("processor", [tiny.image_processor(), tiny.clip_processor()], ids=["images", "both"])
def test_images_come_in_order_and_all_of_them_counts(processor):
    dataset = tiny.images(5)
    inputs = inputs_of(dataset, processor)
    batches = list(inputs.batches(2))
    assert isinstance(inputs, Images) and len(inputs) == 5
    assert [list(rows) for rows, _ in batches] == [[0, 1], [2, 3], [4]]
    expected = tiny.image_processor()(dataset["image"][:], return_tensors="pt")["pixel_values"]
    assert torch.equal(torch.cat([batch["pixel_values"] for _, batch in batches]), expected)
    shape = torch.Size([2, 3])
    assert inputs.positions_mask(*batches[0], shape).all()
    first = inputs_of(dataset, tiny.image_processor(), positions="class_token").positions_mask(*batches[0], shape)
    assert first.tolist() == [[True, False, False]] * 2
    assert torch.equal(inputs.batch([3, 0])["pixel_values"], expected[[3, 0]])


def test_a_transform_for_training_is_not_applied():
    plain = tiny.images(3)
    augmented = plain.with_transform(lambda rows: {"pixel_values": [0] * len(rows["image"])})
    expected = inputs_of(plain, tiny.image_processor()).batch([0, 1, 2])["pixel_values"]
    assert torch.equal(inputs_of(augmented, tiny.image_processor()).batch([0, 1, 2])["pixel_values"], expected)


def test_the_topics_words_are_for_texts():
    with pytest.raises(ValueError, match='of an image, count "all" or the "class_token"'):
        inputs_of(tiny.images(3), tiny.image_processor(), positions="topic")
    with pytest.raises(ValueError, match='of a text, count "all" or those of the "topic"'):
        inputs_of(Dataset.from_dict({"text": ["the cat"]}), tiny.tokenizer(), positions="class_token")


def test_texts_are_drawn_until_there_are_enough_tokens():
    texts = Dataset.from_dict({"text": ["the cat"] * 50})
    inputs = shuffled_inputs(texts, tiny.tokenizer(), "text", max_tokens=20, seed=0)
    length = len(inputs.input_ids[0])
    assert len(inputs) == -(-20 // length)
    assert len(shuffled_inputs(texts, tiny.tokenizer(), "text", max_tokens=10**6, seed=0)) == 50


def test_images_are_drawn_at_random_by_seed():
    def drawn(seed):
        return shuffled_inputs(tiny.images(30), tiny.image_processor(), "text", 10, seed).batch(range(10))

    assert torch.equal(drawn(0)["pixel_values"], drawn(0)["pixel_values"])
    assert not torch.equal(drawn(0)["pixel_values"], drawn(1)["pixel_values"])


def test_the_parts_of_a_processor_are_found():
    both, images, words = tiny.clip_processor(), tiny.image_processor(), tiny.tokenizer()
    assert tokenizer_of(both) is both.tokenizer and tokenizer_of(words) is words
    assert image_processor_of(both) is both.image_processor and image_processor_of(images) is images
    assert image_processor_of(words) is None
    with pytest.raises(ValueError, match="has no tokenizer"):
        tokenizer_of(images)


class OfTextsAlone(ProcessorMixin):
    """A processor without an image processor."""

    def __init__(self, tokenizer=None):
        self.tokenizer = tokenizer  # transformers' own constructor wants the name of a class that it knows


def test_a_processor_of_texts_alone_tokenizes_as_its_tokenizer_does():
    words = tiny.tokenizer()
    texts = Dataset.from_dict({"text": ["the cat"], "spans": [[[4, 7]]]})
    for positions in ("topic", "all"):
        inputs, expected = (inputs_of(texts, part, positions=positions) for part in (OfTextsAlone(words), words))
        assert inputs.input_ids == expected.input_ids and inputs.masks == expected.masks
    with pytest.raises(ValueError, match="OfTextsAlone has no tokenizer"):
        tokenizer_of(OfTextsAlone())


def test_a_dataset_is_told_from_what_is_none_and_nothing_is_one_where_datasets_is_not_loaded(monkeypatch):
    rows = Dataset.from_dict({"text": ["a"]})
    assert is_dataset(rows)
    assert not is_dataset([{"text": "a"}]) and not is_dataset(Dataset)
    monkeypatch.delitem(sys.modules, "datasets")
    assert not is_dataset(rows)
