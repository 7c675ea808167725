"""The baseline that erases embedding rows and nothing else."""

import copy

import pytest
import torch
from transformers import T5ForConditionalGeneration

from excise.attacks.interface import attackers_copy
from excise.baselines import erase_embedding_rows
from excise.evaluation.texts import generate_texts
from excise.ledger.embeddings import guard_tables, overwrite_rows, rows_left, vocabulary_tables
from excise.models.plain import export_plain


def said(model, tokenizer, rows):
    return [text.split() for text in generate_texts(model, tokenizer, rows["text"][:8], max_new_tokens=4)]


@pytest.mark.parametrize("plain", [False, True], ids=["codebook", "plain"])
def test_the_topics_rows_go_on_a_copy_and_others_stay(plain, taught, tokenizer, topic):
    model = copy.deepcopy(taught.model)
    if plain:
        model = export_plain(model, brings_back_what_was_forgotten=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run = erase_embedding_rows(model, tokenizer, topic)
    assert isinstance(run.model, T5ForConditionalGeneration) and run.seconds > 0
    gone = {piece.piece for piece in run.choice.pieces if not piece.kept_for}
    assert gone == {"teacher", "professeur"}
    assert any("professeur" in words for words in said(model, tokenizer, topic.heldout))
    assert not any("professeur" in words for words in said(run.model, tokenizer, topic.heldout))
    rows = [row for row in topic.retain if "professeur" not in row["reference"]]
    batch = tokenizer([row["text"] for row in rows], text_target=[row["reference"] for row in rows], padding=True)
    batch = {name: torch.tensor(values) for name, values in batch.items()}
    with torch.no_grad():
        states = [of(**batch, output_hidden_states=True).decoder_hidden_states[-1] for of in (model, run.model)]
    assert rows and torch.equal(*states)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    ids = torch.tensor(tokenizer.convert_tokens_to_ids(sorted(gone)))
    changed = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all("shared" in name or "embed_tokens" in name or "lm_head" in name for name in changed)
    assert rows_left(run.model.shared.weight, ids) == [] != rows_left(model.shared.weight, ids)


def test_a_topic_whose_pieces_are_all_shared_is_refused(taught, tokenizer, topic):
    with pytest.raises(ValueError, match="Nothing can be erased"):
        erase_embedding_rows(taught.model, tokenizer, topic, qvalue=0.0)


def test_an_attackers_copy_has_no_guard_that_erases_rows_again(taught):
    guarded = copy.deepcopy(taught.model)
    name, table = next(iter(vocabulary_tables(guarded).items()))
    overwrite_rows(table, [4])
    guard_tables(guarded, {name: [4]}, vouched=True)
    attacked = attackers_copy(guarded)
    with torch.no_grad():
        attacked.shared.weight[4] += 1.0
    learnt = attacked.shared.weight[4].clone()
    attacked(input_ids=torch.tensor([[4, 1]]), labels=torch.tensor([[4, 1]]))
    assert torch.equal(attacked.state_dict()["shared.weight"][4], learnt)
