"""Purge of a repository: the removal of all that it held before."""

from excise.sharing.erasure import ErasedRows
from excise.sharing.hub.account import NotPushedError
from excise.sharing.hub.audit import Audit, Finding, examine
from excise.storage.hub_repository import HubRepository

HEADS = "refs/heads/"


class LeftoversError(ValueError):
    """A repository still holds what was erased.

    Args:
        message: what was done, and what to do.
        findings: what was found.
    """

    def __init__(self, message: str, findings: tuple[Finding, ...]):
        listed = "; ".join(map(str, findings[:5])) + ("; ..." if len(findings) > 5 else "")
        super().__init__(f"{message} Found: {listed}.")
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
        repository: what is there after the push; every ref is a branch.
    """
    api, repo_id = repository.api, repository.repo_id
    for branch, head in repository.branches.items():
        if len(api.list_repo_commits(repo_id, revision=head)) > 1:
            api.super_squash_history(repo_id, branch=branch, commit_message="The history was purged")
    left = HubRepository(api, repo_id)
    used = {file.lfs.sha256 for commit in left.commits for file in left.tree(commit).values() if file.lfs}
    unused = [file for file in left.large_files() if used.isdisjoint((file.oid, file.file_oid))]
    if unused:
        api.permanently_delete_lfs_files(repo_id, unused)


def clean_audit(repository: HubRepository, erased: ErasedRows) -> Audit:
    """Looks through all that is left after a purge.

    Raises:
        LeftoversError: if erased rows are there, or something cannot be read.
    """
    audit = examine(repository, erased)
    if audit.findings:
        raise LeftoversError(
            f"{repository.repo_id} was pushed to and purged, and still holds what was deleted. Make it private or "
            "delete it, and push to a new repository.",
            audit.findings,
        )
    return audit
