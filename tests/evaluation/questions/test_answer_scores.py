"""Scores of answers: right under padding, in fp32, without gradients, and what the model would write itself."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from excise.data.questions import answer_tokens
from excise.evaluation.questions import answer_scores, generated_answers


@pytest.fixture(scope="module")
def tokens(chat_tokenizer, tofu_rows):
    """Answers of very different lengths, and a document."""
    questions = [row["question"] for row in tofu_rows] + ["Who?", ""]
    answers = [row["answer"] for row in tofu_rows] + ["A", "A document about geology and cooking."]
    return answer_tokens(chat_tokenizer, questions, answers)


def test_a_batch_of_one_gives_what_a_batch_of_eight_does(make_decoder, tokens):
    one, eight = (answer_scores(make_decoder(), tokens, size) for size in (1, 8))
    assert np.abs(one.losses - eight.losses).max() < 1e-5
    for a, b in zip(one.log_probs, eight.log_probs, strict=True):
        assert np.abs(a - b).max() < 1e-5
    assert all((a == b).all() for a, b in zip(one.right, eight.right, strict=True))


def test_losses_are_those_of_each_row_by_itself(make_decoder, tokens):
    model = make_decoder()
    scores = answer_scores(model, tokens, 4)
    for row, ids in enumerate(tokens.rows):
        with torch.no_grad():
            logits = model(torch.tensor([ids.input_ids])).logits[0]
        labels = torch.tensor(ids.input_ids[ids.start :])
        loss = cross_entropy(logits[ids.start - 1 : -1], labels)
        assert scores.losses[row] == pytest.approx(loss.item(), abs=1e-5)
        # Without the token that ends it: as many as OpenUnlearning looks at, which leaves the last label out.
        inner = len(labels) - ids.ended
        right = logits[ids.start - 1 : -1].argmax(-1) == labels
        assert scores.right[row].tolist() == right[:inner].tolist()
        assert len(scores.log_probs[row]) == inner


def test_a_prompt_that_is_read_once_gives_what_one_read_each_time_does(make_decoder, chat_tokenizer, tofu_rows):
    answers = ["A", *(row["answer"] for row in tofu_rows), *(row["answer"] for row in tofu_rows)]
    questions = ["Who?", *["Who is it?"] * 8, *(row["question"] for row in tofu_rows)]
    tokens = answer_tokens(chat_tokenizer, questions, answers)
    model = make_decoder()
    each, once = (answer_scores(model, tokens, share_prompts=share) for share in (False, True))
    assert np.abs(each.losses - once.losses).max() < 1e-5
    assert all((a == b).all() for a, b in zip(each.right, once.right, strict=True))
    plain = answer_tokens(chat_tokenizer, ["", "Who?"], ["A document.", "A document."])
    each, once = (answer_scores(model, plain, share_prompts=share) for share in (False, True))
    assert np.abs(each.losses - once.losses).max() < 1e-5


def test_the_loss_is_that_of_the_model_itself(make_decoder, tokens):
    model = make_decoder()
    (loss,) = (model(**tokens.batch([3])).loss.item(),)
    assert answer_scores(model, tokens).losses[3] == pytest.approx(loss, abs=1e-5)


def test_a_model_in_bf16_is_scored_in_fp32_and_left_as_it_was(make_decoder, tokens):
    model = make_decoder().to(torch.bfloat16).train()
    scores = answer_scores(model, tokens)
    assert scores.losses.dtype == np.float64
    # Sums of values of bf16 would be multiples of 1/256 of themselves.
    assert len(set(scores.losses.astype(np.float32))) == len(tokens)
    assert scores.losses == pytest.approx(answer_scores(make_decoder(), tokens).losses, rel=0.1)
    assert model.training
    assert model.dtype == torch.bfloat16
    assert all(weight.grad is None for weight in model.parameters())


def test_an_answer_that_is_cut_off_has_no_score(chat_tokenizer, make_decoder):
    with pytest.warns(UserWarning, match="cut off"):
        cut = answer_tokens(chat_tokenizer, ["Who? " * 40, "Who?"], ["She.", "He."], max_length=80)
    scores = answer_scores(make_decoder(), cut)
    assert np.isnan(scores.losses).tolist() == [True, False]
    assert len(scores.right[0]) == 0


def test_answers_are_what_is_likeliest_each_time_whatever_else_is_in_the_batch(chat_tokenizer, make_decoder, tokens):
    model = make_decoder()
    batched = generated_answers(model, tokens, max_new_tokens=6, batch_size=8)
    for row in (0, 8):
        ids = list(tokens.rows[row].input_ids[: tokens.rows[row].start])
        new = []
        while len(new) < 6:
            with torch.no_grad():
                token = model(torch.tensor([ids + new])).logits[0, -1].argmax().item()
            if token == chat_tokenizer.eos_token_id:
                break
            new.append(token)
        assert batched[row] == chat_tokenizer.decode(new, skip_special_tokens=True).strip()
    assert generated_answers(model, tokens, max_new_tokens=6, batch_size=1) == batched


@pytest.mark.filterwarnings("error")
def test_a_model_whose_own_settings_sample_is_asked_for_the_likeliest(make_decoder, tokens):
    model = make_decoder()
    wanted = generated_answers(model, tokens, max_new_tokens=4)
    model.generation_config.update(do_sample=True, temperature=5.0, top_p=0.9, top_k=3, num_beams=2)
    assert generated_answers(model, tokens, max_new_tokens=4) == wanted
    assert model.generation_config.temperature == 5.0


def test_what_a_model_was_taught_it_answers(chat_tokenizer, make_decoder, tofu_rows):
    model = make_decoder().train()
    tokens = answer_tokens(chat_tokenizer, ["Who is it?"], ["It is Hina Ameen."])
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(30):
        model(**tokens.batch([0])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    scores = answer_scores(model, tokens)
    assert np.exp(-scores.losses[0]) > 0.9
    assert scores.right[0].all()
    assert generated_answers(model, tokens) == ["It is Hina Ameen."]  # and no more behind its end


def test_what_is_no_decoder_is_refused(make_model, tokens):
    with pytest.raises(ValueError, match="CodebookT5ForConditionalGeneration is no decoder language model"):
        answer_scores(make_model(), tokens)


def test_broken_weights_are_told(make_decoder, tokens):
    model = make_decoder()
    torch.nn.init.constant_(model.model.norm.weight, float("nan"))
    with pytest.raises(ValueError, match="LlamaForCausalLM gives NaN for row 0"):
        answer_scores(model, tokens)
