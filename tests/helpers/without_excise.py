"""Run in a Python of its own where excise cannot be imported: loads checkpoints by their remote code alone.

Arguments: a JSON file of cases, and a file for what was found. Each case has a `folder`, the name of an `Auto*` class,
a file of `inputs`, and a new folder to save to.
"""

import importlib
import json
import sys
from pathlib import Path

# excise and what only it needs
BLOCKED = {"excise", "jaxtyping", "lazy_loader", "wrapt"}


class Block:
    """Finds none of these packages, wherever and however they are installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(cases: Path, found: Path) -> None:
    sys.meta_path.insert(0, Block)
    for name in BLOCKED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        raise AssertionError(f"{name} can be imported here")

    import torch
    import transformers

    torch.set_num_threads(1)
    results = {}
    for name, case in json.loads(cases.read_text()).items():
        auto = getattr(transformers, case["auto"])
        inputs = torch.load(case["inputs"])
        model = auto.from_pretrained(case["folder"], trust_remote_code=True)
        results[name] = answers(model, inputs) | {"module": type(model).__module__}
        config = transformers.AutoConfig.from_pretrained(case["folder"], trust_remote_code=True)
        results[name]["config"] = type(config) is type(model.config), type(config).__name__

        model.save_pretrained(case["saved"])
        again = auto.from_pretrained(case["saved"], trust_remote_code=True)
        results[name]["again"] = answers(again, inputs)

        try:
            auto.from_pretrained(case["tampered"], trust_remote_code=True)
        except ValueError as error:
            results[name]["refused"] = type(error).__name__
        try:
            auto.from_pretrained(case["folder"], trust_remote_code=False)
        except ValueError as error:
            results[name]["untrusted"] = str(error)
        if "processor" in case:
            processor = getattr(transformers, case["processor"]).from_pretrained(case["folder"], trust_remote_code=True)
            results[name]["processor"] = type(processor).__name__
    assert not BLOCKED & {module.partition(".")[0] for module in sys.modules}
    torch.save(results, found)


def answers(model, inputs) -> dict:
    """What a model makes of inputs, and its masks."""
    import torch

    with torch.no_grad():
        output = model(**inputs)
    field = next(f for f in ("logits", "logits_per_image", "pooler_output") if getattr(output, f, None) is not None)
    made = {"output": output[field], "live": {k: v for k, v in model.state_dict().items() if k.endswith(".live")}}
    if model.can_generate():
        given = {key: value for key, value in inputs.items() if key != "labels"}
        made["generated"] = model.generate(**given, num_beams=2, max_new_tokens=6)
    return made


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
