"""The local Hub behaves towards the plain client as the Hub does."""

import os

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, ModelCard, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.helpers.local_hub.server import Fault

REPO = "tester/model"


@pytest.fixture
def folder(tmp_path):
    """A folder with a small file, one in a folder, and one that is large once `lfs_from` is 1000."""
    (tmp_path / "up" / "report").mkdir(parents=True)
    (tmp_path / "up" / "config.json").write_text('{"a": 1}')
    (tmp_path / "up" / "report" / "page.html").write_text("<p>é</p>")
    (tmp_path / "up" / "model.bin").write_bytes(os.urandom(5000))
    return tmp_path / "up"


@pytest.fixture
def pushed(hub, api, folder):
    """The commit of that folder, in a repository where 1000 bytes are large and are sent in parts of 1024."""
    hub.lfs_from, hub.chunk = 1000, 1024
    api.create_repo(REPO)
    return api.upload_folder(repo_id=REPO, folder_path=folder)


def contents(folder) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_snapshot_holds_what_was_uploaded(hub, pushed, folder, tmp_path):
    snapshot_download(REPO, local_dir=tmp_path / "down")
    assert contents(tmp_path / "down") == contents(folder) | {
        ".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
    }
    assert len(hub.asked("^PUT /objects/.*/[0-9]+$")) == 5  # 5000 bytes in parts of 1024
    assert len(hub.repository(REPO).objects) == 1


def test_a_file_above_ten_megabytes_is_a_large_one(hub, api):
    api.create_repo(REPO)
    for name, size in (("below", 10_000_000), ("above", 10_000_001)):
        api.upload_file(repo_id=REPO, path_or_fileobj=bytes(size), path_in_repo=name)
    files = {file.path: file for file in api.list_repo_tree(REPO)}
    assert files["below"].lfs is None and files["above"].lfs.size == 10_000_001


def test_a_second_push_of_the_same_sends_no_file_and_makes_no_commit(hub, api, pushed, folder):
    hub.log.clear()
    again = api.upload_folder(repo_id=REPO, folder_path=folder)
    assert again.oid == pushed.oid
    assert not hub.asked("^PUT") and not hub.asked("/commit/")
    assert len(api.list_repo_commits(REPO)) == 2  # the initial one of every repository, and the push


def test_a_commit_on_a_moved_parent_is_refused(api, pushed):
    api.upload_file(repo_id=REPO, path_or_fileobj=b"b", path_in_repo="b")
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit(REPO, [CommitOperationAdd("c", b"c")], commit_message="late", parent_commit=pushed.oid)
    assert not api.file_exists(REPO, "c")


def test_one_commit_adds_and_deletes(api, pushed):
    operations = [CommitOperationAdd("new", b"n"), CommitOperationDelete("report/"), CommitOperationDelete("model.bin")]
    done = api.create_commit(REPO, operations, commit_message="both")
    assert sorted(api.list_repo_files(REPO)) == [".gitattributes", "config.json", "new"]
    assert "model.bin" in api.list_repo_files(REPO, revision=pushed.oid)
    assert api.model_info(REPO).sha == done.oid
    with pytest.raises(EntryNotFoundError):
        api.delete_file("gone", REPO)


def test_a_pull_request_leaves_main_as_it_is(api, pushed):
    made = api.upload_file(repo_id=REPO, path_or_fileobj=b"p", path_in_repo="p", create_pr=True)
    assert made.pr_revision == "refs/pr/1" and api.model_info(REPO).sha == pushed.oid
    assert api.file_exists(REPO, "p", revision="refs/pr/1") and not api.file_exists(REPO, "p")
    refs = api.list_repo_refs(REPO, include_pull_requests=True)
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1"] and refs.pull_requests[0].target_commit == made.oid


def test_branches_and_tags_point_to_commits(api, pushed):
    api.create_branch(REPO, branch="v2/x")
    api.create_tag(REPO, tag="v1")
    api.upload_file(repo_id=REPO, path_or_fileobj=b"x", path_in_repo="x", revision="v2/x")
    refs = api.list_repo_refs(REPO)
    assert {ref.name for ref in refs.branches} == {"main", "v2/x"} and refs.tags[0].target_commit == pushed.oid
    assert api.file_exists(REPO, "x", revision="v2/x") and not api.file_exists(REPO, "x", revision="v1")
    api.delete_tag(REPO, tag="v1")
    api.delete_branch(REPO, branch="v2/x")
    assert [ref.name for ref in api.list_repo_refs(REPO).branches] == ["main"]
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="v1")


def test_squashing_loses_old_commits_but_not_large_files_until_they_are_deleted(hub, api, pushed):
    large = (next(api.list_lfs_files(REPO))).file_oid
    api.delete_file("model.bin", REPO)
    api.super_squash_history(REPO)
    assert len(api.list_repo_commits(REPO)) == 1
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision=pushed.oid)
    assert list(hub.repository(REPO).objects) == [large]
    api.permanently_delete_lfs_files(REPO, api.list_lfs_files(REPO))
    assert not hub.repository(REPO).objects


def test_deleting_a_large_file_for_good_takes_its_pointers_out_of_every_commit(hub, api, pushed):
    api.upload_file(repo_id=REPO, path_or_fileobj=b"x", path_in_repo="x")
    api.permanently_delete_lfs_files(REPO, api.list_lfs_files(REPO))
    commits = [commit.commit_id for commit in api.list_repo_commits(REPO)]
    assert len(commits) == 3 and pushed.oid not in commits
    assert not any("model.bin" in api.list_repo_files(REPO, revision=commit) for commit in commits)
    assert "config.json" in api.list_repo_files(REPO)


def test_a_private_repository_is_not_there_for_others(hub, api, folder, monkeypatch, tmp_path):
    api.create_repo(REPO, private=True)
    api.upload_folder(repo_id=REPO, folder_path=folder)
    assert api.model_info(REPO).private
    for token in ("hf_other", False):
        with pytest.raises(RepositoryNotFoundError):
            snapshot_download(REPO, token=token, local_dir=tmp_path / "down")
    snapshot_download(REPO, token="hf_read", local_dir=tmp_path / "down")
    api.update_repo_settings(REPO, private=False)
    assert api.model_info(REPO, token=False).private is False


def test_tokens_are_told_apart(api, monkeypatch, pushed):
    assert api.whoami()["name"] == "tester" and api.whoami(token="hf_read")["auth"]["accessToken"]["role"] == "read"
    for call in (api.whoami, api.model_info, lambda *args, token: api.create_repo("tester/new", token=token)):
        with pytest.raises(HfHubHTTPError) as caught:
            call(*([REPO] if call == api.model_info else []), token="hf_wrong")
        assert caught.value.response.status_code == 401
    for token in ("hf_read", "hf_other"):
        with pytest.raises(HfHubHTTPError, match="403"):
            api.upload_file(repo_id=REPO, path_or_fileobj=b"b", path_in_repo="b", token=token)
    assert api.model_info(REPO).sha == pushed.oid
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(LocalTokenNotFoundError):
        api.whoami()


def test_repositories_are_made_once_and_of_one_kind(api):
    assert api.create_repo("model").repo_id == REPO
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(REPO)
    assert api.create_repo(REPO, exist_ok=True).repo_id == REPO
    api.create_repo("house/model")
    api.create_repo("tester/rows", repo_type="dataset")
    api.upload_file(repo_id="tester/rows", repo_type="dataset", path_or_fileobj=b"a", path_in_repo="a.csv")
    assert api.file_exists("tester/rows", "a.csv", repo_type="dataset") and not api.repo_exists("tester/rows")
    api.delete_repo(REPO)
    assert not api.repo_exists(REPO)


def test_a_card_is_validated_before_it_is_pushed(api):
    api.create_repo(REPO)
    ModelCard("---\ntags: [excise]\nlicense: mit\n---\nText.").push_to_hub(REPO)
    assert api.model_info(REPO).tags == ["excise"] and ModelCard.load(REPO).text.strip() == "Text."
    broken = "---\nmodel-index:\n- name: x\n  results: [{task: {type: translation}, metrics: [{type: bleu}]}]\n---\n"
    with pytest.raises(ValueError, match="lacks type or value"):
        api.upload_file(repo_id=REPO, path_or_fileobj=broken.encode(), path_in_repo="README.md")
    assert ModelCard.load(REPO).text.strip() == "Text."


def test_an_upload_that_breaks_off_leaves_no_commit_and_a_retry_succeeds(hub, api, folder):
    hub.lfs_from = 1000
    head = api.model_info(api.create_repo(REPO).repo_id).sha
    hub.faults = [Fault("^PUT /objects", read=2000, status=507)]
    with pytest.raises(RuntimeError, match=r"model\.bin"):
        api.upload_folder(repo_id=REPO, folder_path=folder)
    assert api.model_info(REPO).sha == head and not hub.repository(REPO).objects
    api.upload_folder(repo_id=REPO, folder_path=folder)
    assert "model.bin" in api.list_repo_files(REPO)


def test_the_client_itself_tries_again_after_a_broken_connection(hub, api, folder):
    hub.lfs_from = 1000
    api.create_repo(REPO)
    hub.faults = [Fault("^PUT /objects", read=2000)]
    api.upload_folder(repo_id=REPO, folder_path=folder)
    assert [status for _, status, _ in hub.asked("^PUT /objects")] == [None, 200]


def test_the_request_that_fails_can_be_counted_out(hub, api, pushed):
    hub.faults = [Fault("^POST .*/commit/", skip=1, status=500)]
    api.upload_file(repo_id=REPO, path_or_fileobj=b"1", path_in_repo="1")
    with pytest.raises(HfHubHTTPError, match="500"):
        api.upload_file(repo_id=REPO, path_or_fileobj=b"2", path_in_repo="2")
    api.upload_file(repo_id=REPO, path_or_fileobj=b"3", path_in_repo="3")
    assert {"1", "3"} <= set(api.list_repo_files(REPO)) and not api.file_exists(REPO, "2")


def test_what_is_not_there_is_told_by_its_kind(api, pushed):
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("tester/none")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="none")
    with pytest.raises(EntryNotFoundError) as caught:
        api.hf_hub_download(REPO, "none")
    assert caught.value.response.headers["X-Repo-Commit"] == pushed.oid


def test_a_tree_can_be_walked_by_folder_and_with_the_last_commits(api, pushed):
    later = api.upload_file(repo_id=REPO, path_or_fileobj=b"x", path_in_repo="report/x")
    assert {item.path for item in api.list_repo_tree(REPO, "report")} == {"report/page.html", "report/x"}
    files = {item.path: item for item in api.list_repo_tree(REPO, recursive=True, expand=True)}
    assert files["report/x"].last_commit.oid == later.oid
    assert files["report/page.html"].last_commit.oid == pushed.oid
    assert [item.path for item in api.get_paths_info(REPO, ["config.json", "none"])] == ["config.json"]
