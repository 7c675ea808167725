"""Base class of discrete bottlenecks: codes that can be ranked, selected and removed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from excise.bottlenecks.guard import Removed, before_reading, watch


@dataclass
class BottleneckOutput(ModelOutput):
    """What a bottleneck of tokens passes on, and what it cost.

    Args:
        reconstruction (`torch.FloatTensor` of shape `(batch, seq, hidden_size)`): What is passed on, eq. 5.
        codes (`torch.LongTensor` of shape `(batch, seq, top_s)`): Selected codes, most similar first; -1 at padding and
            for tokens without a code similar enough.
        reconstruction_error (`torch.FloatTensor` of shape `(batch, seq)`): Squared error of each token, in units of
            the variance measured on data (`standardize=True`) or raw (eq. 6); 0 at padding.
        l1 (`torch.FloatTensor` of shape `(batch, seq)`): L1 norm of each token's selected codes, eq. 7; 0 at padding.
        loss (`torch.FloatTensor` of shape `()`): Weighted sum of both, mean over tokens, eq. 7.
    """

    reconstruction: Tensor | None = None
    codes: Tensor | None = None
    reconstruction_error: Tensor | None = None
    l1: Tensor | None = None
    loss: Tensor | None = None

    @classmethod
    def of_tokens(
        cls,
        penalty: Callable[[Tensor, Tensor], Tensor],
        real: Tensor | None,
        error: Tensor,
        l1: Tensor,
        **others: Tensor,
    ) -> "BottleneckOutput":
        """An output with its loss, the `penalty` of error and L1 norm, which are 0 where `real` is False."""
        tokens: int | Tensor = error.numel()
        if real is not None:
            error, l1 = error.masked_fill(~real, 0), l1.masked_fill(~real, 0)
            tokens = real.sum().clamp_min(1)
        return cls(**others, reconstruction_error=error, l1=l1, loss=penalty(error, l1).sum() / tokens)


def drawn_tokens(activations: Tensor, count: int, generator: Generator) -> Tensor:
    """So many random activations of tokens, `(count, hidden_size)`, each once before any twice."""
    repeats = -(-count // len(activations))
    rows = torch.cat([torch.randperm(len(activations), generator=generator) for _ in range(repeats)])
    return activations[rows[:count].to(activations.device)]


def told_apart(codes: Tensor, generator: Generator) -> Tensor:
    """Codes with a tenth of noise: equal tokens, such as an end of sentence, would make equal ones."""
    return codes + 0.1 * codes.std() * torch.randn(codes.shape, generator=generator).to(codes.device)


class Bottleneck(PreTrainedModel):
    """A module that passes information on as a few of many codes, any of which can be removed.

    The persistent buffer `live`, bool of shape `(num_codes,)`, is False for codes that are masked or deleted: these are
    never selected. It is saved and loaded with the weights. A deleted code's rows are zero, too.

    A kind of bottleneck is a subclass with a `config_class` that has `hidden_size` and `resize`, registered by
    `register_kind`. One that sits in a layer puts out a `BottleneckOutput`, and its settings have `penalty`.

    Attributes:
        kind: its name in records.
        title: its name in reports and cards.
        limits: what its evidence does not show, a sentence that begins with "That"; `None` for nothing of its own.
        citation: BibTeX of its paper; `None` for none.
        needed: why a model gives no answer without it, a sentence; `None` where it does, as in a layer, whose
            activations go on as they are.
        code_tensors: names of the parameters and buffers that hold something of each code. Their leading dimensions
            number the codes.
        selecting_tensors: names of those of them that decide which codes an input selects; all if not given.
        together: whether an input is passed on as all of its codes where the best of them fits well enough, or, if not,
            as those alone that do.
        by_degrees: whether a code says more or less of its vector, and can be silent.
        removed: what its guard holds, as the model that it sits in has it in its ledger; `None` outside of a model.
        first_token: what the first token of a text is passed on as, `(hidden_size,)`, whatever it is; `None` where it
            goes through the codes as all others do.
    """

    base_model_prefix = "bottleneck"
    config_class: type[PreTrainedConfig]
    kind: str
    title: str
    limits: str | None = None
    citation: str | None = None
    needed: str | None = None
    code_tensors: tuple[str, ...] = ()
    selecting_tensors: tuple[str, ...] | None = None
    together: bool = False
    by_degrees: bool = False
    removed: Removed | None = None
    first_token: Tensor | None
    live: Tensor
    # It has no attention, so the model that holds it may use any kind.
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True

    def __init__(self, config: PreTrainedConfig):
        super().__init__(config)
        self.register_buffer("first_token", None)

    def post_init(self) -> None:
        """As in transformers, and sets the guard."""
        super().post_init()
        watch(self)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled or copied, with the guard's look at it, as `torch.save(model)` asks for no state."""
        if getattr(self, "removed", None) is not None:
            before_reading(self)
        return vars(self).copy()

    def _apply(self, fn: Any, recurse: bool = True) -> "Bottleneck":
        super()._apply(fn, recurse)
        if self.removed is not None:
            self.removed.move(self.live.device)  # here, as compiled passes move nothing
        return self

    def hold_first_token(self) -> None:
        """Has a constant for the first token of a text: zero, until `initialize_codes` measures what is usual there.

        In decoders its activation is larger than others by a hundred deviations (Sun et al., Massive Activations in
        Large Language Models, 2024), which no code reaches; and a constant tells nothing of the token.
        """
        self.first_token = torch.zeros(self.config.hidden_size, device=self.live.device, dtype=self.dtype)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Only functions of transformers' `init`, which skip what a checkpoint has already filled.
        if module is self and self.first_token is not None:
            init.zeros_(self.first_token)

    @property
    def num_codes(self) -> int:
        """Number of codes, removed ones included."""
        return len(self.live)

    @property
    def num_groups(self) -> int:
        """Number of codebooks that the codes belong to, one after the other and of one size."""
        return 1

    @property
    def top_s(self) -> int:
        """Number of codes that an input is passed on as, of each codebook (CodeUnlearn's S)."""
        raise NotImplementedError

    @property
    def num_selected(self) -> int:
        """Number of codes that an input is passed on as, all codebooks together."""
        return self.num_groups * self.top_s

    @property
    def max_top_s(self) -> int:
        """The most codes that an input can be ranked among: the live ones of the codebook that has fewest."""
        return int(self.live.view(self.num_groups, -1).sum(1).min())

    @property
    def in_force(self) -> Tensor:
        """The mask that a pass uses: `live`, and nothing that the ledger has removed, whatever wrote over `live`."""
        return self.live if self.removed is None else self.live & self.removed.on(self.live.device)

    def rank(self, arrived: Tensor, top_s: int) -> tuple[Tensor, Tensor]:
        """The codes that fit inputs best, and how similar they are.

        Args:
            arrived: what arrives at the bottleneck, `(inputs, hidden_size)`: activations of tokens, or encodings.
            top_s: how many codes, of each codebook.

        Returns:
            Codes, int64 `(inputs, num_groups, top_s)`, best first; -1 for one that would not be passed on even if all
            better ones were gone. Similarities of the same shape, greater for better.
        """
        raise NotImplementedError

    def selected(self, arrived: Tensor) -> tuple[Tensor, Tensor]:
        """The codes that each example is passed on as, and how similar they are, `(batch, selected)`; -1 for none.

        Args:
            arrived: what arrives at the bottleneck, `(batch, ..., hidden_size)`.
        """
        raise NotImplementedError

    def ranked(self, arrived: Tensor, top_s: int) -> tuple[Tensor, Tensor]:
        """The codes that fit inputs best, and how many do well enough; for a kind of one codebook.

        Args:
            arrived: what arrives at the bottleneck, `(inputs, hidden_size)`.
            top_s: how many codes; at most the number of live ones.

        Returns:
            Codes, int64 `(inputs, top_s)`, best first and none of them -1; and for each input how many of them, from
            the first, `rank` gives, int64 `(inputs,)`.
        """
        codes = self.rank(arrived, top_s)[0][:, 0]
        return codes.clamp_min(0), (codes >= 0).sum(-1)

    @property
    def rule(self) -> dict[str, Any]:
        """What decides which codes an input selects, beside tensors and the numbers of codes, as JSON values."""
        return {}

    @property
    def vectors(self) -> Tensor | None:
        """What each code says, `(num_codes, width)`; `None` for a kind whose codes cannot be written anew.

        A kind that has them has `features`, `write` and `widen`, too: by these, codes that nothing selects are revived,
        and an attacker makes deleted ones again.
        """
        return None

    @property
    def copies(self) -> int:
        """How many equal vectors, each divided by this number, stand for a feature."""
        return 1

    def features(self, arrived: Tensor) -> Tensor:
        """Inputs as codes say them, `(..., width)`."""
        raise NotImplementedError

    def write(self, codes: Tensor, vectors: Tensor) -> None:
        """Makes codes, `(written,)`, say vectors, `(written, width)`, in place; removed ones stay removed."""
        raise NotImplementedError

    def write_for(self, codes: Tensor, vectors: Tensor, features: Tensor, least: float) -> None:
        """The same, for what has more than a share, `least`, of features, `(written, width)`.

        Only a kind that says vectors `by_degrees` can tell what a code is for from what it says.
        """
        self.write(codes, vectors)

    def widen(self, top_s: int) -> None:
        """Passes inputs on as another number of codes, which say as much as they did together; in place."""
        raise NotImplementedError

    def explained(self, features: Tensor, most: int) -> Tensor | None:
        """What the live codes that fit features, `(inputs, width)`, best say together: `most` of them, or fewer.

        `None` where that is the sum of the vectors most similar to them by cosine.
        """
        return None

    def without_codes(self, arrived: Tensor) -> Tensor | None:
        """What would be passed on if no codes were looked up; `None` for a kind that passes on nothing then."""
        return None

    def too_few(self, live: Tensor) -> str | None:
        """Why a mask leaves fewer live codes than an input needs; `None` where it leaves enough."""
        raise NotImplementedError

    def rows_erased(self) -> None:
        """Called when rows of codes were erased: what is kept of them elsewhere in memory goes, too."""

    def start_from_data(self, activations: Tensor, generator: Generator) -> None:
        """Puts codes where data is, before any training.

        Args:
            activations: what arrives at the bottleneck, `(tokens, hidden_size)`.
            generator: of the draw.

        Raises:
            ValueError: if this kind does not start from activations of tokens.
        """
        raise ValueError(f"A {self.kind} bottleneck does not start from activations of tokens.")

    def by_code(self, tensor: Tensor) -> Tensor:
        """A view, `(num_codes, ...)`, of one of `code_tensors` or of something of its shape, such as its gradient."""
        return tensor.view(self.num_codes, -1)


__all__ = ["Bottleneck", "BottleneckOutput", "drawn_tokens", "told_apart"]
