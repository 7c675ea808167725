"""Publishing of a model in memory as a bundle on the Hub, and the download back to a folder."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import PreTrainedModel

from excise.data.inputs import Processor
from excise.ledger.ledger import Ledger
from excise.report.record import Record
from excise.report.sections import requests_section
from excise.sharing.bundle import write_bundle
from excise.sharing.bundle.manifest import MANIFEST
from excise.sharing.bundle.private_search import PrivateSearch, flattened
from excise.sharing.erasure import ErasedRows
from excise.sharing.hub.account import NotPushedError, client
from excise.sharing.hub.destination import BundleContents, Destination, check_not_in
from excise.sharing.hub.push import PushInfo, check_names, push_bundle
from excise.storage.expected import expects
from excise.storage.extras import require
from excise.storage.processes import by_main_process
from excise.storage.strict_json import read


@expects("model", "processor", "repo_id", record="?record")
@by_main_process("repo_id")
def publish(
    model: PreTrainedModel,
    processor: Processor,
    repo_id: str,
    record: Record | None = None,
    *,
    mode: str = "delete",
    compact: bool = False,
    base: tuple[str | os.PathLike, str | None] | None = None,
    max_shard_size: int | str | None = None,
    erased: ErasedRows | None = None,
    purge_history: bool = False,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
    commit_description: str | None = None,
    parent_commit: str | None = None,
    private_topics: Iterable[Any] = (),
) -> PushInfo:
    """Writes a bundle to a temporary place and pushes it.

    Args:
        model: as for `write_bundle`.
        processor: the same.
        repo_id: name of a model repository.
        record: as for `write_bundle`.
        mode: the same.
        compact: the same.
        base: the same.
        max_shard_size: the same.
        erased: more rows that must not be in the bundle or, once purged, in the repository: of the model before it
            forgot, from `ErasedRows.of`. To purge with a model that deleted codes were taken out of, they are needed.
        purge_history: as for `push_bundle`.
        private: the same.
        token: the same.
        revision: the same.
        create_pr: the same.
        commit_message: the same.
        commit_description: the same.
        parent_commit: the same.
        private_topics: as for `write_bundle`; looked for in the names of repository, branch and commit too.

    Raises:
        MissingExtraError: if the extra `report` is not installed; nothing is asked or written then.
        NotPushedError: as `push_bundle`; what the Hub can tell is asked before the bundle is written.
        ValueError: as `write_bundle` and `push_bundle`.
    """
    require("report", purpose="A push, which has a report and a card,")
    private_topics = list(flattened([private_topics]))
    names = {"commit_message": commit_message, "commit_description": commit_description, "revision": revision}
    known = [] if record is None else [replace(record, state={**record.state, "requests": requests_section(model)})]
    check_names(PrivateSearch(*known, *private_topics), repo_id, **names)
    where: dict[str, Any] = {"private": private, "token": token, "revision": revision, "create_pr": create_pr}
    destination = Destination.check(repo_id, mode=mode, purge_history=purge_history, base=base, **where)
    if destination.repository and purge_history and erased is None:
        check_rows_are_known(model, repo_id)
    with TemporaryDirectory() as folder:
        bundle = Path(folder, "bundle")
        written = write_bundle(
            bundle,
            model,
            processor,
            record=record,
            mode=mode,
            compact=compact,
            base=base,
            max_shard_size=max_shard_size,
            private_topics=private_topics,
        )
        # The bundle was read back as it was written: only rows that the writing did not know are looked for again.
        if erased is not None:
            check_not_in(bundle, erased)
        contents = BundleContents.of(read(bundle / MANIFEST), written.state)
        gone = ErasedRows.of(model, kinds=("mask", "delete") if mode == "delete" else ("delete",))
        erased = gone if erased is None else gone | erased
        commit: dict[str, Any] = {"commit_message": commit_message, "commit_description": commit_description}
        commit |= {"parent_commit": parent_commit, "purge_history": purge_history}
        return push_bundle(bundle, repo_id, contents=contents, erased=erased, **where, **commit)


def check_rows_are_known(model: PreTrainedModel, repo_id: str) -> None:
    """Makes sure that an audit for what was erased of a model can see it: of codes that are gone it knows nothing.

    Raises:
        NotPushedError: if deleted codes were taken out of the model.
    """
    taken_out = sum(
        request.thresholds.get("taken_out", 0) for request in Ledger.from_dict(model.config.unlearning).requests
    )
    if taken_out:
        raise NotPushedError(
            f"{taken_out} deleted codes were taken out of the model, so their rows are not known, and {repo_id} cannot "
            "be looked through for them. Pass erased=ErasedRows.of(the model before, with its masks or with `codes`), "
            "or push to a new repository."
        )


def download(repo_id: str, revision: str | None = None, token: str | bool | None = None) -> str:
    """The folder of everything in a repository at a revision, all of one commit."""
    return client(token).snapshot_download(repo_id, revision=revision)
