"""Erased pieces taken out of tokenizer and model."""

import copy

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from excise import Selection, Unlearner
from excise.deletion import drop_erased_pieces
from excise.deletion.vocabulary import without_pieces
from tests.helpers import tiny

CODES = Selection({"encoder.block.1": (3, 4, 5)}, {"q": 0.05})


def unigram():
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁book", -1.0),
        ("▁b", -3.0),
        ("ook", -3.0),
        ("▁cat", -1.0),
    ]
    backend = Tokenizer(models.Unigram(pieces, unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.add_special_tokens(["<pad>", "</s>", "<unk>", "<extra>"])
    backend.post_processor = processors.TemplateProcessing(single="$A <extra>", special_tokens=[("<extra>", 7)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def test_texts_are_read_by_other_pieces_and_all_others_as_before(tmp_path):
    smaller = without_pieces(unigram(), [3])
    assert smaller.convert_ids_to_tokens(smaller("cat book").input_ids) == ["▁cat", "▁b", "ook", "<extra>"]
    assert len(smaller) == 7 and len(unigram()) == 8
    smaller.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("cat book").input_ids == smaller("cat book").input_ids == [5, 3, 4, 6]
    assert again.get_vocab() == smaller.get_vocab()


def test_byte_pairs_lose_a_piece_that_nothing_is_merged_from():
    tokenizer = tiny.tokenizer()
    cat = tokenizer.convert_tokens_to_ids("▁cat")
    smaller = without_pieces(tokenizer, [cat])
    assert "▁cat" not in smaller.get_vocab()
    assert smaller.decode(smaller("the cat sat").input_ids, skip_special_tokens=True) == "the cat sat"
    with pytest.raises(ValueError, match="Longer pieces are merged from"):
        without_pieces(tokenizer, [tokenizer.convert_tokens_to_ids("a")])


@pytest.mark.parametrize("tokens", [[0], [7], [99], [-1]])
def test_special_and_unknown_pieces_stay(tokens):
    with pytest.raises(ValueError, match=r"special|are none of them"):
        without_pieces(unigram(), tokens)


def test_a_model_computes_the_same_of_all_other_texts_and_is_smaller(make_model, tokenizer, topic, tmp_path):
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.delete(CODES, topic)
    model, texts = unlearner.model, ["the cat sees a dog .", "the doctor likes a house ."]
    before = _logits(model, tokenizer, texts)
    ids = _generated(copy.deepcopy(model), tokenizer, texts)
    smaller = drop_erased_pieces(model, tokenizer)
    assert len(model.shared.weight) == len(smaller) == len(tokenizer) - 2
    assert model.config.vocab_size == len(smaller)
    kept = [tokenizer.get_vocab()[piece] for piece, _ in sorted(smaller.get_vocab().items(), key=lambda one: one[1])]
    torch.testing.assert_close(_logits(model, smaller, texts), before[..., kept])
    assert _generated(model, smaller, texts) == ids
    assert "teacher" not in smaller.get_vocab()
    (request,) = unlearner.ledger.requests
    assert request.rows == {} and request.thresholds["rows"]["taken_out"] == 2
    Unlearner(model, smaller).save_pretrained(tmp_path / "saved")
    again = Unlearner.from_pretrained(tmp_path / "saved")
    assert _generated(again.model, again.processor, texts) == ids


def test_nothing_erased_is_nothing_to_take_out(make_model, tokenizer):
    with pytest.raises(ValueError, match="No embedding rows were erased"):
        drop_erased_pieces(make_model(), tokenizer)


def _logits(model, tokenizer, texts):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**batch, decoder_input_ids=torch.zeros(len(texts), 1, dtype=torch.long)).logits


def _generated(model, tokenizer, texts):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    return tokenizer.batch_decode(model.generate(**batch, max_new_tokens=6, do_sample=False))
