"""Base checkpoints of bottlenecks that were saved without the rest of their model."""

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.core_model_loading import PrefixChange, WeightRenaming
from transformers.utils import (
    CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    cached_file,
)
from transformers.utils.hub import extract_commit_hash

from excise.storage.digests import sha256_of
from excise.storage.strict_json import checked, checked_fields, parsed

# Of another name than a model's weights, so that nothing that does not know of the base loads them as if whole.
BOTTLENECK_WEIGHTS = "bottlenecks.safetensors"
# Arguments of `from_pretrained` that hold for a base's files too.
ACCESS = ("token", "cache_dir", "local_files_only")


class BaseCheckpointError(ValueError):
    """The base of a model that was saved without it is gone, or is not the one that it was saved for."""


@dataclass(frozen=True)
class BaseCheckpoint:
    """The checkpoint that all but the bottlenecks of a model comes from, in exactly one state.

    Args:
        id: Hub id, or path of a local folder.
        revision: the commit's hash; `None` for a local folder.
        digest: SHA-256 of the files of its weights.
    """

    id: str
    revision: str | None
    digest: str

    @classmethod
    def pinned(cls, base: str | os.PathLike, revision: str | None = None, **access: Any) -> "BaseCheckpoint":
        """A checkpoint as it is now.

        Args:
            base: Hub id or local folder.
            revision: commit, branch or tag on the Hub; the commit that it is now is kept.
            **access: as `from_pretrained` takes them: `token`, `cache_dir`, `local_files_only`.

        Raises:
            BaseCheckpointError: if it cannot be had, or a revision of a local folder is asked for.
        """
        base = os.fspath(base)
        if Path(base).is_dir():
            if revision is not None:
                raise BaseCheckpointError(f"{base} is a local folder, which has no revision {revision!r}. Give None.")
        else:
            revision = extract_commit_hash(_file(base, revision, CONFIG_NAME, access, needed=True), None)
        return cls(base, revision, _digest_of_files(_weight_files(base, revision, access)))

    @classmethod
    def of(cls, config: PreTrainedConfig | dict[str, Any]) -> "BaseCheckpoint | None":
        """What a config names as the base of its bottlenecks, if it does.

        Raises:
            BaseCheckpointError: if it cannot be understood.
        """
        state = config.get("base_checkpoint") if isinstance(config, dict) else getattr(config, "base_checkpoint", None)
        if state is None:
            return None
        try:
            checked_fields(state, cls)
            return cls(**state)
        except ValueError as error:
            raise BaseCheckpointError(
                f"`base_checkpoint` in the config is no id, revision and digest: {error}"
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """What a config holds."""
        return asdict(self)

    def files(self, **access: Any) -> list[Path]:
        """Its files of weights, which are those that it was pinned with.

        Raises:
            BaseCheckpointError: if they are gone or others.
        """
        if self.revision is None and not Path(self.id).is_dir():
            raise BaseCheckpointError(
                f"The bottlenecks were saved for a base in the folder {self.id!r}, which is not there. Put it back."
            )
        files = _weight_files(self.id, self.revision, access)
        if _digest_of_files(files) != self.digest:
            raise BaseCheckpointError(
                f"The weights of the base {self}, are not those that the bottlenecks were saved for. Get back the ones "
                "that were, or save the whole model."
            )
        return files

    def weights(self, **access: Any) -> dict[str, Tensor]:
        """Its weights by the names that they have in its files; errors as `files`."""
        found: dict[str, Tensor] = {}
        for file in self.files(**access):
            if file.suffix == ".safetensors":
                found |= load_file(file)
            else:
                found |= torch.load(file, map_location="cpu", weights_only=True)
        return found

    def __str__(self) -> str:
        return f"{self.id} at {self.revision or 'the state of that time'}"


class PrefixLeftOut(PrefixChange):
    """A prefix of a base's names of weights that is left out in loading, and not put back in saving."""

    def reverse_transform(self) -> WeightRenaming:
        """Nothing is renamed."""
        return WeightRenaming("^$", "")


def _weight_files(base: str, revision: str | None, access: dict[str, Any]) -> list[Path]:
    for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME):
        file = _file(base, revision, name, access)
        if file is None:
            continue
        if not name.endswith(".json"):
            return [Path(file)]
        index = checked(parsed(Path(file).read_bytes(), name), dict[str, Any], name)
        shards = checked(index.get("weight_map"), dict[str, str], f"weight_map in {name}").values()
        return [Path(cast(str, _file(base, revision, shard, access, needed=True))) for shard in sorted(set(shards))]
    at = f" at revision {revision}" if revision else ""
    raise BaseCheckpointError(
        f"The base {base}{at} has no weights that can be had, neither {SAFE_WEIGHTS_NAME} nor {WEIGHTS_NAME}, whole or "
        "in shards: they are gone, or the Hub is out of reach."
    )


def _file(base: str, revision: str | None, name: str, access: dict[str, Any], needed: bool = False) -> str | None:
    access = {key: access[key] for key in ACCESS if key in access}
    try:
        return cached_file(
            base,
            name,
            revision=revision,
            _raise_exceptions_for_missing_entries=needed,
            _raise_exceptions_for_connection_errors=needed,
            **access,
        )
    except OSError as error:
        at = f" at revision {revision}" if revision else ""
        raise BaseCheckpointError(
            f"The base {base}{at} cannot be had: it is gone, private, or the Hub is out of reach. {error}"
        ) from error


def _digest_of_files(files: list[Path]) -> str:
    sha = hashlib.sha256()
    for file in files:
        sha.update(sha256_of(file).encode())
    return sha.hexdigest()
