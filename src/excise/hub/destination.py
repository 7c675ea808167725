"""Where a bundle is to go, and everything that can be refused before there is a bundle at all."""

import os
from dataclasses import dataclass

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from excise.hub.account import NotPushedError, check_writer, client
from excise.hub.purge import check_can_be_purged
from excise.storage.hub_repository import Repository


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
    repository: Repository | None
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
        repository = Repository.find(api, repo_id)
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
        api.model_info(name, revision=revision)
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise NotPushedError(
            f"The bundle needs the base {name} at revision {revision}, which is not on the Hub (any more). Push the "
            "whole model, without `base`."
        ) from error
