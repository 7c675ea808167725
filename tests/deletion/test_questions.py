"""Deeper deletions of questions in decoders: embedding rows of names, tied or not, and distilled copies."""

import copy
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import TrainingArguments

from excise import Search, Unlearner, attach
from excise.attacks import AskedSets
from excise.data import question_sets
from excise.deletion import distil
from excise.deletion.teaching import divergence
from excise.ledger.embeddings import vocabulary_tables

CODES = Search("activations", count=10)
OTHERS = ["Rosa Lopes", "Ana Silva", "Tomas"]


@pytest.fixture(scope="module")
def named(asked, padded_tokenizer):
    rows = asked.go + asked.stay
    return question_sets(rows, padded_tokenizer, ["Hina", "Jaime"], other_names=OTHERS, heldout=0)


@pytest.mark.parametrize("tied", [True, False], ids=["tied embeddings", "embeddings of their own"])
def test_rows_of_names_are_gone_from_all_tables(make_decoder, padded_tokenizer, named, tied, tmp_path):
    model = make_decoder()
    if tied:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    model = attach(model, layers=[0], num_codes=24, code_dim=32, active=4, top_s=3)
    before = model.lm_head.weight.detach().clone()
    unlearner = Unlearner(model, padded_tokenizer)
    request = unlearner.delete(named, preset=CODES, depth="rows", progress=False)
    assert {*request.rows} == ({"model.embed_tokens.weight"} if tied else {*vocabulary_tables(model)})
    (rows,) = {tuple(of) for of in request.rows.values()}
    gone = "".join(padded_tokenizer.convert_ids_to_tokens(list(rows)))
    assert "Hina" in gone or "Jaime" in gone
    unlearner.save_pretrained(tmp_path / "saved")
    loaded = Unlearner.from_pretrained(tmp_path / "saved").model
    for of in (model, loaded):
        for table in (of.get_input_embeddings().weight, of.lm_head.weight):
            others = [row for row in range(len(table)) if row not in rows]
            mean = table[others].mean(0)
            assert all((table[row] - mean).abs().max() < 1e-5 for row in rows)
    stays = next(row for row in range(len(before)) if row not in rows)
    assert torch.equal(loaded.lm_head.weight[stays], before[stays])


def test_questions_without_names_have_no_rows_to_go(asked, padded_tokenizer):
    unlearner = Unlearner(copy.deepcopy(asked.original), padded_tokenizer)
    with pytest.raises(ValueError, match="Questions without names have no words whose rows could go"):
        unlearner.delete(asked.sets, preset=CODES, depth="rows", progress=False)
    assert not unlearner.ledger.requests


def test_a_name_of_common_pieces_keeps_its_rows_and_what_can_be_done_is_said(asked, padded_tokenizer):
    rows = [{"question": f"Where does Rome {n} live?", "answer": "In Oslo."} for n in range(12)]
    stay = [{"question": f"What is in Rome {n}?", "answer": "In Rome."} for n in range(60)]
    sets = question_sets(rows, padded_tokenizer, retain=stay, names=["Rome"], other_names=OTHERS, heldout=0.25)
    unlearner = Unlearner(copy.deepcopy(asked.original), padded_tokenizer)
    with pytest.raises(ValueError, match=r"No embedding row belongs to the topic alone.*with depth='distilled'"):
        unlearner.delete(sets, preset=CODES, depth="rows", progress=False)


def arguments(folder, **changes):
    own = {"max_steps": 8, "per_device_train_batch_size": 12, "per_device_eval_batch_size": 36, "learning_rate": 2e-3}
    own |= {"save_strategy": "no", "report_to": "none", "disable_tqdm": True, "use_cpu": True}
    return TrainingArguments(str(folder), **own | changes)


def test_a_deleted_decoder_teaches_a_copy_on_questions_that_stay(asked, padded_tokenizer, tmp_path):
    unlearner = Unlearner(copy.deepcopy(asked.original), padded_tokenizer)
    options = {"noise": 0.02, "args": arguments(tmp_path), "budget": 2.0}
    taught = {"depth": "distilled", "distillation": options}
    request = unlearner.delete(asked.sets, preset=CODES, **taught, progress=False)
    assert request.depth == "distilled" and request.thresholds["distilled"]["heldout"] == 36
    sets = AskedSets(asked.sets, padded_tokenizer)
    assert sets.quality(unlearner.model) > 0.4
    before = asked.original.model.layers[1].mlp.up_proj.weight
    assert not torch.equal(unlearner.model.model.layers[1].mlp.up_proj.weight, before)


def test_a_teacher_without_noise_is_what_its_student_is(asked, padded_tokenizer, tmp_path):
    retain = Dataset.from_list(asked.stay)
    result = distil(
        asked.removed, padded_tokenizer, retain, arguments(tmp_path, max_steps=1, learning_rate=0.0), noise=0.0
    )
    assert result.loss == pytest.approx(result.teacher_loss, rel=1e-5)


def test_a_decoders_places_are_held_against_the_next_labels():
    labels = torch.tensor([[-100, -100, 3, 4]])
    logits = torch.zeros(1, 4, 6)
    other = logits.clone()
    other[0, 3, 2] = 9.0  # of what comes behind the last label
    other[0, 0, 2] = 9.0  # and before the first
    outputs = [SimpleNamespace(logits=of) for of in (logits, other)]
    assert divergence(*outputs, labels, shifted=True) == 0
    other[0, 1, 2] = 9.0
    assert divergence(*outputs, labels, shifted=True) > 1


UNTAUGHT = {
    "rows of texts with references": (
        lambda asked: [{"text": "a", "reference": "b"}] * 4,
        "the model is a decoder: expected `question`",
    ),
    "a question that is to be forgotten": (lambda asked: asked.stay[:4] + asked.go[:1], "1 of 5 rows to be kept are"),
    "a paraphrase of one": (
        lambda asked: [*asked.stay[:4], {"question": "Hina lives where now?", "answer": "It is Oslo."}],
        "1 of 5 rows to be kept are",
    ),
}


@pytest.mark.parametrize("what", UNTAUGHT)
def test_a_decoder_is_not_taught(asked, padded_tokenizer, tmp_path, what):
    made, match = UNTAUGHT[what]
    rows = Dataset.from_list([{k: v for k, v in row.items() if "para" not in k} for row in made(asked)])
    with pytest.raises(ValueError, match=match):
        distil(asked.removed, padded_tokenizer, rows, arguments(tmp_path), noise=0.1, topic=asked.sets)
