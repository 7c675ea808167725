"""What each of two processes does in `tests/situations/test_expected.py`: it forgets, and writes what it has then.

Arguments: a folder. Not a test itself.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from datasets import Dataset

from excise import Search, Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.storage.digests import digest
from tests.helpers.tiny import codebook_t5, tokenizer

ROWS = Dataset.from_dict({"text": ["the cat sat", "a cat ran on the mat", "the teacher ran", "a dog", "the mat"]})


def forgotten(folder: Path | None = None) -> dict[str, Any]:
    """What a model is after it has forgotten something, as JSON values; it is saved by all processes together."""
    torch.manual_seed(0)
    model = codebook_t5()
    unlearner = Unlearner(model, tokenizer())
    request = unlearner.forget(ROWS, Search("activations", count=4), name="cats", progress=False)
    unlearner.delete(ROWS.select([3]), "dogs", preset=Search("activations", count=2), progress=False)
    if folder is not None:
        unlearner.save_pretrained(folder / "saved")
    masks = {site: (~bottleneck.live).nonzero().flatten().tolist() for site, bottleneck in bottlenecks(model).items()}
    return {"codes": dict(request.codes), "masks": masks, "weights": digest([], model.state_dict())}


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    target = Path(sys.argv[1])
    state = forgotten(target)
    name = f"process-{os.environ['RANK']}.json"
    target.joinpath(name).write_text(json.dumps(state), encoding="utf-8")
    torch.distributed.destroy_process_group()
