"""An `Unlearner` publishes what it made, and goes on from what was published."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSeq2SeqLM
from transformers.utils import PushToHubMixin

from excise import CodebookCLIPForImageClassification, CodebookT5ForConditionalGeneration, Selection, Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.report import Record
from excise.sharing.erasure import ErasedRows
from excise.sharing.hub import LeftoversError, NotPushedError, audit_repo, publish, push_bundle
from tests.helpers.local_hub.bundles import REPO, before
from tests.helpers.tiny import (
    SITE,
    base_t5,
    batch,
    bottleneck_config,
    codebook_clip,
    codebook_t5,
    image_processor,
    pixels,
)
from tests.helpers.tiny import tokenizer as words
from tests.helpers.tiny_images import image_batch, key_value_model, processor
from tests.sharing.hub.test_clients import logits

pytestmark = pytest.mark.usefixtures("small_sizes")

CODES = [1, 2, 7]


def forgetful(model=None, processor=None, codes=CODES) -> Unlearner:
    """An Unlearner that has masked codes."""
    unlearner = Unlearner(before() if model is None else model, processor or words())
    unlearner.mask(Selection({next(iter(unlearner.sites)): codes}, {"q": 0.05}), "planted")
    return unlearner


CASES = {
    "t5": (before, words, batch, AutoModelForSeq2SeqLM),
    "clip": (
        lambda: codebook_clip(CodebookCLIPForImageClassification),
        image_processor,
        lambda: {"pixel_values": pixels()},
        AutoModelForImageClassification,
    ),
    "key-value": (key_value_model, processor, image_batch, AutoModelForImageClassification),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_logits_after_push_and_load_are_bit_for_bit_those_before(hub, name, dtype):
    make, processor, inputs, auto = CASES[name]
    unlearner = forgetful(make().to(dtype), processor())
    model = unlearner.model.eval()
    inputs = {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs().items()}
    erased = ErasedRows.of(model)
    unlearner.push_to_hub(REPO)
    loaded = auto.from_pretrained(REPO).eval()
    assert loaded.dtype == dtype
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    assert audit_repo(REPO, erased) == []


def test_masks_are_published_as_deletions_and_the_model_stays_as_it_is(hub):
    unlearner = forgetful()
    state = {name: tensor.clone() for name, tensor in unlearner.model.state_dict().items()}
    unlearner.push_to_hub(REPO)
    assert unlearner.ledger.requests[0].kind == "mask"
    assert all(torch.equal(tensor, state[name]) for name, tensor in unlearner.model.state_dict().items())
    published = Unlearner.from_hub(REPO)
    assert published.ledger.requests[0].kind == "delete"
    assert not bottlenecks(published.model)[SITE].codebook[CODES].any()
    with pytest.raises(ValueError, match="cannot be undone"):
        published.undo(1)


def test_published_masks_can_be_undone_added_to_and_published_again(hub, api):
    unlearner = forgetful()
    first = unlearner.push_to_hub(REPO, mode="mask")
    assert api.model_info(REPO).private
    assert unlearner.push_to_hub(REPO, mode="mask").oid == first.oid
    other = Unlearner.from_hub(REPO, token="hf_read")
    assert other.ledger == unlearner.ledger
    assert torch.equal(logits(other.model), logits(unlearner.model))
    other.undo(1)
    assert torch.equal(logits(other.model), logits(before()))
    request = other.mask(Selection({SITE: [4, 9]}, {"q": 0.01}), "another")
    second = other.push_to_hub(REPO, mode="mask", parent_commit=first.oid)
    assert Unlearner.from_hub(REPO).ledger.requests[-1] == request
    assert Unlearner.from_hub(REPO, revision=first.oid).ledger == unlearner.ledger
    with pytest.raises(NotPushedError, match=f"is at {second.oid[:8]}"):
        unlearner.push_to_hub(REPO, mode="mask", parent_commit=first.oid)


def test_the_record_is_published_with_a_card_that_the_hub_accepts(hub, api):
    unlearner = forgetful()
    record = Record.of(unlearner.model, data={"name": "made up", "language": ["en"]}, settings={"seed": 7})
    unlearner.push_to_hub(REPO, record)
    ModelCard.load(REPO).validate()
    assert "excise" in api.model_info(REPO).tags
    state = json.loads(Path(api.hf_hub_download(REPO, "report/report.json")).read_text())
    assert state["settings"] == {"seed": 7} and state["mode"] == "delete"


def test_a_deletion_over_an_older_model_needs_a_purge_which_leaves_none_of_it(hub, api):
    model = before()
    model.push_to_hub(REPO)
    api.upload_file(repo_id=REPO, path_or_fileobj=b"card", path_in_repo="notes.md")
    erased = ErasedRows.of(model, {SITE: CODES})
    assert audit_repo(REPO, erased)
    unlearner = Unlearner(model, words())
    unlearner.delete(Selection({SITE: CODES}, {"q": 0.05}), "planted")
    with pytest.raises(NotPushedError, match="purge_history=True"):
        unlearner.push_to_hub(REPO)
    done = unlearner.push_to_hub(REPO, purge_history=True, erased=erased)
    assert done.audit.commits == 1 and audit_repo(REPO, erased) == []
    assert not api.file_exists(REPO, "notes.md")
    assert unlearner.push_to_hub(REPO).oid == done.oid


def test_a_purge_after_codes_were_taken_out_needs_their_rows_which_the_audit_looks_for(hub, api):
    model = before()
    api.create_repo(REPO, private=True)
    model.push_to_hub(REPO)
    api.create_branch(REPO, branch="old")
    erased = ErasedRows.of(model, {SITE: CODES})
    unlearner = Unlearner(model, words())
    unlearner.delete(Selection({SITE: CODES}, {"q": 0.05}), "planted")
    unlearner.compact()
    hub.log.clear()
    with pytest.raises(NotPushedError, match=r"were taken out.*erased=ErasedRows\.of"):
        unlearner.push_to_hub(REPO, mode="mask", purge_history=True)
    with pytest.raises(LeftoversError, match="delete_branch"):
        unlearner.push_to_hub(REPO, mode="mask", purge_history=True, erased=erased)
    assert not hub.asked("^(PUT|DELETE|POST)")
    api.delete_branch(REPO, branch="old")
    unlearner.push_to_hub(REPO, mode="mask", purge_history=True, erased=erased)
    assert audit_repo(REPO, erased) == []
    unlearner.push_to_hub("tester/new", mode="mask")


def test_a_compacted_model_is_published_smaller(hub, api):
    unlearner = forgetful(codebook_t5(num_codes=400), codes=list(range(300)))
    unlearner.push_to_hub("tester/large")
    unlearner.push_to_hub("tester/small", compact=True)
    sizes = [api.get_paths_info(name, ["model.safetensors"])[0].size for name in ("tester/large", "tester/small")]
    assert sizes[1] < 0.8 * sizes[0]
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained("tester/small")), logits(unlearner.model))


@pytest.fixture
def on_base(hub):
    """Id and revision of a plain model on the Hub, and an Unlearner of that model with a bottleneck."""
    revision = base_t5().push_to_hub("tester/base").oid
    torch.manual_seed(3)
    model = CodebookT5ForConditionalGeneration.from_base("tester/base", bottleneck_config(), layers=[2])
    return ("tester/base", revision), forgetful(model.eval())


def test_bottlenecks_alone_are_published_and_loaded_on_their_base(api, on_base):
    base, unlearner = on_base
    pushed = unlearner.push_to_hub(REPO, base=base)
    assert unlearner.push_to_hub(REPO, base=(PurePosixPath(base[0]), base[1])).oid == pushed.oid
    assert "model.safetensors" not in api.list_repo_files(REPO)
    api.upload_file(repo_id=base[0], path_or_fileobj=b"{}", path_in_repo="model.safetensors")  # not at that revision
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(REPO)), logits(unlearner.model))
    assert torch.equal(logits(Unlearner.from_hub(REPO).model), logits(unlearner.model))


def test_a_base_that_is_gone_is_refused_before_the_first_byte(hub, api, on_base, tmp_path):
    (base, revision), unlearner = on_base
    unlearner.save_bundle(tmp_path / "bundle", base=(base, revision))
    api.super_squash_history(base)
    hub.log.clear()
    for name, at in ((base, revision), ("tester/none", None)):
        with pytest.raises(NotPushedError, match="not on the Hub"):
            unlearner.push_to_hub(REPO, base=(name, at))
    with pytest.raises(NotPushedError, match=f"{base} at revision {revision}"):
        push_bundle(tmp_path / "bundle", REPO, erased=ErasedRows.of(unlearner.model))
    base_t5().save_pretrained(tmp_path / "base")
    with pytest.raises(NotPushedError, match="only this machine"):
        unlearner.push_to_hub(REPO, base=(tmp_path / "base", None))
    assert not hub.asked("^(PUT|DELETE|POST)") and not api.repo_exists(REPO)


def test_a_refusal_comes_before_the_bundle_is_written(hub, monkeypatch):
    unlearner = forgetful()
    monkeypatch.setattr("excise.sharing.hub.publishing.write_bundle", lambda *_, **__: pytest.fail("It was written."))
    with pytest.raises(NotPushedError, match="may only read"):
        unlearner.push_to_hub(REPO, token="hf_read")


def test_a_tampered_file_on_the_hub_is_not_gone_on_from(hub, api):
    forgetful().push_to_hub(REPO, mode="mask")
    config = json.loads(Path(api.hf_hub_download(REPO, "config.json")).read_text())
    config["unlearning"]["requests"] = []
    api.upload_file(repo_id=REPO, path_or_fileobj=json.dumps(config).encode(), path_in_repo="config.json")
    with pytest.raises(ValueError, match=r"config\.json was changed"):
        Unlearner.from_hub(REPO)
    with pytest.raises(ValueError, match="removed codes, its ledger tells of 0"):
        AutoModelForSeq2SeqLM.from_pretrained(REPO)


def test_a_stranger_without_excise_loads_it_by_remote_code(hub, tmp_path):
    unlearner = forgetful()
    unlearner.push_to_hub(REPO)
    torch.save(batch(), tmp_path / "inputs")
    script = (
        "import sys; sys.modules['excise'] = None\n"
        "import torch, transformers\n"
        "model = transformers.AutoModelForSeq2SeqLM.from_pretrained(sys.argv[1], trust_remote_code=True).eval()\n"
        "with torch.no_grad(): torch.save(model(**torch.load(sys.argv[2])).logits, sys.argv[3])\n"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path / "cache")}
    arguments = [REPO, str(tmp_path / "inputs"), str(tmp_path / "logits")]
    subprocess.run([sys.executable, "-c", script, *arguments], env=environment, check=True, capture_output=True)
    assert torch.equal(torch.load(tmp_path / "logits"), logits(unlearner.model))


def test_arguments_are_those_that_transformers_takes():
    theirs = inspect.signature(PushToHubMixin.push_to_hub).parameters
    ours = inspect.signature(publish).parameters  # what Unlearner.push_to_hub passes on
    assert theirs.keys() - ours.keys() - {"self"} == {"tags"}  # the card's own
    assert inspect.signature(CodebookT5ForConditionalGeneration.push_to_hub).parameters.keys() == theirs.keys()


def test_no_path_of_this_machine_is_published(hub, tmp_path, api):
    unlearner = forgetful()
    unlearner.save_bundle(tmp_path / "bundle", mode="mask")
    Unlearner.from_pretrained(tmp_path / "bundle").push_to_hub(REPO)
    for content in hub.repository(REPO).blobs.values():
        assert str(tmp_path).encode() not in content
    assert AutoConfig.from_pretrained(REPO).unlearning
