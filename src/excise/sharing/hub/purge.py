"""Purge of a repository: the removal of all that it held before."""

from collections.abc import Mapping

from huggingface_hub import HfApi
from huggingface_hub.hf_api import LFSFileInfo

from excise.sharing.erasure import ErasedRows
from excise.sharing.hub.account import NotPushedError
from excise.sharing.hub.audit import Audit, Finding, examine
from excise.storage.hub_repository import HubRepository, LocalFile

HEADS = "refs/heads/"
ROUNDS = 3  # in which a repository that others write to is purged and looked through again


class LeftoversError(ValueError):
    """A repository still holds what was erased.

    Args:
        message: what was done, and what to do.
        findings: what was found.
    """

    def __init__(self, message: str, findings: tuple[Finding, ...]):
        listed = "; ".join(map(str, findings[:5])) + ("; ..." if len(findings) > 5 else "")
        super().__init__(f"{message} Found: {listed}." if findings else message)
        self.findings = findings


def check_can_be_purged(repository: HubRepository) -> None:
    """Makes sure that every ref is a branch: the history of others cannot be squashed.

    Raises:
        NotPushedError: if there are tags, pull requests or conversions.
    """
    kept = sorted(ref for ref in repository.refs if not ref.startswith(HEADS))
    if kept:
        tags = [ref.removeprefix("refs/tags/") for ref in kept if ref.startswith("refs/tags/")]
        cure = f"Delete tags first (`HfApi().delete_tag({repository.repo_id!r}, tag={tags[0]!r})`). " if tags else ""
        raise NotPushedError(
            f"{repository.repo_id} has {', '.join(kept)}, which keep its history and cannot be squashed. {cure}"
            "References of pull requests can be deleted on the pages of those that are closed. Or push to a new "
            "repository, and delete this one."
        )


def check_other_branches(repository: HubRepository, branch: str, erased: ErasedRows) -> None:
    """Makes sure that the branches that are not pushed to hold nothing that was erased: they keep their files.

    Raises:
        LeftoversError: if one does.
    """
    heads = [commit for name, commit in repository.branches.items() if name != branch]
    if findings := examine(repository, erased, dict.fromkeys(heads)).findings:
        names = sorted({ref.removeprefix(HEADS) for finding in findings for ref in finding.refs} - {branch})
        raise LeftoversError(
            f"Other branches of {repository.repo_id} hold what was deleted, and nothing was sent. Delete them first: "
            f"`HfApi().delete_branch({repository.repo_id!r}, branch={names[0]!r})`.",
            findings,
        )


def purge(repository: HubRepository) -> None:
    """Squashes every branch, and deletes for good the large files that are then of no commit.

    Either can be done again after it broke off.

    Args:
        repository: what is there after the push.
    """
    api, repo_id = repository.api, repository.repo_id
    for branch, head in repository.branches.items():
        if len(api.list_repo_commits(repo_id, revision=head)) > 1:
            api.super_squash_history(repo_id, branch=branch, commit_message="The history was purged")
    if unused := _unused(HubRepository(api, repo_id)):
        api.permanently_delete_lfs_files(repo_id, unused)


def purged(api: HfApi, repo_id: str, branch: str, files: Mapping[str, LocalFile], erased: ErasedRows) -> Audit:
    """Purges a repository, and looks through all that is left, until nothing has come to it meanwhile.

    Args:
        api: a client with a token that may write.
        repo_id: the repository.
        branch: that which was pushed to.
        files: what was pushed.
        erased: the rows that must be nowhere.

    Raises:
        LeftoversError: if erased rows are there, something cannot be read, or somebody else writes there all the time,
            or has made what keeps the history.
    """
    before = None
    for _ in range(ROUNDS):
        purge(HubRepository(api, repo_id))
        seen = HubRepository(api, repo_id)
        contents, audit = _contents(seen), examine(seen, erased)
        # Either all is gone that should be, or purging it once more has changed nothing; and nothing came meanwhile.
        is_done = not (_history(seen) or _unused(seen)) or contents == before
        if is_done and _contents(HubRepository(api, repo_id)) == contents:
            break
        before = contents
    else:
        raise LeftoversError(
            f"{repo_id} was pushed to and purged {ROUNDS} times, and each time somebody else had written to it "
            "meanwhile. Make it private, see to it that nobody writes to it, and push again.",
            audit.findings,
        )
    _check_audit(repo_id, audit)
    heads = set(seen.branches.values())
    kept = sorted(ref for ref, commit in seen.refs.items() if not ref.startswith(HEADS) and commit not in heads)
    if kept:
        raise LeftoversError(
            f"{repo_id} was pushed to and purged, and meanwhile somebody else has made {', '.join(kept)}, which keep "
            "the history. Delete them and push again.",
            (),
        )
    if left := [*_history(seen), *(file.oid for file in _unused(seen))]:
        raise LeftoversError(
            f"{repo_id} was pushed to and purged, and the Hub has kept older commits or large files of no commit: "
            f"{', '.join(left[:3])}. Push to a new repository, and delete this one.",
            (),
        )
    if (head := seen.branches.get(branch)) is None or not seen.holds(head, files):
        raise LeftoversError(
            f"{repo_id} was pushed to and purged, and meanwhile somebody else has changed {branch}: it is not what was "
            "pushed. Look at what is new there, and push again.",
            (),
        )
    return audit


def clean_audit(repository: HubRepository, erased: ErasedRows) -> Audit:
    """Looks through all that is in a repository that holds nothing but what was pushed.

    Raises:
        LeftoversError: if erased rows are there, or something cannot be read.
    """
    audit = examine(repository, erased)
    _check_audit(repository.repo_id, audit)
    return audit


def _history(repository: HubRepository) -> list[str]:
    """The commits of branches that are not the newest of one."""
    heads = set(repository.branches.values())
    of_branches = {commit for commit, refs in repository.commits.items() if any(ref.startswith(HEADS) for ref in refs)}
    return sorted(of_branches - heads)


def _unused(repository: HubRepository) -> list[LFSFileInfo]:
    """The large files that are of no commit."""
    trees = map(repository.tree, repository.commits)
    used = {file.lfs.sha256 for tree in trees for file in tree.values() if file.lfs}
    return [file for file in repository.large_files() if used.isdisjoint((file.oid, file.file_oid))]


def _contents(repository: HubRepository) -> tuple[dict[str, str], set[str]]:
    """The refs of a repository with their commits, and the large files that are stored."""
    return repository.refs, {file.oid for file in repository.large_files()}


def _check_audit(repo_id: str, audit: Audit) -> None:
    if audit.findings:
        raise LeftoversError(
            f"{repo_id} was pushed to and purged, and still holds what was deleted, or what cannot be read. Make it "
            "private or delete it, and push to a new repository.",
            audit.findings,
        )
