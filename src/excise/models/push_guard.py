"""Guard of a model's own push: what must hold where `Unlearner.push_to_hub` does not send it."""

from tempfile import TemporaryDirectory
from types import MethodType
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from excise.ledger.ledger import Ledger
from excise.storage.hub_repository import check_no_older_weights, local_files
from excise.storage.processes import by_main_process


def deletions(model: PreTrainedModel) -> list[int]:
    """The ids of the requests that deleted codes of a model."""
    return [request.id for request in Ledger.from_dict(model.config.unlearning).requests if request.kind == "delete"]


def check_push(
    model: PreTrainedModel,
    repo_id: str,
    *,
    max_shard_size: int | str = "50GB",
    token: str | bool | None = None,
    **_: Any,
) -> None:
    """Makes sure that a model with deletions is not pushed to where other weights have been before.

    Args:
        model: what is pushed, by its own `push_to_hub`.
        repo_id: where to.
        max_shard_size: as in `push_to_hub`.
        token: the same.

    Raises:
        ValueError: if there are any, at whatever revision: they could bring back what was deleted.
    """
    if deletions(model):
        with TemporaryDirectory() as folder:
            model.save_pretrained(folder, max_shard_size=max_shard_size)
            check_no_older_weights(repo_id, local_files(folder), token)


def guard_push(model: nn.Module) -> None:
    """Makes the `push_to_hub` of a `PeftModel`, which is peft's own, check as that of the model within it does.

    Args:
        model: the `PeftModel`. It, and copies of it, check; one that is loaded anew does not. Any other model is left
            as it is.
    """
    if hasattr(model, "get_base_model"):
        model.push_to_hub = MethodType(_checked_push, model)  # type: ignore[assignment]  # of this one alone


@by_main_process("repo_id")
def _checked_push(self: Any, repo_id: str, **kwargs: Any) -> Any:
    check_push(self, repo_id, **kwargs)
    return type(self).push_to_hub(self, repo_id, **kwargs)
