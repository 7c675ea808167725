"""Sites: the places in a model where bottlenecks sit."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from transformers import PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.tracing import current_trace
from excise.storage.expected import ARGUMENTS

AnyModule = TypeVar("AnyModule", bound=nn.Module)

# Layers whose bottleneck is left out, by `id`: of this thread alone, so that nobody else is served without it, and not
# on the layers, so that no copy of them keeps it.
_left_out: ContextVar[frozenset[int]] = ContextVar("excise_left_out", default=frozenset())


class BottleneckSite:
    """Mixed into a layer whose output goes through a bottleneck. `site` is the name it goes by everywhere."""

    site: str
    bottleneck: nn.Module

    def attach(self, site: str, bottleneck: nn.Module) -> None:
        """Puts a bottleneck at the end of this layer."""
        self.site = site
        self.bottleneck = bottleneck

    def pass_through_bottleneck(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """What the bottleneck lets through; its whole output goes to the open trace.

        Args:
            hidden_states: `(batch, seq, dim)`.
            attention_mask: `(batch, seq)`, 0 at padding; nothing is padding without it.
        """
        if not torch.compiler.is_compiling() and id(self) in _left_out.get():
            return hidden_states
        first = current_trace().first
        if getattr(self.bottleneck, "first_token", None) is None or first is None:
            output = self.bottleneck(hidden_states, attention_mask=attention_mask)
            self._note(output, attention_mask)
            return output.reconstruction
        first = first.to(hidden_states.device)
        others = ~first if attention_mask is None else attention_mask.to(first.device).bool() & ~first
        output = self.bottleneck(hidden_states, attention_mask=others)
        self._note(output, others)
        constant = cast(Tensor, self.bottleneck.first_token).to(hidden_states.dtype)
        output.reconstruction = torch.where(first[..., None], constant, output.reconstruction)
        return output.reconstruction

    def _note(self, output: Any, counted: Tensor | None) -> None:
        traced = current_trace()
        traced.outputs[self.site], traced.counted[self.site] = output, counted


@contextmanager
def left_out(model: nn.Module) -> Iterator[None]:
    """A context in which a model computes what the plain class of the same weights does: no bottleneck runs.

    So does whoever fills the plain class with its tensors. Neither masks nor deletions matter then, as they stand in
    the bottlenecks. It holds in this thread alone, and compiled models run uncompiled inside.

    Args:
        model: a model with bottlenecks in its layers.

    Raises:
        ValueError: if a bottleneck cannot be left out, as what comes after is made by it, or the model has none.
    """
    if reason := needed(model):
        raise ValueError(reason)
    layers = frozenset(map(id, _sites(model)))
    token = _left_out.set(_left_out.get() | layers)
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        _left_out.reset(token)


def is_left_out(model: nn.Module) -> bool:
    """Whether a model runs without its bottlenecks now; a model that has none does not."""
    layers = _left_out.get()
    return bool(layers) and any(id(module) in layers for module in model.modules())


def needed(model: nn.Module) -> str | None:
    """Why a model gives no answer without its bottlenecks; `None` where it does."""
    return next((bottleneck.needed for bottleneck in bottlenecks(model).values() if bottleneck.needed), None)


def bottleneck_copies(model: nn.Module) -> dict[str, list[Bottleneck]]:
    """Every bottleneck of a model by site, in the order in which they run.

    There is one at each site, but for peft's `modules_to_save`, which keeps the original beside the trained copies.

    Raises:
        ValueError: if the model has none.
    """
    return {
        layer.site: [module for module in layer.bottleneck.modules() if isinstance(module, Bottleneck)]
        for layer in _sites(model)
    }


def bottlenecks(model: nn.Module) -> dict[str, Bottleneck]:
    """The bottleneck in use at each site, in the order in which they run.

    Raises:
        ValueError: if the model has none.
    """
    return {layer.site: in_use(layer.bottleneck) for layer in _sites(model)}


def is_of_bottleneck(name: str) -> bool:
    """Whether a tensor of a model is a bottleneck's, by its name.

    Example:
        >>> is_of_bottleneck("bottleneck.keys"), is_of_bottleneck("encoder.block.0.layer.0.SelfAttention.q.weight")
        (True, False)
    """
    return ".bottleneck." in f".{name}"


def unwrapped(model: AnyModule) -> AnyModule:
    """The model that `torch.compile`, `DistributedDataParallel` or `DataParallel` wrapped; any other as it is.

    Raises:
        ValueError: if it is no model, or its weights are spread over processes, as by FSDP, tensor parallelism or
            DeepSpeed's ZeRO-3.
    """
    ARGUMENTS["model"].check(model, "model")
    while True:
        inner = getattr(model, "_orig_mod", model)
        if isinstance(inner, DataParallel | DistributedDataParallel):
            inner = inner.module
        if inner is model:
            break
        model = inner
    if is_spread(model):
        raise ValueError(
            "The model's weights are spread over several processes, none of which has all of a row. Save it whole, as "
            "by `trainer.save_model` or `accelerator.get_state_dict`, and load that."
        )
    return model


def is_spread(model: nn.Module) -> bool:
    """Whether a model's weights are spread over processes, which then run its layers together."""
    return any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()) or any(
        hasattr(weight, "full_tensor") or hasattr(weight, "ds_id") for weight in model.parameters()
    )


def has_bottlenecks(model: nn.Module) -> bool:
    """Whether a model has bottlenecks, as baselines and references may not have."""
    return any(isinstance(layer, BottleneckSite) for layer in model.modules())


def _sites(model: nn.Module) -> list[BottleneckSite]:
    ARGUMENTS["model"].check(model, "model")
    sites: list[BottleneckSite] = [layer for layer in model.modules() if isinstance(layer, BottleneckSite)]
    if not sites:
        message = f"{type(model).__name__} has no bottleneck. {_way_to_one(model)}"
        raise ValueError(message)
    return sites


# By the model type of a plain model, what gives it a bottleneck.
WAYS = dict.fromkeys(("t5", "mt5", "umt5"), "CodebookT5ForConditionalGeneration.from_base(model)")
WAYS |= dict.fromkeys(("clip", "clip_vision_model"), "CodebookCLIPModel.from_base(model)")
SUPPORTED = """\
excise works on T5, Flan-T5, mT5 and UMT5 (`CodebookT5ForConditionalGeneration.from_base`), on CLIP \
(`CodebookCLIPModel.from_base`), on frozen vision encoders (`from_encoder`), and on any other model of transformers \
that `attach` has put bottlenecks into."""


def _way_to_one(model: nn.Module) -> str:
    """How a model gets a bottleneck, or that none of its kind does so far."""
    if hasattr(model, "get_base_model"):
        of: nn.Module = model.get_base_model()  # type: ignore[operator]
        return f"Merge the adapter first, by `model.merge_and_unload()`, then: {_way_to_one(of)}"
    kind = getattr(getattr(model, "config", None), "model_type", None)
    if kind in WAYS:
        return (
            f"Give it one by `{WAYS[kind]}` and train it with that, as in README's examples, or load one that was "
            "saved by `Unlearner.from_pretrained(...)`."
        )
    if getattr(model, "main_input_name", None) == "pixel_values":
        return f"{SUPPORTED} For this one: a key-value classifier, by `from_encoder(path, num_labels=...)`."
    if isinstance(model, PreTrainedModel):
        return (
            f"{SUPPORTED} Put some into this {kind!r} model by `attach(model, layers=[...])`, and train it with them, "
            "or load one that was saved by `Unlearner.from_pretrained(...)`."
        )
    return f"{SUPPORTED} Take one of these, or load one that was saved by `Unlearner.from_pretrained(...)`."


def adapted_codes(model: nn.Module) -> dict[str, str]:
    """By site, the parameter of its bottleneck that an adapter of peft adds to, such as a LoRA on the codebook."""
    return {layer.site: str(layer.bottleneck.parameter_name) for layer in _sites(model) if _on_a_parameter(layer)}


def check_erasable(model: nn.Module) -> None:
    """Makes sure that codes of a model can be chosen and erased.

    Raises:
        ValueError: if it has no bottleneck, a device map has put one on disk, or an adapter adds to codes.
    """
    if any(tensor.is_meta for bottleneck in bottlenecks(model).values() for tensor in bottleneck.state_dict().values()):
        raise ValueError("A device map has put bottlenecks on disk, where nothing can be erased. Load without it.")
    if adapted := adapted_codes(model):
        raise ValueError(
            f"An adapter adds to {adapted}, codes that would be chosen and deleted without what it adds. Merge it "
            "first, by `model.merge_and_unload()`."
        )


def _on_a_parameter(layer: BottleneckSite) -> bool:
    return hasattr(layer.bottleneck, "base_layer")


def in_use(bottleneck: Any) -> Bottleneck:
    """The bottleneck that a layer runs: what is inside of an adapter's wrapper around its `bottleneck`."""
    while not isinstance(bottleneck, Bottleneck) and hasattr(bottleneck, "base_layer"):
        bottleneck = bottleneck.base_layer  # what an adapter adds to one of its parameters is not seen here
    if isinstance(bottleneck, Bottleneck):
        return bottleneck
    wrapper = bottleneck  # peft's, of a module to save: the original, and a copy for each adapter
    active = [name for name in wrapper.active_adapters if name in wrapper.modules_to_save]
    if wrapper.disable_adapters or not active:
        return wrapper.original_module
    return wrapper.modules_to_save[active[0]]
