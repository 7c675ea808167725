"""Writing of a bundle, and of a checkpoint to go on with."""

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safetensors.torch import save_file
from transformers import PreTrainedModel

from excise.bottlenecks.site import bottlenecks, unwrapped
from excise.data.inputs import Processor
from excise.ledger import compaction
from excise.ledger.ledger import Ledger, mask_digest
from excise.models.loading import load_model, save_base_of_adapter
from excise.models.remote_code import write_remote_code
from excise.report.card import model_card
from excise.report.page import write_report
from excise.report.private import NOT_SOUGHT, is_private
from excise.report.record import Record
from excise.report.sections import removed_section, requests_section
from excise.sharing.bundle.bottlenecks_alone import pinned_base, save_bottlenecks
from excise.sharing.bundle.checks import (
    COMPACTION,
    check_arguments,
    check_erased,
    check_record,
    check_weights,
    check_written,
    checks_held,
)
from excise.sharing.bundle.copies import differences, model_to_write
from excise.sharing.bundle.manifest import LEDGER, write_manifest
from excise.sharing.bundle.private_search import PrivateSearch
from excise.sharing.erasure import ErasedRows
from excise.storage.expected import expects
from excise.storage.extras import require
from excise.storage.files import check_free, new_folder
from excise.storage.processes import by_main_process
from excise.storage.strict_json import written

if TYPE_CHECKING:
    from peft import PeftModel

# How a processor was fetched, which transformers keeps among its settings.
FETCHED = {"local_files_only", "token", "use_auth_token", "cache_dir", "revision", "force_download", "proxies"}
FETCHED |= {"resume_download", "subfolder", "trust_remote_code", "_from_auto", "_commit_hash", "code_revision"}
REPORT = "report"
CARD = "README.md"


@expects("folder")
@by_main_process("folder")
def write_checkpoint(
    folder: str | os.PathLike, whole: "PreTrainedModel | PeftModel", model: PreTrainedModel, processor: Processor
) -> None:
    """Writes a model as it is into a new or empty folder; errors as `Unlearner.save_pretrained`.

    Args:
        folder: where there is nothing, or an empty folder.
        whole: the model, or the `PeftModel` around it, of which the adapters are written.
        model: a model with bottlenecks.
        processor: its processor.
    """
    with new_folder(folder) as partial:
        whole.save_pretrained(os.fspath(partial))
        if whole is not model:
            model.config.architectures = [type(model).__name__]  # as transformers does, to load the class again
            model.config.save_pretrained(partial)  # the ledger: adapters have no model config of their own
        save_processor(processor, partial)
        ledger = Ledger.from_dict(model.config.unlearning)
        if whole is not model:
            save_base_of_adapter(partial, cast("PeftModel", whole), ledger)
        check_written(partial, ErasedRows.of(model, kinds=("delete",)), ledger, bottlenecks(model))
        check_weights(partial, whole)


@expects("folder", "model", "processor", record="?record")
@by_main_process("folder")
def write_bundle(
    folder: str | os.PathLike,
    model: PreTrainedModel,
    processor: Processor,
    *,
    record: Record | None = None,
    mode: str = "delete",
    compact: bool = False,
    base: tuple[str | os.PathLike, str | None] | None = None,
    remote_code: bool = True,
    max_shard_size: int | str | None = None,
    private_topics: Iterable[Any] = (),
) -> Record:
    """Writes all that is shared of an unlearned model into a new or empty folder, and reads all of it back.

    Weights, config, processor, `ledger.json`, the code to load it without excise, `report/`, the card `README.md`, and
    `bundle.json` with the digest of every file. The same arguments give the same bytes. The folder appears only when
    all is written and none of what was deleted is found in any file; the model stays as it is in any case.

    By default the report publishes the topic's words, held-out sentences and outputs. Where a request is private, all
    words and texts are left out, and those that are known are looked for in every file.

    Args:
        folder: where there is nothing, or an empty folder.
        model: a model with bottlenecks.
        processor: its tokenizer, image processor, or processor of both.
        record: the evidence of the unlearning; without one, what the model itself tells.
        mode: `"delete"`: masks in force are deletions in what is written. `"mask"`: they can be undone by whoever has
            the bundle.
        compact: takes deleted codes out. `compaction.safetensors` has, by site, the new number of each old code, -1 for
            those that are gone.
        base: to write the bottlenecks alone: Hub id and revision of the checkpoint that all other weights come from,
            which loading fetches; or a local folder and `None`.
        remote_code: whether the code to load it without excise goes with it.
        max_shard_size: as in `save_pretrained`.
        private_topics: whose words and texts must be in no file, beside those that the record has of private requests:
            sets, classes or words.

    Returns:
        The record that was written: of the model as it is shared, with the checks.

    Raises:
        FileExistsError: if the folder holds something.
        MissingExtraError: if the extra `report` is not installed.
        ValueError: if the mode is another, nothing was forgotten that could be deleted, the model is wrapped by peft or
            not all in memory, record, base or masks are not the model's, or something that was deleted or is private,
            or another model, is found when the files are read back.
    """
    require("report", purpose="A bundle, which has a report and a card,")
    check_free(folder)
    model = unwrapped(model)
    check_arguments(model, processor, mode)
    record = Record.of(model, mode=mode) if record is None else record
    check_record(record, model)
    now = replace(record, state={**record.state, "requests": requests_section(model)})
    private = PrivateSearch(now, private_topics)
    record = record.public(private.labels)
    kinds = ("mask", "delete") if mode == "delete" else ("delete",)
    erased = ErasedRows.of(model, kinds=kinds)
    shared = model_to_write(model, mode)
    removed = removed_section(shared)  # as measured: in the numbers of before
    index = compaction.compact(shared) if compact else None
    if compact:
        erased = erased | ErasedRows.of(shared, kinds=("delete",))
    pinned = None if base is None else pinned_base(base, shared, erased)
    if pinned is not None:
        about = record.state["model"] | {"base_model": {"id": pinned.id, "revision": pinned.revision or pinned.digest}}
        record = replace(record, state={**record.state, "model": about})

    with new_folder(folder) as partial:
        if pinned is None:
            options: dict[str, Any] = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
            shared.save_pretrained(partial, **options)
        else:
            save_bottlenecks(shared, partial, pinned)
        save_processor(processor, partial)
        if remote_code:
            write_remote_code(shared, partial)
        if index is not None:
            save_file(index, partial / COMPACTION)
        masks = mask_digest({site: bottleneck.live.cpu() for site, bottleneck in bottlenecks(shared).items()})
        state = {"mode": mode, "masks": masks, "compaction": COMPACTION if compact else None}
        state |= {"unlearning": shared.config.unlearning}
        partial.joinpath(LEDGER).write_text(written(state) + "\n", encoding="utf-8")

        # Report and card say what was found when the files before them were read back, so these are read back last.
        check_erased(partial, erased)
        _check_reload(partial, shared)
        first = {path.relative_to(partial) for path in partial.rglob("*")}
        checks = checks_held(erased, shared, index, pinned, sum(path.is_file() for path in partial.rglob("*")), private)
        record = record.for_model(shared, mode=mode, checks=checks, removed=removed if compact else None)
        record = record.public(private.labels)
        if is_private(record.state) and not private:
            record = replace(record, state={**record.state, "not_shown": [*record.state["not_shown"], NOT_SOUGHT]})
        write_report(record, partial / REPORT)
        model_card(record, bottleneck_only=pinned is not None, remote_code=remote_code).save(partial / CARD)
        write_manifest(partial, mode, masks, None if pinned is None else pinned.to_dict())
        check_erased(partial, erased, without=first)
        private.check(partial)
    return record


@by_main_process("folder")
def save_processor(processor: Processor, folder: Path) -> None:
    """Saves a processor, without how it was fetched: the owner's token, cache and the like are nobody else's."""
    processor.save_pretrained(folder)
    for path in folder.glob("*_config.json"):
        settings = json.loads(path.read_text(encoding="utf-8"))
        if fetched := FETCHED & {*settings}:
            kept = {name: value for name, value in settings.items() if name not in fetched}
            path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _check_reload(folder: Path, shared: PreTrainedModel) -> None:
    state, loaded = shared.state_dict(), load_model(folder).state_dict()
    if different := differences(state, loaded):
        name = different[0]
        types = [str(found[name].dtype) if name in found else "nothing" for found in (state, loaded)]
        raise ValueError(
            f"{len(different)} tensors come back as others, such as {name} ({types[0]}, read back as {types[1]}). "
            "A checkpoint has one type of number: convert the model first, as by `model.to(torch.float32)`, or load it "
            "in its type, as by `from_pretrained(..., dtype=torch.float16)`."
        )
