"""Filters on outputs: what they stop, and that they are no part of the weights."""

import copy

import pytest
import torch
from datasets import Dataset
from transformers import CLIPConfig, CLIPModel

from excise.attacks.interface import attackers_copy, opened
from excise.baselines import filter_outputs
from excise.baselines.output_filter import spellings
from excise.data.classes import ClassSets
from excise.data.packaged import train_tokenizer
from excise.evaluation.texts import generate_texts
from tests.baselines.conftest import FORGOTTEN


@pytest.fixture(scope="module")
def pieces():
    """A tokenizer of pieces with a mark at the beginning of words."""
    texts = ["the small livre", "a livre lives", "Livre LIVRE délivre", "vre re li livres"] * 5
    return train_tokenizer(texts, 60)


def every_way(text: str, tokens: dict[str, int]) -> set[tuple[int, ...]]:
    """All sequences of tokens that are a text, by trying each beginning."""
    if not text:
        return {()}
    starts = [token for token in tokens if text.startswith(token)]
    return {(tokens[token], *rest) for token in starts for rest in every_way(text[len(token) :], tokens)}


@pytest.mark.parametrize("word", ["livre", "Livre", "lives"])
def test_every_way_to_put_a_word_together_is_stopped_and_nothing_else(word, pieces):
    tokens = {token: i for token, i in pieces.get_vocab().items() if i not in pieces.all_special_ids}
    banned = set(spellings([word], pieces))
    cases = {word, word.lower(), word.capitalize(), word.upper()}
    ways = set().union(*(every_way(before + case, tokens) for case in cases for before in ("▁", "")))

    def stopped(ids):
        return any(ids[i:j] in banned for i in range(len(ids)) for j in range(i + 1, len(ids) + 1))

    assert banned and banned <= ways
    assert all(map(stopped, ways))
    assert not stopped(tuple(pieces("the small re li", add_special_tokens=False)["input_ids"]))


def test_a_word_that_the_tokenizer_cannot_spell_is_refused(pieces):
    with pytest.raises(ValueError, match=r"no pieces to spell 'кино'"):
        spellings(["livre", "кино"], pieces)


@pytest.mark.parametrize(("words", "message"), [((), "No words"), ([], "No words"), (["--"], "at least one letter")])
def test_no_words_are_refused(words, message, make_model, tokenizer):
    with pytest.raises(ValueError, match=message):
        filter_outputs(make_model(), tokenizer, words)


def test_a_generating_model_never_says_the_word_and_its_weights_stay(taught, tokenizer, topic, tmp_path):
    def said(model):
        return " ".join(generate_texts(model, tokenizer, topic.heldout["text"][:2], max_new_tokens=4)).split()

    filtered = filter_outputs(taught.model, tokenizer, topic)
    filtered.save_pretrained(tmp_path)
    assert "professeur" in said(taught.model)
    for of in (filtered, copy.deepcopy(filtered), type(filtered).from_pretrained(tmp_path)):
        assert "professeur" not in said(of)
    assert all(torch.equal(a, b) for a, b in zip(taught.model.parameters(), filtered.parameters(), strict=True))
    assert said(opened(filtered)) == said(opened(taught.model))


def test_words_that_were_filtered_before_stay_filtered(make_model, tokenizer):
    once = filter_outputs(make_model(), tokenizer, "livre")
    twice = filter_outputs(once, tokenizer, ["maison"])
    first = once.generation_config.bad_words_ids
    assert twice.generation_config.bad_words_ids[: len(first)] == first
    assert len(twice.generation_config.bad_words_ids) > len(first)


def test_a_topics_words_are_those_of_its_references(make_model, tokenizer, topic):
    filtered = filter_outputs(make_model(), tokenizer, topic)
    said = {tokenizer.decode(ids) for ids in filtered.generation_config.bad_words_ids}
    assert said == {"professeur"}


def class_sets_of(classes, label):
    none = Dataset.from_dict({"label": []})
    return ClassSets(tuple(classes), label, 0, *[none] * 5)


def test_a_classifier_never_names_the_class_and_attackers_have_no_filter(planted):
    encodings = planted.forget_test["encodings"][:]
    plain = planted.model(encodings=encodings).logits
    filtered = copy.deepcopy(filter_outputs(planted.model, None, class_sets_of("abcd", FORGOTTEN)))
    logits = filtered(encodings=encodings).logits
    others = [label for label in range(4) if label != FORGOTTEN]
    assert (plain.argmax(-1) == FORGOTTEN).float().mean() > 0.9
    assert (logits.argmin(-1) == FORGOTTEN).all()
    assert torch.equal(logits[:, others], plain[:, others])
    for attacked in (attackers_copy(filtered), opened(filtered)):
        assert torch.equal(attacked(encodings=encodings).logits, plain)
    assert torch.equal(filtered(encodings=encodings).logits, logits)  # the copies alone have none


def test_a_class_is_found_by_its_name_in_the_models_own_order(planted):
    model = copy.deepcopy(planted.model)
    model.config.id2label = dict(enumerate("dcba"))
    encodings = planted.forget_test["encodings"][:]
    for words in ("c", ["c"], class_sets_of("abcd", 2)):
        assert (filter_outputs(model, None, words)(encodings=encodings).logits.argmin(-1) == 1).all()
    with pytest.raises(ValueError, match=r"no class 'cat'.*\['a', 'b', 'c', 'd'\]"):
        filter_outputs(model, None, "cat")


def test_a_clip_turns_around_texts_that_name_the_class(tokenizer):
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = sizes | {"vocab_size": len(tokenizer), "eos_token_id": 1}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=sizes | {"image_size": 8, "patch_size": 4}, projection_dim=8)
    model = CLIPModel(config).eval()
    filtered = copy.deepcopy(filter_outputs(model, tokenizer, "cat"))
    batch = tokenizer(["a cat reads", "a dog reads"], return_tensors="pt")
    batch = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    before, after = (of.get_text_features(**batch).pooler_output for of in (model, filtered))
    torch.testing.assert_close(after, before * torch.tensor([[-1.0], [1.0]]))
    torch.testing.assert_close(opened(filtered).get_text_features(**batch).pooler_output, before)
