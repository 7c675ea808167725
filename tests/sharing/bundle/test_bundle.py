"""What is shared of a model that forgot."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

import excise.sharing.bundle.writing
from excise import Ledger, Selection, Unlearner
from excise.models.loading import load_model
from excise.report import Record
from excise.sharing.bundle import check_bundle
from excise.sharing.bundle.copies import differences
from excise.sharing.erasure import ErasedRows
from tests.helpers import tiny
from tests.helpers.evidence import SITE, enrichment_of
from tests.sharing.bundle.conftest import DELETED, MASKED, UNDONE


def tree(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def everything(unlearner) -> tuple:
    """All that must stay as it is in memory."""
    state = {name: tensor.clone() for name, tensor in unlearner.model.state_dict().items()}
    grads = [parameter.requires_grad for parameter in unlearner.model.parameters()]
    return (
        state,
        copy.deepcopy(unlearner.model.config.to_dict()),
        grads,
        unlearner.model.training,
        torch.get_rng_state(),
    )


def assert_untouched(unlearner, before) -> None:
    after = everything(unlearner)
    assert differences(before[0], after[0]) == []
    assert before[1:4] == after[1:4] and torch.equal(before[4], after[4])


def test_a_bundle_has_all_that_is_shared(case, tmp_path):
    record = case.unlearner.save_bundle(tmp_path / "out")
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert names >= {
        "model.safetensors",
        "config.json",
        "README.md",
        "report/report.json",
        "ledger.json",
        "bundle.json",
        "modeling_excise.py",
    }
    assert not any(name.startswith(".") for name in names)
    saved = Record.load(tmp_path / "out" / "report")
    assert saved.state == record.state and record.state["mode"] == "delete"
    assert [(check["name"], check["passed"]) for check in record.state["checks"]] == [
        ("bytes", True),
        ("reload", True),
    ]
    tensors = case.unlearner.sites[case.site].code_tensors
    rows = f"{len(MASKED)} keys and {len(MASKED)} values" if "keys" in tensors else f"{len(MASKED) * len(tensors)} rows"
    assert f"the {rows}" in record.state["checks"][0]["detail"]


def test_masks_are_deletions_in_what_is_written_and_stay_masks_in_memory(case, tmp_path):
    before, ledger = everything(case.unlearner), case.unlearner.ledger
    erased, rows = ErasedRows.of(case.unlearner.model), case.masked_rows
    case.unlearner.save_bundle(tmp_path / "out")
    assert_untouched(case.unlearner, before)
    assert all(part.any() for part in rows) and len(erased) == len(rows) * len(MASKED)
    assert erased.find_in(tmp_path / "out") == []

    shared = Unlearner.from_pretrained(tmp_path / "out")
    first, second, third = shared.ledger.requests
    assert (first, third) == (ledger.requests[0], ledger.requests[2])
    assert vars(second) == vars(ledger.requests[1]) | {"kind": "delete"}
    assert third.codes[case.site] == tuple(UNDONE) and third.undone
    bottleneck = shared.sites[case.site]
    for name in bottleneck.code_tensors:
        assert not bottleneck.by_code(getattr(bottleneck, name))[DELETED + MASKED].any()
    with pytest.raises(ValueError, match="cannot be undone"):
        shared.undo(2)


@pytest.mark.parametrize("options", [{}, {"compact": True}, {"max_shard_size": "4KB"}, {"mode": "mask"}], ids=str)
def test_the_loaded_model_computes_bit_for_bit_what_the_one_in_memory_does(case, tmp_path, options):
    expected = case.logits()
    case.unlearner.save_bundle(tmp_path / "out", **options)
    assert (len(list((tmp_path / "out").glob("model*.safetensors"))) > 1) == ("max_shard_size" in options)
    for loaded in (case.auto.from_pretrained(tmp_path / "out"), Unlearner.from_pretrained(tmp_path / "out").model):
        assert type(loaded) is type(case.unlearner.model)
        assert torch.equal(case.logits(loaded), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_it_is_the_same_too(case, tmp_path, dtype):
    erased = ErasedRows.of(case.unlearner.model)
    case.unlearner.model.save_pretrained(tmp_path / "full")
    case.unlearner = Unlearner(load_model(tmp_path / "full", dtype=dtype), case.unlearner.processor)
    expected = {name: tensor.clone() for name, tensor in case.unlearner.model.state_dict().items()}
    case.unlearner.save_bundle(tmp_path / "out", mode="mask")
    assert differences(load_model(tmp_path / "out").state_dict(), expected) == []
    case.unlearner.save_bundle(tmp_path / "deleted")
    assert erased.find_in(tmp_path / "deleted") == []
    assert {left.codes for left in erased.find_in(tmp_path / "out")} == {tuple(MASKED)}


def test_no_file_of_a_bundle_names_a_folder_of_this_machine(case, tmp_path):
    for name in case.unlearner.model.config.sub_configs:
        getattr(case.unlearner.model.config, name)._name_or_path = case.base
    before = copy.deepcopy(case.unlearner.model.config.to_dict())
    case.unlearner.save_bundle(tmp_path / "out")
    assert not [name for name, content in tree(tmp_path / "out").items() if case.base.encode() in content]
    assert case.unlearner.model.config.to_dict() == before


def first_line(folder) -> str:
    return (folder / "README.md").read_text(encoding="utf-8").split("\n---\n", 1)[1].strip().splitlines()[0]


def test_a_mask_bundle_can_be_undone_and_its_card_says_so_first(case, tmp_path):
    record = case.unlearner.save_bundle(tmp_path / "out", mode="mask")
    assert record.state["mode"] == "mask"
    assert "reversible" in first_line(tmp_path / "out")
    loaded, other = Unlearner.from_pretrained(tmp_path / "out"), case.unlearner
    other.save_bundle(tmp_path / "deleted")
    assert "reversible" not in first_line(tmp_path / "deleted")
    loaded.undo(2)
    other.undo(2)
    assert torch.equal(case.logits(loaded.model), case.logits())


@pytest.mark.parametrize("options", [{}, {"compact": True}, {"base": True}, {"mode": "mask"}], ids=str)
def test_the_same_inputs_give_the_same_bytes(case, tmp_path, options):
    if "base" in options:
        options = {"base": (case.base, None)}
    record = Record.of(case.unlearner.model, settings={"seed": 0})
    case.unlearner.save_bundle(tmp_path / "first", record, **options)
    torch.manual_seed(1)
    case.unlearner.save_bundle(tmp_path / "second", record, **options)
    assert tree(tmp_path / "first") == tree(tmp_path / "second")


def test_deleted_codes_can_be_taken_out_with_a_map_of_the_others(case, tmp_path):
    old = case.unlearner.sites[case.site]
    case.unlearner.save_bundle(tmp_path / "out", compact=True)
    numbers = load_file(tmp_path / "out" / "compaction.safetensors")[case.site]
    assert json.loads((tmp_path / "out" / "ledger.json").read_text())["compaction"] == "compaction.safetensors"
    new = Unlearner.from_pretrained(tmp_path / "out").sites[case.site]
    kept = numbers >= 0
    assert len(numbers) == old.num_codes and kept.sum() == new.num_codes
    live = old.live & kept
    for name in old.code_tensors:
        rows = old.by_code(getattr(old, name))[live]
        assert torch.equal(new.by_code(getattr(new, name))[numbers[live]], rows)
    record = Record.load(tmp_path / "out" / "report")
    assert (
        "compaction.safetensors" in {check["name"]: check["detail"] for check in record.state["checks"]}["compaction"]
    )


def test_codes_are_taken_out_of_large_codebooks(t5_case, tmp_path):
    t5_case.unlearner.save_bundle(tmp_path / "whole")
    t5_case.unlearner.save_bundle(tmp_path / "out", compact=True)
    assert Unlearner.from_pretrained(tmp_path / "out").sites[t5_case.site].num_codes == 40 - len(DELETED + MASKED)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "out")]
    assert sizes[0] - sizes[1] >= len(DELETED + MASKED) * 64 * 4


@pytest.mark.parametrize("mode", ["delete", "mask"])
def test_a_model_without_its_deleted_codes_can_be_bundled_again(t5_case, tmp_path, mode):
    unlearner = t5_case.unlearner
    unlearner.save_bundle(tmp_path / "first", compact=True)
    loaded = Unlearner.from_pretrained(tmp_path / "first")
    assert not loaded.ledger.removed(t5_case.site)
    loaded.save_bundle(tmp_path / "again", mode=mode)
    assert torch.equal(t5_case.logits(load_model(tmp_path / "again")), t5_case.logits(loaded.model))
    assert first_line(tmp_path / "again") == first_line(tmp_path / "first")


def test_of_deletions_alone_nothing_is_said_to_be_reversible(t5_case, tmp_path):
    unlearner = t5_case.unlearner
    unlearner.undo(2)
    record = unlearner.save_bundle(tmp_path / "out", mode="mask")
    assert "cannot be undone" in first_line(tmp_path / "out")
    words = " ".join(path.read_text(encoding="utf-8") for path in (tmp_path / "out").rglob("*.[hm][td]*"))
    assert "reversible" not in words and "still in the weights" not in words
    assert record.state["mode"] == "mask"
    detail = record.state["checks"][0]["detail"]
    assert " 0 rows" not in detail and "zero" in detail and "already" in detail


def test_a_planted_leftover_stops_the_writing_and_leaves_nothing(case, tmp_path, monkeypatch):
    rows = case.masked_rows[-1]
    processor = case.unlearner.processor
    save, before = type(processor).save_pretrained, everything(case.unlearner)

    def save_with_a_leftover(self, folder, *args, **kwargs):
        save(self, folder, *args, **kwargs)
        (folder / "training.log").write_bytes(b"x" + rows[1].to(torch.bfloat16).view(torch.uint8).numpy().tobytes())

    monkeypatch.setattr(type(processor), "save_pretrained", save_with_a_leftover)
    with pytest.raises(ValueError, match=r"training\.log.*bfloat16"):
        case.unlearner.save_bundle(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert_untouched(case.unlearner, before)


@pytest.mark.parametrize("where", ["report", "README.md"])
def test_a_leftover_in_report_or_card_stops_the_writing(t5_case, tmp_path, monkeypatch, where):
    row = t5_case.masked_rows[0][0].numpy().tobytes()
    write = excise.sharing.bundle.writing.write_manifest

    def plant(folder, *args):
        path = folder / where / "index.html" if where == "report" else folder / where
        path.write_bytes(b"." + row)
        write(folder, *args)

    monkeypatch.setattr(excise.sharing.bundle.writing, "write_manifest", plant)
    with pytest.raises(ValueError, match="still holds deleted codes"):
        t5_case.unlearner.save_bundle(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_come_back_as_others_stop_the_writing(t5_case, tmp_path, monkeypatch):
    model = t5_case.unlearner.model
    save = type(model).save_pretrained

    def save_another(self, folder, **kwargs):
        weights = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        weights["shared.weight"][0, 0] += 1
        save(self, folder, state_dict=weights, **kwargs)

    monkeypatch.setattr(type(model), "save_pretrained", save_another)
    with pytest.raises(ValueError, match="come back as others, such as"):
        t5_case.unlearner.save_bundle(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_two_types_of_number_is_refused_and_converted_it_is_not(t5_case, tmp_path):
    model = t5_case.unlearner.model
    t5_case.unlearner.sites[t5_case.site].to(torch.float64)
    with pytest.raises(ValueError, match=r"model\.to\(torch\.float32\)"):
        t5_case.unlearner.save_bundle(tmp_path / "out")
    model.to(torch.float32)
    t5_case.unlearner.save_bundle(tmp_path / "out")


def test_what_no_bundle_can_be_made_of_is_refused_before_anything_is_written(t5_case, tmp_path):
    unlearner = t5_case.unlearner
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    before = everything(unlearner)
    with pytest.raises(FileExistsError, match="not an empty folder"):
        unlearner.save_bundle(tmp_path / "full")
    with pytest.raises(ValueError, match="mode='erase': expected 'delete' or 'mask'"):
        unlearner.save_bundle(tmp_path / "out", mode="erase")
    with pytest.raises(ValueError, match="processor"):
        Unlearner(unlearner.model, None).save_bundle(tmp_path / "out")
    with pytest.raises(ValueError, match="as a pair"):
        unlearner.save_bundle(tmp_path / "out", base=t5_case.base)
    assert_untouched(unlearner, before)
    unlearner.model.decoder.to("meta")
    with pytest.raises(ValueError, match="device map"):
        unlearner.save_bundle(tmp_path / "out")
    assert tree(tmp_path) == {"full/mine": b"mine"}


def test_a_record_of_another_model_is_refused(t5_case, tmp_path):
    other = tiny.codebook_t5()
    tiny.mask_codes(other)
    with pytest.raises(ValueError, match="another model: its request 1"):
        t5_case.unlearner.save_bundle(tmp_path / "out", Record.of(other))
    other = tiny.codebook_t5(layers=(0,))
    with pytest.raises(ValueError, match="record is of another model"):
        t5_case.unlearner.save_bundle(tmp_path / "out", Record.of(other))
    earlier = Record.of(t5_case.unlearner.model)
    t5_case.unlearner.mask(Selection({t5_case.site: [20]}), "fourth topic")
    assert len(t5_case.unlearner.save_bundle(tmp_path / "out", earlier).state["requests"]) == 4


def test_a_model_that_forgot_nothing_can_be_shared_as_it_is_only(tmp_path):
    model = tiny.codebook_t5()
    unlearner = Unlearner(model, tiny.tokenizer())
    with pytest.raises(ValueError, match="nothing to delete"):
        unlearner.save_bundle(tmp_path / "out")
    unlearner.undo(unlearner.mask(Selection({tiny.SITE: [1]}), "topic"))
    with pytest.raises(ValueError, match="nothing to delete"):
        unlearner.save_bundle(tmp_path / "out")
    record = unlearner.save_bundle(tmp_path / "out", mode="mask")
    assert [check["name"] for check in record.state["checks"]] == ["reload"]
    assert AutoTokenizer.from_pretrained(tmp_path / "out").vocab_size
    assert check_bundle(tmp_path / "out")["mode"] == "mask"


def test_a_model_whose_masks_are_not_its_ledgers_is_refused(t5_case, tmp_path):
    t5_case.unlearner.sites[t5_case.site].live[20] = False
    with pytest.raises(ValueError, match="its ledger tells of"):
        t5_case.unlearner.save_bundle(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft asks for it
def test_a_model_in_an_adapter_is_refused_and_merged_it_is_not(t5_case, tmp_path):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(t5_case.unlearner.model, LoraConfig(target_modules=["q"], modules_to_save=["bottleneck"]))
    unlearner = Unlearner(adapted, tiny.tokenizer())
    with pytest.raises(ValueError, match="Merge it first"):
        unlearner.save_bundle(tmp_path / "out")
    Unlearner(adapted.merge_and_unload(), tiny.tokenizer()).save_bundle(tmp_path / "out")
    assert Ledger.from_dict(load_model(tmp_path / "out").config.unlearning).requests[1].kind == "delete"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")  # peft asks for it
def test_a_model_that_an_adapter_was_added_to_is_refused(t5_case, tmp_path):
    from peft import LoraConfig

    t5_case.unlearner.model.add_adapter(LoraConfig(target_modules=["q"]), "mine")
    with pytest.raises(ValueError, match="An adapter was added to the model"):
        t5_case.unlearner.save_bundle(tmp_path / "out")
    t5_case.unlearner.model.delete_adapter("mine")  # its layers stay
    with pytest.raises(ValueError, match="An adapter was added to the model"):
        t5_case.unlearner.save_bundle(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch.compile uses it
def test_a_compiled_model_gives_the_bundle_of_the_model_that_was_compiled(t5_case, tmp_path):
    unlearner = t5_case.unlearner
    unlearner.save_bundle(tmp_path / "plain")
    compiled = torch.compile(unlearner.model)
    record = Record.of(compiled)
    Unlearner(compiled, unlearner.processor).save_bundle(tmp_path / "compiled", record)
    assert tree(tmp_path / "compiled") == tree(tmp_path / "plain")


def test_without_code_it_is_for_excise_only(t5_case, tmp_path):
    t5_case.unlearner.save_bundle(tmp_path / "out", remote_code=False)
    assert not list((tmp_path / "out").glob("*.py"))
    assert "auto_map" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_a_mask_may_be_written_with_the_table_of_its_codes(make_model, tokenizer, tmp_path):
    unlearner = Unlearner(make_model(), tokenizer)
    unlearner.mask(Selection({SITE: [3, 7]}), "teacher")
    record = Record.of(unlearner.model, enrichments={"teacher": enrichment_of()})
    unlearner.save_bundle(tmp_path / "out", record, mode="mask")  # nothing is erased, so no row is looked for
    assert (tmp_path / "out" / "report" / "enrichment-teacher.parquet").is_file()
