"""How what an `Unlearner` has made is shared: as a folder, and on the Hub."""

import os
from typing import TypeVar

from transformers import PreTrainedModel

from excise.bundle import write_bundle
from excise.data.inputs import Processor
from excise.erasure import ErasedRows
from excise.hub.publishing import download, publish
from excise.hub.push import PushInfo
from excise.report import Record

Own = TypeVar("Own", bound="Published")


class Published:
    """Mixed into what has a model and its processor, and a `from_pretrained` of a folder."""

    whole: PreTrainedModel
    processor: Processor

    def save_bundle(
        self,
        folder: str | os.PathLike,
        record: Record | None = None,
        *,
        mode: str = "delete",
        compact: bool = False,
        base: tuple[str | os.PathLike, str | None] | None = None,
        remote_code: bool = True,
        max_shard_size: int | str | None = None,
    ) -> Record:
        """Writes what is shared of the model, with its card and report, and reads back that nothing deleted is in it.

        Masks are deletions in what is written; with `mode="mask"`, for private use, they can be undone by whoever has
        it. The model itself stays as it is. Other arguments and errors are those of `excise.bundle.write_bundle`.

        Args:
            folder: a new or empty folder. It appears only when all is written and checked.
            record: the evidence, from `excise.report.Record.of`; without one, what the model itself tells.

        Returns:
            The record that was written.
        """
        return write_bundle(
            folder,
            self.whole,
            self.processor,
            record=record,
            mode=mode,
            compact=compact,
            base=base,
            remote_code=remote_code,
            max_shard_size=max_shard_size,
        )

    def push_to_hub(
        self,
        repo_id: str,
        record: Record | None = None,
        *,
        mode: str = "delete",
        purge_history: bool = False,
        compact: bool = False,
        base: tuple[str | os.PathLike, str | None] | None = None,
        erased: ErasedRows | None = None,
        commit_message: str | None = None,
        commit_description: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        parent_commit: str | None = None,
        max_shard_size: int | str | None = None,
    ) -> PushInfo:
        """Publishes the model with its card and report; nothing that was deleted is in it.

        Masks are deletions in what is published; the model itself stays as it is. A deletion goes to a new repository,
        since an old revision is an un-deletion. What is there already in just that state is left alone. With
        `mode="mask"` the requests stay as they are, and `from_hub` goes on from there: for private use.

        Args:
            repo_id: name of a model repository, which is made if it is not there.
            record: the evidence, from `Record.of`; without one, what the model itself tells.
            mode: `"delete"` or `"mask"`.
            purge_history: for a deletion where there is something already: squashes every branch, deletes for good the
                large files that are then of no commit, and looks through all that is left for deleted rows. It cannot
                be undone. Refused if there are tags, pull requests or conversions, which cannot be squashed, or if
                another branch holds deleted rows.
            compact: takes deleted codes out.
            base: to publish the bottlenecks alone: Hub id and revision of the checkpoint of all other weights.
            erased: more rows that must be nowhere, from `excise.erasure.ErasedRows.of` the model before it forgot. The
                bytes of rows that the model no longer has are not known without; after `compact()` a purge needs them.
            commit_message: of the one commit.
            commit_description: of the same.
            private: whether the repository must be private. By default a new one is if the mode is `"mask"`.
            token: as in huggingface_hub; it must be one that may write.
            revision: the branch; `main` by default.
            create_pr: whether to push a pull request instead.
            parent_commit: the commit that the push follows; by default that which is there when it begins.
            max_shard_size: as in the model's `save_pretrained`.

        Returns:
            The commit; where the history was purged, its `audit` tells what was looked at.

        Raises:
            excise.hub.NotPushedError: a `ValueError`, if it is refused; the message says why, and what to do.
            excise.hub.LeftoversError: a `ValueError`, if another branch, or what is left after the purge, holds
                deleted rows.
            ValueError: as `save_bundle`.
        """
        return publish(
            self.whole,
            self.processor,
            repo_id,
            record,
            mode=mode,
            purge_history=purge_history,
            compact=compact,
            base=base,
            erased=erased,
            commit_message=commit_message,
            commit_description=commit_description,
            private=private,
            token=token,
            revision=revision,
            create_pr=create_pr,
            parent_commit=parent_commit,
            max_shard_size=max_shard_size,
        )

    @classmethod
    def from_hub(
        cls: type[Own], repo_id: str, revision: str | None = None, token: str | bool | None = None, **kwargs
    ) -> Own:
        """Goes on from what was published: with `mode="mask"`, requests can be undone and further ones made.

        All files are of one commit, and as they were written.

        Args:
            repo_id: name of a model repository.
            revision: branch, tag or commit.
            token: as in huggingface_hub.
            **kwargs: passed on to the model's `from_pretrained`.

        Raises:
            ValueError: if the masks are not those of the ledger, or the bundle is not as it was written.
        """
        return cls.from_pretrained(download(repo_id, revision, token), token=token, **kwargs)
