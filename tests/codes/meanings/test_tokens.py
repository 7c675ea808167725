from collections import Counter

import pytest

from excise import Unlearner
from excise.codes import token_meanings
from excise.codes.selection import Selection

SITE = "encoder.block.1"
TEXTS = ["the teacher reads a book .", "a cat sees the dog .", "the doctor likes the house ."]


@pytest.fixture
def unlearner(make_model, tokenizer):
    return Unlearner(make_model(), tokenizer)


def counted(unlearner, texts=TEXTS):
    """What selects each code, a text at a time, by the model's own output."""
    found: dict[tuple[str, int], Counter] = {}
    for text in texts:
        encoded = unlearner.tokenizer(text, return_tensors="pt")
        codes = unlearner.model(**encoded, labels=encoded["input_ids"]).codes[SITE][0]
        for word, row in zip([*text.split(), "(end of text)"], codes.tolist(), strict=True):
            for code in row:
                found.setdefault((SITE, code), Counter())[word] += 1
    return {key: dict(tokens) for key, tokens in found.items()}


def test_they_are_what_the_model_selects_token_by_token_whatever_the_batch(unlearner):
    expected = counted(unlearner)
    for batch_size in (1, 2, 128):
        found = token_meanings(unlearner, TEXTS, count=100, batch_size=batch_size, progress=False)
        assert found == expected


def test_masked_codes_keep_their_meaning_and_the_mask_stays(unlearner):
    expected = counted(unlearner)
    (site, code), tokens = max(expected.items(), key=lambda item: sum(item[1].values()))
    unlearner.mask(Selection({site: [code]}), "a topic")
    assert token_meanings(unlearner, TEXTS, count=100, progress=False)[site, code] == tokens
    assert not unlearner.sites[site].live[code]


def test_the_most_frequent_come_first_and_no_more_than_asked_for(unlearner):
    every = token_meanings(unlearner, TEXTS, count=100, progress=False)
    few = token_meanings(unlearner, TEXTS, count=2, progress=False)
    assert few.keys() == every.keys()
    for key, tokens in few.items():
        best = sorted(every[key].items(), key=lambda item: (-item[1], item[0]))[:2]
        assert list(tokens.items()) == best


def test_more_codes_a_token_are_found_among_more_and_only_wanted_ones_are_given(unlearner):
    own = token_meanings(unlearner, TEXTS, count=100, progress=False)
    more = token_meanings(unlearner, TEXTS, top_s=6, count=100, progress=False)
    tokens = sum(len(text.split()) + 1 for text in TEXTS)
    assert sum(sum(counts.values()) for counts in own.values()) == 2 * tokens
    assert sum(sum(counts.values()) for counts in more.values()) == 6 * tokens
    wanted = sorted(code for _, code in own)[:3]
    few = token_meanings(unlearner, TEXTS, {SITE: wanted}, count=100, progress=False)
    assert few == {(SITE, code): own[SITE, code] for code in wanted}


def test_a_token_that_no_code_is_similar_enough_to_selects_none(unlearner):
    unlearner.sites[SITE].min_similarity.fill_(1.5)
    assert token_meanings(unlearner, TEXTS, progress=False) == {}


def test_no_text_is_refused(unlearner):
    with pytest.raises(ValueError, match="no text"):
        token_meanings(unlearner, [])
