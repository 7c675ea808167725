"""A purged repository holds nothing of what was deleted, and the audit finds whatever is left."""

import io

import pytest
import torch
from huggingface_hub import CommitOperationAdd
from safetensors.torch import save
from transformers import AutoModelForSeq2SeqLM

from excise.bottlenecks.site import bottlenecks
from excise.sharing.hub import LeftoversError, NotPushedError, audit_repo, push_bundle
from tests.helpers.local_hub.bundles import CODES, REPO, before
from tests.helpers.local_hub.server import Fault
from tests.helpers.tiny import SITE
from tests.sharing.hub.test_clients import logits

pytestmark = pytest.mark.usefixtures("small_sizes")


def rows(dtype=torch.float32) -> torch.Tensor:
    """The code vectors that were erased."""
    return bottlenecks(before())[SITE].codebook.detach()[list(CODES)].to(dtype)


def stored(hub, name=REPO) -> list[bytes]:
    """Every byte that the Hub has of a repository, whatever leads to it."""
    repository = hub.repository(name)
    return [*repository.blobs.values(), *repository.objects.values()]


def holds_rows(contents: list[bytes]) -> bool:
    planted = [
        row.view(torch.uint8).numpy().tobytes() for dtype in (torch.float32, torch.bfloat16) for row in rows(dtype)
    ]
    return any(row in content for row in planted for content in contents)


def torch_file(value) -> bytes:
    torch.save(value, buffer := io.BytesIO())
    return buffer.getvalue()


def optimizer() -> bytes:
    """What AdamW remembers of a codebook; its moments are the rows in none of their bytes."""
    moments = torch.zeros(40, 64)
    moments[list(CODES)] = 0.5
    return torch_file(
        {"state": {0: {"step": 3.0, "exp_avg": torch.randn(3), "exp_avg_sq": moments}}, "param_groups": []}
    )


PLANTED = {
    "a stale shard": ("model-00002-of-00002.safetensors", lambda: save({"codebook": rows()})),
    "an optimizer": ("optimizer.pt", optimizer),
    "an EMA copy": ("ema.pt", lambda: torch_file({"shadow": bottlenecks(before())[SITE].codebook * 1.001})),
    "a bf16 copy": ("half.bin", lambda: rows(torch.bfloat16).view(torch.uint8).numpy().tobytes()),
    "an archive": ("last-checkpoint/state.pt", lambda: torch_file({"rows": rows()})),
}
WHERE = ["main", "branch", "tag", "old revision", "pull request", "storage"]


def plant(api, path: str, content: bytes, where: str) -> None:
    """Puts a file somewhere in a repository that holds a bundle."""
    if where == "branch":
        api.create_branch(REPO, branch="old")
    add = [CommitOperationAdd(path, content)]
    revision = "old" if where == "branch" else None
    api.create_commit(REPO, add, commit_message="plant", revision=revision, create_pr=where == "pull request")
    if where == "tag":
        api.create_tag(REPO, tag="v1")
    if where in ("tag", "old revision", "storage"):
        api.delete_file(path, REPO)
    if where in ("tag", "storage"):
        api.super_squash_history(REPO)


def test_the_audit_of_a_pushed_deletion_finds_nothing(hub, bundle):
    _, erased, folder = bundle
    push_bundle(folder, REPO, erased=erased)
    assert audit_repo(REPO, erased) == []
    assert not holds_rows(stored(hub))


@pytest.mark.parametrize("kind", PLANTED)
def test_every_kind_of_leftover_is_found(hub, api, bundle, kind):
    _, erased, folder = bundle
    push_bundle(folder, REPO, erased=erased)
    path, make = PLANTED[kind]
    plant(api, path, make(), "main")
    findings = audit_repo(REPO, erased)
    assert {finding.path for finding in findings} == {path}
    assert {code for finding in findings for code in finding.leftover.codes} == set(CODES)


# git keeps no small file that no commit has, so there is no such place for one
@pytest.mark.parametrize(
    ("where", "lfs_from"), [*((where, 1_000_000) for where in WHERE[:-1]), *((w, 0) for w in WHERE)]
)
def test_a_leftover_is_found_wherever_it_is(hub, api, bundle, where, lfs_from):
    _, erased, folder = bundle
    push_bundle(folder, REPO, erased=erased)
    hub.lfs_from = lfs_from
    path, make = PLANTED["a stale shard"]
    plant(api, path, make(), where)
    (finding, *others) = audit_repo(REPO, erased)
    assert where == "storage" or (finding.path == path and not others)
    refs = {"branch": "refs/heads/old", "tag": "refs/tags/v1", "pull request": "refs/pr/1"}
    assert finding.refs == (() if where == "storage" else (refs.get(where, "refs/heads/main"),))
    assert len(finding.commits) == (where != "storage")


def test_a_large_file_that_cannot_be_read_is_a_finding(hub, api, bundle):
    _, erased, folder = bundle
    push_bundle(folder, REPO, erased=erased)
    plant(api, "x.bin", bytes(9_000), "storage")
    assert audit_repo(REPO, erased) == []
    sha = next(sha for sha, content in hub.repository(REPO).objects.items() if content == bytes(9_000))
    hub.repository(REPO).objects[sha] = bytes(9_000) + b"?"  # no longer what its name says
    (finding,) = audit_repo(REPO, erased)
    assert finding.leftover is None and "cannot be read" in str(finding)


def test_purging_leaves_the_bundle_and_nothing_else(hub, api, bundle):
    model, erased, folder = bundle
    before().push_to_hub(REPO)
    api.create_branch(REPO, branch="other", revision=api.list_repo_commits(REPO)[-1].commit_id)
    api.upload_file(repo_id=REPO, path_or_fileobj=optimizer(), path_in_repo="last-checkpoint/optimizer.pt")
    api.upload_file(repo_id=REPO, path_or_fileobj=rows().numpy().tobytes(), path_in_repo="small.bin")
    api.upload_file(repo_id=REPO, path_or_fileobj=b"notes", path_in_repo="notes.txt", revision="other")
    assert holds_rows(stored(hub))
    done = push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert not holds_rows(stored(hub)) and audit_repo(REPO, erased) == []
    assert done.audit.refs == 2 and done.audit.commits == 2 and not done.audit.findings
    assert [commit.commit_id for commit in api.list_repo_commits(REPO)] == [done.oid]
    assert len(api.list_repo_commits(REPO, revision="other")) == 1 and api.file_exists(
        REPO, "notes.txt", revision="other"
    )
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(REPO)), logits(model))


def test_a_purge_where_there_is_nothing_else_changes_nothing(hub, bundle):
    _, erased, folder = bundle
    first = push_bundle(folder, REPO, erased=erased, purge_history=True)
    again = push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert again.oid == first.oid and (again.audit.commits, again.audit.findings) == (2, ())
    assert not hub.asked("squash|lfs-files/batch")


def test_a_second_purge_of_the_same_changes_nothing(hub, bundle):
    _, erased, folder = bundle
    before().push_to_hub(REPO)
    first = push_bundle(folder, REPO, erased=erased, purge_history=True)
    hub.log.clear()
    again = push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert again.oid == first.oid and again.audit == first.audit
    assert not hub.asked("^(PUT|DELETE)|/commit/|squash|lfs-files/batch")
    assert push_bundle(folder, REPO, erased=erased).oid == first.oid


@pytest.mark.parametrize("ref", ["tag", "pull request"])
def test_what_cannot_be_squashed_is_refused_before_anything_is_lost(hub, api, bundle, ref):
    _, erased, folder = bundle
    sha = before().push_to_hub(REPO).oid
    if ref == "tag":
        api.create_tag(REPO, tag="v1")
    else:
        api.upload_file(repo_id=REPO, path_or_fileobj=b"x", path_in_repo="x", create_pr=True)
    hub.log.clear()
    with pytest.raises(
        NotPushedError, match=r"delete_tag\('tester/model', tag='v1'\)" if ref == "tag" else "refs/pr/1"
    ):
        push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert not hub.asked("^(PUT|DELETE|POST)") and api.model_info(REPO).sha == sha
    if ref == "tag":
        api.delete_tag(REPO, tag="v1")
        push_bundle(folder, REPO, erased=erased, purge_history=True)
        assert not holds_rows(stored(hub))


def test_another_branch_that_holds_what_was_deleted_is_refused_before_anything_is_lost(hub, api, bundle):
    _, erased, folder = bundle
    sha = before().push_to_hub(REPO).oid
    api.create_branch(REPO, branch="old")
    hub.log.clear()
    with pytest.raises(LeftoversError, match=r"delete_branch\('tester/model', branch='old'\)") as caught:
        push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert caught.value.findings[0].path == "model.safetensors"
    assert not hub.asked("^(PUT|DELETE|POST)") and api.model_info(REPO).sha == sha
    api.delete_branch(REPO, branch="old")
    push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert not holds_rows(stored(hub))


def test_a_masked_model_can_purge_what_was_before_it(hub, api, masked):
    _, erased, folder = masked
    api.create_repo(REPO, private=True)
    api.upload_file(repo_id=REPO, path_or_fileobj=bytes(9_000), path_in_repo="old.bin")
    push_bundle(folder, REPO, erased=erased)
    assert bytes(9_000) in stored(hub)
    done = push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert bytes(9_000) not in stored(hub) and done.audit.commits == 1


def test_what_a_purge_leaves_is_told(hub, bundle, monkeypatch):
    _, erased, folder = bundle
    before().push_to_hub(REPO)
    monkeypatch.setattr(type(hub.repository(REPO)), "delete_objects", lambda *_: None)  # a Hub that keeps what it has
    with pytest.raises(LeftoversError, match="still holds what was deleted") as caught:
        push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert {finding.refs for finding in caught.value.findings} == {()}


def test_a_pull_request_purges_nothing(hub, api, bundle):
    _, erased, folder = bundle
    api.create_repo(REPO)
    with pytest.raises(NotPushedError, match="choose one"):
        push_bundle(folder, REPO, erased=erased, purge_history=True, create_pr=True)


@pytest.mark.parametrize("pattern", ["/super-squash/", "/lfs-files/batch"])
def test_a_purge_that_breaks_off_is_gone_on_with(hub, api, bundle, pattern):
    model, erased, folder = bundle
    before().push_to_hub(REPO)
    hub.faults = [Fault(pattern, status=507)]
    with pytest.raises(Exception, match="507"):
        push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(REPO)), logits(model))
    with pytest.raises(NotPushedError, match="purge_history=True"):  # not done until it is purged
        push_bundle(folder, REPO, erased=erased)
    push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert not holds_rows(stored(hub)) and len(api.list_repo_commits(REPO)) == 1
