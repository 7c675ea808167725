"""A saved model compiled and exported, each once, and run on batches of two sizes.

In a process of its own, because the checks of shapes that the suite adds cannot be compiled.
"""

import sys
from importlib import import_module

import torch
import transformers
from torch import Tensor
from torch._dynamo import mark_dynamic
from torch._dynamo.utils import counters
from torch.export import Dim, export


def main(imports: str, auto: str, folder: str, exported: bool) -> None:
    """Makes sure that one graph gives the results that the model gave.

    Args:
        imports: modules that make the model known, with commas between them.
        auto: name of the class that loads it.
        folder: where it was saved, and `cases.pt`, batches with the fields of their outputs.
        exported: whether to export it, too.
    """
    for module in imports.split(", "):
        import_module(module)
    model = getattr(transformers, auto).from_pretrained(folder)
    cases = torch.load(f"{folder}/cases.pt")
    batch, _ = cases[0]
    model(**batch)  # a classifier settles its `problem_type` with its first labels, as stock ones do
    for name, value in batch.items():
        for dim in free(value):
            mark_dynamic(batch[name], dim)
    check(torch.compile(model, backend="eager", fullgraph=True), cases)
    assert counters["stats"]["unique_graphs"] == 1, counters
    if exported:
        cases = [(exportable(batch, model), expected) for batch, expected in cases]
        batch, _ = cases[0]
        shapes = {name: dict.fromkeys(free(value), Dim.DYNAMIC) or None for name, value in batch.items()}
        check(export(model, (), batch, dynamic_shapes=shapes).module(), cases)


def free(value: Tensor | bool) -> range:
    """Dimensions that may be of any size: batch and sequence."""
    return range({1: 1, 2: 2, 4: 1}[value.dim()] if isinstance(value, Tensor) else 0)


def exportable(batch: dict, model: transformers.PreTrainedModel) -> dict:
    """What stock models can be exported with: no cache, and not CLIP's loss, which makes a size of batch a constant."""
    cache = {"use_cache": False} if model.config.is_encoder_decoder else {}
    return {name: value for name, value in batch.items() if name != "return_loss"} | cache


def check(run, cases: list[tuple[dict, dict]]) -> None:
    for batch, expected in cases * 2:
        output = run(**batch)
        for name, value in expected.items():
            if name in output:
                torch.testing.assert_close(output[name], value)


if __name__ == "__main__":
    main(*sys.argv[1:4], exported=sys.argv[4] == "True")
