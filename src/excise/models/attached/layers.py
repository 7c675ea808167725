"""Layers with a bottleneck: subclasses of those of a plain model, so that its weights keep their names."""

import copyreg
from functools import cache, wraps
from typing import Any, cast

from torch import Tensor, nn

from excise.bottlenecks.site import BottleneckSite
from excise.bottlenecks.tracing import current_trace
from excise.models.attached.families import ATTACHED_CLASS


class Remade:
    """Mixed into a class that stands in no module, as it is made of a plain one: where it is read it is made anew.

    Attributes:
        plain: the class that it is made of.
        recipe: the function that makes it, and its arguments.
    """

    plain: Any
    recipe: tuple[Any, ...]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """What pickle and `copy.deepcopy` make another of."""
        reduced: Any = super().__reduce_ex__(protocol)
        return _new_of, self.recipe, *reduced[2:]


class AttachedSite(Remade, BottleneckSite):
    """A layer of a plain class that has been given a bottleneck: at its end, or after its attention and residual.

    Attributes:
        parts: what `Family.parts` names, where the bottleneck sits after attention and residual; `None` at the end.
        sees_padding: whether the model's attention mask is of the tokens that this layer has.
    """

    plain: type[nn.Module]
    parts: tuple[str, ...] | None
    sees_padding: bool = False

    def passed(self, hidden_states: Tensor) -> Tensor:
        """What the bottleneck lets through of activations `(batch, seq, dim)`.

        Raises:
            ValueError: if it has run already, as in an ALBERT, whose layers are one: codes and loss would be those of
                the last run alone.
        """
        if self.site in current_trace().outputs:
            raise ValueError(
                f"The layer {self.site} ran twice in one pass, and its codes and losses of before would be lost. A "
                "layer that a model runs several times, as ALBERT does, cannot have a bottleneck: take another "
                "module. Of a base model that is run twice, open an `excise.bottlenecks.trace(...)` for each run."
            )
        return self.pass_through_bottleneck(
            hidden_states, current_trace().attention_mask if self.sees_padding else None
        )


@cache
def site_class(plain: type[nn.Module], parts: tuple[str, ...] | None = None) -> type[AttachedSite]:
    """The subclass of a layer's class that has a bottleneck.

    Args:
        plain: the layer's class.
        parts: as in `AttachedSite`.
    """
    run = _after_attention if parts else _at_the_end
    if parts and len(parts) != 4:
        raise ValueError(f"{parts!r} are no parts of a layer: expected norm, attention, norm and feed-forward.")

    @wraps(plain.forward)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return run(self, *args, **kwargs)

    body = {
        **{"forward": forward, "plain": plain, "parts": parts, "recipe": (site_class, plain, parts)},
        **{"__module__": __name__, "__doc__": plain.__doc__},
    }
    return cast(type[AttachedSite], type(ATTACHED_CLASS + plain.__name__, (AttachedSite, plain), body))


def _at_the_end(layer: Any, *args: Any, **kwargs: Any) -> Any:
    output = layer.plain.forward(layer, *args, **kwargs)
    if isinstance(output, tuple):
        return (layer.passed(output[0]), *output[1:])
    return layer.passed(output)


def _after_attention(layer: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """What a layer with norms before attention and feed-forward computes, with the bottleneck between the two."""
    norm, attention, second_norm, feed_forward = (layer.get_submodule(part) for part in layer.parts)
    attended = attention(norm(hidden_states), *args, **kwargs)
    hidden_states = layer.passed(hidden_states + (attended[0] if isinstance(attended, tuple) else attended))
    return hidden_states + feed_forward(second_norm(hidden_states))


def _new_of(make: Any, *arguments: Any) -> Any:
    return copyreg.__newobj__(make(*arguments))  # type: ignore[attr-defined]  # as pickle makes any object


__all__ = ["AttachedSite", "Remade", "site_class"]
