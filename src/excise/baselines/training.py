"""Training of every baseline: with a `Trainer`, on the model it is given, leaving nothing behind."""

import copy
import tempfile
from collections.abc import Callable, Sequence

import torch
from accelerate.utils import extract_model_from_parallel
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from excise.evaluation.predictions import Collator, model_columns


def train(
    model: PreTrainedModel,
    dataset: torch.utils.data.Dataset,
    args: TrainingArguments,
    callbacks: Sequence[TrainerCallback],
    data_collator: Collator,
    trainer: Callable[..., Trainer] = Trainer,
) -> None:
    """Trains a model in place and leaves it in eval mode.

    Args:
        model: the model.
        dataset: what the `Trainer` trains on.
        args: as for any `Trainer`. `output_dir`, saving and evaluating are left out: nothing is written, and what is
            evaluated is the callbacks' business. Without a progress bar nothing is printed either.
        callbacks: called in this order.
        data_collator: makes a batch of rows.
        trainer: the class, or what makes a `Trainer` of the same arguments.
    """
    unprepare(model)
    with tempfile.TemporaryDirectory(prefix="excise-") as folder:
        args = copy.copy(args)  # the caller's own stay as they are
        args.output_dir = folder
        args.save_strategy, args.eval_strategy, args.do_eval = SaveStrategy.NO, IntervalStrategy.NO, False
        args.load_best_model_at_end = args.push_to_hub = args.eval_on_start = False
        args.remove_unused_columns = False  # a transform or a collator may need those that the model does not take
        if isinstance(dataset, Dataset):
            dataset = model_columns(dataset, model)  # which a `Trainer` takes as well
        runner = trainer(
            model=model, args=args, train_dataset=dataset, data_collator=data_collator, callbacks=list(callbacks)
        )
        if args.disable_tqdm:
            runner.remove_callback(PrinterCallback)
        runner.train()
    unprepare(model)
    model.eval()


def unprepare(model: PreTrainedModel) -> None:
    """Takes from a model what accelerate left on it when it was trained.

    Without its mark the next `Trainer` prepares the model anew; with it, mixed precision would silently be left out.
    """
    extract_model_from_parallel(model, keep_fp32_wrapper=False)
    vars(model).pop("_is_accelerate_prepared", None)


Checkpoint = dict[str, Tensor]


def save_checkpoint(model: PreTrainedModel) -> Checkpoint:
    """All that a training may change: buffers, and parameters that are not frozen; copied, on the CPU."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


@torch.no_grad()
def load_checkpoint(model: PreTrainedModel, checkpoint: Checkpoint) -> None:
    """Puts a model back where it was when the checkpoint was saved."""
    model.load_state_dict(checkpoint, strict=False)  # frozen parameters are not in it
