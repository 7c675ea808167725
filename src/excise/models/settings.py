"""Settings of a model with bottlenecks: arguments that become them, and checks."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedConfig, PreTrainedModel

from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig
from excise.bottlenecks.registry import kind_class

Part = TypeVar("Part", bound=PreTrainedConfig)


def sub_config(part: dict[str, Any] | Part | None) -> Part:
    """The settings within a config that is made: what is given as a dict, or not at all, is settings from then on."""
    return cast(Part, part)


def check_layers(layers: Sequence[int], num_layers: int, what: str) -> None:
    """Refuses sites that the model does not have.

    Args:
        layers: numbers of the layers that get a bottleneck.
        num_layers: layers that there are.
        what: what a layer is called, as `encoder block`.
    """
    if not layers or len(set(layers)) != len(layers) or not all(0 <= i < num_layers for i in layers):
        raise ValueError(
            f"`bottleneck_layers` is {list(layers)}; it must name one or more different {what}s, from 0 to "
            f"{num_layers - 1} in this model."
        )


def check_width(bottleneck: PreTrainedConfig, name: str, width: int) -> None:
    """Refuses a bottleneck that does not sit in a layer, or for activations of another width than the model's.

    Args:
        bottleneck: its settings.
        name: what the width is called in the model's config.
        width: of the model's activations.
    """
    if not hasattr(bottleneck, "penalty"):
        raise ValueError(
            f"The settings are of another kind of bottleneck: a {bottleneck.model_type!r} does not sit in a layer of "
            "this model. Give settings that have a `penalty`, such as a CodebookSAEConfig."
        )
    if bottleneck.hidden_size != width:
        raise ValueError(
            f"The bottleneck's `hidden_size` is {bottleneck.hidden_size}, but the model's `{name}` is {width}. "
            "Leave `hidden_size` out to have it filled in."
        )


# What `from_pretrained` of transformers takes beside the arguments that its signature names.
LOADING = (
    *("attn_implementation", "adapter_kwargs", "adapter_name", "allow_all_kernels", "device_map", "device_mesh"),
    *("distributed_config", "dtype", "experts_implementation", "generation_config", "gguf_file", "kernel_config"),
    *("key_mapping", "load_in_4bit", "load_in_8bit", "low_cpu_mem_usage", "max_memory", "offload_buffers"),
    *("offload_folder", "offload_state_dict", "output_loading_info", "proxies", "quantization_config", "state_dict"),
    *("subfolder", "torch_dtype", "tp_plan", "tp_size", "tqdm_class", "trust_remote_code", "use_kernels", "variant"),
)
# Those that a message names.
USUAL = "dtype, device_map, revision, token, cache_dir, local_files_only, subfolder, attn_implementation"


def field_names(config: PreTrainedConfig | type[PreTrainedConfig]) -> list[str]:
    """The names of a config's own fields: not those that all configs have."""
    made = config if isinstance(config, type) else type(config)
    classes = [one for one in reversed(made.__mro__) if issubclass(one, PreTrainedConfig)][1:]
    names = [name for one in classes for name in inspect.get_annotations(one)]
    return [name for name in dict.fromkeys(names) if name not in vars(PreTrainedConfig) and name != "codes_id"]


def sorted_out(
    given: Mapping[str, Any], bottleneck: Any, plain: PreTrainedConfig
) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """The arguments of a `from_base` by what they are for: loading, the bottleneck's settings, the model's.

    Args:
        given: arguments by name, beside those that `from_base` names.
        bottleneck: its settings so far: of any kind, JSON values, or `None`.
        plain: the config of the plain model.

    Returns:
        The arguments of `from_pretrained`, the bottleneck's settings with those given on top, and fields of the plain
        model's config.

    Raises:
        ValueError: if the settings are none, or a name is none of all these. The message lists the fields.
    """
    if not isinstance(bottleneck, PreTrainedConfig | Mapping | None):
        raise ValueError(
            f"bottleneck={bottleneck!r}: expected settings, such as CodebookSAEConfig(num_codes=4096), or None. Single "
            "settings go by their names, as num_codes=4096."
        )
    of_bottleneck = field_names(_settings_class(bottleneck))
    own = [name for name in field_names(plain) if name not in of_bottleneck]
    takes = {name for name in own if isinstance(getattr(plain, name), float | bool) or name.endswith("_token_id")}
    of_model = [name for name in own if name in takes and name != "is_decoder"]
    loading = {*inspect.signature(PreTrainedModel.from_pretrained).parameters, *LOADING}
    for name in given:
        if name in own and name not in of_model:
            raise ValueError(
                f"`{name}` is {getattr(plain, name)!r} in the base, whose weights are made for that, so from_base "
                f"takes no other. Of the base's settings it takes {', '.join(of_model)}."
            )
        if name not in (known := {*of_bottleneck, *of_model, *loading}):
            near = get_close_matches(name, sorted({*known, "bottleneck", "layers"}))
            raise ValueError(
                f"`{name}` is no setting that from_base knows. "
                + (f"Did you mean {' or '.join(f'`{one}`' for one in near)}? " if near else "")
                + f"Fields of the bottleneck: {', '.join(of_bottleneck)}. Of the model: {', '.join(of_model)}. "
                f"Of the loading: {USUAL} and the others of from_pretrained."
            )
    fields = {name: value for name, value in given.items() if name in of_bottleneck}
    settings = bottleneck
    if fields:
        before = bottleneck.to_dict() if isinstance(bottleneck, PreTrainedConfig) else dict(bottleneck or {})
        settings = before | fields
    rest = {name: value for name, value in given.items() if name in of_model}
    return {name: value for name, value in given.items() if name not in (*fields, *rest)}, settings, rest


def _settings_class(bottleneck: PreTrainedConfig | Mapping[str, Any] | None) -> type[PreTrainedConfig]:
    if isinstance(bottleneck, PreTrainedConfig):
        return type(bottleneck)
    kind = (bottleneck or {}).get("model_type", CodebookSAEConfig.model_type)
    return kind_class(kind).config_class


@contextmanager
def said_as_value_errors() -> Iterator[None]:
    """A context in which a value of a wrong type for a config's field raises a `ValueError`, as other values do."""
    try:
        yield
    except StrictDataclassError as error:
        raise ValueError(" ".join(str(error).split())) from error
