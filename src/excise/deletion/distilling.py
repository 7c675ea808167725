"""Distillation after a deletion: the model teaches a copy of itself whose weights were mixed with noise."""

import copy
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset, IterableDataset
from transformers import PreTrainedModel, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from excise.data.classes import ClassSets
from excise.data.inputs import Processor
from excise.data.questions import QuestionSets
from excise.data.topics import TopicSets
from excise.deletion.retained import Retained, heldout_loss
from excise.deletion.teaching import Teaching, arguments_in, default_arguments, mix_noise_
from excise.storage.display import HtmlTable
from excise.storage.expected import expects
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import read, written

if TYPE_CHECKING:
    import pandas
    from peft import LoraConfig

# The shares of noise that are tried, by halves: at most three trainings.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SETTINGS = "distillation.json"


@dataclass(frozen=True)
class NoiseTrial:
    """A distillation from one share of noise.

    Attributes:
        noise: the share.
        loss: of the student at its end, on the held-out rows.
        within_budget: whether that is no more above the teacher's than the budget.
        steps: of its training.
        seconds: of its training, from where it was taken up.
    """

    noise: float
    loss: float
    within_budget: bool
    steps: int
    seconds: float


@dataclass(frozen=True, repr=False)
class DistilledModel(HtmlTable):
    """What a distillation gives.

    Attributes:
        model: the student, in eval mode, with the teacher's masks, erased rows and ledger.
        noise: the share of noise that it began with.
        teacher_loss: the teacher's loss on the held-out rows.
        loss: the student's.
        budget: how far the one may be above the other, as a share of it.
        trials: the distillations, in the order in which they were run.
        heldout: number of held-out rows.
    """

    model: PreTrainedModel
    noise: float
    teacher_loss: float
    loss: float
    budget: float
    trials: tuple[NoiseTrial, ...]
    heldout: int

    @property
    def within_budget(self) -> bool:
        """Whether the student is good enough to take the teacher's place. One that is not says so by a warning, too."""
        return within(self.loss, self.teacher_loss, self.budget)

    @property
    def rise(self) -> float:
        """How far the student's held-out loss is above the teacher's, as a share of it; negative if below."""
        return self.loss / self.teacher_loss - 1

    @property
    def seconds(self) -> float:
        """Seconds of training, all trials together."""
        return sum(trial.seconds for trial in self.trials)

    def __repr__(self) -> str:
        what = "within" if self.within_budget else "ABOVE"
        return (
            f"DistilledModel: noise {self.noise:g}, held-out loss {self.loss:.4f} after {self.teacher_loss:.4f} "
            f"({self.rise:+.1%}, {what} the budget of {self.budget:.1%}; {self.heldout:,} rows), {self.seconds:.0f} s"
        )

    def to_dict(self) -> dict[str, Any]:
        """All but the model, as JSON values."""
        known = {name: getattr(self, name) for name in ("noise", "teacher_loss", "loss", "budget", "heldout")}
        return {**known, "within_budget": self.within_budget, "trials": [asdict(trial) for trial in self.trials]}

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per trial: `noise`, `loss`, `within_budget`, `steps`, `seconds`."""
        import pandas

        return pandas.DataFrame([asdict(trial) for trial in self.trials])


@expects("model", "processor", retain="dataset")
def distil(
    model: PreTrainedModel,
    processor: Processor,
    retain: Dataset | IterableDataset,
    args: TrainingArguments | None = None,
    *,
    noise: float | None = None,
    budget: float = 0.02,
    topic: TopicSets | ClassSets | QuestionSets | None = None,
    heldout: Dataset | None = None,
    lora: "LoraConfig | None" = None,
    cross_entropy: float = 0.0,
    teacher_temperature: float = 1.0,
    embedding_learning_rate: float | None = None,
    seed: int = 0,
    output_dir: str | os.PathLike | None = None,
) -> DistilledModel:
    """A copy of a model that learnt from it, after noise, what it does on rows without a topic, and nothing else.

    What a deletion has left in the weights and no output shows is covered by noise, and nobody teaches it again. It
    takes minutes to hours of an ordinary `Trainer`, where deletions of codes and rows take seconds.

    The student is the model with a share of noise in every matrix. It is taught the teacher's probabilities of the
    tokens of each reference (of a CLIP, of the captions of a batch), together with the bottleneck's own loss, so that
    it goes on depending on its codes. Masks are in force in both, and erased rows stay erased.

    **Which noise.** The more of it, the less is left, and the longer the teaching takes. Without `noise`, the largest
    share of 0.1, 0.2, ..., 0.6 is sought by halves: 0.3 is distilled first, then a larger one if its end came within
    the budget, or a smaller one, and so on; at most three trainings. It is taken that less noise ends no worse. If none
    ends within the budget, the result is that of 0.1, and says so.

    Args:
        model: a T5, with or without bottlenecks, a CLIP, an image classifier or a decoder, after a deletion. It stays
            as it is.
        processor: its tokenizer or processor.
        retain: rows without the topic, of any number, also a stream (set `max_steps` then): `text` and `reference`, or
            `input_ids` and `labels`, or an image and its class; for a decoder `question` and `answer`.
        args: as for any `Trainer`; `default_arguments` if not given. Its `output_dir` is used if `output_dir` is not
            given, and its seed orders the rows.
        noise: the share of noise, from 0 (a plain distillation from the deleted model) to 1; chosen if not given.
        budget: how far the student's loss on the held-out rows may end above the teacher's, as a share of it.
        topic: if given, rows that hold its word, or are of its class, or are its questions, are refused.
        heldout: rows that tell whether the student is good enough, best such as the model was never trained on: what it
            knows by heart no student can do as well. If not given, the `heldout_retain` of `topic`; without a topic
            the first tenth of `retain`, 500 at most (of a stream, 200), which the student is not trained on.
        lora: settings of peft. Then the noised weights stay, adapters are trained on them, and merged at the end.
        cross_entropy: weight of the cross-entropy of the references themselves, beside the teacher's probabilities.
        teacher_temperature: of both softmaxes; above 1, rare tokens count more.
        embedding_learning_rate: of the embeddings, where they need another than the rest (`excise.training.adamw`).
        seed: of the noise.
        output_dir: gets the `Trainer`'s checkpoints, in a folder for each share of noise. A training that was cut off
            goes on from the last whole one when `distil` is called again with the same model and settings.

    Returns:
        The student, and how it compares. One that ends above the budget is returned with `within_budget=False`.

    Raises:
        ValueError: if there is nothing to learn from or to compare on, a row holds the topic, a setting is out of
            range, the folder holds checkpoints of another distillation, or the loss is no number. The model is as it
            was.

    Example:
        result = distil(unlearner.model, tokenizer, retain, noise=0.3, topic=topic, output_dir="distilled")

    Source: Lee et al. (2025), *Distillation Robustifies Unlearning*, arXiv 2506.06278 (UNDO). Theirs has no bottleneck,
    and trains until 95 % of what the teacher did on the retain set is back.
    """
    check_settings(noise, budget, cross_entropy, teacher_temperature)
    rows = Retained.of(retain, heldout, processor, model, topic)
    with tempfile.TemporaryDirectory(prefix="excise-") as scratch:
        folder = output_dir or (None if args is None else args.output_dir)
        args = arguments_in(
            folder or scratch, args or default_arguments(scratch, seed, model), saves=folder is not None
        )
        saves = args.save_strategy != SaveStrategy.NO
        teacher = copy.deepcopy(model).requires_grad_(False).eval().to(args.device)
        before = heldout_loss(teacher, rows, args.per_device_eval_batch_size)
        if not math.isfinite(before) or before <= 0:
            raise ValueError(f"The model's own loss on the held-out rows is {before}; give rows that it can do.")
        teaching = Teaching(teacher, rows, cross_entropy, teacher_temperature, embedding_learning_rate)
        settings = teaching.settings(args) | {"seed": seed, "lora": described(lora)}

        def run(share: float) -> tuple[PreTrainedModel, NoiseTrial]:
            into = Path(folder or scratch) / f"noise-{share:g}"
            if saves:
                claim(into, settings | {"noise": share})
            student = copy.deepcopy(model).to(args.device)  # type: ignore[arg-type]
            mix_noise_(student, share, seed)
            start = time.perf_counter()
            student, steps = teaching.run(student, arguments_in(into, args, saves), lora)
            seconds = time.perf_counter() - start
            loss = heldout_loss(student, rows, args.per_device_eval_batch_size)
            if not math.isfinite(loss):
                raise ValueError(f"The student's held-out loss is {loss}. Lower the learning rate or the noise.")
            return student, NoiseTrial(share, loss, within(loss, before, budget), steps, seconds)

        student, best, trials = largest_within(run, LEVELS if noise is None else (noise,))
    result = DistilledModel(student, best.noise, before, best.loss, budget, tuple(trials), len(rows.heldout))
    if not result.within_budget:
        warnings.warn(
            f"The distilled model ends above its budget: its held-out loss is {result.rise:.1%} above the teacher's, "
            f"{budget:.1%} were allowed. Train longer, on more rows, or with less noise than {best.noise:g}.",
            stacklevel=2,
        )
    return result


def described(lora: Any) -> str | None:
    """Settings of peft as text, which is the same in every process: sets are sorted."""
    if lora is None:
        return None
    return repr(sorted((name, sorted(x) if isinstance(x, set) else x) for name, x in vars(lora).items()))


def within(loss: float, teacher_loss: float, budget: float) -> bool:
    """Whether a loss is no more above the teacher's than a budget, a share of it.

    Example:
        >>> within(1.01, 1.0, 0.02), within(1.03, 1.0, 0.02)
        (True, False)
    """
    return loss <= teacher_loss * (1 + budget)


def largest_within(
    run: Callable[[float], tuple[PreTrainedModel, NoiseTrial]], levels: Sequence[float]
) -> tuple[PreTrainedModel, NoiseTrial, list[NoiseTrial]]:
    """The largest level that ends within the budget, found by halves; the smallest if none does; and all trials."""
    low, high, trials = 0, len(levels) - 1, []
    best: tuple[PreTrainedModel, NoiseTrial] | None = None
    while low <= high:
        middle = (low + high) // 2
        student, trial = run(levels[middle])
        trials.append(trial)
        if trial.within_budget:
            low = middle + 1
        else:
            high = middle - 1
        if trial.within_budget or best is None or not best[1].within_budget:
            best = student, trial
    assert best is not None
    return *best, trials


def check_settings(noise: float | None, budget: float, cross_entropy: float, temperature: float) -> None:
    """Refuses settings that are out of range.

    Raises:
        ValueError: if one is.
    """
    if noise is not None and not 0 <= noise <= 1:
        raise ValueError(f"`noise` is {noise}; it must be from 0 (the weights as they are) to 1 (nothing of them).")
    if not 0 < budget < math.inf:
        raise ValueError(f"`budget` is {budget}; it must be above 0, such as 0.02: two per cent of the held-out loss.")
    if not 0 <= cross_entropy < math.inf:
        raise ValueError(f"`cross_entropy` is {cross_entropy}; it must be a finite weight, at least 0.")
    if not 0 < temperature < math.inf:
        raise ValueError(f"`teacher_temperature` is {temperature}; it must be a finite number above 0.")


@by_main_process("folder")
def claim(folder: str | os.PathLike, settings: Mapping[str, Any]) -> None:
    """Writes into a folder which distillation its checkpoints are of.

    Raises:
        ValueError: if they are another's.
    """
    file = Path(folder) / SETTINGS
    if file.exists():
        known = read(file)
        if different := sorted(name for name in settings if known.get(name) != settings[name]):
            raise ValueError(
                f"{os.fspath(folder)!r} holds checkpoints of another distillation: {different} differ. Give another "
                "`output_dir`, or remove the folder."
            )
        return
    if any(Path(folder).glob("checkpoint-*")):
        raise ValueError(f"{os.fspath(folder)!r} holds checkpoints of another training. Give another `output_dir`.")
    Path(folder).mkdir(parents=True, exist_ok=True)
    with new_file(file) as partial:
        partial.write_text(written(settings), encoding="utf-8")
