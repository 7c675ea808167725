"""Run in a Python of its own in which nothing is installed but what excise requires: uses a masked model.

Arguments: a folder with `model`, `topic` and `tensors.pt` (inputs and logits), to which it adds `refusals.txt`; an
empty folder to write to; and the modules that are not there, joined by commas.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Collection
from pathlib import Path


class Without:
    """A finder that does not find some top-level modules, and is as another in all else."""

    def __init__(self, finder, hidden: Collection[str]):
        self.finder, self.hidden = finder, hidden

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.hidden:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


def refusal(do: Callable[[], object]) -> str:
    """What something says that cannot be done with so little."""
    try:
        do()
    except ImportError as error:
        return str(error)
    raise AssertionError("it was done")


def main(given: Path, out: Path, hidden: Collection[str]) -> None:
    sys.meta_path[:] = [Without(finder, hidden) for finder in sys.meta_path]
    assert not [name for name in hidden if name in sys.modules or importlib.util.find_spec(name) is not None]

    import excise

    rooms = [importlib.import_module(f"excise.{name}") for name in (*excise.ROOMS, "evaluation.metrics")]
    for face in (excise, *rooms):
        for name in face.__all__:
            getattr(face, name)

    import torch
    from transformers import AutoModelForSeq2SeqLM

    from excise import Search, Selection, TopicSets, Unlearner

    torch.set_num_threads(1)
    tensors = torch.load(given / "tensors.pt")

    def logits(model):
        with torch.no_grad():
            return model.eval()(**tensors["inputs"]).logits

    unlearner = Unlearner.from_pretrained(given / "model")
    assert torch.equal(logits(unlearner.model), tensors["masked"])
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(given / "model")), tensors["masked"])
    (request,) = unlearner.ledger.requests
    unlearner.undo(request)
    assert torch.equal(logits(unlearner.model), tensors["before"])
    again = unlearner.mask(Selection(request.codes), "again")
    assert torch.equal(logits(unlearner.model), tensors["masked"])
    unlearner.undo(again)

    topic = TopicSets.load(given / "topic")
    unlearner.forget(topic, Search(q=0.9, count=2), progress=False)
    unlearner.delete(Selection({next(iter(unlearner.sites)): [1]}), topic)
    unlearner.save_pretrained(out / "model")
    assert torch.equal(logits(Unlearner.from_pretrained(out / "model").model), logits(unlearner.model))

    entries = (lambda: unlearner.save_bundle(out / "bundle"), lambda: excise.evaluate(unlearner, topic))
    (given / "refusals.txt").write_text("\n".join(map(refusal, entries)))
    assert [path.name for path in out.iterdir()] == ["model"]
    assert not {name.partition(".")[0] for name in sys.modules} & set(hidden)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(","))
