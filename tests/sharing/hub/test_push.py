"""A bundle arrives whole or not at all, and is refused before its first byte."""

import json
import sys
import tempfile

import pytest
import torch
from huggingface_hub import CommitOperationAdd, snapshot_download
from transformers import AutoModelForSeq2SeqLM

from excise import Unlearner
from excise.sharing.erasure import ErasedRows
from excise.sharing.hub import NotPushedError, publish, push_bundle
from excise.storage.extras import EXTRAS
from tests.helpers.local_hub.bundles import REPO, add, contents
from tests.helpers.local_hub.server import Fault
from tests.helpers.tiny import codebook_t5, delete_codes, mask_codes, tokenizer
from tests.helpers.version_0_1 import FOLDER, assert_as_noted
from tests.helpers.version_0_1 import logits as logits_of_0_1
from tests.sharing.hub.test_clients import logits

pytestmark = pytest.mark.usefixtures("small_sizes")


def sent(hub) -> list:
    return hub.asked("^(PUT|DELETE|POST)")


def test_what_arrives_is_the_folder_in_one_commit(hub, api, bundle, tmp_path):
    _, erased, folder = bundle
    done = push_bundle(folder, REPO, erased=erased)
    snapshot_download(REPO, local_dir=tmp_path / "down")
    arrived = contents(tmp_path / "down")
    del arrived[".gitattributes"]
    assert arrived == contents(folder)
    assert api.model_info(REPO).sha == done.oid
    assert len(api.list_repo_commits(REPO)) == 2 and not api.model_info(REPO).private
    assert hub.asked("^PUT /objects/.*/2$")


@pytest.mark.parametrize("module", EXTRAS["report"])
def test_without_report_a_push_is_refused_before_the_hub_is_asked_or_anything_written(
    hub, bundle, module, tmp_path, monkeypatch
):
    model, erased, folder = bundle
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setitem(sys.modules, module, None)
    pushes = (
        lambda: push_bundle(folder, REPO, erased=erased),
        lambda: publish(model, tokenizer(), REPO),
        lambda: Unlearner(model, tokenizer()).push_to_hub(REPO),
    )
    for push in pushes:
        with pytest.raises(ImportError, match=r'pip install "excise\[report\]"\.$'):
            push()
    assert not hub.asked("") and not list((tmp_path / "temporary").iterdir())


def test_logits_after_push_and_load_are_bit_for_bit_those_before(bundle):
    model, erased, folder = bundle
    push_bundle(folder, "model", erased=erased)
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(REPO)), logits(model))


def test_a_downloaded_bundle_is_pushed_on_without_what_git_and_the_hub_put_beside(hub, api, bundle, tmp_path):
    _, erased, folder = bundle
    first = push_bundle(folder, REPO, erased=erased)
    down = tmp_path / "down"
    snapshot_download(REPO, local_dir=down)
    assert (down / ".cache").is_dir() and (down / ".gitattributes").is_file()
    (down / ".git").mkdir()
    (down / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (down / ".gitattributes").write_text("* text")
    assert push_bundle(down, REPO, erased=erased).oid == first.oid
    push_bundle(down, "tester/copy", erased=erased)
    assert api.list_repo_files("tester/copy") == api.list_repo_files(REPO)
    (down / ".gitattributes_anything").write_text("not of the bundle")
    with pytest.raises(ValueError, match=r"\.gitattributes_anything is not part of it"):
        push_bundle(down, "tester/another", erased=erased)
    assert not api.repo_exists("tester/another")


def test_a_second_push_of_the_same_sends_nothing_and_gives_the_same_commit(hub, api, bundle):
    _, erased, folder = bundle
    first = push_bundle(folder, REPO, erased=erased)
    hub.log.clear()
    assert push_bundle(folder, REPO, erased=erased).oid == first.oid
    assert not sent(hub) and len(api.list_repo_commits(REPO)) == 2


def test_a_deletion_is_not_pushed_over_anything_else(hub, api, bundle):
    _, erased, folder = bundle
    before = codebook_t5().push_to_hub(REPO).oid
    hub.log.clear()
    with pytest.raises(NotPushedError, match="purge_history=True"):
        push_bundle(folder, REPO, erased=erased)
    assert not sent(hub) and api.model_info(REPO).sha == before


@pytest.mark.parametrize("where", ["branch", "tag", "pull request", "old commit", "large file"])
def test_nor_where_something_is_out_of_sight(hub, api, bundle, where):
    _, erased, folder = bundle
    hub.lfs_from = 1_000_000 if where != "large file" else 0
    api.create_repo(REPO)
    old = [CommitOperationAdd("old.bin", b"old")]
    if where == "branch":
        api.create_branch(REPO, branch="old")
    made = api.create_commit(
        REPO,
        old,
        commit_message="old",
        revision="old" if where == "branch" else None,
        create_pr=where == "pull request",
    )
    if where == "tag":
        api.create_tag(REPO, tag="old")
    if where in ("tag", "old commit", "large file"):
        api.delete_file("old.bin", REPO)
    if where in ("tag", "large file"):
        api.super_squash_history(REPO)
    hub.lfs_from = 5_000
    with pytest.raises(NotPushedError, match=r"old\.bin|large file"):
        push_bundle(folder, REPO, erased=erased)
    assert made.oid and api.list_repo_files(REPO) == [".gitattributes"]


def test_a_mask_goes_over_an_older_bundle_and_takes_its_files_away(api, masked, tmp_path):
    model, erased, folder = masked
    older = codebook_t5(num_codes=30)
    api.create_repo(REPO, private=True)
    older.push_to_hub(REPO, max_shard_size="20KB")
    push_bundle(folder, REPO, erased=erased)
    assert set(api.list_repo_files(REPO)) == {".gitattributes", *contents(folder)}
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(REPO)), logits(model))


def test_a_mask_is_private_unless_the_user_says_otherwise(api, masked):
    _, erased, folder = masked
    push_bundle(folder, REPO, erased=erased)
    assert api.model_info(REPO).private
    push_bundle(folder, "tester/open", erased=erased, private=False)
    assert not api.model_info("tester/open").private
    add(folder, "more.txt", "more")
    with pytest.raises(NotPushedError, match="undo its masks"):
        push_bundle(folder, "tester/open", erased=erased)
    push_bundle(folder, "tester/open", erased=erased, private=False)
    with pytest.raises(NotPushedError, match="is public"):
        push_bundle(folder, "tester/open", erased=erased, private=True)


def test_a_commit_that_is_no_longer_the_newest_is_not_pushed_onto(hub, api, masked):
    _, erased, folder = masked
    first = push_bundle(folder, REPO, erased=erased)
    moved = api.upload_file(repo_id=REPO, path_or_fileobj=b"new", path_in_repo="new.txt").oid
    add(folder, "more.txt", "more")
    hub.log.clear()
    with pytest.raises(NotPushedError, match=f"at commit {first.oid[:8]}.*is at {moved[:8]}"):
        push_bundle(folder, REPO, erased=erased, parent_commit=first.oid)
    assert not sent(hub) and api.model_info(REPO).sha == moved
    with pytest.raises(NotPushedError, match=r"no main of tester/new yet"):
        push_bundle(folder, "tester/new", erased=erased, parent_commit=moved)
    push_bundle(folder, REPO, erased=erased, parent_commit=moved)
    assert api.file_exists(REPO, "more.txt")


def test_a_commit_that_comes_while_the_push_is_under_way_is_not_lost(hub, api, masked):
    _, erased, folder = masked
    push_bundle(folder, REPO, erased=erased)
    add(folder, "more.txt", "more")

    def another():
        repository = hub.repository(REPO)
        head = repository.commits[repository.refs["refs/heads/main"]]
        repository.commit("refs/heads/main", "another", "", head.tree | {"new": repository.add_blob(b"n")}, head.id)

    hub.faults = [Fault("^POST .*/preupload/", then=another, status=503)]
    with pytest.raises(NotPushedError, match="someone has pushed since"):
        push_bundle(folder, REPO, erased=erased)
    assert api.file_exists(REPO, "new") and not api.file_exists(REPO, "more.txt")


def test_a_deletion_can_be_a_pull_request_and_on_a_branch_of_an_empty_repository(api, bundle):
    model, erased, folder = bundle
    api.create_repo(REPO)
    done = push_bundle(folder, REPO, erased=erased, create_pr=True, commit_message="Forget")
    assert done.pr_revision == "refs/pr/1" and api.list_repo_files(REPO) == [".gitattributes"]
    push_bundle(folder, REPO, erased=erased, revision="forgot")
    for revision in ("refs/pr/1", "forgot"):
        assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(REPO, revision=revision)), logits(model))
    with pytest.raises(NotPushedError, match="no repository"):
        push_bundle(folder, "tester/none", erased=erased, create_pr=True)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("hf_read", "may only read"),
        ("hf_fine_read", "may only read"),
        ("hf_wrong", "does not know this token"),
        ("hf_other", "cannot write to tester/model"),
        (None, "no token"),
    ],
)
def test_a_token_that_may_not_write_is_refused_before_the_first_byte(hub, bundle, monkeypatch, token, said):
    _, erased, folder = bundle
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(NotPushedError, match=said):
        push_bundle(folder, REPO, erased=erased, token=token)
    assert not sent(hub) and not hub.repositories


def test_a_repository_of_another_type_is_refused(hub, api, bundle):
    _, erased, folder = bundle
    api.create_repo(REPO, repo_type="dataset")
    hub.log.clear()
    with pytest.raises(NotPushedError, match="is a dataset"):
        push_bundle(folder, REPO, erased=erased)
    assert not sent(hub)


def test_a_folder_that_was_changed_is_refused_before_the_first_byte(hub, bundle):
    _, erased, folder = bundle
    weights, config = folder / "model.safetensors", folder / "config.json"
    for file, text in (
        (folder / "README.md", b"Nothing was forgotten."),
        (weights, weights.read_bytes()[:-1] + b"?"),
        (config, config.read_bytes().replace(b'"digest": "', b'"digest": "0')),
        (folder / "optimizer.pt", b"x"),
    ):
        kept = file.read_bytes() if file.exists() else None
        file.write_bytes(text)
        with pytest.raises(ValueError, match=f"{file.name} (was changed|is not part of it)"):
            push_bundle(folder, REPO, erased=erased)
        file.unlink() if kept is None else file.write_bytes(kept)
    (folder / "bundle.json").unlink()
    with pytest.raises(ValueError, match="is no bundle"):
        push_bundle(folder, REPO, erased=erased)
    assert not hub.log


def test_a_newer_report_and_one_of_another_mode_are_refused(hub, bundle):
    _, erased, folder = bundle
    state = json.loads((folder / "report" / "report.json").read_text())
    for change, said in (({"version": 99}, "Update"), ({"mode": "both"}, "schema"), ({"mode": "mask"}, "its report")):
        add(folder, "report/report.json", json.dumps(state | change))
        with pytest.raises(ValueError, match=said):
            push_bundle(folder, REPO, erased=erased)
    assert not hub.log


def test_a_bundle_that_holds_what_was_deleted_is_refused(hub, masked):
    model, _, folder = masked
    with pytest.raises(NotPushedError, match=r"holds what was deleted: model\.safetensors"):
        push_bundle(folder, REPO, erased=ErasedRows.of(model))
    assert not hub.log


def test_an_organization_of_the_user_can_be_pushed_to(api, bundle):
    _, erased, folder = bundle
    push_bundle(folder, "house/model", erased=erased, token="hf_fine")
    assert "model.safetensors" in api.list_repo_files("house/model")


@pytest.mark.parametrize("pattern", ["^POST /api/repos/create", "^PUT /objects/.*/2", "^POST .*/verify", "/commit/"])
def test_a_server_that_fails_on_the_way_leaves_nothing_and_a_retry_succeeds(hub, api, bundle, pattern):
    model, erased, folder = bundle
    hub.faults = [Fault(pattern, read=100, status=507)]
    with pytest.raises(Exception, match=r"507|Error while uploading"):
        push_bundle(folder, REPO, erased=erased)
    assert not hub.repositories or api.list_repo_files(REPO) == [".gitattributes"]
    push_bundle(folder, REPO, erased=erased)
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(REPO)), logits(model))


def test_a_model_with_deletions_is_not_pushed_over_older_weights(hub, api):
    model = codebook_t5()
    model.push_to_hub(REPO)
    mask_codes(model)
    masked = model.push_to_hub(REPO).oid
    delete_codes(model)
    for name in (REPO, "model"):
        with pytest.raises(ValueError, match="purge_history=True"):
            model.push_to_hub(name)
    assert api.model_info(REPO).sha == masked
    first = model.push_to_hub("tester/new")
    assert model.push_to_hub("tester/new").oid == first.oid
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained("tester/new")), logits(model))


def test_a_bundle_that_0_1_wrote_is_sent_as_it_is_and_gone_on_from(api):
    folder = FOLDER / "bundles" / "key_value"
    push_bundle(folder, REPO, erased=ErasedRows.of(Unlearner.from_pretrained(folder).model, kinds=("delete",)))
    assert {file.rfilename for file in api.model_info(REPO).siblings} >= set(contents(folder))
    unlearner = Unlearner.from_hub(REPO)
    assert_as_noted(logits_of_0_1(unlearner.model, "key_value"), "bundles/key_value/logits")
    unlearner.undo(1)
    assert_as_noted(logits_of_0_1(unlearner.model, "key_value"), "bundles/key_value/undone")
