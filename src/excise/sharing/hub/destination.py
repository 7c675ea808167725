"""Destination of a push, and everything that can be refused before there is a bundle at all."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from excise.report.private import is_private
from excise.report.record import Record
from excise.sharing.bundle import check_bundle
from excise.sharing.erasure import ErasedRows
from excise.sharing.hub.account import NotPushedError, check_writer, client
from excise.sharing.hub.purge import check_can_be_purged
from excise.storage.hub_repository import HubRepository


@dataclass(frozen=True)
class Destination:
    """A repository that may be written to, there already or not.

    Args:
        api: the client.
        repo_id: its name, with the namespace.
        repository: what is there, if it is.
        branch: the one to push to.
        private: whether a new one is to be private.
    """

    api: HfApi
    repo_id: str
    repository: HubRepository | None
    branch: str
    private: bool | None

    @classmethod
    def check(
        cls,
        repo_id: str,
        *,
        mode: str,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        purge_history: bool = False,
        base: tuple[str | os.PathLike, str | None] | None = None,
    ) -> "Destination":
        """Makes sure that a bundle can go there; nothing is sent.

        Args:
            repo_id: name of a model repository.
            mode: the bundle's, `"mask"` or `"delete"`.
            private: whether the repository must be private; `None`: if it is made, for a mask only.
            token: as in huggingface_hub.
            revision: the branch; `main` by default.
            create_pr: whether it is pushed as a pull request.
            purge_history: whether the repository's history is removed.
            base: id and revision of the model that a bottleneck-only bundle needs.

        Raises:
            NotPushedError: if it cannot; the message says why, and what to do.
        """
        api = client(token)
        repo_id = check_writer(api, repo_id, create_pr)
        if base is not None:
            check_base(api, *base)
        repository = HubRepository.find(api, repo_id)
        if repository is None:
            for kind in ("dataset", "space"):
                if api.repo_exists(repo_id, repo_type=kind):
                    raise NotPushedError(
                        f"{repo_id} is a {kind}. A model goes to a model repository: give another name."
                    )
            if create_pr:
                raise NotPushedError(f"There is no repository {repo_id} to make a pull request for.")
            return cls(api, repo_id, None, revision or "main", mode == "mask" if private is None else private)
        if private and not repository.private:
            raise NotPushedError(
                f"{repo_id} is public. Make it private first, "
                f"`HfApi().update_repo_settings({repo_id!r}, private=True)`, or give another name."
            )
        if mode == "mask" and private is None and not repository.private:
            raise NotPushedError(
                f"{repo_id} is public, and whoever has a masked model can undo its masks. Push it with mode='delete', "
                "or with private=False if that is meant."
            )
        if purge_history:
            if create_pr:
                raise NotPushedError("A pull request cannot purge the history of what it is for: choose one of both.")
            check_can_be_purged(repository)
        return cls(api, repo_id, repository, revision or "main", private)


def check_base(api: HfApi, name: str | os.PathLike, revision: str | None) -> None:
    """Makes sure that the model that a bottleneck-only bundle needs is there, at its revision.

    Raises:
        NotPushedError: if it is not.
    """
    if os.path.isdir(name):
        raise NotPushedError(
            f"The bundle needs the base {name}, a folder that only this machine has. Push the base to the Hub, give "
            "its id and revision there."
        )
    try:
        api.model_info(os.fspath(name), revision=revision)
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise NotPushedError(
            f"The bundle needs the base {name} at revision {revision}, which is not on the Hub (any more). Push the "
            "whole model, without `base`."
        ) from error


@dataclass(frozen=True)
class BundleContents:
    """What there is to know of a bundle before it is pushed.

    Args:
        mode: `"mask"` or `"delete"`.
        deletes: whether something was deleted from the model.
        base: id and revision of the model that a bottleneck-only bundle needs; `None` for a folder's revision.
        private: whether words are withheld in it, which an older state may tell.
    """

    mode: str
    deletes: bool
    base: tuple[str, str | None] | None
    private: bool = False

    @classmethod
    def check(cls, folder: str | os.PathLike, erased: ErasedRows) -> "BundleContents":
        """Reads what a bundle says of itself, and looks for what must not be there.

        Args:
            folder: of the bundle.
            erased: the rows that must not be in it.

        Raises:
            ValueError: if the folder is no bundle, was changed after it was written, or holds what was deleted.
        """
        manifest, state = check_bundle(folder), Record.load(Path(folder, "report")).state
        if state["mode"] != manifest["mode"]:
            raise NotPushedError(f"The bundle is a {manifest['mode']!r}, and its report is of a {state['mode']!r}.")
        check_not_in(folder, erased)
        return cls.of(manifest, state)

    @classmethod
    def of(cls, manifest: Mapping[str, Any], state: Mapping[str, Any]) -> "BundleContents":
        """What the manifest of a bundle and the state of its record say."""
        base = manifest["base_checkpoint"]
        return cls(
            manifest["mode"],
            any(request["kind"] == "delete" for request in state["requests"]),
            None if base is None else (base["id"], base["revision"]),
            is_private(state),
        )


def check_not_in(folder: str | os.PathLike, erased: ErasedRows) -> None:
    """Makes sure that a bundle holds no erased row.

    Raises:
        NotPushedError: if it does.
    """
    if left := erased.find_in(folder):
        raise NotPushedError(f"The bundle holds what was deleted: {left[0]}. Write it again, into a new folder.")
