"""What each of two processes does in `tests/codes/test_index.py`; each writes what it saw. Not a test itself."""

import faulthandler
import json
import os
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import Dataset

from excise.codes import CodeIndex
from excise.codes.index import indexing
from tests.helpers import tiny

TEXTS = 40
indexing.PART_TEXTS = 8


def build(folder: Path, number: int = TEXTS) -> CodeIndex:
    """An index of texts of unequal length, some of them twice."""
    words = "the a cat dog sees book".split()
    texts = [" ".join(words[(i * j) % 6] for j in range(1, 2 + i % 7)) + f" {i}" for i in range(number)]
    rows = Dataset.from_dict({"text": [text for text in texts for _ in range(2)]})
    torch.manual_seed(0)
    model = tiny.codebook_t5(num_codes=40)
    return CodeIndex.build(model, tiny.tokenizer(), rows, folder, progress=False)


def main(folder: Path) -> None:
    state = PartialState(cpu=True)
    found = {"world": state.num_processes, "texts": len(build(folder / "index"))}
    found["grown"] = len(build(folder / "index", TEXTS + 9))
    found["resumed"] = len(build(folder / "killed"))
    write = indexing.write_part
    indexing.write_part = lambda path, *rest: write(path / "nowhere" if state.process_index else path, *rest)
    try:
        build(folder / "failed")
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    (folder / f"{state.process_index}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    os._exit(0)  # all is written; taking down gloo's threads hangs now and then on a busy machine


if __name__ == "__main__":
    faulthandler.dump_traceback_later(120, exit=True)  # where it hangs, if it hangs, and no process left behind
    main(Path(sys.argv[1]))
