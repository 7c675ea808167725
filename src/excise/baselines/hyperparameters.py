"""Hyperparameters of the paper's baselines (tables 5, 6 and 7), and of those on texts and answers."""

import tempfile
from dataclasses import dataclass

import torch
from transformers import TrainingArguments


@dataclass(frozen=True)
class Hyperparameters:
    """One column of a table.

    Attributes:
        learning_rate: of Adam, the same throughout.
        epochs: passes through the (retain) set.
        msteps: of SCRUB, how many of the epochs have a max-step.
        batch_size: of every set.
        max_grad_norm: where gradients are clipped; 0 for nowhere.
        weight_decay: of AdamW; 0 is Adam.
        warmup: share of the steps in which the learning rate grows, after which it falls to 0; `None` for neither.
    """

    learning_rate: float
    epochs: int
    msteps: int = 0
    batch_size: int = 256
    max_grad_norm: float = 0.0
    weight_decay: float = 0.0
    warmup: float | None = None

    def arguments(self, seed: int = 0, progress: bool = False, use_cpu: bool = False) -> TrainingArguments:
        """The arguments of a `Trainer` that trains so. It writes and prints nothing, save for a progress bar if asked.

        Args:
            seed: of the order of the data and of dropout.
            progress: show a progress bar.
            use_cpu: train on the CPU where there is an accelerator, too.
        """
        return TrainingArguments(
            tempfile.gettempdir(),  # nothing is written there
            num_train_epochs=self.epochs,
            per_device_train_batch_size=self.batch_size,
            per_device_eval_batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            optim="adamw_torch",
            weight_decay=self.weight_decay,
            lr_scheduler_type="constant" if self.warmup is None else "linear",
            warmup_steps=self.warmup or 0,  # a share where it is below 1
            max_grad_norm=self.max_grad_norm,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=not progress,
            dataloader_pin_memory=torch.cuda.is_available() and not use_cpu,
            use_cpu=use_cpu,
            seed=seed,
        )


# Table 5: a linear layer on the frozen backbone, the model that the baselines unlearn. The optimizer is not stated.
LINEAR = {
    "cifar10": Hyperparameters(learning_rate=0.001, epochs=2),
    "cifar100": Hyperparameters(learning_rate=0.01, epochs=2),
    "lacuna100": Hyperparameters(learning_rate=0.01, epochs=2),
}
# Table 6: SCRUB on it. The table's number of min-steps is that of epochs; section 5.4 runs 10 of them on all.
SCRUB = {
    "cifar10": Hyperparameters(learning_rate=0.001, epochs=3, msteps=3),
    "cifar100": Hyperparameters(learning_rate=0.01, epochs=10, msteps=9),
    "lacuna100": Hyperparameters(learning_rate=0.01, epochs=7, msteps=5),
}
# Table 7: key-value bottlenecks trained on, on the retain set, after unlearning via activations or via examples.
RETRAIN_ACTIVATIONS = {
    "cifar10": Hyperparameters(learning_rate=0.3, epochs=10, max_grad_norm=0.1),
    "cifar100": Hyperparameters(learning_rate=0.1, epochs=10, max_grad_norm=0.1),
    "lacuna100": Hyperparameters(learning_rate=0.1, epochs=10, max_grad_norm=0.1),
}
RETRAIN_EXAMPLES = {
    "cifar10": Hyperparameters(learning_rate=0.3, epochs=10, max_grad_norm=0.1),
    "cifar100": Hyperparameters(learning_rate=0.1, epochs=10, max_grad_norm=0.1),
    "lacuna100": Hyperparameters(learning_rate=0.3, epochs=10, max_grad_norm=0.1),
}
# NPO on TOFU, config/forget.yaml of the authors: two processes of 16 rows, an epoch of ten to warm up.
NPO = Hyperparameters(learning_rate=1e-5, epochs=10, batch_size=32, max_grad_norm=1.0, weight_decay=0.01, warmup=0.1)
# All methods on TOFU in OpenUnlearning, configs/experiment/unlearn/tofu/default.yaml and docs/repro.md: the same.
TOFU = NPO
# UNDIAL in OpenUnlearning, configs/trainer/UNDIAL.yaml, and 32 rows as its community/methods/UNDIAL says.
UNDIAL = Hyperparameters(learning_rate=1e-4, epochs=10, batch_size=32, max_grad_norm=1.0, weight_decay=0.01, warmup=0.1)
