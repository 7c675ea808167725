"""Guard of a `Trainer`'s push, which sends a folder and so passes by the model's own guard."""

from pathlib import Path

from transformers import TrainerCallback

from excise.models.push_guard import deletions
from excise.storage.hub_repository import check_no_older_weights


class PushGuard(TrainerCallback):
    """Keeps a `Trainer` from pushing a model with deletions to where weights have been before.

    It looks when a training begins that is to push, so that none is in vain, and before each push. What the `Trainer`
    itself has pushed since the last deletion may be there.

    Raises:
        ValueError: if there are older weights, at whatever revision: they could bring back what was deleted.
    """

    _found_clean: tuple[str, list[int]] | None = None

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        if args.push_to_hub:
            self.on_push_begin(args, state, control, model=model)

    def on_push_begin(self, args, state, control, model=None, **kwargs):
        repo_id = args.hub_model_id or Path(args.output_dir).absolute().name  # as the Trainer names it
        found = repo_id, deletions(model)
        if state.is_world_process_zero and found[1] and found != self._found_clean:
            check_no_older_weights(repo_id, token=args.hub_token)
            self._found_clean = found
