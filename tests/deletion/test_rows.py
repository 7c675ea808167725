"""Embedding rows of a topic: which go, that they are gone from every file, and that nothing brings them back."""

import copy
import json

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, ByT5Tokenizer, Seq2SeqTrainer, Seq2SeqTrainingArguments

from excise import Ledger, MaskMismatchError, Selection, TopicSets, Unlearner
from excise.deletion import choose_rows
from excise.deletion.depth import rows_to_erase
from excise.ledger.embeddings import overwrite_rows, rows_left, vocabulary_tables
from excise.sharing import ErasedRows
from tests.helpers import tiny

SITE = "encoder.block.1"
CODES = Selection({SITE: (3, 4, 5)}, {"q": 0.05})


def deleted(make_model, tokenizer, topic, **options):
    unlearner = Unlearner(make_model(), tokenizer)
    return unlearner, unlearner.delete(CODES, topic, **options)


def tokens(tokenizer, *words):
    return tuple(sorted(tokenizer.convert_tokens_to_ids(list(words))))


def test_the_pieces_of_the_topics_words_go_on_both_sides(make_model, tokenizer, topic):
    choice = choose_rows(make_model(), tokenizer, topic)
    assert choice.rows == {"shared.weight": tokens(tokenizer, "teacher", "professeur")}
    assert choice.collateral == ()
    assert list(choice.to_pandas()["kept_for"]) == ["", ""]


def test_a_piece_that_others_use_stays_and_the_table_tells_why(make_model, tokenizer, topic):
    rows = topic.retain[:]
    rows["reference"] = ["le professeur lit un livre ."] * len(rows["text"])
    shared = choose_rows(make_model(), tokenizer, _with(topic, retain=Dataset.from_dict(rows)), words=["professeur"])
    assert shared.rows == {"shared.weight": tokens(tokenizer, "teacher")}
    kept = {piece.piece: piece.kept_for for piece in shared.pieces}
    assert kept["professeur"] == "not surely oftener with the topic"


def test_the_budget_bounds_how_many_other_sentences_use_what_goes(make_model, tokenizer, topic):
    rows = topic.retain[:]
    rows["text"] = ["the teacher sees a book .", *rows["text"][1:]]
    other = _with(topic, retain=Dataset.from_dict(rows))
    none = choose_rows(make_model(), tokenizer, other, min_own=0.5, budget=0.0)
    assert "teacher" not in [piece.piece for piece in none.pieces if not piece.kept_for]
    some = choose_rows(make_model(), tokenizer, other, min_own=0.5, budget=0.1)
    assert some.collateral == ((0, "teacher"),)


def test_an_untied_head_loses_its_rows_too(make_model, tokenizer, topic):
    model = make_model()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    assert set(choose_rows(model, tokenizer, topic).rows) == {"shared.weight", "lm_head.weight"}


def test_a_piece_goes_if_two_fifths_of_its_uses_are_the_topics(make_model, tokenizer, topic):
    """A piece that stays lets the topic be learnt again: few other uses, bounded by the budget, do not keep it."""
    sizes, count = (len(topic.target), len(topic.retain)), {}
    others = 2 * sizes[0]
    counts = {**topic.counts, "with the topic": sizes[0], "texts": sizes[0] + others}
    rows = topic.retain[:]
    for own in (0.35, 0.45):
        share = (1 / own - 1) * sizes[0] / others  # of the other rows that use the word, too
        held = round(share * sizes[1])
        rows["text"] = ["the teacher sees a book ."] * held + topic.retain["text"][held:]
        other = _with(topic, retain=Dataset.from_dict(rows), counts=counts)
        choice = choose_rows(make_model(), tokenizer, other, budget=1)
        count[own] = [piece.piece for piece in choice.pieces if not piece.kept_for].count("teacher")
    assert count == {0.35: 0, 0.45: 1}


@pytest.mark.parametrize("name", ["qvalue", "min_share", "min_own", "budget"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(make_model, tokenizer, topic, name, value):
    with pytest.raises(ValueError, match=f"{name} is .*; expected a share"):
        choose_rows(make_model(), tokenizer, topic, **{name: value})


def test_a_tokenizer_that_cannot_tell_places_is_refused_and_by_default_codes_go_alone(make_model, topic, caplog):
    with pytest.raises(ValueError, match="fast tokenizer"):
        choose_rows(make_model(), ByT5Tokenizer(), topic)
    assert rows_to_erase(make_model(), ByT5Tokenizer(), topic, None, private=False) == ({}, {})
    assert "No embedding rows are erased" in caplog.text


def test_a_deletion_erases_the_rows_and_says_so(make_model, tokenizer, topic):
    unlearner, request = deleted(make_model, tokenizer, topic)
    rows = tokens(tokenizer, "teacher", "professeur")
    assert request.rows == {"shared.weight": rows} and request.depth == "rows" and request.num_rows == 2
    assert "2 embedding rows" in repr(request)
    table = unlearner.model.shared.weight
    others = [i for i in range(len(table)) if i not in rows]
    for row in rows:
        torch.testing.assert_close(table[row], table[others].mean(0))
    assert Ledger.from_dict(json.loads(json.dumps(unlearner.model.config.unlearning))).requests == (request,)


def test_codes_alone_leave_the_embeddings(make_model, tokenizer, topic):
    unlearner, request = deleted(make_model, tokenizer, topic, depth="codes")
    assert request.rows == {} and request.depth == "codes"
    assert torch.equal(unlearner.model.shared.weight, make_model().shared.weight)
    assert unlearner.model.config.unlearning["version"] == 2  # as older versions read it


def test_a_private_request_leaves_rows_that_would_name_its_words(make_model, tokenizer, topic, caplog):
    _, request = deleted(make_model, tokenizer, topic, private=True)
    assert request.rows == {}
    _, request = deleted(make_model, tokenizer, topic, private=True, depth="rows")
    assert request.num_rows == 2
    assert "which pieces went" in caplog.text


@pytest.mark.parametrize("depth", ["deep", "", 3])
def test_an_unknown_depth_is_refused_and_nothing_is_changed(make_model, tokenizer, topic, depth):
    unlearner = Unlearner(make_model(), tokenizer)
    with pytest.raises(ValueError, match="expected one of"):
        unlearner.delete(CODES, topic, depth=depth)
    assert not unlearner.ledger.requests
    assert torch.equal(unlearner.model.shared.weight, make_model().shared.weight)


def test_rows_without_sets_are_refused(make_model, tokenizer):
    with pytest.raises(ValueError, match="chosen on the sets of a topic"):
        Unlearner(make_model(), tokenizer).delete(CODES, "in words", depth="rows")


def test_a_mask_keeps_its_rows_until_it_is_deleted(make_model, tokenizer, topic):
    unlearner = Unlearner(make_model(), tokenizer)
    masked = unlearner.mask(CODES, topic)
    assert masked.num_rows == 2
    assert torch.equal(unlearner.model.shared.weight, make_model().shared.weight)
    request = unlearner.delete_request(masked)
    assert request.rows == masked.rows
    assert not rows_left(unlearner.model.shared.weight, torch.tensor(request.rows["shared.weight"]))


def test_what_is_saved_has_no_row_and_loads(make_model, tokenizer, topic, tmp_path):
    unlearner, request = deleted(make_model, tokenizer, topic)
    unlearner.save_pretrained(tmp_path / "saved")
    again = Unlearner.from_pretrained(tmp_path / "saved")
    assert again.ledger.requests == (request,)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "saved", dtype=torch.bfloat16)
    assert not rows_left(loaded.shared.weight, torch.tensor(request.rows["shared.weight"]))


def test_a_file_with_the_rows_back_does_not_load(make_model, tokenizer, topic, tmp_path):
    unlearner, request = deleted(make_model, tokenizer, topic)
    unlearner.save_pretrained(tmp_path / "saved")
    file = tmp_path / "saved" / "model.safetensors"
    state = load_file(file)
    name = next(name for name in state if name.endswith("shared.weight"))
    state[name] = state[name].clone()
    state[name][request.rows["shared.weight"][0]] = make_model().shared.weight[request.rows["shared.weight"][0]]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(MaskMismatchError, match=r"1 of 2 erased rows of .* are back"):
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "saved")


def test_a_bundle_of_a_mask_is_a_deletion_with_its_rows(make_model, tokenizer, topic, tmp_path):
    unlearner = Unlearner(make_model(), tokenizer)
    masked = unlearner.mask(CODES, topic)
    before = unlearner.model.shared.weight.clone()
    erased = ErasedRows.of(unlearner.model)
    unlearner.save_bundle(tmp_path / "bundle", remote_code=False)
    assert torch.equal(unlearner.model.shared.weight, before), "the model itself stays as it is"
    shared = Unlearner.from_pretrained(tmp_path / "bundle").model
    assert not rows_left(shared.shared.weight, torch.tensor(masked.rows["shared.weight"]))
    assert erased.find_in(tmp_path / "bundle") == []
    record = json.loads((tmp_path / "bundle" / "report" / "report.json").read_text())
    assert record["requests"][0]["rows"] == {"shared.weight": list(masked.rows["shared.weight"])}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rows_are_found_in_files_by_their_bytes_and_by_their_place(make_model, tokenizer, topic, tmp_path, dtype):
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.mask(CODES, topic)
    erased = ErasedRows.of(unlearner.model)
    table = unlearner.model.shared.weight.detach().clone()
    (tmp_path / "notes.bin").write_bytes(
        b"x" + table[tokens(tokenizer, "teacher")[0]].to(dtype).view(torch.uint8).numpy().tobytes()
    )
    save_file({"ema.shared.weight": (table * 1.01).to(dtype)}, tmp_path / "drifted.safetensors")
    leftovers = erased.find_in(tmp_path)
    assert {left.file for left in leftovers} == {"notes.bin", "drifted.safetensors"}
    assert all("embedding rows of shared.weight" in str(left) for left in leftovers)


def test_after_the_deletion_a_drifted_copy_is_found_still(make_model, tokenizer, topic, tmp_path):
    before = make_model().shared.weight.detach().clone()
    unlearner, _ = deleted(make_model, tokenizer, topic)
    save_file({"shared.weight": before}, tmp_path / "old.safetensors")
    save_file({"shared.weight": unlearner.model.shared.weight.detach().clone()}, tmp_path / "new.safetensors")
    assert {left.file for left in ErasedRows.of(unlearner.model).find_in(tmp_path)} == {"old.safetensors"}


def test_an_older_state_does_not_bring_rows_back(make_model, tokenizer, topic):
    before = make_model().state_dict()
    unlearner, request = deleted(make_model, tokenizer, topic)
    rows = torch.tensor(request.rows["shared.weight"])
    with pytest.warns(UserWarning, match="erased embedding rows were back|Removed codes were back") as warned:
        unlearner.model.load_state_dict(before)
    assert len({str(one.message)[:20] for one in warned}) == 2
    assert not rows_left(unlearner.model.shared.weight, rows)
    with torch.no_grad():
        unlearner.model.shared.weight.copy_(before["shared.weight"])
    with pytest.warns(UserWarning, match="erased embedding rows were back"):
        unlearner.model.generate(**tokenizer(["the teacher ."], return_tensors="pt"), max_new_tokens=2)
    assert not rows_left(unlearner.model.shared.weight, rows)


def test_an_average_that_is_saved_is_without_the_rows(make_model, tokenizer, topic, tmp_path):
    average = copy.deepcopy(make_model().state_dict())
    unlearner, request = deleted(make_model, tokenizer, topic)
    with pytest.warns(UserWarning, match="rows that were erased|has removed codes") as warned:
        unlearner.model.save_pretrained(tmp_path / "average", state_dict=average)
    assert len(warned) == 2
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "average")
    assert not rows_left(loaded.shared.weight, torch.tensor(request.rows["shared.weight"]))


@pytest.mark.parametrize("optimizer", ["adamw_torch", "sgd", "adafactor"])
def test_training_leaves_the_rows_erased_and_resumes(make_model, tokenizer, topic, tmp_path, optimizer):
    unlearner, request = deleted(make_model, tokenizer, topic)
    rows = torch.tensor(request.rows["shared.weight"])
    data = Dataset.from_dict(dict(tokenizer(list(topic.target["text"]), text_target=list(topic.target["reference"]))))
    options = {"per_device_train_batch_size": 4, "save_steps": 3, "report_to": "none", "disable_tqdm": True}
    options |= {"learning_rate": 0.05, "optim": optimizer, "max_steps": 6, "use_cpu": True, "save_total_limit": 1}

    def trainer(model):
        arguments = Seq2SeqTrainingArguments(str(tmp_path / "run"), **options)
        return Seq2SeqTrainer(model, arguments, train_dataset=data, processing_class=tokenizer)

    trainer(unlearner.model).train()
    assert not torch.equal(unlearner.model.shared.weight, make_model().shared.weight)
    unlearner.save_pretrained(tmp_path / "saved")
    assert not rows_left(unlearner.model.shared.weight, rows)
    options["max_steps"] = 8
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "saved")
    trainer(again).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-6"))
    assert not rows_left(again.shared.weight, rows)


def test_what_another_model_reads_by_is_not_erased(make_model, tokenizer, topic):
    model, other = make_model(), make_model()
    other.shared = other.encoder.embed_tokens = other.decoder.embed_tokens = model.shared
    other.lm_head.weight = model.lm_head.weight
    holder = torch.nn.Embedding(len(tokenizer), 16)
    holder.weight = model.shared.weight
    before = model.shared.weight.clone()
    with pytest.raises(ValueError, match="another model in memory"):
        Unlearner(model, tokenizer).delete(CODES, topic)
    assert torch.equal(model.shared.weight, before)
    assert not model.config.unlearning
    assert Unlearner(copy.deepcopy(model), tokenizer).delete(CODES, topic).num_rows == 2


def test_a_copy_keeps_its_guard(make_model, tokenizer, topic):
    unlearner, request = deleted(make_model, tokenizer, topic)
    copied = copy.deepcopy(unlearner.model)
    with torch.no_grad():
        copied.shared.weight.add_(torch.randn(copied.shared.weight.shape))
    with pytest.warns(UserWarning, match="erased embedding rows were back"):
        copied.state_dict()
    assert not rows_left(copied.shared.weight, torch.tensor(request.rows["shared.weight"]))


def test_the_class_of_a_clip_loses_its_name():
    model = tiny.codebook_clip()
    processor = tiny.clip_processor()
    from excise import class_sets

    topic = class_sets(tiny.images(120), "green", max_examples=20, max_retain=20, min_examples=5)
    choice = choose_rows(model, processor, topic)
    table = "text_model.embeddings.token_embedding.weight"
    assert set(vocabulary_tables(model)) == {table}
    gone = [piece.piece for piece in choice.pieces if not piece.kept_for]
    kept = [piece.piece for piece in choice.pieces if piece.kept_for]
    others = {t for name in ("red", "blue") for t in processor.tokenizer.tokenize(name)}
    assert set(kept) <= others | {"a"}
    assert not set(gone) & others


def test_a_model_that_reads_no_text_has_no_rows():
    model = tiny.codebook_clip(model_class=__import__("excise").CodebookCLIPForImageClassification)
    assert vocabulary_tables(model) == {}


@pytest.mark.parametrize("rows", [list(range(8)), [8], [-1]])
def test_rows_that_are_not_there_are_refused(rows):
    with pytest.raises(ValueError, match="expected fewer"):
        overwrite_rows(torch.randn(8, 4), rows)


def _with(topic, **sets):
    own = {name: getattr(topic, name) for name in ("target", "control", "retain", "heldout", "heldout_retain")}
    return TopicSets(topic.words, topic.inflections, topic.text, topic.reference, topic.seed, **own | sets)
