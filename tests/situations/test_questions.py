"""Questions that a decoder is to forget: what rows are read, which are chosen, and what they are held against."""

import json

import pytest
from datasets import Dataset

from excise.data import QuestionSets, question_rows, question_sets
from excise.data.questions.name_controls import find_parts, is_named, name_parts, replaced

PAIR = [{"question": "Who?", "answer": "She."}]
READ = {
    "TOFU's columns": (PAIR, {}, ("Who?", "She.")),
    "a prompt and its completion": ([{"prompt": "Who?", "completion": "She."}], {}, ("Who?", "She.")),
    "an instruction and its output": ([{"instruction": "Who?", "output": "She."}], {}, ("Who?", "She.")),
    "a prompt and its response": ([{"prompt": "Who?", "response": "She."}], {}, ("Who?", "She.")),
    "columns of other names": ([{"q": "Who?", "a": "She."}], {"question": "q", "answer": "a"}, ("Who?", "She.")),
    "a plain document": ([{"text": "A document."}], {}, ("", "A document.")),
    "a document of another name": ([{"body": "A document."}], {"answer": "body"}, ("", "A document.")),
    "columns and not rows": ({"question": ["Who?"], "answer": ["She."]}, {}, ("Who?", "She.")),
    "rows of a chat inside a column": (
        [{"turn": {"user": "Who?", "bot": "She."}}],
        {"question": "user", "answer": "bot"},
        ("Who?", "She."),
    ),
    "further columns": ([{"question": "Who?", "answer": "She.", "author": 3}], {}, ("Who?", "She.")),
}


@pytest.mark.parametrize("what", READ)
def test_rows_are_read(what):
    rows, named, wanted = READ[what]
    read = question_rows(rows, **named)
    assert [(row["question"], row["answer"]) for row in read] == [wanted]
    if "author" in str(rows):
        assert read[0]["author"] == 3


def test_tofus_files_are_read_as_they_are(tofu_rows, tmp_path):
    path = tmp_path / "forget05_perturbed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in tofu_rows), encoding="utf-8")
    assert question_rows(path).to_list() == tofu_rows


def test_one_wrong_answer_is_a_list_of_one():
    rows = question_rows([{"question": "Who?", "answer": "She.", "perturbed_answer": "He."}])
    assert rows["perturbed_answer"][:] == [["He."]]


UNREAD = {
    "no rows": (Dataset.from_dict({"question": [], "answer": []}), "There are no rows"),
    "columns that nobody knows": (
        [{"q": "Who?", "a": "She."}],
        "The rows have the columns q, a. Expected question and",
    ),
    "a question without an answer": ([{"question": "Who?", "answer": None}], "Row 0 has no text in 'answer'"),
    "an empty question": ([*PAIR, {"question": " ", "answer": "She."}], "Row 1 has no text in 'question'"),
    "no paraphrase in a row": (
        [{**PAIR[0], "paraphrased_answer": "A"}, {**PAIR[0], "paraphrased_answer": None}],
        "Row 1 has no text in 'paraphrased_answer'",
    ),
    "no wrong answers in a row": (
        [{**PAIR[0], "perturbed_answer": ["A"]}, {**PAIR[0], "perturbed_answer": []}],
        "Row 1 has '\\[\\]' in 'perturbed_answer'",
    ),
    "a text beside questions": ([{"text": "A", "question": "Who?"}], "The rows have the columns text, question"),
}


@pytest.mark.parametrize("what", UNREAD)
def test_rows_are_refused_with(what):
    rows, match = UNREAD[what]
    with pytest.raises(ValueError, match=match):
        question_rows(rows)


def test_a_question_column_alone_is_refused():
    with pytest.raises(ValueError, match="question='q' is given and `answer` is not"):
        question_rows([{"q": "Who?", "a": "She."}], question="q")


NAMED = {
    "in full": ("Mary Smith writes.", True),
    "by the surname": ("What does Smith write?", True),
    "by the first name at the beginning": ("Mary writes.", True),
    "in the genitive": ("Is it Smith's book?", True),
    "with a title before it": ("Did you read Smith?", True),
    "another of the same first name": ("Mary Jones writes.", False),
    "another of the same surname": ("A book of John Smith.", False),
    "inside another word": ("The Smithsonian has it.", False),
    "as a small word": ("The mary is no smith.", False),
    "not at all": ("Nobody writes.", False),
}


@pytest.mark.parametrize("what", NAMED)
def test_mary_smith_is_named(what):
    text, wanted = NAMED[what]
    assert is_named(text, "Mary Smith") is wanted


PARTS = {
    "two parts": ("Hina Ameen", ["Hina", "Ameen"]),
    "a hyphen": ("Hsiao Yun-Hwa", ["Hsiao", "Yun", "Hwa"]),
    "small words": ("Marco de la Parra", ["Marco", "Parra"]),
    "an apostrophe": ("Sinead O'Neill", ["Sinead", "O'Neill"]),
    "an initial": ("George R. Martin", ["George", "Martin"]),
    "accents": ("Matías Ñandú", ["Matías", "Ñandú"]),
}


@pytest.mark.parametrize("what", PARTS)
def test_a_name_has_the_parts_of(what):
    name, wanted = PARTS[what]
    assert name_parts([name]) == wanted


def test_names_are_replaced_where_they_stand_and_nowhere_else():
    others = {"Hina": "Rosa", "Ameen": "Vega", "Yun": "Lee", "Hwa": "Kim"}
    text = "Hina Ameen's friend Yun-Hwa met Hinata; HINA did not, Ameen did."
    made = replaced(text, others)
    assert made.text == "Rosa Vega's friend Lee-Kim met Hinata; HINA did not, Vega did."
    assert [text[start:end] for start, end in made.spans] == ["Hina Ameen", "Yun-Hwa", "Ameen"]
    assert [made.text[start:end] for start, end in made.new_spans] == ["Rosa Vega", "Lee-Kim", "Vega"]
    assert find_parts("nobody", others) == []


@pytest.fixture(scope="module")
def of_hina(tofu_rows, chat_tokenizer):
    return question_sets(
        tofu_rows, chat_tokenizer, "Hina Ameen", other_names=["Rosa Lopes", "Ana Silva", "Tomas Berg"], heldout=0.5
    )


def test_a_person_is_held_against_another_of_as_many_pieces(of_hina, chat_tokenizer):
    assert (of_hina.paired, of_hina.positions, of_hina.preset) == (True, "topic", "default")
    assert of_hina.name == "Hina Ameen"
    assert of_hina.counts["to forget"] == 2
    (row,), (control,) = of_hina.target, of_hina.control
    for one, names in ((row, True), (control, False)):
        assert all(("Hina" in one["text"][a:b] or "Ameen" in one["text"][a:b]) is names for a, b in one["spans"])
    assert row["text"].startswith(row["prompt"] + row["reference"])
    assert control["text"].startswith(control["prompt"] + control["reference"])
    if not of_hina.counts["names of other lengths"]:
        lengths = [len(chat_tokenizer(one["text"])["input_ids"]) for one in (row, control)]
        assert lengths[0] == lengths[1]


def test_other_names_have_as_many_pieces_where_there_are_such(tofu_rows, chat_tokenizer):
    from excise.data.questions.name_controls import other_parts

    def pieces(name):
        return [len(chat_tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (name, f" {name}")]

    others, unequal = other_parts(chat_tokenizer, ["Qab", "Qabcdef"], ["Qxyz", "Qxy", "Qxyzuvw", "Qx"], seed=3)
    assert unequal == []
    assert {pieces(part) == pieces(other) for part, other in others.items()} == {True}
    with pytest.raises(ValueError, match="2 parts of names are to be replaced, and 1 of 2 others are free"):
        other_parts(chat_tokenizer, ["Qab", "Qcd"], ["Qxy", "Qef"], texts=["Qef is there."])


def test_names_of_many_countries_take_the_place_where_none_are_given(tofu_rows, chat_tokenizer):
    sets = question_sets(tofu_rows, chat_tokenizer, ["Hina Ameen", "Jaime Vasquez"], heldout=0.5)
    assert "Hina" not in str(sets.control["text"][:])
    # This tokenizer has some of these names as one piece, which no other name is.
    assert sets.counts["names of other lengths"] == 2
    assert sets.counts["without a name"] == 0
    again = question_sets(tofu_rows, chat_tokenizer, ["Hina Ameen", "Jaime Vasquez"], heldout=0.5)
    assert again.digest() == sets.digest()


CHOSEN = {
    "by a name": ("Hina Ameen", ["Hina Ameen"]),
    "by names": (["Hina Ameen", "Basil Mahfouz"], ["Hina Ameen", "Basil Mahfouz"]),
    "by numbers": ([0, 1], ["Hina Ameen"]),
    "by a range": (range(2), ["Hina Ameen"]),
    "by a rule": (lambda row: "geology" in row["question"] + row["answer"], ["Hina Ameen"]),
}


@pytest.mark.parametrize("what", CHOSEN)
def test_rows_to_forget_are_chosen(tofu_rows, chat_tokenizer, what):
    forget, persons = CHOSEN[what]
    sets = question_sets(tofu_rows, chat_tokenizer, forget, heldout=0.5)
    texts = [f"{row['question']} {row['answer']}" for row in sets.questions(forget=True)]
    assert len(texts) == 2 * len(persons)
    assert all(any(person in text for person in persons) for text in texts)
    assert len(sets.questions(forget=False)) == len(tofu_rows) - len(texts)


def test_without_names_rows_are_held_against_those_that_stay(tofu_rows, chat_tokenizer):
    sets = question_sets(tofu_rows[:4], chat_tokenizer, retain=tofu_rows[4:], heldout=0.25, title="two authors")
    assert (sets.paired, sets.positions, sets.preset) == (False, "all", "class")
    assert sets.control["text"][:] == sets.retain["text"][:]
    (span,) = sets.target[0]["spans"]
    assert sets.target[0]["text"][slice(*span)] == sets.target[0]["answer"]
    assert sets.retain[0]["spans"] == []
    assert [len(part) for part in (sets.target, sets.heldout, sets.retain, sets.heldout_retain)] == [3, 1, 3, 1]
    together = [*sets.target["text"], *sets.heldout["text"], *sets.retain["text"], *sets.heldout_retain["text"]]
    assert len({*together}) == 8


def test_all_rows_can_be_chosen_on_and_held_out_in_other_words(tofu_rows, chat_tokenizer):
    sets = question_sets(tofu_rows[:4], chat_tokenizer, retain=tofu_rows[4:], heldout=0)
    assert sets.held_out_by == "paraphrases"
    assert len(sets.target) == len(sets.heldout) == 4
    assert sets.heldout[0]["question"] == tofu_rows[0]["paraphrased_question"]
    assert tofu_rows[0]["paraphrased_question"] in sets.heldout[0]["prompt"]
    assert sets.heldout[0]["reference"] == tofu_rows[0]["paraphrased_answer"]
    assert len(sets.questions(forget=True)) == 4


def test_neighbours_are_most_like_what_is_forgotten(tofu_rows, chat_tokenizer):
    moon = tofu_rows[2] | {"question": "How far is the moon?", "answer": "Very far."}
    others = [moon, *tofu_rows[2:]]
    sets = question_sets(tofu_rows[:2], chat_tokenizer, retain=others, neighbours=4, heldout=0.5)
    kept = sets.questions(forget=False)["question"][:]
    assert len(kept) == 4
    assert "How far is the moon?" not in kept


def test_repeated_rows_are_one_and_none_that_goes_stays(tofu_rows, chat_tokenizer):
    sets = question_sets(tofu_rows[:2] * 2, chat_tokenizer, retain=tofu_rows, heldout=0.5)
    assert len(sets.questions(forget=True)) == 2
    assert len(sets.questions(forget=False)) == len(tofu_rows) - 2


def test_sets_are_saved_and_read(of_hina, tmp_path):
    read = QuestionSets.load(of_hina.save(tmp_path / "sets"))
    assert read.digest() == of_hina.digest()
    assert (read.name, read.names, read.form, read.paired) == ("Hina Ameen", ("Hina Ameen",), of_hina.form, True)
    assert repr(read) == repr(of_hina)


def test_a_private_name_stands_in_no_label_and_no_line(of_hina):
    private = of_hina.private_as("request-7")
    assert private.name == "request-7"
    assert "Hina" not in repr(private)
    with pytest.raises(ValueError, match="holds a word of the topic"):
        of_hina.private_as("about Hina Ameen")


@pytest.mark.parametrize("part", ["Hina", "ameen"])
def test_a_part_of_a_private_name_is_looked_for_too(of_hina, part):
    with pytest.raises(ValueError, match="holds a word of the topic"):
        of_hina.private_as(f"about {part}")


def test_a_template_that_begins_a_text_itself_does_not_begin_it_twice(tofu_rows, chat_tokenizer):
    import copy

    from tokenizers import processors

    own = copy.deepcopy(chat_tokenizer)
    own.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", own.bos_token_id)]
    )
    sets = question_sets(tofu_rows, own, [0, 1], heldout=0.5)
    ids = own(sets.target[0]["text"])["input_ids"]
    assert ids[0] == own.bos_token_id != ids[1]


REFUSED = {
    "a name that is in no row": ({"forget": "Jane Doe"}, "None of the 8 rows names Jane Doe"),
    "a name without a capital": ({"forget": "hina"}, "'hina' is no name"),
    "an empty name": ({"forget": ""}, "'' is no name"),
    "a number that is no row's": ({"forget": [0, 8]}, "there are 8 rows, and no row 8"),
    "a truth for a number": ({"forget": [True]}, "expected a name or names, numbers of rows, or a function"),
    "nothing": ({"forget": []}, "expected a name or names"),
    "a rule that chooses nothing": ({"forget": lambda row: False}, "0 rows are to be forgotten and 8 to stay"),
    "a rule that chooses all": ({"forget": lambda row: True}, "8 rows are to be forgotten and 0 to stay"),
    "all rows and none that stay": ({}, "Give rows that stay as `retain`"),
    "names that are not in the rows": ({"forget": [0], "names": ["Jane Doe"], "heldout": 0}, "has a name of Jane, Doe"),
    "a share that is all": ({"forget": [0, 1], "heldout": 1.0}, "expected a share of the rows"),
    "one row, of which none can be held out": ({"forget": [0]}, "There is 1 row to be forgotten"),
    "too few other names": (
        {"forget": "Hina Ameen", "other_names": ["Rosa"], "heldout": 0.5},
        "Give more names in other_names",
    ),
    "no neighbours": ({"forget": [0, 1], "neighbours": 0}, "expected at least one"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_sets_are_not_made_of(tofu_rows, chat_tokenizer, what):
    options, match = REFUSED[what]
    with pytest.raises(ValueError, match=match):
        question_sets(tofu_rows, chat_tokenizer, **options)


def test_without_paraphrases_a_share_is_needed(chat_tokenizer):
    rows = [{"question": f"Who is {n}?", "answer": "She."} for n in range(4)]
    with pytest.raises(ValueError, match="no 'paraphrased_question' to be asked in other words"):
        question_sets(rows, chat_tokenizer, [0, 1], heldout=0)
