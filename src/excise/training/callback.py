"""Callback of a `Trainer` for bottlenecks: logs the parts of the loss and revives dead codes."""

import inspect
import math
from typing import Any, cast

import scipy
import torch
import torch.nn.functional as F
from accelerate.utils import broadcast, reduce
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.site import bottlenecks
from excise.data.batches import encoder_inputs
from excise.ledger.optimizers import clear_optimizer_rows
from excise.models.activations import bottleneck_inputs
from excise.training.guard import TrainingGuard

PARTS = ("task_loss", "reconstruction_loss", "l1_loss")


class BottleneckCallback(TrainingGuard):
    """Logs what the joint loss is made of and how codes are used, and revives codes that nothing selects, if asked to.

    Each log gains `task_loss`, `reconstruction_loss` and `l1_loss` (means over steps, like the Trainer's `loss`),
    `live_code_share` (codes selected since the last log, as a share of those neither masked nor deleted) and
    `code_perplexity` (the exponential of the entropy of their use), the last two averaged over sites. The log of an
    evaluation during the training gains the parts of its loss, as `eval_task_loss`. They are in the console, in
    `state.log_history` and at the trackers that `report_to` names: it goes before all of them.

    A code that no token has selected for `revive_every` steps is dead. It is put where a random token of the last
    batch is, with its optimizer state cleared. Masked and deleted codes are left alone. All is counted from the
    model's outputs, once a forward pass, and nothing in `forward` itself.

    Masks and deleted rows are upheld from the beginning to the end (`TrainingGuard`). A `Trainer` that pushes to the
    Hub is kept from pushing a model with deletions over older weights (a `ValueError`).

    Args:
        revive_every: steps between two rounds of revival; `None` for none, as `initialize_codes` leaves few codes dead
            and each round costs quality that the training has to win back (docs/method/experiments.md).
        revive_until: share of the training after which no code is revived, so that new ones have time to settle.
        seed: of the tokens drawn.

    Example:
        Seq2SeqTrainer(model, args, train_dataset=train, callbacks=[BottleneckCallback()]).train()
    """

    def __init__(self, revive_every: int | None = None, revive_until: float = 0.8, seed: int = 0):
        if revive_every is not None and revive_every < 1:
            raise ValueError(f"`revive_every` is {revive_every}; it must be at least 1, or None for no revival.")
        self.revive_every = revive_every
        self.revive_until = revive_until
        self.seed = seed
        self.hook: RemovableHandle | None = None
        self.evaluated = 0

    def on_init_end(self, args, state, control, **kwargs):
        """Goes before the callbacks that pass a log on to somewhere else."""
        _put_first(self)

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
        _put_first(self)  # of a callback that was added later
        if args.label_smoothing_factor:
            raise ValueError(
                f"`label_smoothing_factor` is {args.label_smoothing_factor}: the Trainer then computes the loss "
                "without the model, and the codebook loss would be lost. Set it to 0."
            )
        super().on_train_begin(args, state, control, model=model, optimizer=optimizer)
        if self.hook is not None:  # of a training that was interrupted
            self.hook.remove()
        self.sites = bottlenecks(model)
        if self.revive_every and (fixed := [site for site, of in self.sites.items() if of.vectors is None]):
            raise ValueError(
                f"revive_every={self.revive_every}: codes at {fixed} cannot be put where tokens are, as their kind of "
                "bottleneck has no `vectors`. Leave it out."
            )
        self.shared = args.average_tokens_across_devices
        self._forget_parts()
        self._forget_evaluation()
        self.since_revival = self._no_use()
        self.window_start = state.global_step
        self.hook = model.register_forward_hook(self._observe, with_kwargs=True)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        super().on_train_end(args, state, control, model=model)
        if self.hook is not None:
            self.hook.remove()

    def on_step_end(self, args, state, control, model=None, optimizer=None, **kwargs):
        self.steps += 1
        for name, total in self.of_step.items():
            self.parts[name] += total if self.are_shares else total / max(self.passes, 1)
        self._next_step()
        if not self.revive_every or state.global_step % self.revive_every:
            return
        # A window that a resumption cut short has seen too little to call a code dead.
        whole = state.global_step - self.window_start >= self.revive_every
        if whole and state.global_step <= self.revive_until * state.max_steps:
            # Seeded by the step, so that a resumed training draws what an uninterrupted one does.
            generator = torch.Generator().manual_seed(self.seed + state.global_step)
            for site, module in self.sites.items():
                used = reduce(self.since_revival[site], reduction="sum")
                dead = ((used == 0) & module.live).nonzero().flatten()
                if len(dead):
                    revive(module, dead, self._features(model, site), optimizer, generator)
        self.since_revival = self._no_use()
        self.window_start = state.global_step

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs is not None and self.evaluated and (name := _evaluated(logs)):
            parts = {f"{name}_{part}": total for part, total in self._evaluation_parts().items()}
            logs |= parts
            state.log_history[-1] |= parts
        if logs is None or "loss" not in logs or not self.steps:
            return
        # With the Trainer's default, shares are those of the batch of all processes.
        over_processes = "sum" if self.are_shares and self.shared else "mean"
        parts = {
            name: (reduce(total, reduction=over_processes) / self.steps).item() for name, total in self.parts.items()
        }
        shares, perplexities = [], []
        for site, module in self.sites.items():
            used = reduce(self.since_log[site], reduction="sum")
            shares.append((used > 0).sum().item() / module.live.sum().item())
            perplexities.append(perplexity(used))
        parts |= {
            "live_code_share": sum(shares) / len(shares),
            "code_perplexity": sum(perplexities) / len(perplexities),
        }
        logs |= parts
        state.log_history[-1] |= parts  # written before callbacks are called
        self._forget_parts()

    def _observe(self, model: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        """Counts the codes of a training step's forward pass, and the parts of an evaluation's loss."""
        if output.get("codes") is None:
            return
        if not model.training:
            if output.get("task_loss") is not None:
                self.evaluated += 1
                for name in PARTS:
                    self.of_evaluation[name] += output[name].detach().float()
            return
        self.batch = encoder_inputs(kwargs)
        if output.get("task_loss") is None:
            raise ValueError(
                "The model got no labels, nor `return_loss`: with `compute_loss_func` the codebook loss would be lost."
            )
        # Losses of an accumulated step are shares of its loss where they were divided by the items of all its batches.
        self.are_shares = kwargs.get("num_items_in_batch") is not None
        self.passes += 1
        for name in PARTS:
            self.of_step[name] += output[name].detach().float()
        for site, codes in output["codes"].items():
            used = torch.bincount(codes[codes >= 0], minlength=self.sites[site].num_codes)
            self.since_log[site] += used
            self.since_revival[site] += used

    def _evaluation_parts(self) -> dict[str, float]:
        """Means over the batches of an evaluation, as the Trainer's `eval_loss` is; what was counted is forgotten."""
        means = {name: total / self.evaluated for name, total in self.of_evaluation.items()}
        self._forget_evaluation()
        return {name: reduce(mean, reduction="mean").item() for name, mean in means.items()}

    def _forget_evaluation(self) -> None:
        self.evaluated, self.of_evaluation = 0, self._no_parts()

    def _forget_parts(self) -> None:
        self.steps = 0
        self.since_log = self._no_use()
        self.parts = self._no_parts()
        self.are_shares = False
        self._next_step()

    def _next_step(self) -> None:
        self.passes, self.of_step = 0, self._no_parts()

    def _no_parts(self) -> dict[str, Tensor]:
        return {name: torch.zeros((), device=self.device) for name in PARTS}

    @property
    def device(self) -> torch.device:
        """Where the first bottleneck is."""
        return next(iter(self.sites.values())).live.device

    def _no_use(self) -> dict[str, Tensor]:
        return {site: torch.zeros_like(module.live, dtype=torch.int64) for site, module in self.sites.items()}

    def _features(self, model: nn.Module, site: str) -> Tensor:
        arrived = bottleneck_inputs(model, self.batch, until=site).tokens(site)
        with torch.no_grad():
            return self.sites[site].features(arrived)


def _evaluated(logs: dict[str, Any]) -> str | None:
    """What an evaluation calls its scores, such as `eval`, if it is its log."""
    return next((key.removesuffix("_loss") for key in logs if key.endswith("_loss") and key not in PARTS), None)


def _put_first(callback: TrainerCallback) -> None:
    """Has a callback called before the others of its `Trainer`, which hand a log on as it is when they are called.

    The `Trainer` puts its own first and tells callbacks nothing of each other, so the one that calls is looked for.
    """
    frame = inspect.currentframe()
    while frame is not None:
        handler = frame.f_locals.get("self")
        if isinstance(handler, CallbackHandler):
            if callback in handler.callbacks:
                handler.callbacks.remove(callback)
                handler.callbacks.insert(0, callback)
            return
        frame = frame.f_back


def perplexity(counts: Tensor) -> float:
    """The number of equally used codes that would have the same entropy of use.

    Example:
        >>> round(perplexity(torch.tensor([3, 3, 0, 3])), 3)
        3.0
    """
    return math.exp(scipy.stats.entropy(counts.cpu().numpy()))


@torch.no_grad()
def revive(
    bottleneck: Bottleneck,
    dead: Tensor,
    features: Tensor,
    optimizer: torch.optim.Optimizer | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Puts dead codes where tokens are, and clears what the optimizer remembers of them.

    A revived code points at a token and is as long as the median of the other live ones. (A token's activation divided
    by S, as codes start, is longer than codes are once they are trained: it would outweigh them.)

    Args:
        bottleneck: it is changed in place.
        dead: ids of the codes, `(dead,)`.
        features: of activations to draw from, as the bottleneck has them, `(tokens, code_dim)`.
        optimizer: AdamW and the like: rows of every state tensor that is shaped as the codebook are set to zero.
        generator: of the draw.
    """
    drawn = torch.randint(len(features), (len(dead),), generator=generator).to(features.device)
    others = bottleneck.live.clone()
    others[dead] = False
    vectors = cast(Tensor, bottleneck.vectors)
    length = vectors[others].float().norm(dim=1).median() if others.any() else 1.0
    rows = (F.normalize(features[drawn].float(), dim=1) * length).to(vectors)
    bottleneck.write(dead, broadcast(rows))  # every process draws from its own batch: take the first one's
    if optimizer is not None:
        clear_optimizer_rows(optimizer, bottleneck, dead)
