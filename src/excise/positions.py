"""Which positions of an example's activations count."""

from typing import Literal, get_args

# Of a text, the tokens of the topic's words or all tokens; of an image, all positions or the class token alone.
Positions = Literal["topic", "all", "class_token"]


def check_positions(positions: str) -> None:
    """Refuses what is no kind of positions.

    Raises:
        ValueError: if it is none.
    """
    if positions not in get_args(Positions):
        raise ValueError(f"positions={positions!r}: expected one of {', '.join(map(repr, get_args(Positions)))}.")
