"""Guard of a training: masks and erased rows from its beginning to its end, and a `Trainer`'s push."""

from pathlib import Path

from transformers import TrainerCallback

from excise.bottlenecks.site import bottlenecks
from excise.ledger.masks import uphold_masks
from excise.ledger.optimizers import check_clearable, clear_optimizer_rows
from excise.models.push_guard import deletions
from excise.storage.hub_repository import check_no_older_weights


class TrainingGuard(TrainerCallback):
    """Keeps what was removed from coming back in a training, and from a `Trainer`'s push.

    A resumption has just loaded a checkpoint's weights and its optimizer's memory, both of which may be older than the
    ledger: masks and rows are put in force again with a warning, and what is remembered of deleted rows is erased.

    A `Trainer` pushes a folder and so passes by the model's own guard: a model with deletions is not pushed to where
    weights have been before. It looks when a training begins that is to push, so that none is in vain, and before each
    push. What the `Trainer` itself has pushed since the last deletion may be there.

    Raises:
        MaskMismatchError: if a checkpoint has removed codes that the ledger in memory does not tell of.
        ValueError: if there are older weights, at whatever revision: they could bring back what was deleted.
    """

    _found_clean: tuple[str, list[int]] | None = None

    def on_train_begin(self, args, state, control, model=None, optimizer=None, **kwargs):
        uphold_masks(model)
        for bottleneck in bottlenecks(model).values():
            if optimizer is not None and bottleneck.removed is not None and len(bottleneck.removed.deleted):
                check_clearable(optimizer, bottleneck)
                clear_optimizer_rows(optimizer, bottleneck, bottleneck.removed.deleted)
        if args.push_to_hub:
            self.on_push_begin(args, state, control, model=model)

    def on_train_end(self, args, state, control, model=None, **kwargs):
        uphold_masks(model)

    def on_push_begin(self, args, state, control, model=None, **kwargs):
        repo_id = args.hub_model_id or Path(args.output_dir).absolute().name  # as the Trainer names it
        found = repo_id, deletions(model)
        if state.is_world_process_zero and found[1] and found != self._found_clean:
            check_no_older_weights(repo_id, token=args.hub_token)
            self._found_clean = found
