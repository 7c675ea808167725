"""Push of a finished folder to the Hub: all of it in one commit, or nothing."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

from excise.sharing.bundle.private_search import PrivateSearch
from excise.sharing.erasure import ErasedRows
from excise.sharing.hub.account import NotPushedError
from excise.sharing.hub.audit import Audit
from excise.sharing.hub.destination import BundleContents, Destination
from excise.sharing.hub.purge import check_other_branches, clean_audit, purged
from excise.storage.expected import expects
from excise.storage.extras import require
from excise.storage.hub_repository import ATTRIBUTES, HubRepository, LocalFile, local_files
from excise.storage.processes import by_main_process


@dataclass
class PushInfo(CommitInfo):
    """The commit that holds what was pushed, and, where the history was purged, what the audit looked at."""

    audit: Audit | None = None

    def __reduce__(self) -> tuple[Any, ...]:  # the one of a `CommitInfo` leaves the audit out
        about = self.commit_url, self.commit_message, self.commit_description, self.oid, self._endpoint, self.pr_url
        return type(self), (*about, self.audit)


@expects("folder", "repo_id")
@by_main_process("repo_id")
def push_bundle(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    erased: ErasedRows,
    purge_history: bool = False,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    commit_description: str | None = None,
    create_pr: bool = False,
    parent_commit: str | None = None,
    contents: BundleContents | None = None,
    private_topics: Iterable[Any] = (),
) -> PushInfo:
    """Publishes a bundle: in one commit, which makes the revision that folder and nothing else.

    A bundle in which something was deleted goes to a new repository, since an old revision is an un-deletion; or to one
    whose history may be purged. What is there already in just that state is left alone. A masked model can go over an
    older one. Until the commit nothing changes on the Hub but an empty repository and large files of no commit, so that
    a push that breaks off can simply be done again.

    Args:
        folder: what `write_bundle` wrote.
        repo_id: name of a model repository, which is made if it is not there.
        erased: the rows that must be nowhere in it.
        purge_history: whether to squash every branch after the commit, delete for good the large files that are then
            of no commit, and look through all that is left for erased rows. It cannot be undone. Refused if there are
            tags, pull requests or conversions, which cannot be squashed, or if another branch holds erased rows.
        private: whether the repository must be private. By default a new one is if the bundle is a mask.
        token: as in huggingface_hub; it must be one that may write.
        revision: the branch; `main` by default.
        commit_message: of the commit.
        commit_description: of the commit.
        create_pr: whether to push a pull request instead.
        parent_commit: the commit that the push follows; by default that which is there when it begins.
        contents: what the bundle says of itself, of one that has just been read back; it is read if not given.
        private_topics: what must be in no file, and not in the names of repository, branch and commit, as in
            `check_bundle`.

    Raises:
        NotPushedError: if it is refused; the message says why, and what to do.
        LeftoversError: if another branch, or what is left after the purge, holds erased rows.
        MissingExtraError: if the extra `report` is not installed; the bundle's report is read with it.
        ValueError: if the folder is no bundle, was changed after it was written, or holds erased rows or something
            private.
    """
    require("report", purpose="push_bundle")
    if words := PrivateSearch(private_topics):
        names = {"commit_message": commit_message, "commit_description": commit_description, "revision": revision}
        check_names(words, repo_id, **names)
        words.check(folder)
    contents = contents or BundleContents.check(folder, erased)
    destination = Destination.check(
        repo_id,
        mode=contents.mode,
        private=private,
        token=token,
        revision=revision,
        create_pr=create_pr,
        purge_history=purge_history,
        base=contents.base,
    )
    files, repository, api = local_files(folder), destination.repository, destination.api
    repo_id, branch = destination.repo_id, destination.branch
    others = []
    if repository and (contents.deletes or contents.private or purge_history):
        others = repository.others(files)
        if others and not purge_history:
            told = "bring back what was deleted" if contents.deletes else "tell words that are private"
            raise NotPushedError(
                f"{repo_id} holds something already ({'; '.join(others[:3])}), and its history would {told}. Give a "
                "new name, or pass purge_history=True, which removes all of it for good."
            )
        if others and contents.private and (more := sorted(repository.branches.keys() - {branch})):
            raise NotPushedError(
                f"{repo_id} has other branches ({', '.join(more)}), which keep their files, and these are not looked "
                "through for private words. Delete them first, or give a new name."
            )
        if others:
            check_other_branches(repository, branch, erased)
    message = commit_message or f"Upload {'masked' if contents.mode == 'mask' else 'unlearned'} model with excise"
    head, pr_url = repository.head(branch) if repository else None, None
    if create_pr or repository is None or head is None or not repository.holds(head, files):
        sent = _send(destination, folder, files, head, parent_commit, message, commit_description, create_pr)
        head, pr_url = sent.oid, sent.pr_url
    audit = None
    if purge_history and repository:
        if others:
            audit = purged(api, repo_id, branch, files, erased)
        else:
            audit = clean_audit(HubRepository(api, repo_id), erased)
        head = _commit(api, repo_id, branch)
    return PushInfo(
        commit_url=f"{api.endpoint}/{repo_id}/commit/{head}",
        commit_message=message,
        commit_description=commit_description or "",
        oid=head,
        _endpoint=api.endpoint,
        pr_url=pr_url,
        audit=audit,
    )


def check_names(words: PrivateSearch, repo_id: str, **names: str | None) -> None:
    """Makes sure that nothing private is in what the Hub shows of a push beside its files.

    The namespace is the account's own, and there already.

    Raises:
        NotPushedError: if there is; nothing was asked or sent.
    """
    try:
        words.check_names(repo_id=repo_id.rpartition("/")[2], **names)
    except ValueError as error:
        raise NotPushedError(str(error)) from None


def _send(
    destination: Destination,
    folder: str | os.PathLike,
    files: Mapping[str, LocalFile],
    head: str | None,
    parent_commit: str | None,
    message: str,
    description: str | None,
    create_pr: bool,
) -> CommitInfo:
    """Makes repository and branch where they are not there, and the one commit."""
    api, repo_id, branch = destination.api, destination.repo_id, destination.branch
    if parent_commit:
        if head is None:
            raise NotPushedError(f"There is no {branch} of {repo_id} yet, and so no commit {parent_commit} to follow.")
        if not head.startswith(parent_commit):
            raise _moved(repo_id, branch, parent_commit, head)
    if destination.repository is None:
        api.create_repo(repo_id, private=destination.private)
    if head is None:
        if branch != "main":
            api.create_branch(repo_id, branch=branch, exist_ok=True)
        head = _commit(api, repo_id, branch)
    there = HubRepository(api, repo_id).tree(head)
    gone = sorted(there.keys() - files.keys() - {ATTRIBUTES})
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(path, Path(folder, path)) for path in files),
        *(CommitOperationDelete(path, is_folder=False) for path in gone),
    ]
    try:
        return api.create_commit(
            repo_id,
            operations,
            commit_message=message,
            commit_description=description,
            revision=branch,
            create_pr=create_pr,
            parent_commit=head,  # what was looked at is what is replaced, or nothing is
        )
    except HfHubHTTPError as error:
        if error.response.status_code != 412:
            raise
        raise _moved(repo_id, branch, head, None) from error


def _commit(api: HfApi, repo_id: str, revision: str) -> str:
    return cast(str, api.model_info(repo_id, revision=revision).sha)  # of a revision that is there


def _moved(repo_id: str, branch: str, parent: str, head: str | None) -> NotPushedError:
    now = f"is at {head[:8]}" if head else "has another commit"
    return NotPushedError(
        f"{repo_id} was to be at commit {parent[:8]}, but {branch} {now}: someone has pushed since, and nothing was "
        "committed. Look at what is new there, and push again."
    )
