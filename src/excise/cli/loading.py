"""Loading of models by the names that a command line gives."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from excise.unlearner import Unlearner


def load_model(name: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Any sequence-to-sequence model, on a GPU where there is one, and its tokenizer."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    check_there(name)
    model = AutoModelForSeq2SeqLM.from_pretrained(name).eval()
    return model.to(_device()), AutoTokenizer.from_pretrained(name)


def load_unlearner(name: str, index: str | None = None) -> "Unlearner":
    """A model with bottlenecks or an adapter of one, on a GPU where there is one, and its ledger.

    Args:
        name: of the model.
        index: the folder of a code index.

    Raises:
        ValueError: if the model has no bottleneck, its masks are not those of its ledger, or the index is none of it.
    """
    from excise.unlearner import Unlearner

    check_there(name)
    unlearner = Unlearner.from_pretrained(name)
    unlearner.whole.eval().to(_device())
    if index is not None:
        from excise.codes import CodeIndex

        unlearner.index = CodeIndex.load(index)
        unlearner.index.check(unlearner.model, unlearner.processor)
    return unlearner


def check_there(name: str) -> None:
    """Refuses what is written as a folder and is none.

    Raises:
        ValueError: if so.
    """
    if name.startswith((".", os.sep)) and not Path(name).is_dir():
        raise ValueError(f"There is no folder {name}. Give the folder of a saved model, or its id on the Hub.")


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
