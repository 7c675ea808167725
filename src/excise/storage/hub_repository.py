"""Hub repository seen as files: at every ref, in every commit, among its large files."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import LFSFileInfo, RepoFile

# The Hub puts it into every repository, and needs it there.
ATTRIBUTES = ".gitattributes"
# Folders in which git and the Hub's client keep their own, beside the files of a repository.
NOT_FILES = (".git/", ".cache/")
# What a repository may hold of a model before it forgot: text that describes it. Weights are in none of these.
TEXTS = (".md", ".json", ".txt", ".jinja", ".py", ".model", ATTRIBUTES)


@dataclass(frozen=True)
class LocalFile:
    """How the Hub would know a file: by git's id, or a large one by its SHA-256."""

    git: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "LocalFile":
        """Reads a file and computes both."""
        git, sha256 = hashlib.sha1(b"blob %d\0" % path.stat().st_size), hashlib.sha256()
        with open(path, "rb") as stream:
            while piece := stream.read(1 << 20):
                git.update(piece)
                sha256.update(piece)
        return cls(git.hexdigest(), sha256.hexdigest())

    def equals(self, file: RepoFile | None) -> bool:
        """Whether a file on the Hub has the same bytes."""
        if file is None:
            return False
        return self.sha256 == file.lfs.sha256 if file.lfs else self.git == file.blob_id


def own_files(folder: str | os.PathLike) -> dict[str, Path]:
    """Every file of a folder by its path in it, but for what git and the Hub put beside the files of a repository."""
    found = {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*") if path.is_file()}
    return {name: found[name] for name in sorted(found) if name != ATTRIBUTES and not name.startswith(NOT_FILES)}


def local_files(folder: str | os.PathLike) -> dict[str, LocalFile]:
    """How the Hub would know the files of a folder, by their paths in it."""
    return {name: LocalFile.of(path) for name, path in own_files(folder).items()}


class HubRepository:
    """A model repository on the Hub, as it is while it is looked at; refs are read once.

    Args:
        api: a client with a token that may read it.
        repo_id: its name.

    Raises:
        huggingface_hub.errors.RepositoryNotFoundError: if there is none, or not for this token.
    """

    def __init__(self, api: HfApi, repo_id: str):
        self.api = api
        info = api.model_info(repo_id)
        self.repo_id, self.private = info.id, bool(info.private)

    @classmethod
    def find(cls, api: HfApi, repo_id: str) -> "HubRepository | None":
        """The repository if it is there."""
        try:
            return cls(api, repo_id)
        except RepositoryNotFoundError:
            return None

    @cached_property
    def refs(self) -> dict[str, str]:
        """The commit of every branch, tag, conversion and pull request, by the whole name of its ref."""
        found = self.api.list_repo_refs(self.repo_id, include_pull_requests=True)
        refs = [*found.branches, *found.tags, *found.converts, *(found.pull_requests or [])]
        return {ref.ref: ref.target_commit for ref in refs}

    @property
    def branches(self) -> dict[str, str]:
        """The commit of every branch, by its name."""
        heads = "refs/heads/"
        return {ref.removeprefix(heads): commit for ref, commit in self.refs.items() if ref.startswith(heads)}

    def head(self, revision: str) -> str | None:
        """The commit of a branch, or of a ref by its whole name; `None` if there is none."""
        return self.branches.get(revision) or self.refs.get(revision)

    @cached_property
    def commits(self) -> dict[str, tuple[str, ...]]:
        """Every commit that a ref leads to, the newest of each ref first, and the refs that lead to it."""
        found: dict[str, tuple[str, ...]] = {}
        for ref, head in self.refs.items():
            for commit in self.api.list_repo_commits(self.repo_id, revision=head):
                found[commit.commit_id] = (*found.get(commit.commit_id, ()), ref)
        return found

    def tree(self, revision: str) -> dict[str, RepoFile]:
        """The files at a revision by path."""
        items = self.api.list_repo_tree(self.repo_id, recursive=True, revision=revision)
        return {item.path: item for item in items if isinstance(item, RepoFile)}

    def large_files(self) -> list[LFSFileInfo]:
        """Every large file that is stored, of whatever commit or of none."""
        return list(self.api.list_lfs_files(self.repo_id))

    def holds(self, revision: str, files: Mapping[str, LocalFile]) -> bool:
        """Whether a revision is these files and nothing else."""
        tree = {path: file for path, file in self.tree(revision).items() if path != ATTRIBUTES}
        return tree.keys() == files.keys() and all(files[path].equals(tree[path]) for path in files)

    def others(self, files: Mapping[str, LocalFile], texts: bool = False) -> list[str]:
        """What is there, at any ref or none, beside these files: a sentence part for each; it ends with the first few.

        Args:
            files: those that may be there.
            texts: whether texts, such as a tokenizer, may be there too.
        """
        found, seen = [], set()
        for commit, refs in self.commits.items():
            for path, file in self.tree(commit).items():
                allowed = path == ATTRIBUTES or (texts and path.endswith(TEXTS))
                if allowed or (path, file.blob_id) in seen or (path in files and files[path].equals(file)):
                    continue
                seen.add((path, file.blob_id))
                found.append(f"{path} at {refs[0]}, commit {commit[:8]}")
            if len(found) > 3:
                break
        if found:
            return found
        ours = {file.sha256 for file in files.values()}
        stored = [file for file in self.large_files() if ours.isdisjoint((file.oid, file.file_oid))]
        stored = [file for file in stored if not (texts and (file.filename or "").endswith(TEXTS))]
        return [f"the large file {file.oid[:8]}, last called {file.filename or 'nothing'}" for file in stored]


def check_no_older_weights(
    repo_id: str, files: Mapping[str, LocalFile] = MappingProxyType({}), token: str | bool | None = None
) -> None:
    """Makes sure that a repository holds no weights, at whatever revision, but those in some files.

    Args:
        repo_id: name of a model repository, with or without namespace; it need not be there.
        files: what is going to be pushed.
        token: as in huggingface_hub.

    Raises:
        ValueError: if it does.
    """
    api = HfApi(token=token)
    repository = HubRepository.find(api, repo_id if "/" in repo_id else f"{api.whoami(cache=True)['name']}/{repo_id}")
    if repository and (older := repository.others(files, texts=True)):
        raise ValueError(
            f"{repo_id} holds other weights already ({'; '.join(older[:3])}), which could bring back what was deleted "
            "from this model. Push it to a new repository; or remove what is there, with all history, by "
            f"`Unlearner(model, processor).push_to_hub({repo_id!r}, purge_history=True)`."
        )
