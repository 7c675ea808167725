"""Mixin of every model with bottlenecks: loading with a check of masks, exact checkpointing, a guarded push."""

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, cast

from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedConfig
from transformers.utils import PushToHubMixin, cached_file

from excise.bottlenecks.guard import uphold, warn_of_unknown
from excise.bottlenecks.site import bottleneck_copies, bottlenecks, has_bottlenecks, is_of_bottleneck
from excise.bottlenecks.tracing import Checkpointed
from excise.ledger.embeddings import before_pickling
from excise.ledger.ledger import Ledger
from excise.ledger.masks import check_model, guard, upheld_state, uphold_masks
from excise.models.base_checkpoint import ACCESS, BOTTLENECK_WEIGHTS, BaseCheckpoint, BaseCheckpointError
from excise.models.base_model import BaseModel
from excise.models.plain import KEY_MAPPING, own_name, read_hidden_names, saved_names
from excise.models.push_guard import check_push
from excise.models.settings import said_as_value_errors, sorted_out
from excise.storage.processes import by_main_process

OF_THE_HUB = ("revision", "token", "cache_dir", "local_files_only", "subfolder")


class Bottlenecked(Checkpointed):
    """Mixed into a model of transformers, before it. Its config's `unlearning` is the ledger."""

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """As in transformers. A mask that is not the one its ledger tells of raises a `ValueError`.

        Of bottlenecks that were saved without the rest of their model, the rest is fetched at the revision that they
        were saved for; a `BaseCheckpointError`, a `ValueError` too, says that it is gone or another.
        """
        base = cls._base_of(*args, **kwargs)
        kwargs["key_mapping"] = {**KEY_MAPPING, **(kwargs.get("key_mapping") or {})}
        loaded = super().from_pretrained(*args, **kwargs) if base is None else cls._on_base(base, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        check_model(model)
        guard(model, vouched=True)
        if not cls.is_remote_code():  # it names code in the folder, which saving this model will not write again
            vars(model.config).pop("auto_map", None)
        return loaded

    def post_init(self) -> None:
        """As in transformers, and tells the bottlenecks' guards what the config's ledger has removed."""
        super().post_init()
        if has_bottlenecks(self):  # the plain class calls this before they are attached
            self.watch()

    def watch(self) -> None:
        """Has what is loaded read by hidden names too, and upheld by what the config's ledger has removed."""
        self.watching = (
            self.register_load_state_dict_pre_hook(read_hidden_names),
            self.register_load_state_dict_post_hook(_uphold_loaded),
        )
        guard(self, vouched=False)

    def unwatch(self) -> None:
        """Ends what `watch` began."""
        for handle in self.watching:
            handle.remove()
        del self.watching

    @property
    def _keys_to_ignore_on_save(self) -> set[str]:
        """Tied names, as a `Trainer` asks which weights may be missing in its own checkpoint without a warning."""
        return tied_names(self)

    @_keys_to_ignore_on_save.setter
    def _keys_to_ignore_on_save(self, names: Any) -> None:
        """What transformers collects in `post_init` may be of weights that are tied no more."""

    def __getstate__(self) -> dict[str, Any]:
        """What is copied or pickled, as by `torch.save(model)`, has no row that came back."""
        before_pickling(self)
        return dict(vars(self))

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As in transformers, but that no plain model can be filled from what is saved while requests are in force.

        The names of tensors then begin with `excise.`. `load_state_dict` and `from_pretrained` of excise's models and
        of remote code read both names.

        Raises:
            MaskMismatchError: if the masks are not those of the ledger. Masks and rows that something has lifted since
                they were set are put in force again, with a warning.
        """
        uphold_masks(self)
        if kwargs.get("state_dict") is not None:
            kwargs["state_dict"] = upheld_state(self, kwargs["state_dict"])
        hidden = bool(Ledger.from_dict(self.config.unlearning).requests_in_force())
        if hidden:
            if kwargs.get("distributed_checkpoint"):
                raise ValueError(
                    "distributed_checkpoint=True writes tensors by names that a plain model of transformers reads, and "
                    "requests to forget are in force. Save without it."
                )
            kwargs["save_original_format"] = True  # what gives the names
            if getattr(self, "_hf_peft_config_loaded", False):
                warnings.warn(
                    "An adapter was added to the model itself, so it alone is saved, without masks and ledger: "
                    "put on another copy of the base, nothing is forgotten. Put it on with peft, and save by "
                    "`Unlearner.save_pretrained`.",
                    stacklevel=2,
                )
        with saved_names(self, hidden):
            super().save_pretrained(save_directory, *args, **kwargs)

    @by_main_process("repo_id")
    @wraps(PushToHubMixin.push_to_hub, assigned=())
    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:  # type: ignore[override]  # `wraps` keeps the signature
        """As in transformers, but that a model with deletions is not pushed to where weights have been before.

        Raises:
            ValueError: if there are any, at whatever revision: they could bring back what was deleted. With
                `purge_history=True`, `Unlearner.push_to_hub` removes them.
        """
        check_push(self, repo_id, **kwargs)
        return super().push_to_hub(repo_id, **kwargs)  # type: ignore[arg-type]  # transformers wraps its own, too

    @classmethod
    def _base_of(
        cls,
        pretrained_model_name_or_path: str | os.PathLike | None = None,
        *_: Any,
        config: PreTrainedConfig | str | os.PathLike | None = None,
        **kwargs: Any,
    ) -> BaseCheckpoint | None:
        if isinstance(config, PreTrainedConfig):
            return BaseCheckpoint.of(config)
        with suppress(OSError):  # transformers says better what is wrong
            if folder := config or pretrained_model_name_or_path:
                return BaseCheckpoint.of(PreTrainedConfig.get_config_dict(folder, **_hub(kwargs))[0])
        return None

    @classmethod
    def _on_base(
        cls,
        base: BaseCheckpoint,
        pretrained_model_name_or_path: str | os.PathLike,
        *args: Any,
        config: PreTrainedConfig | str | os.PathLike | None = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        folder = pretrained_model_name_or_path
        if not isinstance(config, PreTrainedConfig):
            config = cast(type[PreTrainedConfig], cls.config_class).from_pretrained(config or folder, **_hub(kwargs))
        weights = load_file(cast(str, cached_file(os.fspath(folder), BOTTLENECK_WEIGHTS, **_hub(kwargs))))
        model, loading = cls._assembled(base, config, weights, *args, **kwargs)
        vars(model.config).pop("base_checkpoint", None)  # saved again, the model is whole
        model.name_or_path = model.config.name_or_path = os.fspath(folder)
        if model.can_generate():
            with suppress(OSError):  # there need not be any settings
                model.generation_config = GenerationConfig.from_pretrained(folder, **_hub(kwargs))
        return (model, loading) if output_loading_info else model

    @classmethod
    def _assembled(
        cls, base: BaseCheckpoint, config: PreTrainedConfig, weights: dict[str, Tensor], *args: Any, **kwargs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """A model of its bottlenecks' weights and a base's, and what transformers says of the loading.

        Raises:
            BaseCheckpointError: if the base is gone or another, or lacks weights.
        """
        access = {key: kwargs.get(key) for key in ACCESS if key in kwargs}
        rest = {
            own_name(name): tensor
            for name, tensor in cls._base_weights(base, config, **access).items()
            if not is_of_bottleneck(name)
        }
        kwargs = {key: value for key, value in kwargs.items() if key not in OF_THE_HUB}
        loaded: Any = super().from_pretrained(
            None, *args, config=config, state_dict=rest | weights, output_loading_info=True, **kwargs
        )
        model, loading = loaded
        if lost := sorted(loading["missing_keys"]):
            raise BaseCheckpointError(f"The base {base} lacks weights of the model: {lost[:5]} ({len(lost)} in all).")
        return model, loading

    @classmethod
    def _base_weights(cls, base: BaseCheckpoint, config: PreTrainedConfig, **access: Any) -> dict[str, Tensor]:
        """A base's weights by the names that they have in a checkpoint of this model."""
        return base.weights(**access)

    @classmethod
    def _from_plain(
        cls,
        base: str | os.PathLike | nn.Module,
        plain: tuple[type[PreTrainedConfig], ...],
        kind: str,
        make_config: Callable[[PreTrainedConfig, Any], PreTrainedConfig],
        bottleneck: Any = None,
        new: tuple[str, ...] = (),
        **kwargs: Any,
    ) -> Any:
        """A plain model with new bottlenecks; every base weight is as it was.

        Args:
            base: Hub id, local path, or a model in memory, whose weights are copied.
            plain: the classes of config that a plain model has.
            kind: what such a model is called in messages.
            make_config: makes the config with bottlenecks of the plain one and the bottleneck's settings.
            bottleneck: those settings so far.
            new: beginnings of the names of further weights that the base need not have.
            **kwargs: fields of the bottleneck's settings or of the plain config; others go on to `from_pretrained`.

        Raises:
            ValueError: if `base` is no such model, or lacks weights that one has; or an argument has no such name.
        """
        source = BaseModel.of(base, kind, **_hub(kwargs))
        if type(source.config) not in plain:
            raise ValueError(source.is_no(kind))
        loading, bottleneck, fields = sorted_out(kwargs, bottleneck, source.config)
        informed = loading.pop("output_loading_info", False)
        with said_as_value_errors():
            plain_config = type(source.config).from_dict(source.config.to_dict() | fields) if fields else source.config
            config = make_config(plain_config, bottleneck)
        if where := source.on_the_hub():
            config.base_model = where
        with no_load_report():
            model, info = cls.from_pretrained(
                source.path, config=config, output_loading_info=True, **source.weights(loading) | loading
            )
        lost = [key for key in info["missing_keys"] if not is_of_bottleneck(key) and not key.startswith(new)]
        if lost:
            raise ValueError(f"{source} lacks weights of a {kind}: {sorted(lost)[:5]} ({len(lost)} in all).")
        source.finish(model, loading)
        return (model, info) if informed else model


def _uphold_loaded(model: Any, incompatible: Any) -> None:
    """Hook after `load_state_dict`, as of a resumed training, a best model or an average.

    A file of several may have some of a bottleneck. Of what was never right the rest is waited for, till it runs.
    """
    absent = [name for name in incompatible.missing_keys if is_of_bottleneck(name)]
    copies = bottleneck_copies(model)
    for site, bottleneck in bottlenecks(model).items():
        waits = absent and bottleneck.removed is not None and not bottleneck.removed.vouched
        if not bottleneck.live.is_meta and not waits:
            uphold(bottleneck)
            if warn_of_unknown(bottleneck):
                for other in copies[site]:  # so that switching an adapter off does not bring them back
                    other.live.logical_and_(bottleneck.live.to(other.live.device))


@contextmanager
def no_load_report() -> Iterator[None]:
    """While a model is made of another: no table of weights that are new in it, or that it has no place for.

    Who makes one looks himself for what must not be missing. Other threads' tables are shown.
    """
    logger, thread = logging.getLogger("transformers.modeling_utils"), threading.get_ident()

    def shown(record: logging.LogRecord) -> bool:
        return record.thread != thread or "LOAD REPORT" not in record.getMessage()

    logger.addFilter(shown)
    try:
        yield
    finally:
        logger.removeFilter(shown)


def tied_names(model: Any) -> set[str]:
    """The names of weights that are one in memory with another that is saved: of tied ones a file has the first."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    return {name for name, source in tied.items() if model.get_parameter(name) is model.get_parameter(source)}


def as_model_type(config: PreTrainedConfig, model_type: str) -> dict[str, Any]:
    """A plain config's settings, for a config of another model type.

    `OurConfig.from_pretrained(base)` would keep the plain model's type in memory.
    """
    return config.to_dict() | {"architectures": None, "model_type": model_type}


def _hub(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: kwargs[key] for key in OF_THE_HUB if key in kwargs}
