"""Audit of a repository on the Hub: a search in all that it holds for rows that were erased."""

import errno
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.hf_api import LFSFileInfo, RepoFile
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from excise.sharing.erasure import ErasedRows, Leftover
from excise.sharing.hub.account import client
from excise.storage.display import printable
from excise.storage.expected import expects
from excise.storage.hub_repository import HubRepository

# What the system says of a name under which it can keep no file: too long, none at all, or another's.
CANNOT_BE_HERE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)
MOST_LETTERS = 16  # of the ending of a name


@dataclass(frozen=True)
class Finding:
    """A file on the Hub that holds what was erased, or that could not be looked at.

    Args:
        path: in the repository; of a large file that no commit has, the name that the Hub gives it.
        refs: the branches, tags and pull requests whose history has it.
        commits: the commits that have it.
        leftover: what is in it; `None` if it could not be read.
    """

    path: str
    refs: tuple[str, ...]
    commits: tuple[str, ...]
    leftover: Leftover | None

    def __str__(self) -> str:
        where = (
            f"at {', '.join(self.refs)} in {len(self.commits)} commits" if self.refs else "in the storage, of no commit"
        )
        why = self.leftover or "it cannot be read, so nothing is known of it"
        return printable(f"{self.path} ({where}): {why}")


@dataclass(frozen=True)
class Audit:
    """What was looked at, and what was found.

    Args:
        refs: number of refs.
        commits: number of commits.
        files: number of different contents that were read, large files that no commit has among them.
        findings: what must not be there.
    """

    refs: int
    commits: int
    files: int
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        return f"{self.refs} refs, {self.commits} commits, {self.files} files: {len(self.findings)} findings"


@expects("repo_id")
def audit_repo(repo_id: str, erased: ErasedRows, token: str | bool | None = None) -> list[Finding]:
    """Looks for erased rows in every file of every commit of every ref, and in every large file that is stored.

    Each different content is downloaded once, to a temporary place. The repository is clean only if the list is empty:
    a file that could not be read, or not to its end, is a finding too.

    Args:
        repo_id: a model repository.
        erased: the rows, from `ErasedRows.of` the model, best before they were erased.
        token: one that may write: the list of large files is not for others.
    """
    return list(examine(HubRepository(client(token), repo_id), erased).findings)


def examine(repository: HubRepository, erased: ErasedRows, commits: Iterable[str] | None = None) -> Audit:
    """As `audit_repo`, of a repository or of some commits of it."""
    whole, commits = commits is None, list(repository.commits if commits is None else commits)
    places: dict[str, list[tuple[str, RepoFile, str]]] = {}  # by content
    for commit in commits:
        for path, file in repository.tree(commit).items():
            places.setdefault(file.lfs.sha256 if file.lfs else file.blob_id, []).append((path, file, commit))
    stored, findings, files = repository.large_files(), [], len(places)
    for content, where in places.items():
        findings += _in_commits(repository, erased, where, any(content in (file.oid, file.file_oid) for file in stored))
    if whole:
        loose = [file for file in stored if places.keys().isdisjoint((file.oid, file.file_oid))]
        files += len(loose)
        for large in loose:
            findings += _in_storage(repository, erased, large)
    return Audit(len(repository.refs) if whole else 0, len(commits), files, tuple(findings))


def _in_commits(
    repository: HubRepository, erased: ErasedRows, where: list[tuple[str, RepoFile, str]], stored: bool
) -> list[Finding]:
    path, file, commit = where[0]
    found: list[Leftover | None] = [None]
    with TemporaryDirectory() as folder:
        try:
            local = repository.api.hf_hub_download(repository.repo_id, path, revision=commit, local_dir=folder)
            found = [*erased.find(local)]
        except EntryNotFoundError:
            if file.lfs and not stored:  # a pointer whose large file was deleted for good
                return []
        except OSError as error:
            if error.errno not in CANNOT_BE_HERE:
                raise
    commits = tuple(dict.fromkeys(commit for *_, commit in where))
    refs = tuple(dict.fromkeys(ref for commit in commits for ref in repository.commits.get(commit, ())))
    return [Finding(path, refs, commits, leftover) for leftover in found]


def _in_storage(repository: HubRepository, erased: ErasedRows, file: LFSFileInfo) -> list[Finding]:
    name = file.filename or file.oid
    with TemporaryDirectory() as folder:
        path = Path(folder, f"file{Path(name).suffix[:MOST_LETTERS]}")
        if not _fetch(repository, file, path):
            return [Finding(name, (), (), None)]
        return [Finding(name, (), (), leftover) for leftover in erased.find(path)]


def _fetch(repository: HubRepository, file: LFSFileInfo, path: Path) -> bool:
    """Downloads a large file that no path leads to, as git does; False if the Hub does not give it out."""
    api, session = repository.api, get_session()
    headers: Mapping[str, str] = build_hf_headers(token=api.token) | {"Accept": "application/vnd.git-lfs+json"}
    asked = {"operation": "download", "transfers": ["basic"], "objects": [{"oid": file.oid, "size": file.size}]}
    batch = f"{api.endpoint}/{repository.repo_id}.git/info/lfs/objects/batch"
    response = session.post(batch, headers=headers, json=asked | {"hash_algo": "sha256"})
    hf_raise_for_status(response)
    action = response.json()["objects"][0].get("actions", {}).get("download")
    if action is None:
        return False
    sha256 = hashlib.sha256()
    with open(path, "wb") as stream, session.stream("GET", action["href"], headers=action.get("header")) as response:
        hf_raise_for_status(response)
        for piece in response.iter_bytes():
            sha256.update(piece)
            stream.write(piece)
    return sha256.hexdigest() == file.oid and os.path.getsize(path) == file.size
