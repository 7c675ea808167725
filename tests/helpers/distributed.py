"""What two processes do in `test_distributed.py`; each writes what it saw. Not a test itself."""

import faulthandler
import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, set_seed

from excise import BottleneckCallback
from excise.bottlenecks.identity import draw_codes_id
from excise.bottlenecks.site import bottlenecks
from tests.helpers.tiny import SITE, batch, codebook_t5


class Rows(torch.utils.data.Dataset):
    """Rows of one length, so that nothing has to be padded."""

    def __init__(self):
        self.rows = batch((6,) * 8, (4,) * 8)

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return {key: value[i] for key, value in self.rows.items()}


class Seen(BottleneckCallback):
    """Keeps what this process alone counted."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in (logs or {}):
            self.own = self.since_log[SITE].tolist()
        super().on_log(args, state, control, logs=logs, **kwargs)


def main(folder: Path) -> None:
    set_seed(0)
    model = codebook_t5(num_codes=200)
    start = bottlenecks(model)[SITE].codebook.detach().clone()
    callback = Seen(revive_every=1, revive_until=1.0)
    args = Seq2SeqTrainingArguments(
        output_dir=str(folder / "run"), use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no",
        logging_steps=1, max_steps=1, per_device_train_batch_size=4, learning_rate=1e-6, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Seq2SeqTrainer(model, args, train_dataset=Rows(), callbacks=[callback])
    expected = model(**Rows().rows)  # the whole batch in one process
    trainer.train()
    codes = bottlenecks(model)[SITE].codebook.detach()
    names = ("task_loss", "reconstruction_loss", "l1_loss")
    found = {
        "world": trainer.accelerator.num_processes,
        "own": callback.own,
        "log": trainer.state.log_history[0],
        "expected": {name: expected[name].item() for name in ("loss", *names)},
        "counts": torch.bincount(expected.codes[SITE].flatten(), minlength=200).tolist(),
        "revived": ((codes - start).abs().amax(1) > 1e-3).nonzero().flatten().tolist(),
        "codes": codes.double().sum(1).tolist(),
    }
    draw_codes_id(model)
    found["codes_id"] = model.config.bottleneck.codes_id
    rank = torch.distributed.get_rank()
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.barrier()
    os._exit(0)  # all is written; taking down gloo's threads hangs now and then on a busy machine


if __name__ == "__main__":
    faulthandler.dump_traceback_later(120, exit=True)  # where it hangs, if it hangs, and no process left behind
    main(Path(sys.argv[1]))
