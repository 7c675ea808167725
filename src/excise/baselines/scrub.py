"""SCRUB: a student that disobeys the original model on what is to be forgotten, and obeys on the rest."""

from collections.abc import Mapping

from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments, default_data_collator

from excise.baselines.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from excise.baselines.distillation import distil
from excise.baselines.history import BaselineRun, EpochHistory
from excise.baselines.hyperparameters import SCRUB
from excise.predictions import Collator


def scrub(
    model: PreTrainedModel,
    forget: Dataset,
    retain: Dataset,
    args: TrainingArguments | None = None,
    *,
    msteps: int = SCRUB["cifar10"].msteps,
    alpha: float = 0.5,
    gamma: float = 1.0,
    stop_early: bool = True,
    tolerance: float = 0.0,
    evaluate_on: Mapping[str, Dataset] | None = None,
    data_collator: Collator = default_data_collator,
) -> BaselineRun:
    """Unlearns with SCRUB, on a copy of a model.

    An epoch is a pass of max-steps through the forget set, in the first `msteps` epochs, and a pass of min-steps
    through the retain set. The training stops when nothing of the forget set is classified right any more and the
    retain set is classified as well as before, or at the end of `args`' epochs. Then the model is that of the epoch in
    which the retain set's accuracy was highest while the forget set's was 0, or of the last epoch, if there was none:
    `run.accuracy["forget"]` tells.

    In its first max-step the student still is the teacher, where the divergence is smallest: its gradient is 0 but for
    rounding, which Adam makes a step of. So it is by SCRUB's definition.

    Args:
        model: a classifier; it stays as it is. A copy of it is the teacher.
        forget: training examples to forget.
        retain: training examples to keep.
        args: as for any `Trainer`; nothing is written to `output_dir`. Table 6's for CIFAR-10 if not given;
            `hyperparameters` has the others.
        msteps: epochs that have max-steps. The paper tunes it for the retain set's accuracy.
        alpha: weight of the divergence on the retain set. The paper does not state the two; these are ours.
        gamma: weight of the task loss on the retain set.
        stop_early: stop as described; section 5.4 goes on to the last epoch.
        tolerance: how far the retain set's accuracy may be below the first and still count as "without damaging" it.
        evaluate_on: data sets whose accuracy is recorded before the training and after every epoch, by name. Epochs are
            judged by those called `forget` and `retain`: the training sets if they are not given. The paper takes the
            test sets; numbers reported of a set that was chosen by are too good.
        data_collator: makes a batch of rows.

    Raises:
        ValueError: if a data set is empty or has other labels than the model, the model does not classify, a weight or
            number is out of range, `evaluate_on` lacks a set, or `args` ask for another length than whole epochs, or
            accumulate gradients, which would mix max-steps with min-steps.

    Example:
        run = scrub(model, forget, retain, hyperparameters.SCRUB["cifar100"].arguments(), msteps=9)

    Source: *Unlearning via Sparse Representations*, section 2, appendix E.3 and table 6; Kurmanji et al. (2023).
    """
    if tolerance < 0:
        raise ValueError(f"`tolerance` is {tolerance}; it must be at least 0, as 0.01 for one point in a hundred.")
    sets = {"forget": forget, "retain": retain} if evaluate_on is None else dict(evaluate_on)
    if not {"forget", "retain"} <= set(sets):
        raise ValueError(f"`evaluate_on` has {sorted(sets)}; it must have `forget` and `retain`, to judge epochs by.")
    history = EpochHistory(sets, data_collator)
    best = Forgotten(history, stop_early, tolerance)
    student = distil(model, forget, retain, args, msteps, alpha, gamma, history, [best], data_collator)
    epoch = len(history.epochs) - 1
    if best.checkpoint is not None:
        load_checkpoint(student, best.checkpoint)
        epoch = best.epoch
    return BaselineRun(student, tuple(history.epochs), epoch)


class Forgotten(TrainerCallback):
    """Keeps the best epoch in which nothing of the forget set was classified right, and may stop the training there.

    Args:
        history: where accuracies on `forget` and `retain` are recorded, before this is called.
        stop: stop when the retain set is as well classified as at first.
        tolerance: how far below the first that may be.
    """

    def __init__(self, history: EpochHistory, stop: bool, tolerance: float):
        self.history = history
        self.stop = stop
        self.tolerance = tolerance
        self.checkpoint: Checkpoint | None = None
        self.epoch = 0

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        first, last = self.history.epochs[0].accuracy, self.history.epochs[-1].accuracy
        if last["forget"] > 0:
            return
        if self.checkpoint is None or last["retain"] > self.history.epochs[self.epoch].accuracy["retain"]:
            self.checkpoint = save_checkpoint(model)
            self.epoch = self.history.epochs[-1].number
        if self.stop and last["retain"] >= first["retain"] - self.tolerance:
            control.should_training_stop = True
