"""Erased embedding rows under attack: heads tied and untied, averages, optimizers, adapters, files of strangers."""

import copy
import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM

from excise import Ledger, MaskMismatchError, Selection, Unlearner
from excise.deletion import choose_rows, drop_erased_pieces
from excise.ledger.embeddings import rows_left
from excise.ledger.masks import enforce
from tests.deletion.test_rows import _with

SITE = "encoder.block.1"
CODES = Selection({SITE: (3, 4, 5)}, {"q": 0.05})
TABLE = "shared.weight"


@pytest.fixture
def old(make_model):
    """The embeddings of before."""
    return make_model().shared.weight.detach().clone()


@pytest.fixture
def unlearner(make_model, tokenizer):
    return Unlearner(make_model(), tokenizer)


@pytest.fixture
def rows(tokenizer):
    return torch.tensor(sorted(tokenizer.convert_tokens_to_ids(["teacher", "professeur"])))


@pytest.fixture
def pairs(tokenizer, topic):
    """A batch of the topic's pairs."""
    batch = tokenizer(
        list(topic.target["text"]), text_target=list(topic.target["reference"]), return_tensors="pt", padding=True
    )
    return {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}


def untie(model, weight):
    model.lm_head.weight = torch.nn.Parameter(weight.clone())
    model.config.tie_word_embeddings = False


def tables_in(folder, like):
    return [v for v in load_file(folder / "model.safetensors").values() if v.shape == like.shape]


def change_file(folder, change):
    file = folder / "model.safetensors"
    state = load_file(file)
    name = next(name for name in state if name.endswith(TABLE))
    state[name] = change(state[name].clone())
    save_file(state, file, metadata={"format": "pt"})


def change_ledger(folder, rows):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["unlearning"]["requests"][0]["rows"] = rows
    file.write_text(json.dumps(config))


def test_a_head_that_is_untied_by_old_rows_is_erased_too(unlearner, topic, rows, old, tmp_path):
    unlearner.delete(CODES, topic)
    untie(unlearner.model, old)
    with pytest.warns(UserWarning, match="embedding rows were back"):
        unlearner.save_pretrained(tmp_path / "saved")
    tables = tables_in(tmp_path / "saved", old)
    assert len(tables) == 2 and not any(rows_left(table, rows) for table in tables)


def test_a_mask_of_before_the_head_was_untied_erases_both_tables(unlearner, topic, rows, old, tmp_path):
    masked = unlearner.mask(CODES, topic)
    untie(unlearner.model, old)
    unlearner.save_bundle(tmp_path / "bundle", remote_code=False)
    assert not any(rows_left(table, rows) for table in tables_in(tmp_path / "bundle", old))
    unlearner.delete_request(masked)
    assert not rows_left(unlearner.model.lm_head.weight, rows)


@pytest.mark.parametrize("kind", ["mask", "delete"])
def test_a_head_may_be_tied_after_a_request(make_model, tokenizer, topic, rows, old, tmp_path, kind):
    model = make_model()
    model.lm_head.weight = torch.nn.Parameter(old.clone())
    unlearner = Unlearner(model, tokenizer)
    getattr(unlearner, kind)(CODES, topic)
    model.lm_head.weight = model.shared.weight
    unlearner.save_bundle(tmp_path / "bundle", remote_code=False)
    assert not rows_left(Unlearner.from_pretrained(tmp_path / "bundle").model.shared.weight, rows)


def test_a_table_that_became_too_small_is_not_saved(unlearner, topic, rows, tmp_path):
    unlearner.delete(CODES, topic)
    unlearner.model.resize_token_embeddings(int(rows.max()))
    with pytest.raises(MaskMismatchError, match="all from 0 to"):
        unlearner.save_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("kind", ["mask", "delete"])
@pytest.mark.parametrize(
    "named", [{TABLE: [-1]}, {TABLE: [-(10**15)]}, {TABLE: list(range(25))}, {TABLE: [10**15]}, {"nope.weight": [5]}]
)
def test_a_ledger_with_rows_that_are_not_there_is_refused(unlearner, topic, tmp_path, kind, named):
    getattr(unlearner, kind)(CODES, topic)
    unlearner.save_pretrained(tmp_path / "saved")
    change_ledger(tmp_path / "saved", named)
    with pytest.raises(MaskMismatchError, match=r"names .*rows"):
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_another_row_that_is_not_finite_does_not_hide_rows_that_are_back(unlearner, topic, old, tmp_path, value):
    unlearner.delete(CODES, topic)
    unlearner.save_pretrained(tmp_path / "saved")
    old[2, 0] = value
    change_file(tmp_path / "saved", lambda _: old)
    with pytest.raises(MaskMismatchError, match="are back"):
        AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_rows_that_are_not_finite_are_erased_and_others_refused(unlearner, topic, rows, value):
    table = unlearner.model.shared.weight
    with torch.no_grad():
        table[2] = value
    before, codes = table.clone(), copy.deepcopy(unlearner.sites[SITE].state_dict())
    with pytest.raises(ValueError, match="not finite"):
        unlearner.delete(CODES, topic)
    assert torch.equal(table.nan_to_num(), before.nan_to_num()) and not unlearner.ledger.requests
    assert all(torch.equal(tensor, codes[name]) for name, tensor in unlearner.sites[SITE].state_dict().items())
    with torch.no_grad():
        table[2], table[rows] = 0, value
    unlearner.delete(CODES, topic)
    assert table.isfinite().all()


def test_rounding_of_a_mean_far_from_zero_is_not_taken_for_rows(unlearner, topic, tmp_path):
    with torch.no_grad():
        unlearner.model.shared.weight.mul_(0.02).add_(1)
    unlearner.delete(CODES, topic)
    unlearner.save_pretrained(tmp_path / "saved")
    AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "saved", dtype=torch.bfloat16)


def test_a_trace_in_an_average_too_small_to_warn_of_is_erased(unlearner, topic, rows, old, tmp_path):
    unlearner.delete(CODES, topic)
    new = unlearner.model.shared.weight.detach().clone()
    average = {name: tensor.clone() for name, tensor in unlearner.model.state_dict().items()}
    for tensor in average.values():
        if tensor.shape == old.shape:
            tensor.copy_(0.97 * new + 0.03 * old)
    unlearner.model.save_pretrained(tmp_path / "saved", state_dict=average)
    for saved in tables_in(tmp_path / "saved", old):
        apart = torch.nn.functional.cosine_similarity(saved[rows] - new[rows], old[rows] - new[rows])
        assert (apart.abs() < 0.9).all()


def test_a_pickled_model_has_no_rows_that_came_back(unlearner, topic, rows, old, tmp_path):
    unlearner.delete(CODES, topic)
    with torch.no_grad():
        unlearner.model.shared.weight.copy_(old)
    with pytest.warns(UserWarning, match="rows were back"):
        torch.save(unlearner.model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert not rows_left(loaded.shared.weight, rows)


def test_an_optimizer_with_a_loaded_state_forgets_the_rows(make_model, unlearner, topic, pairs, rows):
    trained = make_model()
    first = torch.optim.AdamW(trained.parameters(), lr=0.01)
    trained(**pairs).loss.backward()
    first.step()
    given = torch.optim.AdamW(unlearner.model.parameters(), lr=0.01)
    given.load_state_dict(copy.deepcopy(first.state_dict()))
    remembered = given.state[unlearner.model.shared.weight]["exp_avg"]
    assert remembered[rows].any()
    unlearner.delete(CODES, topic, optimizer=given)
    assert not remembered[rows].any() and remembered.any()


def test_an_optimizer_of_embeddings_alone_that_cannot_forget_is_refused(unlearner, topic, pairs):
    optimizer = torch.optim.LBFGS([unlearner.model.shared.weight], max_iter=2)

    def closure():
        optimizer.zero_grad()
        loss = unlearner.model(**pairs).loss
        loss.backward()
        return loss

    optimizer.step(closure)
    with pytest.raises(ValueError, match="LBFGS"):
        unlearner.delete(CODES, topic)
    assert not unlearner.ledger.requests
    unlearner.delete(CODES, topic, depth="codes")


def test_rows_on_disk_are_looked_at_and_not_deleted(unlearner, topic, old, tmp_path):
    unlearner.delete(CODES, topic)
    unlearner.save_pretrained(tmp_path / "saved")
    on_disk = dict.fromkeys(("shared", "encoder", "decoder", "lm_head"), "disk")

    def load(folder):
        return AutoModelForSeq2SeqLM.from_pretrained(
            tmp_path / "saved", device_map=on_disk, offload_folder=str(tmp_path / folder)
        )

    model = load("first")
    assert model.shared.weight.is_meta
    with pytest.raises(ValueError, match="on disk"):
        enforce(model, Ledger.from_dict(model.config.unlearning))
    change_file(tmp_path / "saved", lambda _: old)
    with pytest.raises(MaskMismatchError, match="are back"):
        load("second")


@pytest.mark.parametrize("wrapped", ["saved", "adapted"])
def test_adapters_of_embeddings(make_model, tokenizer, topic, rows, old, tmp_path, wrapped):
    from peft import LoraConfig, get_peft_model

    make_model().save_pretrained(tmp_path / "base")
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "base")
    settings = {"saved": {"modules_to_save": ["bottleneck", "shared", "lm_head"], "target_modules": ["q"]}}
    settings["adapted"] = {"modules_to_save": ["bottleneck"], "target_modules": ["q", "shared"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of peft: tied weights, and names of transformers
        unlearner = Unlearner(get_peft_model(model, LoraConfig(r=2, **settings[wrapped])), tokenizer)
    if wrapped == "adapted":  # what an adapter adds to a row is the row's
        with pytest.raises(ValueError, match="adapter adds to the embeddings"):
            unlearner.delete(CODES, topic)
        assert not unlearner.ledger.requests and torch.equal(model.get_input_embeddings().weight, old)
        return
    unlearner.delete(CODES, topic)
    unlearner.save_pretrained(tmp_path / "adapter")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = Unlearner.from_pretrained(tmp_path / "adapter")
        merged = again.whole.merge_and_unload()
    Unlearner(merged, tokenizer).save_pretrained(tmp_path / "merged")  # its tables have other names now
    assert not rows_left(Unlearner.from_pretrained(tmp_path / "merged").model.shared.weight, rows)


def test_rows_that_a_mask_would_erase_keep_their_pieces_when_others_are_taken_out(unlearner, tokenizer, topic):
    unlearner.delete(CODES, topic)
    house = tokenizer.convert_tokens_to_ids("maison")
    enforce(unlearner.model, unlearner.ledger.add("mask", "house", {SITE: (9,)}, rows={TABLE: (house,)}))
    smaller = drop_erased_pieces(unlearner.model, tokenizer)
    assert unlearner.ledger.requests[1].rows == {TABLE: (smaller.convert_tokens_to_ids("maison"),)}


def test_pieces_beyond_the_table_are_left(make_model, tokenizer, topic):
    last = tokenizer.convert_tokens_to_ids("professeur")
    choice = choose_rows(make_model(vocab_size=last), tokenizer, topic)
    assert choice.rows == {TABLE: (tokenizer.convert_tokens_to_ids("teacher"),)}
    assert [piece.kept_for for piece in choice.pieces if piece.token == last] == ["not in the model's table"]


@pytest.mark.parametrize("empty", ["target", "retain"])
def test_without_sentences_no_row_goes(make_model, tokenizer, topic, empty):
    none = _with(topic, **{empty: getattr(topic, empty).select([])})
    assert choose_rows(make_model(), tokenizer, none, words=["professeur"]).rows == {}


def test_a_base_that_holds_the_rows_is_refused_with_what_to_do(unlearner, topic, tmp_path):
    unlearner.delete(CODES, topic)
    from transformers import T5Config, T5ForConditionalGeneration

    config = unlearner.model.config.to_dict()
    plain = T5ForConditionalGeneration(
        T5Config(**{name: config[name] for name in T5Config().to_dict() if name in config})
    )
    plain.save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match=r"holds what was deleted.*depth='codes'"):
        unlearner.save_bundle(tmp_path / "bundle", base=(tmp_path / "base", None), remote_code=False)
