"""The bottleneck that a training's arguments ask for."""

from dataclasses import asdict
from typing import Any

from excise.bottlenecks import CodebookSAEConfig
from excise.models.codebook_t5 import CodebookT5Config
from excise.training.arguments import CodebookArguments

# What may be another in a further training; all else is fixed by the weights.
OF_THE_LOSS = ("l1_weight", "reconstruction_weight", "detach_target")


def new_config(args: CodebookArguments, hidden_size: int) -> CodebookSAEConfig:
    """The settings of a new bottleneck, for activations of a width."""
    make = CodebookSAEConfig.paper if args.preset == "paper" else CodebookSAEConfig
    return make(hidden_size=hidden_size, **_given(args))


def encoder_blocks(args: CodebookArguments) -> list[int]:
    """The encoder blocks that get a new bottleneck."""
    return args.bottleneck_layers or [2 if args.preset == "paper" else 0]


def trained_config(args: CodebookArguments, config: CodebookT5Config) -> CodebookSAEConfig:
    """The settings of a trained bottleneck, with what is given for the loss.

    Raises:
        ValueError: if another setting is given than the one that it was trained with.
    """
    given, trained = _given(args), config.bottleneck.to_dict()
    layers = {"bottleneck_layers": args.bottleneck_layers} if args.bottleneck_layers else {}
    has = trained | {"bottleneck_layers": list(config.bottleneck_layers)}
    other = {n: value for n, value in (given | layers).items() if n not in OF_THE_LOSS and value != has[n]}
    if other:
        raise ValueError(
            f"The model has a trained bottleneck with { {name: has[name] for name in other} }, not {other}. "
            "Leave these out, or start from a plain model."
        )
    return CodebookSAEConfig(**trained | {name: given[name] for name in OF_THE_LOSS if name in given})


def _given(args: CodebookArguments) -> dict[str, Any]:
    settings = {name: value for name, value in asdict(args).items() if hasattr(CodebookSAEConfig, name)}
    return {name: value for name, value in settings.items() if value is not None}
