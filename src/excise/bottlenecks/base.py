"""What every discrete bottleneck has in common: codes that can be removed."""

from torch import Tensor
from transformers import PreTrainedModel


class Bottleneck(PreTrainedModel):
    """A module that passes information on as a few of many codes, any of which can be removed.

    The persistent buffer `live`, bool of shape `(num_codes,)`, is False for codes that are masked or deleted: these are
    never selected. It is saved and loaded with the weights. A deleted code's rows are zero, too.

    Attributes:
        code_tensors: names of the parameters and buffers that hold something of each code. Their leading dimensions
            number the codes.
    """

    base_model_prefix = "bottleneck"
    code_tensors: tuple[str, ...] = ()
    live: Tensor
    # It has no attention, so the model that holds it may use any kind.
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True

    @property
    def num_codes(self) -> int:
        """Number of codes, removed ones included."""
        return len(self.live)

    @property
    def num_groups(self) -> int:
        """Number of codebooks that the codes belong to, one after the other and of one size."""
        return 1

    def too_few(self, live: Tensor) -> str | None:
        """Why a mask leaves fewer live codes than an input needs; `None` where it leaves enough."""
        raise NotImplementedError

    def by_code(self, tensor: Tensor) -> Tensor:
        """A view, `(num_codes, ...)`, of one of `code_tensors` or of something of its shape, such as its gradient."""
        return tensor.view(self.num_codes, -1)
