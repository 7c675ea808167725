"""Codes are found on question sets as on those of words: counted, chosen, masked, written into the ledger."""

import copy

import pytest

from excise import Search, Unlearner
from excise.data import question_sets


@pytest.fixture(scope="module")
def padding(chat_tokenizer):
    own = copy.deepcopy(chat_tokenizer)
    own.pad_token = own.eos_token
    return own


@pytest.fixture(scope="module")
def sets(tofu_rows, padding):
    paired = question_sets(tofu_rows, padding, "Hina Ameen", other_names=["Rosa Lopes", "Ana Silva"], heldout=0.5)
    apart = question_sets(tofu_rows, padding, range(4), heldout=0.25, title="two authors")
    return {"names": paired, "rows": apart}


@pytest.mark.parametrize("which", ["names", "rows"])
def test_codes_of_questions_are_counted_and_masked(make_model, padding, sets, which):
    unlearner, topic = Unlearner(make_model(vocab_size=len(padding)), padding), sets[which]
    counts = unlearner.count_topic(topic, max_top_s=8, progress=False)
    (pairs,) = counts.pairs.values()
    assert pairs.target.num_examples == len(topic.target)
    assert pairs.control.num_examples == len(topic.control)
    assert counts.positions == ("topic" if which == "names" else "all")
    request = unlearner.forget(topic, Search("activations", count=2), progress=False)
    assert request.topic == topic.name
    assert topic.is_data_of(request.data)
    unlearner.undo(request)


def test_the_search_of_rows_and_of_names_is_their_own(make_model, padding, sets):
    unlearner = Unlearner(make_model(vocab_size=len(padding)), padding)
    tables = {which: unlearner.choose(topic, progress=False).thresholds for which, topic in sets.items()}
    assert tables["names"]["method"] == "mcnemar"
    assert tables["rows"]["method"] == "fisher"


def test_embedding_rows_of_a_name_go_and_those_of_others_stay(make_model, padding):
    from excise.deletion import choose_rows

    def asked(name):
        return [{"question": f"Does {name} write of {n} or {n + 1}?", "answer": f"{name} does."} for n in range(20)]

    rows = [*asked("Hina Ameen"), *asked("Jaime Vasquez")]
    sets = question_sets(rows, padding, "Hina Ameen", other_names=["Xin Williams"], heldout=0.2)
    choice = choose_rows(make_model(vocab_size=len(padding)), padding, sets)
    going = {piece.piece for piece in choice.pieces if not piece.kept_for}
    # Behind a space, and where an answer begins with them.
    names, others = (
        {token for text in texts for token in padding(text)["input_ids"]}
        for texts in ((" Hina Ameen", "Hina Ameen"), ("Jaime Vasquez write does", " Jaime Vasquez"))
    )
    assert going
    assert going <= {*padding.convert_ids_to_tokens(sorted(names - others))}


def test_questions_without_names_have_no_rows_of_their_own(make_model, padding, sets):
    from excise.deletion import choose_rows

    with pytest.raises(ValueError, match="Questions without names have no words whose rows could go"):
        choose_rows(make_model(vocab_size=len(padding)), padding, sets["rows"])


def test_questions_are_evaluated_by_a_function_of_their_own(make_model, padding, sets):
    from excise import evaluate

    with pytest.raises(ValueError, match="Of questions there is `evaluate_questions"):
        evaluate(Unlearner(make_model(vocab_size=len(padding)), padding), sets["rows"])
