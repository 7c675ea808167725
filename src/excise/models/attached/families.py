"""Families of models that bottlenecks are attached to by the number of a layer: where their layers are.

A family is a line here. Of any other model a layer is named by its path, as `model.get_submodule` takes it.
"""

from dataclasses import dataclass

# The beginnings of the names of what is made of a plain model: its model type, and its classes.
ATTACHED_TYPE, ATTACHED_CLASS = "bottlenecked_", "Bottlenecked"
# The parts of a layer that has norms before attention and feed-forward: norm, attention, norm, feed-forward.
LLAMA = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
CLIP = ("layer_norm1", "self_attn", "layer_norm2", "mlp")


@dataclass(frozen=True)
class Family:
    """Where the layers of a family of models are.

    Args:
        layers: path of the list of layers, from the base model (`model.base_model`). Of models with an encoder and a
            decoder it is the encoder's, of those of images and texts the one of images.
        decoder: whether it is a decoder, whose first token has an activation like no other.
        parts: of a layer, by which a bottleneck can sit after attention and residual; none where that is a module of
            the layer, or it adds attention and feed-forward at once.
        attention: the module of a layer that puts out attention and residual, where there is one.
    """

    layers: str
    decoder: bool = False
    parts: tuple[str, str, str, str] | None = None
    attention: str | None = None


# By `model_type` of the config.
FAMILIES = {
    "bart": Family("encoder.layers", attention="self_attn_layer_norm"),
    "bert": Family("encoder.layer", attention="attention"),
    "clip": Family("vision_model.encoder.layers", parts=CLIP),
    "clip_vision_model": Family("encoder.layers", parts=CLIP),
    "dinov2": Family("encoder.layer"),
    "distilbert": Family("transformer.layer"),
    "electra": Family("encoder.layer", attention="attention"),
    "gemma": Family("layers", decoder=True, parts=LLAMA),
    "gemma2": Family("layers", decoder=True),
    "gemma3_text": Family("layers", decoder=True),
    "gpt2": Family("h", decoder=True),
    "gpt_neox": Family("layers", decoder=True),
    "llama": Family("layers", decoder=True, parts=LLAMA),
    "marian": Family("encoder.layers", attention="self_attn_layer_norm"),
    "mistral": Family("layers", decoder=True, parts=LLAMA),
    "modernbert": Family("layers"),
    "mt5": Family("encoder.block", attention="layer.0"),
    "olmo2": Family("layers", decoder=True),
    "opt": Family("decoder.layers", decoder=True),
    "phi": Family("layers", decoder=True),
    "phi3": Family("layers", decoder=True),
    "qwen2": Family("layers", decoder=True, parts=LLAMA),
    "qwen3": Family("layers", decoder=True, parts=LLAMA),
    "roberta": Family("encoder.layer", attention="attention"),
    "siglip": Family("vision_model.encoder.layers", parts=CLIP),
    "siglip_vision_model": Family("vision_model.encoder.layers", parts=CLIP),
    "smollm3": Family("layers", decoder=True, parts=LLAMA),
    "t5": Family("encoder.block", attention="layer.0"),
    "umt5": Family("encoder.block", attention="layer.0"),
    "vit": Family("layers"),
    "whisper": Family("encoder.layers"),
    "xlm-roberta": Family("encoder.layer", attention="attention"),
}


def families() -> list[str]:
    """The `model_type`s whose layers are known by number, in alphabetical order."""
    return sorted(FAMILIES)


def known(model_type: str) -> Family:
    """The family of a model type.

    Raises:
        ValueError: if it is not known. The message says what to give.
    """
    if model_type not in FAMILIES:
        raise ValueError(
            f"The layers of a {model_type!r} model are not known by number. Give their paths, as "
            '`attach(model, layers=["model.layers.3"])`; `print(model)` shows them. Known by number are '
            f"{', '.join(families())}."
        )
    return FAMILIES[model_type]


__all__ = ["ATTACHED_CLASS", "ATTACHED_TYPE", "FAMILIES", "Family", "families", "known"]
