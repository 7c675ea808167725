"""Texts that are longer than the model reads: told with counts, and a topic that is not read does not count."""

import copy
import warnings
from dataclasses import replace

import pytest
from datasets import Dataset, concatenate_datasets

from excise import Unlearner, evaluate, initialize_codes
from excise.attacks.attack_sets import AttackSets
from excise.cli.train.arguments import DataArguments
from excise.cli.train.translation import tokenize_pairs
from excise.codes import CodeIndex
from excise.codes.counting import count_codes, count_pairs
from excise.data import load_demo
from excise.data.truncation import cut_before, tokenized
from excise.deletion.retained import Retained
from excise.evaluation.texts import generate_texts

BEFORE = "the cat sees a dog . "


def shifted(rows, count):
    """The first rows as they are, the rest behind another sentence."""
    later = rows.select(range(count, len(rows))).map(
        lambda row: {
            "text": BEFORE + row["text"],
            "spans": [[place + len(BEFORE) for place in span] for span in row["spans"]],
        }
    )
    return concatenate_datasets([rows.select(range(count)), later]) if count else later


@pytest.fixture(scope="module")
def short(tokenizer):
    """The tokenizer of a model with short inputs: eight tokens, so that the second sentence is never read."""
    own = copy.deepcopy(tokenizer)
    own.model_max_length = 7
    return own


@pytest.fixture(scope="module")
def half(topic):
    """Sets of which some rows have the topic in a second sentence: 5 of 12 pairs, and one of four held-out ones."""
    sets = {"target": shifted(topic.target, 7), "control": shifted(topic.control, 7)}
    return replace(topic, **sets, heldout=shifted(topic.heldout, 3))


@pytest.mark.filterwarnings("ignore:.*longer than")
def test_pairs_that_are_cut_off_before_the_word_take_no_part_in_counts(make_model, short, topic, half):
    model = make_model()
    with pytest.warns(UserWarning, match="5 of 12 sentences are cut off before the topic's word by .*=7"):
        counts = Unlearner(model, short).count_topic(half, max_top_s=4, progress=False)
    (pairs,) = counts.pairs.values()
    assert pairs.target.num_examples == pairs.control.num_examples == 7
    seen = replace(topic, target=topic.target.select(range(7)), control=topic.control.select(range(7)))
    (wanted,) = Unlearner(model, short).count_topic(seen, max_top_s=4, progress=False).pairs.values()
    assert (pairs.both == wanted.both).all()


@pytest.mark.filterwarnings("ignore:.*cut off")
@pytest.mark.parametrize("positions", ["topic", "all"])
@pytest.mark.parametrize("streamed", [False, True], ids=["a data set", "a stream"])
def test_a_row_whose_control_alone_is_cut_off_is_left_out_with_it(make_model, short, topic, positions, streamed):
    sets = [topic.target, shifted(topic.control, 7)]
    if streamed:
        sets = [rows.to_iterable_dataset() for rows in sets]
    options = {"positions": positions, "max_top_s": 4, "progress": False}
    (pairs,) = count_pairs(make_model(), short, *sets, **options).values()
    assert pairs.target.num_examples == pairs.control.num_examples == 7


@pytest.mark.filterwarnings("ignore:.*longer than")
def test_no_sentence_of_a_topic_that_is_read_as_far_as_its_word_is_refused(make_model, short, topic):
    unread = replace(topic, target=shifted(topic.target, 0), heldout=shifted(topic.heldout, 0))
    with pytest.raises(ValueError, match=r"(?s)12 of 12 sentences are cut off .*Set tokenizer.model_max_length higher"):
        Unlearner(make_model(), short).count_topic(unread, max_top_s=4, progress=False)
    with pytest.raises(ValueError, match="4 of 4 held-out sentences are cut off"):
        evaluate(Unlearner(make_model(), short), unread, progress=False)


@pytest.mark.filterwarnings("ignore:.*longer than")
def test_held_out_sentences_that_are_cut_off_before_the_word_are_no_misses(make_model, short, half):
    with pytest.warns(UserWarning, match="1 of 4 held-out sentences are cut off before"):
        result = evaluate(Unlearner(make_model(), short), half, words=["professeur"], max_new_tokens=3, progress=False)
    assert result.scores["before"]["heldout"]["total"] == 3
    assert len(result.texts["heldout"]) == 3
    assert result.settings["cut_off"] == {"sentences": 1, "of": 4, "max_length": 7}
    assert "1 of 4 held-out sentences are left out" in str(result)
    assert result.settings["data"] == half.digest()


def test_attacks_judge_no_sentence_that_is_not_read_as_far_as_the_word(short, half):
    with pytest.warns(UserWarning, match="1 of 4 held-out sentences"):
        sets = AttackSets(half, short, ("professeur",))
    assert [row for row, _ in sets.cases] == [0, 1, 2]


def test_a_word_before_the_cut_counts_and_so_does_a_text_without_spans(short):
    text = "the teacher sees a dog . the teacher reads a book ."
    spans = [[[4, 11]], [[29, 36]], [[4, 11], [29, 36]], []]
    assert cut_before(short, [text] * 4, spans) == [False, True, False, False]


def test_a_phrase_that_is_cut_in_its_middle_is_not_read(short):
    text = "the cat sees a big dog . the teacher ."
    span = [[text.index("sees"), text.index("dog") + 3]]
    whole = cut_before(short, [text], [span])
    assert whole == [False] and cut_before(short, [text], [[[span[0][0], text.index("teacher") + 7]]]) == [True]
    left = copy.deepcopy(short)
    left.truncation_side = "left"
    assert cut_before(left, [text] * 2, [[[0, text.index("dog") + 3]], [[text.index("dog"), len(text)]]]) == [
        True,
        False,
    ]


def test_a_tokenizer_that_cuts_on_the_left_loses_the_first_words(short):
    left = copy.deepcopy(short)
    left.truncation_side = "left"
    text = "the teacher sees a dog . the cat reads a book ."
    assert cut_before(left, [text] * 2, [[[4, 11]], [[29, 32]]]) == [True, False]


def test_texts_that_fit_are_told_nothing_of(tokenizer, topic, make_model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenized(tokenizer, topic.target["text"], targets=topic.target["reference"])
        evaluate(Unlearner(make_model(), tokenizer), topic, words=["professeur"], max_new_tokens=3, progress=False)


# Where texts are tokenised: what is called with a data set of `text` and `reference` of which 4 of 4 rows are too long.
LONG = Dataset.from_dict({"text": [BEFORE * 3 + str(n) for n in range(4)], "reference": ["le chat"] * 4})
PLACES = {
    "texts": ("4 of 4 texts", lambda model, short: tokenized(short, LONG["text"])),
    "references": (
        "4 of 4 references",
        lambda model, short: tokenized(short, ["a"] * 4, targets=LONG["text"]),
    ),
    "generating": ("4 of 4 texts", lambda model, short: generate_texts(model, short, LONG["text"], max_new_tokens=1)),
    "counting": ("4 of 4 texts", lambda model, short: count_codes(model, short, LONG, max_top_s=4, progress=False)),
    "initialising codes": (
        "4 of 4 texts",
        lambda model, short: initialize_codes(model, LONG, short, steps=0, progress=False),
    ),
    "initialising codes from a stream": (
        "4 of 4 texts",
        lambda model, short: initialize_codes(model, LONG.to_iterable_dataset(), short, steps=0, progress=False),
    ),
    "a batch of sentences to train on": (
        "Some texts",
        lambda model, short: AttackSets.training_batch(_sets(short), LONG, model.device),
    ),
    "a batch to distil on": (
        "Some texts",
        lambda model, short: Retained(LONG, LONG, short).batch([LONG[0], LONG[1]]),
    ),
    "excise train": (
        "2 of 3 sources .*, and 1 of 3 targets|2 of 3 sources, and 1 of 3 targets",
        lambda model, short: tokenize_pairs(
            Dataset.from_dict(
                {
                    "translation": [
                        {"en": BEFORE * 2, "fr": "le"},
                        {"en": BEFORE * 2, "fr": "le " * 20},
                        {"en": "a", "fr": "la"},
                    ]
                }
            ),
            short,
            DataArguments(dataset_name="x", source="en", target="fr", max_length=7),
        ),
    ),
}


def _sets(short):
    from excise import TopicSets

    class OfTexts:
        topic = TopicSets.__new__(TopicSets)
        processor = short

    return OfTexts()


@pytest.mark.parametrize(("told", "call"), PLACES.values(), ids=PLACES)
def test_texts_that_are_cut_off_are_told_with_their_number(make_model, short, told, call):
    with pytest.warns(UserWarning, match=f"({told}).*longer than 7 tokens"):
        call(make_model(), short)


def test_an_index_of_a_corpus_tells_once_that_texts_are_cut_off(make_model, short, tmp_path):
    with pytest.warns(UserWarning, match="Some texts are longer than 7 tokens"):
        CodeIndex.build(make_model(), short, LONG, tmp_path / "index", text="text")


def test_packaged_sentences_fit_the_tokenizer_that_is_trained_on_them():
    pairs = load_demo()["test"][:50]["translation"]
    from excise.data import train_tokenizer

    own = train_tokenizer([text for pair in pairs for text in pair.values()], 300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenized(own, [pair["en"] for pair in pairs], targets=[pair["fr"] for pair in pairs])
