"""What each of two processes does in `tests/flows/test_processes.py`; each writes what it saw. Not a test itself."""

import faulthandler
import json
import logging
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed
from accelerate import PartialState
from huggingface_hub import HfApi
from torch.nn.parallel import DistributedDataParallel
from transformers.utils.logging import disable_progress_bar

from excise import Unlearner
from excise.codes.counts import CodeCounts
from excise.sharing.hub import LeftoversError
from excise.storage import processes
from excise.storage.files import new_file
from excise.storage.processes import by_main_process, current_run
from tests.helpers.tiny import codebook_t5, delete_codes, mask_codes, tokenizer
from tests.helpers.writers import Writer, counts, evidence, models, train, trained, trainings, tree


def what(call, *args) -> str:
    """The type of what a call raises; empty if it does not."""
    try:
        call(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def made(folder: Path) -> dict[str, Writer]:
    """All writers; the models' bases, which transformers writes on the first process alone, are there for both."""
    if current_run().rank:
        torch.distributed.barrier()
    of_models = models(folder)
    if current_run().rank == 0:
        torch.distributed.barrier()
    return of_models | evidence() | counts() | trainings(folder)


def seen_of(writer: Writer, path: Path) -> dict:
    """What this process sees of a writer: what is there, and what came of a second call."""
    if writer.beside:
        writer.beside(path)
    first = what(writer.write, path, 0)
    once = str(writer.read(path)) if not first else None
    torch.distributed.barrier()  # both have read the old one
    again = what(writer.write, path, 1)
    found = {"first": first, "again": again, "once": once, "twice": str(writer.read(path))}
    torch.distributed.barrier()
    return found | {"files": sorted(tree(path)) if path.is_dir() else [], "beside": sorted(os.listdir(path.parent))}


def three_examples() -> CodeCounts:
    return CodeCounts(torch.ones(1, 4, dtype=torch.int64), 3)


def errors(folder: Path) -> dict[str, str]:
    """What is raised where only the main process finds something wrong."""

    @by_main_process("path")
    def refuse(path: Path, error: BaseException) -> None:
        raise error

    unknown = LeftoversError("It is left.", ())
    raised = {"kept": what(refuse, folder, FileExistsError("there")), "as its base": what(refuse, folder, unknown)}
    with new_file(folder / "a") if current_run().rank == 0 else torch.no_grad() as partial:
        if partial:
            partial.write_text("")
    raised["backstop"] = what(new_file(folder / "b").__enter__) if current_run().rank else ""
    return raised


def alone(folder: Path) -> str:
    """The main process may save alone, as many times as it likes; and the others come along again after it."""
    if current_run().rank == 0:
        three_examples().save(folder / "alone.safetensors")
        three_examples().save(folder / "alone.safetensors")
    three_examples().save(folder / "all.safetensors")
    return str(CodeCounts.load(folder / "all.safetensors").num_examples)


def waiting(folder: Path) -> tuple[str, list[str]]:
    """What a process is told that asks for what the main one does not."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger(processes.__name__).addHandler(handler)
    processes.NOTICE, processes.PATIENCE = 0.05, 0.2
    try:
        return what(three_examples().save, folder / f"{current_run().rank}.safetensors"), messages
    finally:
        processes.NOTICE, processes.PATIENCE = 20.0, 1800.0


def sharded(folder: Path) -> list[str]:
    """What is said of models that other libraries have wrapped."""
    from torch.distributed.fsdp import fully_shard

    model = codebook_t5()
    mask_codes(model)
    Unlearner(DistributedDataParallel(model), tokenizer()).save_pretrained(folder / "ddp")
    told = [str(Unlearner.from_pretrained(folder / "ddp").ledger.requests[0].num_codes)]
    unlearner = Unlearner(model, tokenizer())
    fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (2,)))
    return [*told, what(Unlearner, model, None), what(unlearner.save_pretrained, folder / "fsdp")]


def pushed(folder: Path) -> dict:
    """Pushes to the local Hub: a bundle, a purge, the model's own, and a Trainer's."""
    model = codebook_t5()
    model.push_to_hub("tester/whole")
    delete_codes(model)
    unlearner = Unlearner(model, tokenizer())
    oid = unlearner.push_to_hub("tester/model").oid
    purged = unlearner.push_to_hub("tester/whole", purge_history=True)
    refused = what(codebook_again().push_to_hub, "tester/whole")
    trainer = train(folder / "run", 0, push_to_hub=True, hub_model_id="tester/trained", hub_strategy="every_save")
    trainer.push_to_hub()
    torch.distributed.barrier()
    names = {repo: sorted(HfApi().list_repo_files(repo)) for repo in ("tester/whole", "tester/model", "tester/trained")}
    commits = {repo: len(HfApi().list_repo_commits(repo)) for repo in names}
    return {"oid": oid, "audit": str(purged.audit), "refused": refused, "names": names, "commits": commits}


def codebook_again():
    model = codebook_t5(num_codes=30)
    delete_codes(model)
    return model


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    disable_progress_bar()
    started, found = time.monotonic(), {}
    # Nobody has made a process group yet: what launched the processes is asked.
    found["world"] = current_run().size
    three_examples().save(folder / "early.safetensors")
    found["early"] = (folder / "early.safetensors").is_file() and not torch.distributed.is_initialized()
    PartialState(cpu=True)  # as a Trainer does
    found["writers"] = {
        name: seen_of(writer, folder / "places" / name / writer.name) for name, writer in made(folder).items()
    }
    found["steps"] = trained(folder / "places" / "training" / "out")
    found |= {"errors": errors(folder), "alone": alone(folder), "sharded": sharded(folder), "pushed": pushed(folder)}
    found["waiting"] = waiting(folder)
    found["seconds"] = time.monotonic() - started
    (folder / f"{current_run().rank}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    os._exit(0)  # all is written; taking down gloo's threads hangs now and then on a busy machine


if __name__ == "__main__":
    faulthandler.dump_traceback_later(240, exit=True)  # where it hangs, if it hangs, and no process left behind
    main(Path(sys.argv[1]))
