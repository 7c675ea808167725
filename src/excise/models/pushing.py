"""What has to be so before a model is pushed by others than `Unlearner.push_to_hub`."""

from tempfile import TemporaryDirectory

from torch import nn

from excise.ledger import Ledger
from excise.repository import check_no_older_weights, local_files


def deletions(model: nn.Module) -> list[int]:
    """The ids of the requests that deleted codes of a model."""
    return [request.id for request in Ledger.from_dict(model.config.unlearning).requests if request.kind == "delete"]


def check_push(
    model: nn.Module, repo_id: str, *, max_shard_size: int | str = "50GB", token: str | bool | None = None, **_
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
