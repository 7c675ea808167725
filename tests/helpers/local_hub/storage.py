"""What the local Hub keeps: repositories with commits, refs and large files."""

import hashlib
import itertools
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone

_serial = itertools.count()
_salt = uuid.uuid4().hex  # commit ids of two tests, or of two runs that share a cache, are never the same


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class File:
    """One path of a tree: a blob, or the pointer to a large file."""

    oid: str  # git's id of the content, or of the pointer
    size: int
    sha256: str | None = None  # of a large file

    @classmethod
    def pointer(cls, sha256: str, size: int) -> "File":
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        return cls(git_id(text.encode()), size, sha256)


@dataclass(frozen=True)
class Commit:
    id: str
    parent: str | None
    title: str
    message: str
    date: str
    tree: dict[str, File]


class Repository:
    """The commits, refs and large files of a repository. Commits that no ref leads to are gone, as on the Hub."""

    def __init__(self, kind: str, name: str, private: bool):
        self.kind, self.name, self.private, self.created = kind, name, private, now()
        self.refs: dict[str, str] = {}
        self.commits: dict[str, Commit] = {}  # parents before children
        self.blobs: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}  # large files by SHA-256, kept until they are deleted for good
        self.pushed: dict[str, str] = {}
        attributes = self.add_blob(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
        self.commit("refs/heads/main", "initial commit", "", {".gitattributes": attributes}, None)

    def add_blob(self, content: bytes) -> File:
        file = File(git_id(content), len(content))
        self.blobs[file.oid] = content
        return file

    def add_object(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self.objects[sha256], self.pushed[sha256] = content, now()
        return sha256

    def content(self, file: File) -> bytes | None:
        return self.objects.get(file.sha256) if file.sha256 else self.blobs[file.oid]

    def commit(self, ref: str, title: str, message: str, tree: dict[str, File], parent: str | None) -> Commit:
        number = hashlib.sha1(f"{_salt} {next(_serial)}".encode()).hexdigest()
        made = Commit(number, parent, title, message, now(), tree)
        self.commits[made.id] = made
        self.refs[ref] = made.id
        return made

    def find(self, revision: str) -> tuple[str | None, Commit | None]:
        """The ref, if it is one, and the commit that a branch, tag, `refs/...` or commit id stands for."""
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in self.refs:
                return ref, self.commits[self.refs[ref]]
        return None, self.commits.get(revision)

    def history(self, number: str | None) -> Iterator[Commit]:
        while number is not None:
            yield self.commits[number]
            number = self.commits[number].parent

    def squash(self, ref: str, title: str) -> None:
        self.commit(ref, title, "", self.commits[self.refs[ref]].tree, None)
        self.forget_unreachable()

    def remove_ref(self, ref: str) -> None:
        del self.refs[ref]
        self.forget_unreachable()

    def forget_unreachable(self) -> None:
        reached = {commit.id for head in self.refs.values() for commit in self.history(head)}
        self.commits = {number: commit for number, commit in self.commits.items() if number in reached}
        used = {file.oid for commit in self.commits.values() for file in commit.tree.values()}
        self.blobs = {oid: content for oid, content in self.blobs.items() if oid in used}

    def delete_objects(self, shas: Iterable[str], rewrite: bool) -> None:
        """Deletes large files for good; rewriting takes their pointers out of every commit, which renames it."""
        gone = set(shas)
        self.objects = {sha: content for sha, content in self.objects.items() if sha not in gone}
        if not rewrite:
            return
        renamed: dict[str | None, str | None] = {None: None}
        commits, self.commits = self.commits, {}
        for old in commits.values():
            tree = {path: file for path, file in old.tree.items() if file.sha256 not in gone}
            if tree == old.tree and renamed[old.parent] == old.parent:
                new = old
            else:
                number = hashlib.sha1(f"{_salt} {next(_serial)}".encode()).hexdigest()
                new = replace(old, id=number, parent=renamed[old.parent], tree=tree)
            self.commits[new.id], renamed[old.id] = new, new.id
        self.refs = {ref: renamed[head] for ref, head in self.refs.items()}
