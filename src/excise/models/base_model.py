"""Base model of one with bottlenecks: a plain checkpoint on disk or the Hub, or a plain model in memory."""

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from excise.bottlenecks.site import has_bottlenecks, unwrapped
from excise.storage.expected import described


@dataclass(frozen=True)
class BaseModel:
    """What `from_base` puts bottlenecks on.

    Attributes:
        config: of the plain model.
        path: Hub id or local path that its weights come from; `None` of a model in memory.
        model: the model in memory.
    """

    config: PreTrainedConfig
    path: str | os.PathLike | None = None
    model: PreTrainedModel | None = None

    @classmethod
    def of(cls, base: Any, kind: str, **hub: Any) -> "BaseModel":
        """What was given as the base.

        Args:
            base: Hub id, local path or model.
            kind: what the plain model is called in messages.
            **hub: as `from_pretrained` takes them: `revision`, `token`, ...

        Raises:
            ValueError: if it is none of these, or a model that has bottlenecks already, has no weights in memory, or
                holds an adapter.
        """
        if isinstance(base, str | os.PathLike) and os.fspath(base):
            return cls(AutoConfig.from_pretrained(base, **hub), path=base)
        if hasattr(base, "model") and hasattr(base, "preprocess"):  # a pipeline
            raise ValueError(f"{described(base)} was given; expected a plain {kind}. Give its model: pipe.model.")
        model = unwrapped(base) if isinstance(base, nn.Module) else base
        if hasattr(model, "get_base_model"):
            raise ValueError(
                f"{described(model)} was given; from_base takes a plain {kind}, without an adapter. Merge it first, by "
                "`model.merge_and_unload()`, or put a new adapter on the model that from_base makes."
            )
        if not isinstance(model, PreTrainedModel):
            raise ValueError(
                f"{described(base)} was given as the base; expected a plain {kind}: a Hub id, a local path, or a model "
                "in memory."
            )
        if has_bottlenecks(model):
            raise ValueError(
                f"A {type(model).__name__} has bottlenecks already, so it needs no from_base: use it as it is. "
                f"from_base takes a plain {kind}."
            )
        if any(parameter.is_meta for parameter in model.parameters()):
            raise ValueError("Weights of the model are not in memory: load it without a device map that offloads them.")
        return cls(model.config, model=model)

    def is_no(self, kind: str) -> str:
        """What to say of a base that is another kind of model."""
        return (
            f"{self} is a {self.config.model_type!r} model; from_base takes a plain {kind}. "
            "Use from_pretrained for a checkpoint that has bottlenecks already."
        )

    def on_the_hub(self) -> dict[str, str | None] | None:
        """Id and revision by which others can have it too; `None` of a folder, which is of no use to them."""
        name = os.fspath(self.path) if self.path is not None else self.config.name_or_path
        if not name or Path(name).exists():
            return None
        try:
            validate_repo_id(name)
        except HFValidationError:
            return None
        return {"id": name, "revision": getattr(self.config, "_commit_hash", None)}

    def weights(self, loading: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by which `from_pretrained` takes copies of the weights of a model in memory.

        Raises:
            ValueError: if an argument is only for what is loaded from somewhere.
        """
        if self.model is None:
            return {}
        if of_files := sorted({"revision", "subfolder", "state_dict"} & loading.keys()):
            raise ValueError(f"{', '.join(of_files)}: a model in memory has one state, which is taken. Leave it out.")
        return {
            "state_dict": {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()},
            "dtype": self.model.dtype,
        }

    def finish(self, model: Any, loading: Mapping[str, Any]) -> None:
        """Gives a new model what else is taken over from one in memory: device, settings of generation, its name."""
        if self.model is None:
            return
        if "device_map" not in loading:
            model.to(self.model.device)
        if model.can_generate():
            model.generation_config = copy.deepcopy(self.model.generation_config)
        model.name_or_path = model.config.name_or_path = cast(str, self.config.name_or_path)

    def __str__(self) -> str:
        if self.path is not None:
            return os.fspath(self.path)
        return f"The {type(self.model).__name__} in memory"
