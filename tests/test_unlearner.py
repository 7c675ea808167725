import copy
from dataclasses import replace
from pathlib import PosixPath

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from excise import MaskMismatchError, Search, Selection, Unlearner
from excise.bottlenecks.site import bottlenecks

SITE = "encoder.block.1"


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}, copy.deepcopy(model.config.to_dict())


def same(left, right):
    return left[1] == right[1] and all(torch.equal(left[0][key], right[0][key]) for key in left[0])


def logits(model, tokenizer):
    batch = tokenizer(["the teacher reads a book .", "a cat"], padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**batch, decoder_input_ids=torch.tensor([[0, 5], [0, 6]])).logits


def select(*codes):
    return Selection({SITE: codes}, {"q": 0.05})


def used_codes(model, tokenizer):
    batch = tokenizer(["the teacher reads a book ."], return_tensors="pt")
    return model(**batch, decoder_input_ids=torch.tensor([[0]])).codes[SITE].unique().tolist()


def test_masked_codes_are_not_selected_and_undoing_brings_the_model_back_exactly(make_model, tokenizer, topic):
    model = make_model()
    before, start = logits(model, tokenizer), state(model)
    codes = used_codes(model, tokenizer)
    unlearner = Unlearner(model, tokenizer)
    request = unlearner.mask(select(*codes), topic)
    assert not set(codes) & set(used_codes(model, tokenizer))
    assert not torch.equal(logits(model, tokenizer), before)
    assert unlearner.undo(request).undone
    assert torch.equal(logits(model, tokenizer), before)
    assert same((start[0], None), (state(model)[0], None))


@settings(max_examples=25)
@given(
    st.lists(st.sets(st.integers(0, 31), min_size=1, max_size=6), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_requests_compose_and_undo_in_any_order(make_model, tokenizer, sets, random):
    model = make_model()
    unlearner = Unlearner(model, tokenizer)
    in_force = [(unlearner.mask(select(*codes), "t"), codes) for codes in sets]
    random.shuffle(in_force)
    while in_force:
        removed = set().union(*(codes for _, codes in in_force))
        assert (~bottlenecks(model)[SITE].live).nonzero().flatten().tolist() == sorted(removed)
        unlearner.undo(in_force.pop()[0])
    assert bottlenecks(model)[SITE].live.all()


def test_the_ledger_tells_what_when_why_and_on_which_data(make_model, tokenizer, topic, tmp_path):
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.mask(select(1, 2), topic)
    unlearner.delete(select(5), "someone's name")
    unlearner.undo(1)
    unlearner.save_pretrained(tmp_path / "out")
    loaded = Unlearner(AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out"), tokenizer)
    first, second = loaded.ledger.requests
    assert loaded.ledger == unlearner.ledger
    assert (first.kind, first.topic, first.codes) == ("mask", "teacher", {SITE: (1, 2)})
    assert first.thresholds["q"] == 0.05 and first.thresholds["rows"]["pieces"] == first.num_rows == 2
    assert first.data == topic.digest()
    assert first.created <= first.undone
    assert (second.kind, second.topic, second.undone) == ("delete", "someone's name", None)


def test_deleting_erases_rows_gradients_and_optimizer_state_and_later_steps_do_not_revive_them(make_model, tokenizer):
    model = make_model().train()
    codebook = bottlenecks(model)[SITE].codebook
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    batch = tokenizer(["the teacher reads a book .", "the cat sees ."], padding=True, return_tensors="pt")

    def step():
        model(**batch, labels=torch.tensor([[5, 6, 1], [7, 8, 1]])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    codes = used_codes(model, tokenizer)
    assert optimizer.state[codebook]["exp_avg"][codes].any()
    Unlearner(model, tokenizer).delete(select(*codes), "teacher", optimizer)
    for _ in range(3):
        step()
    assert not codebook[codes].any()
    assert not optimizer.state[codebook]["exp_avg"][codes].any()


def test_a_deletion_cannot_be_undone_not_even_by_undoing_a_mask_of_the_same_codes(make_model, tokenizer):
    model = make_model()
    unlearner = Unlearner(model, tokenizer)
    mask = unlearner.mask(select(3, 4), "t")
    deletion = unlearner.delete(select(4), "t")
    unlearner.undo(mask)
    assert (~bottlenecks(model)[SITE].live).nonzero().flatten().tolist() == [4]
    with pytest.raises(ValueError, match="cannot be undone"):
        unlearner.undo(deletion)
    with pytest.raises(ValueError, match="undone already"):
        unlearner.undo(mask)
    with pytest.raises(ValueError, match="no request 9"):
        unlearner.undo(9)


def test_what_was_deleted_for_good_is_not_said_to_be_undone_and_the_log_tells_what_came_of_it(
    make_model, tokenizer, caplog
):
    caplog.set_level("INFO", logger="excise")
    unlearner = Unlearner(make_model(), tokenizer)
    mask, other = unlearner.mask(select(3, 4), "t"), unlearner.mask(select(4, 5), "u")
    assert not caplog.records
    unlearner.delete_request(mask)
    with pytest.raises(ValueError, match=r"No code of request 1 \(t\) can come back: request 3 deleted them for good"):
        unlearner.undo(mask)
    unlearner.undo(other)
    unlearner.delete(select(3, 4), "again")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "INFO",
            "Request 3: 2 of 2 codes were erased now. Undoing request 1 will not bring back 2 of its codes. "
            "Undoing request 2 will not bring back 1 of its codes.",
        ),
        (
            "WARNING",
            "Request 2: 1 of 2 codes came back: request 1 masks 1 of them too, request 3 deleted 1 of them for good.",
        ),
        (
            "WARNING",
            "Request 4: 0 of 2 codes were erased now: request 3 deleted them for good. Undoing request 1 will not "
            "bring back 2 of its codes.",
        ),
    ]
    assert unlearner.ledger.held_by(mask) == {3: 2, 4: 2} and unlearner.ledger.mask_in_force(1) == mask


def test_what_was_taken_out_of_a_model_is_not_said_to_be_undone(make_model, tokenizer):
    unlearner = Unlearner(make_model(), tokenizer)
    mask, other = unlearner.mask(select(3, 4), "t"), unlearner.mask(select(4, 5), "u")
    unlearner.delete_request(mask)
    unlearner.compact()
    with pytest.raises(ValueError, match="can come back: 2 of them deleted and taken out of the model"):
        unlearner.undo(mask)
    request = unlearner.undo(other)
    text = "1 of 2 codes came back: 1 of them deleted and taken out of the model."
    assert unlearner.ledger.outcome(request) == text


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection({}), "Nothing is selected"),
        (Selection({SITE: range(31)}), "fewer than the 2"),
        (Selection({SITE: [32]}), "has codes 0 to 31"),
        (Selection({"encoder.block.7": [1]}), "bottlenecks at"),
    ],
)
@pytest.mark.parametrize("verb", ["mask", "delete"])
def test_a_request_that_cannot_be_met_changes_nothing(make_model, tokenizer, topic, verb, selection, message):
    model = make_model()
    unlearner = Unlearner(model, tokenizer)
    unlearner.mask(select(1), topic)
    start = state(model)
    with pytest.raises(ValueError, match=message):
        getattr(unlearner, verb)(selection, topic)
    assert same(start, state(model))


def test_a_trial_and_a_look_behind_the_masks_leave_the_model_as_it_was_even_when_they_fail(make_model, tokenizer):
    model = make_model()
    unlearner = Unlearner(model, tokenizer)
    whole = logits(model, tokenizer)
    unlearner.mask(select(*used_codes(model, tokenizer)), "t")
    start = state(model)
    with unlearner.without_masks():
        assert torch.equal(logits(model, tokenizer), whole)
        with unlearner.trial(select(7)):
            assert (~bottlenecks(model)[SITE].live).nonzero().flatten().tolist() == [7]
        assert bottlenecks(model)[SITE].live.all()
    with unlearner.trial(Selection({})):
        assert same(start, state(model))
    with pytest.raises(ValueError, match="fewer than the 2"):
        unlearner.trial(Selection({SITE: range(31)}))
    with pytest.raises(RuntimeError), unlearner.trial(select(30, 31)):
        assert (~bottlenecks(model)[SITE].live)[30:].all()
        raise RuntimeError
    assert same(start, state(model))


def test_a_reload_keeps_the_masks_and_the_plain_call_gives_the_same(make_model, tokenizer, topic, tmp_path):
    model = make_model()
    unlearner = Unlearner(model, tokenizer)
    unlearner.mask(select(*used_codes(model, tokenizer)), topic)
    unlearner.delete(select(0), topic)
    unlearner.save_pretrained(tmp_path / "new" / "out")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "new" / "out")
    assert torch.equal(bottlenecks(loaded)[SITE].live, bottlenecks(model)[SITE].live)
    assert torch.equal(logits(loaded, tokenizer), logits(model, tokenizer))
    assert len(AutoTokenizer.from_pretrained(tmp_path / "new" / "out")) == len(tokenizer)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_saving_over_something_is_refused_and_a_failed_save_leaves_nothing(
    make_model, tokenizer, tmp_path, monkeypatch
):
    unlearner = Unlearner(make_model(), tokenizer)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "model.safetensors").write_text("older")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        unlearner.save_pretrained(tmp_path / "full")
    assert (tmp_path / "full" / "model.safetensors").read_text() == "older"

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unlearner.tokenizer.__class__, "save_pretrained", full_disk)
    with pytest.raises(OSError, match="No space"):
        unlearner.save_pretrained(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_an_unwritable_folder_is_an_error_that_names_it(make_model, tokenizer, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Unlearner(make_model(), tokenizer).save_pretrained(tmp_path / "file" / "out")


def test_an_unlearner_goes_on_from_a_folder(make_model, tokenizer, tmp_path):
    first = Unlearner(make_model(), tokenizer)
    first.mask(select(1), "t")
    first.save_pretrained(tmp_path / "out")
    second = Unlearner.from_pretrained(tmp_path / "out")
    assert second.ledger == first.ledger
    second.undo(1)
    assert torch.equal(logits(second.model.eval(), tokenizer), logits(make_model(), tokenizer))


def test_a_bottleneck_on_disk_is_refused(make_model, tokenizer):
    with pytest.raises(ValueError, match="Load without it"):
        Unlearner(make_model().to("meta"), tokenizer)


def test_a_save_in_which_a_deleted_row_survives_is_refused(make_model, tokenizer, tmp_path, monkeypatch):
    model = make_model()
    unlearner = Unlearner(model, tokenizer)
    unlearner.delete(select(3), "t")
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    key = next(key for key in weights if key.endswith("codebook"))
    weights[key][3] = 1.0

    def save(self, folder, *_, **__):
        self.config.save_pretrained(folder)
        save_file(weights, f"{folder}/model.safetensors", {"format": "pt"})

    monkeypatch.setattr(type(model), "save_pretrained", save)  # as one without the guard would
    with pytest.raises(ValueError, match="still holds deleted codes"):
        unlearner.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_bottleneck_or_with_another_mask_is_refused(make_model, tokenizer):
    plain = T5ForConditionalGeneration(
        T5Config(d_model=16, d_kv=4, d_ff=32, num_layers=1, num_heads=2, vocab_size=30, decoder_start_token_id=0)
    )
    with pytest.raises(ValueError, match="has no bottleneck"):
        Unlearner(plain, tokenizer)
    model = make_model()
    bottlenecks(model)[SITE].live[3] = False
    with pytest.raises(MaskMismatchError, match="1 removed codes, its ledger tells of 0"):
        Unlearner(model, tokenizer)


def test_deleting_what_a_request_masked_keeps_its_topic_thresholds_and_data(make_model, tokenizer, topic):
    model = make_model()
    unlearner = Unlearner(model, tokenizer)
    masked = unlearner.mask(select(3, 4), topic, depth="codes")
    deleted = unlearner.delete_request(masked)
    assert (deleted.kind, deleted.topic, deleted.codes, deleted.data) == (
        "delete",
        "teacher",
        masked.codes,
        masked.data,
    )
    assert deleted.thresholds == {"q": 0.05, "deletes_request": 1}
    assert not bottlenecks(model)[SITE].codebook[[3, 4]].any()
    with pytest.raises(ValueError, match="cannot be undone"):
        unlearner.delete_request(deleted)


def test_an_optimizer_that_cannot_be_cleared_is_refused_before_anything_changes(make_model, tokenizer):
    model, other = make_model(layers=(0, 1)), make_model(layers=(0, 1))
    unlearner = Unlearner(model, tokenizer)
    start = state(model)
    with pytest.raises(ValueError, match="does not train this model's codes"):
        unlearner.delete(select(3), "t", torch.optim.AdamW(other.parameters()))
    optimizer = torch.optim.AdamW(model.parameters())
    codebook = bottlenecks(model)[SITE].codebook
    optimizer.state[codebook]["state1"] = torch.zeros_like(codebook, dtype=torch.uint8)
    with pytest.raises(ValueError, match="rows cannot be erased"):
        unlearner.delete(select(3), "t", optimizer)
    with pytest.raises(ValueError, match="saved as JSON"):
        unlearner.mask(Selection({SITE: (1,)}, {"count": torch.tensor(3)}), "t")
    assert same(start, state(model))


@pytest.mark.parametrize("request_it", [Unlearner.mask, Unlearner.delete])
def test_a_topic_that_no_file_can_hold_is_refused_when_it_is_asked_for(make_model, tokenizer, request_it):
    model = make_model()
    unlearner, before = Unlearner(model, tokenizer), state(model)
    with pytest.raises(ValueError, match=r"the ledger.*pair \\ud83d'"):
        request_it(unlearner, select(1, 2), "half a pair \ud83d")
    assert same(state(model), before)


@pytest.mark.parametrize("wrong", [None, "teacher", ["teacher"], {"encoder.block.1": [1]}, 3])
@pytest.mark.parametrize("verb", ["choose", "trial", "forget", "mask", "delete"])
def test_what_is_no_topic_is_refused_by_every_verb_in_the_same_words(make_model, tokenizer, verb, wrong):
    unlearner = Unlearner(make_model(), tokenizer)
    with pytest.raises(ValueError, match="is nothing to choose codes on: expected sets"):
        getattr(unlearner, verb)(wrong, preset=Search("activations", count=1))
    assert not unlearner.ledger.requests


def test_the_ledger_tells_of_the_topic_that_codes_were_chosen_on_and_of_no_other(make_model, tokenizer, topic):
    unlearner, other = Unlearner(make_model(), tokenizer), replace(topic, target=topic.retain)
    with pytest.raises(ValueError, match="expected words"):
        unlearner.mask(topic, other, progress=False)
    with pytest.raises(ValueError, match="A PosixPath does not tell what is forgotten"):
        unlearner.mask(Selection({"encoder.block.1": [1]}), PosixPath("teacher"))
    assert not unlearner.ledger.requests
