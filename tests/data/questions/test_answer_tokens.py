"""Questions and answers as tokens: labels on the answer alone, prompts that fit them, truncation that is told."""

import pytest

from excise.data.questions import PromptFormat, answer_tokens, question_inputs
from excise.data.questions.answer_tokens import IGNORED, labels_of

ASKED = "Who is it?", "It is Hina Ameen."


def told(tokenizer, form=None, question=ASKED[0], answer=ASKED[1]):
    """What is before the answer, what has labels, and whether the last of it ends it."""
    (row,) = answer_tokens(tokenizer, [question], [answer], form).rows
    before, labelled = row.input_ids[: row.start], row.input_ids[row.start :]
    return tokenizer.decode(before), tokenizer.decode(labelled), row.ended


def turns(system, question):
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


PUT = {
    "a chat, where the tokenizer has a template": (
        PromptFormat(),
        (turns("You help.", ASKED[0]), "It is Hina Ameen.<|im_end|>", True),
    ),
    "a chat with a system prompt of one's own": (
        PromptFormat(system="Be brief."),
        (turns("Be brief.", ASKED[0]), "It is Hina Ameen.<|im_end|>", True),
    ),
    "all that the template puts behind an answer, as OpenUnlearning": (
        PromptFormat(whole_ending=True),
        (turns("You help.", ASKED[0]), "It is Hina Ameen.<|im_end|>\n<|im_end|>", True),
    ),
    "the plain template, whose last space is in the answer's first token": (
        PromptFormat(chat=False),
        ("Question: Who is it?\nAnswer:", " It is Hina Ameen.<|im_end|>", True),
    ),
    "a prompt that is gone on from": (
        PromptFormat(chat=False, plain="{question} {answer}"),
        ("Who is it?", " It is Hina Ameen.<|im_end|>", True),
    ),
}


@pytest.mark.parametrize("what", PUT)
def test_a_question_is_put(chat_tokenizer, what):
    form, wanted = PUT[what]
    assert told(chat_tokenizer, form) == wanted


def test_without_a_chat_template_the_plain_one_is_used(plain_tokenizer):
    assert told(plain_tokenizer)[0] == "Question: Who is it?\nAnswer:"


def test_a_document_has_no_prompt_and_all_but_its_first_token_is_foreseen(chat_tokenizer):
    (row,) = answer_tokens(chat_tokenizer, [""], ["A document of geology."]).rows
    assert chat_tokenizer.decode(row.input_ids) == "A document of geology."
    assert row.start == 1
    assert not row.ended


def test_a_tokenizer_that_ends_texts_by_itself_ends_them_once(tokenizer):
    (row,) = answer_tokens(tokenizer, ["the cat"], ["a dog"], PromptFormat(plain="{question} {answer}")).rows
    assert tokenizer.convert_ids_to_tokens(row.input_ids) == ["the", "cat", "a", "dog", "</s>"]
    assert (row.start, row.ended) == (2, True)


def test_spaces_around_an_answer_are_not_asked_for_in_a_chat(chat_tokenizer):
    assert told(chat_tokenizer, answer=" It is Hina Ameen.\n") == told(chat_tokenizer)


def test_an_answer_that_stands_in_the_template_is_found_where_it_was_put(chat_tokenizer):
    assert told(chat_tokenizer, answer="end")[1] == "end<|im_end|>"
    assert told(chat_tokenizer, question="end", answer="end")[0] == turns("You help.", "end")


def test_batches_are_padded_right_with_labels_and_prompts_left(chat_tokenizer):
    tokens = answer_tokens(chat_tokenizer, ["Who?", "Who is it?"], ["Me.", "It is Hina Ameen."])
    batch, prompts = tokens.batch([0, 1]), tokens.prompts().batch([0, 1])
    short, long = tokens.rows
    assert batch["input_ids"].shape == (2, len(long.input_ids))
    assert batch["attention_mask"][0].sum() == len(short.input_ids)
    assert batch["attention_mask"][0, : len(short.input_ids)].all()
    assert batch["labels"][0].tolist() == labels_of(short) + [IGNORED] * (len(long.input_ids) - len(short.input_ids))
    assert prompts["input_ids"][0, -short.start :].tolist() == short.input_ids[: short.start]
    assert prompts["attention_mask"][0].tolist() == [0] * (long.start - short.start) + [1] * short.start


def test_rows_that_are_cut_off_are_told_and_those_without_an_answer_left_out(chat_tokenizer, tofu_rows):
    rows = tofu_rows[:2]
    lengths = [len(row) for row in question_inputs(rows, chat_tokenizer)["input_ids"]]
    with pytest.warns(UserWarning, match=rf"1 of 2 questions with their answers are longer than {min(lengths)} tokens"):
        cut = question_inputs(rows, chat_tokenizer, max_length=min(lengths))
    assert [len(row) for row in cut["input_ids"]] == [min(lengths)] * 2
    later = [{"question": "Who? " * 60, "answer": "She."}, {"question": "Who?", "answer": "She."}]
    with (
        pytest.warns(UserWarning, match="1 of 2 questions with their answers are longer than 60"),
        pytest.warns(UserWarning, match="1 of 2 answers are cut off before they begin"),
    ):
        kept = question_inputs(later, chat_tokenizer, max_length=60)
    assert len(kept) == 1
    with (
        pytest.warns(UserWarning, match="1 of 1"),
        pytest.raises(ValueError, match="1 of 1 answers are cut off before they begin, at 60 tokens"),
    ):
        question_inputs(later[:1], chat_tokenizer, max_length=60)


def test_a_trainer_can_be_given_the_inputs(chat_tokenizer, make_decoder, tofu_rows, tmp_path):
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    rows = question_inputs(tofu_rows, chat_tokenizer)
    padding = chat_tokenizer.__class__(tokenizer_object=chat_tokenizer.backend_tokenizer, pad_token="<|im_end|>")
    args = TrainingArguments(
        tmp_path,
        max_steps=3,
        per_device_train_batch_size=4,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_steps=9,
    )
    model = make_decoder()
    trainer = Trainer(model, args, train_dataset=rows, data_collator=DataCollatorForSeq2Seq(padding))
    assert trainer.train().training_loss > 0


REFUSED = {
    "a chat without a template": (
        lambda plain: told(plain, PromptFormat(chat=True)),
        "chat=True, and the tokenizer has no chat template",
    ),
    "a plain template without a question": (lambda _: PromptFormat(plain="{answer}"), "expected one {question}"),
    "a plain template with more behind the answer": (
        lambda _: PromptFormat(plain="{question} {answer}."),
        "and {answer} at the end",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_no_format_is(plain_tokenizer, what):
    call, match = REFUSED[what]
    with pytest.raises(ValueError, match=match):
        call(plain_tokenizer)


def test_a_template_that_refuses_a_system_prompt_says_so(chat_tokenizer):
    import copy

    own = copy.deepcopy(chat_tokenizer)
    own.chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}hello"
    with pytest.raises(ValueError, match="refuses the messages: no system"):
        told(own, PromptFormat(system="Be brief."))
    with pytest.raises(ValueError, match="leaves out what an assistant says"):
        told(own)


def test_the_day_is_always_the_same(chat_tokenizer):
    import copy

    own = copy.deepcopy(chat_tokenizer)
    own.chat_template = "Today is {{ date_string }}.{{ messages[0]['content'] }}: {{ messages[1]['content'] }}"
    assert told(own)[0] == "Today is 10 Apr 2025.Who is it?:"
    assert told(own, PromptFormat(options={"date_string": "today"}))[0] == "Today is today.Who is it?:"
