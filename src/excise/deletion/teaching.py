"""Students of a model: its weights mixed with noise, and the `Trainer` that teaches them what it does."""

import copy
import hashlib
import os
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.guard import erase_rows
from excise.bottlenecks.site import is_of_bottleneck
from excise.deletion.retained import Retained, inputs_for, is_decoder, items_of, task_loss
from excise.ledger.embeddings import ErasedTokens, overwrite_rows
from excise.storage.digests import sums
from excise.training.callback import BottleneckCallback
from excise.training.interruptions import last_whole_checkpoint
from excise.training.optimizer import adamw


def mixed(weight: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """A weight of which a share is normal noise of the weight's own standard deviation: `(1 - a) w + a n`.

    Args:
        weight: of any shape; it stays as it is.
        noise: the share `a`, from 0 (the weight) to 1 (nothing of it).
        generator: of the draw, on the CPU, so that it is the same on every device.

    Example:
        >>> mixed(torch.tensor([[1.0, -1.0]]), 0.0, torch.Generator())
        tensor([[ 1., -1.]])

    Source: Ash and Adams (2020), arXiv 1910.08475, shrink and perturb; the noise step of UNDO, Lee et al. (2025),
    arXiv 2506.06278, whose noise is that of a new model's weights. Ours is as wide as the matrix has become, so that
    one share means the same for all: T5's embeddings are some 20 times as wide as its other weights.
    """
    drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float32)
    wide = weight.detach().float()
    return ((1 - noise) * wide + noise * wide.std() * drawn.to(wide.device)).to(weight.dtype)


@torch.no_grad()
def mix_noise_(model: PreTrainedModel, noise: float, seed: int = 0) -> list[str]:
    """Mixes noise into every matrix of a model that is trained, in place; the same for the same seed.

    Norms, biases and what else is a row or a number stay as they are, as do frozen weights and buffers: the masks. Rows
    of deleted codes stay zero, and erased embedding rows the mean of all others.

    Args:
        model: it is changed.
        noise: the share of noise, from 0 to 1.
        seed: of the draw. Every matrix has a draw of its own, by its name.

    Returns:
        The names of the parameters that noise was mixed into.
    """
    names = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.dim() > 1 and noise > 0:
            seed_of_name = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "big")
            parameter.copy_(mixed(parameter, noise, torch.Generator().manual_seed(seed_of_name)))
            names.append(name)
    module: Any
    for module in model.modules():
        if isinstance(module, Bottleneck):
            if module.removed is not None:
                erase_rows(module, module.removed.deleted)
            module.rows_erased()  # the look-up keeps a copy of the codes as they were
        elif isinstance(getattr(module, "erased", None), ErasedTokens):
            overwrite_rows(module.weight, module.erased.rows)
    return names


def divergence(
    student: Any, teacher: Any, labels: Tensor | None, temperature: float = 1.0, shifted: bool = False
) -> Tensor:
    """The sum of KL(teacher || student) over the tokens of references, or over a batch's images and captions.

    Args:
        student: a model's outputs.
        teacher: the teacher's of the same batch.
        labels: -100 where a token is padding; `None` for a CLIP.
        temperature: of both softmaxes. The sum is times its square, so that gradients keep their size.
        shifted: whether the logits at each place are of the next label, as a decoder's alone are.

    Source: Hinton et al. (2015), *Distilling the Knowledge in a Neural Network*, section 2.
    """
    if labels is None:
        sides = ("logits_per_image", "logits_per_text")
        parts = [_divergence(student[side], teacher[side], temperature).sum() for side in sides]
        return (parts[0] + parts[1]) / 2
    apart = _divergence(student.logits, teacher.logits, temperature)
    if shifted:
        apart, labels = apart[:, :-1], labels[:, 1:]
    return apart.masked_fill(labels == -100, 0).sum()


def _divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    told, wanted = ((logits.float() / temperature).log_softmax(-1) for logits in (student, teacher))
    return temperature**2 * F.kl_div(told, wanted, reduction="none", log_target=True).sum(-1)


class TeachingTrainer(Trainer):
    """A `Trainer` whose loss is KL(teacher || student), the bottlenecks' own loss, and any share of the task's."""

    teaching: "Teaching"

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The divergence from the teacher, and what the bottlenecks and references add to it."""
        inputs = inputs_for(inputs, self.args.device)
        whole = num_items_in_batch if self.model_accepts_loss_kwargs else None
        with torch.no_grad():
            target = self.teaching.teacher(**inputs)
        outputs = model(**inputs, **({} if whole is None else {"num_items_in_batch": whole}))
        shifted = self.teaching.rows.asked is not None
        apart = divergence(outputs, target, inputs.get("labels"), self.teaching.temperature, shifted)
        task = task_loss(outputs)
        loss = apart / (items_of(inputs) if whole is None else whole) + outputs.loss - task
        if self.teaching.cross_entropy:
            loss = loss + self.teaching.cross_entropy * task
        if not torch.isfinite(loss):
            raise ValueError(
                f"The loss of step {self.state.global_step + 1} is {loss.item()}. Lower the learning rate or the "
                "noise, or train in fp32; the model that teaches is as it was."
            )
        return loss


@dataclass(frozen=True)
class Teaching:
    """What all students of a teacher are taught by; fields as of `distil`."""

    teacher: PreTrainedModel
    rows: Retained
    cross_entropy: float
    temperature: float
    embedding_learning_rate: float | None

    def settings(self, args: TrainingArguments) -> dict[str, Any]:
        """What decides which student comes out, as JSON values, for telling checkpoints of another training."""
        of_args = ("max_steps", "num_train_epochs", "learning_rate", "per_device_train_batch_size", "seed")
        own = ("cross_entropy", "temperature", "embedding_learning_rate")
        known = {name: getattr(args, name) for name in of_args} | {name: getattr(self, name) for name in own}
        return known | {"teacher": sums(self.teacher.state_dict())}

    def run(self, student: Any, args: TrainingArguments, lora: Any = None) -> tuple[PreTrainedModel, int]:
        """Trains a student, on from the last whole checkpoint in `args.output_dir`.

        Args:
            student: it is changed.
            args: of the training.
            lora: settings of peft; none for all weights.

        Returns:
            The student, in eval mode, with its adapters merged; and the number of steps.
        """
        trained = {name: parameter.requires_grad for name, parameter in student.named_parameters()}
        if lora is not None:
            from peft import get_peft_model

            set_seed(args.seed)  # the adapters are drawn
            student = get_peft_model(student, copy.deepcopy(lora))
        has_codes = any(is_of_bottleneck(name) for name in trained)
        trainer = TeachingTrainer(
            student,
            args,
            self.rows.batch,
            self.rows.train,
            callbacks=[BottleneckCallback()] if has_codes else None,
            optimizers=(adamw(student, args, self.embedding_learning_rate), None),
        )
        trainer.teaching = self
        if args.disable_tqdm:
            trainer.remove_callback(PrinterCallback)
        checkpoint = None if args.save_strategy == SaveStrategy.NO else last_whole_checkpoint(args.output_dir)
        state = TrainerState.load_from_json(os.path.join(checkpoint, "trainer_state.json")) if checkpoint else None
        if checkpoint and state is not None and state.global_step >= state.max_steps:  # done: no step more
            trainer._load_from_checkpoint(checkpoint)
        else:
            trainer.train(resume_from_checkpoint=checkpoint)
            state = trainer.state
        extract_model_from_parallel(student, keep_fp32_wrapper=False)
        vars(student).pop("_is_accelerate_prepared", None)
        if lora is not None:
            student = student.merge_and_unload()
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(trained[name])
            parameter.grad = None
        return student.eval(), state.global_step


def default_arguments(
    output_dir: str | os.PathLike, seed: int = 0, model: PreTrainedModel | None = None
) -> TrainingArguments:
    """The arguments that `distil` trains with if it is given none; docs/method/experiments.md says why.

    Decoders are taught at the rate that they are fine-tuned at, few rows at once: each token has a probability for each
    piece of a large vocabulary, in the teacher and in the student.
    """
    decoder = model is not None and is_decoder(model)
    rows = 8 if decoder else 64
    return TrainingArguments(
        os.fspath(output_dir),
        max_steps=300,
        per_device_train_batch_size=rows,
        per_device_eval_batch_size=rows,
        learning_rate=1e-4 if decoder else 2e-3,
        adam_beta2=0.98,
        weight_decay=0.0,
        lr_scheduler_type="linear",
        warmup_steps=15,
        logging_steps=50,
        save_steps=100,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=seed,
    )


def arguments_in(folder: str | os.PathLike, args: TrainingArguments, saves: bool) -> TrainingArguments:
    """The caller's arguments, which stay as they are, for a training in a folder.

    Rows come as they are, and are made into batches here. Held-out rows are run at the end alone. A loss is a mean over
    each process's own rows. Nothing is pushed.
    """
    own = copy.copy(args)
    own.output_dir, own.remove_unused_columns = os.fspath(folder), False
    own.eval_strategy, own.do_eval, own.eval_on_start = IntervalStrategy.NO, False, False
    own.load_best_model_at_end = own.push_to_hub = own.average_tokens_across_devices = False
    own.logging_nan_inf_filter = False  # a loss that is no number is an error here
    if not saves:
        own.save_strategy = SaveStrategy.NO
    return own
