"""Table of counts: the number of examples in which each code fires, where the statistics start."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class CountTable:
    """In how many examples each code of one site fires.

    Attributes:
        target_count: target examples in which each code fires, int64 of shape (num_codes,).
        control_count: the same for the control.
        num_target: number of target examples.
        num_control: number of control examples.
        target_only: pairs in which the code fires in the target only; needs controls paired with targets.
        control_only: pairs in which it fires in the control only.
        retain_count: retain examples in which it fires.
        num_retain: number of retain examples.
    """

    target_count: np.ndarray
    control_count: np.ndarray
    num_target: int
    num_control: int
    target_only: np.ndarray | None = None
    control_only: np.ndarray | None = None
    retain_count: np.ndarray | None = None
    num_retain: int | None = None

    def __repr__(self) -> str:
        retain = "" if self.num_retain is None else f" and {self.num_retain:,} retain examples"
        return (
            f"CountTable: {len(self.target_count):,} codes in {self.num_target:,} targets, {self.num_control:,} "
            f"controls{retain}, {'not paired' if self.target_only is None else 'paired'}"
        )

    def __post_init__(self) -> None:
        examples = {
            "target_count": self.num_target,
            "control_count": self.num_control,
            "retain_count": self.num_retain,
            "target_only": self.num_target,
            "control_only": self.num_control,
        }
        for name, number in examples.items():
            if number is not None and number < 1:
                raise ValueError(f"{name} is over {number} examples: that set is empty; give it at least one example.")
            if getattr(self, name) is not None:
                object.__setattr__(self, name, self._checked(name, number))
        if (self.target_only is None) != (self.control_only is None):
            raise ValueError("target_only and control_only belong together: give both, or neither.")
        if (self.retain_count is None) != (self.num_retain is None):
            raise ValueError("retain_count and num_retain belong together: give both, or neither.")
        if self.target_only is not None and self.control_only is not None:
            self._check_pairs(self.target_only, self.control_only)

    def _checked(self, name: str, examples: int | None) -> np.ndarray:
        count = np.asarray(getattr(self, name))
        expected = np.shape(self.target_count)
        if not np.issubdtype(count.dtype, np.integer) or count.ndim != 1 or count.shape != expected:
            raise ValueError(
                f"{name} is {count.dtype} of shape {count.shape}; expected integers, one per code, as many as in "
                f"target_count (shape {expected})."
            )
        if count.min(initial=0) < 0 or (examples is not None and count.max(initial=0) > examples):
            raise ValueError(
                f"{name} ranges from {count.min()} to {count.max()} in {examples} examples: count the examples in "
                "which a code fires, not its tokens."
            )
        return count.astype(np.int64)

    def _check_pairs(self, target_only: np.ndarray, control_only: np.ndarray) -> None:
        if self.num_target != self.num_control:
            raise ValueError(
                f"Discordant counts need pairs; there are {self.num_target} targets and {self.num_control} controls."
            )
        if not np.array_equal(target_only - control_only, self.target_count - self.control_count):
            raise ValueError(
                "target_only - control_only must equal target_count - control_count for every code; "
                "the discordant counts come from other examples than the counts."
            )
