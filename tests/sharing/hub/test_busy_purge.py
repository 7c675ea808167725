"""What somebody else writes to a repository while it is purged is purged too, or told, in a few rounds."""

import pytest

from excise.sharing.hub import LeftoversError, audit_repo, push_bundle
from tests.helpers.local_hub.bundles import REPO, before
from tests.sharing.hub.test_purge import holds_rows, stored

pytestmark = pytest.mark.usefixtures("small_sizes")


def late(hub, when: str, what: str, often: int = 1) -> None:
    """Lets somebody else write to the repository in the middle of a purge: when the Hub does one of its things."""
    repository = hub.repository(REPO)
    there, did, done = dict(repository.commits), getattr(repository, when), []

    def doing(*args):
        if what == "large file":
            result = did(*args)
        if len(done) < often:
            done.append(when)
            old = next(iter(reversed(there)))
            if what == "large file":
                repository.add_object(bytes(7_000 + len(done)))
            elif what == "commit":
                tree = {"other.txt": repository.add_blob(b"of somebody else")}
                repository.commit("refs/heads/main", "late", "", tree, repository.refs["refs/heads/main"])
            elif what == "harmless branch":
                first = repository.commit("refs/heads/late", "first", "", {}, None)
                repository.commit("refs/heads/late", "second", "", {}, first.id)
            else:
                repository.refs[what] = old
        return result if what == "large file" else did(*args)

    setattr(repository, when, doing)


@pytest.mark.parametrize("ref", ["refs/heads/late", "refs/tags/late", "refs/pr/1"])
def test_a_ref_that_comes_during_a_purge_and_keeps_what_was_deleted_is_told(hub, bundle, ref):
    _, erased, folder = bundle
    before().push_to_hub(REPO)
    late(hub, "squash", ref)
    with pytest.raises(LeftoversError, match=ref) as caught:
        push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert all(ref in finding.refs for finding in caught.value.findings)


@pytest.mark.parametrize("ref", ["refs/tags/late", "refs/pr/1"])
def test_a_ref_that_comes_during_a_purge_and_keeps_other_history_is_told(hub, api, bundle, ref):
    _, erased, folder = bundle
    api.create_repo(REPO)
    api.upload_file(repo_id=REPO, path_or_fileobj=b"harmless", path_in_repo="x.txt")
    late(hub, "squash", ref)
    with pytest.raises(LeftoversError, match=f"meanwhile somebody else has made {ref}"):
        push_bundle(folder, REPO, erased=erased, purge_history=True)


@pytest.mark.parametrize(
    ("when", "what"),
    [("squash", "harmless branch"), ("delete_objects", "large file"), ("content", "large file")],
)
def test_what_else_comes_during_a_purge_is_purged_too(hub, api, bundle, when, what):
    _, erased, folder = bundle
    before().push_to_hub(REPO)
    late(hub, when, what)
    done = push_bundle(folder, REPO, erased=erased, purge_history=True)
    assert not holds_rows(stored(hub)) and not any(len(content) == 7_001 for content in stored(hub))
    assert done.audit.commits == done.audit.refs == len(api.list_repo_refs(REPO).branches)
    assert all(len(api.list_repo_commits(REPO, revision=ref.ref)) == 1 for ref in api.list_repo_refs(REPO).branches)


def test_a_repository_that_is_written_to_all_the_time_is_told_after_some_rounds(hub, bundle):
    _, erased, folder = bundle
    before().push_to_hub(REPO)
    late(hub, "content", "large file", often=10_000)
    with pytest.raises(LeftoversError, match="purged 3 times, and each time somebody else"):
        push_bundle(folder, REPO, erased=erased, purge_history=True)


def test_a_commit_that_comes_during_a_purge_is_told(hub, bundle):
    _, erased, folder = bundle
    before().push_to_hub(REPO)
    late(hub, "squash", "commit")
    with pytest.raises(LeftoversError, match="somebody else has changed main"):
        push_bundle(folder, REPO, erased=erased, purge_history=True)


def test_a_hub_that_keeps_large_files_of_no_commit_is_told(hub, api, bundle, monkeypatch):
    _, erased, folder = bundle
    api.create_repo(REPO)
    api.upload_file(repo_id=REPO, path_or_fileobj=bytes(9_000), path_in_repo="old.bin")
    monkeypatch.setattr(hub.repository(REPO), "delete_objects", lambda *_: None)
    with pytest.raises(LeftoversError, match="the Hub has kept older commits or large files"):
        push_bundle(folder, REPO, erased=erased, purge_history=True)


@pytest.mark.parametrize("path", ["a" * 250, "b/" * 40 + "\x1b[2J.gz", "c\nd"])
def test_a_file_whose_name_cannot_be_kept_here_stops_no_audit(hub, api, bundle, path):
    _, erased, folder = bundle
    push_bundle(folder, REPO, erased=erased)
    repository = hub.repository(REPO)
    tree = repository.commits[repository.refs["refs/heads/main"]].tree
    tree |= {path: repository.add_blob(b"\x1f\x8b\x08" + bytes(50)), "late.gz": repository.add_blob(b"\x1f\x8b\x08")}
    findings = audit_repo(REPO, erased)
    assert {finding.path for finding in findings} == {path, "late.gz"}
    assert all("read" in str(finding) and str(finding).isprintable() for finding in findings)
