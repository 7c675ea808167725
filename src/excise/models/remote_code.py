"""Remote code: checkpoints that load where excise is not installed, by code in their folder."""

import json
import os
from functools import cache
from importlib import import_module, metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.utils import CONFIG_NAME

from excise.bottlenecks.registry import kind_class
from excise.models.auto import MODELS, classes_of, is_ours
from excise.models.single_file import SingleFile, single_file
from excise.storage.expected import expects
from excise.storage.files import new_file
from excise.storage.processes import by_main_process

CODE_NAME = "modeling_excise.py"
REQUIREMENTS_NAME = "requirements.txt"

HEAD = '''"""{models} of excise {version}, for transformers' `trust_remote_code=True`.

With this file a checkpoint loads where excise is not installed, and its masks are in force and checked against its
ledger. To undo a request, to forget more or to evaluate, install excise; with `import excise` this file is not used.
It was made of excise's own modules and is not to be edited; the shapes in its annotations are jaxtyping's there.
Copyright: the excise authors. Licence: Apache-2.0.
"""

from transformers.utils.versions import require_version

for requirement in {requirements}:
    require_version(requirement)

'''


@expects("folder", model="model_or_config")
@by_main_process("folder")
def write_remote_code(model: PreTrainedModel | PreTrainedConfig, folder: str | os.PathLike) -> list[Path]:
    """Adds to a saved model what it needs to load with `trust_remote_code=True` where excise is not installed.

    That is one file with all the code, the requirements of that code, and an `auto_map` in the model's config by which
    the `Auto*` classes find it. The masks are checked as ever. Where excise is imported, its own classes are used.

    Args:
        model: the model, or its config.
        folder: where it was saved.

    Returns:
        The two new files; the config there has changed, too.

    Raises:
        ValueError: if the model is none of excise's, holds another of excise's as its encoder, or is of another type
            than what was saved in the folder.
        FileNotFoundError: if there is no config in the folder.
    """
    model_type = _model_type(model)
    path = Path(folder, CONFIG_NAME)
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {CONFIG_NAME}. Save the model there first, then add its code.")
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("model_type") != model_type:
        raise ValueError(f"{folder} holds a {config.get('model_type')!r} model, not the {model_type!r} that was given.")
    config["auto_map"] = auto_map(model_type)
    kind = (model if isinstance(model, PreTrainedConfig) else model.config).bottleneck.model_type
    code = remote_code(model_type, kind)
    files = {CODE_NAME: code, REQUIREMENTS_NAME: "".join(f"{line}\n" for line in requirements(model_type, kind))}
    # The config last: it names the others.
    for name, text in (files | {CONFIG_NAME: json.dumps(config, indent=2, sort_keys=True) + "\n"}).items():
        with new_file(Path(folder, name)) as partial:
            partial.write_text(text, encoding="utf-8")
    return [Path(folder, name) for name in files]


def remote_code(model_type: str, kind: str | None = None) -> str:
    """The code of all models of a type, in one file that imports nothing of excise.

    Args:
        model_type: of the models.
        kind: `model_type` of their bottlenecks' settings; the models' own default if not given.
    """
    names = ", ".join(sorted(set(classes_of(model_type)[2].values())))
    head = HEAD.format(
        models=names, version=metadata.version("excise"), requirements=json.dumps(requirements(model_type, kind))
    )
    return head + _code(model_type, kind).source


def requirements(model_type: str, kind: str | None = None) -> list[str]:
    """What that code needs to be installed, in the versions that excise asks for; arguments as in `remote_code`."""
    ranges = _ranges()
    return [f"{name}{ranges.get(name, '')}" for name in _code(model_type, kind).requirements]


@cache
def _ranges() -> dict[str, SpecifierSet]:
    """The versions of other packages that excise asks for, by name."""
    wanted = [Requirement(line) for line in metadata.requires("excise") or ()]
    return {requirement.name: requirement.specifier for requirement in wanted if requirement.marker is None}


def auto_map(model_type: str) -> dict[str, str]:
    """Which class each of transformers' `Auto*` classes takes for a model type: those that it takes with excise."""
    _, config, models = classes_of(model_type)
    module = CODE_NAME.removesuffix(".py")
    classes = {"AutoConfig": f"{module}.{config}"}
    for name, auto in vars(modeling_auto).items():
        for table, model in models.items():
            if isinstance(auto, type) and getattr(auto, "_model_mapping", None) is getattr(modeling_auto, table):
                classes[name] = f"{module}.{model}"
    return classes


@cache
def _code(model_type: str, kind: str | None) -> SingleFile:
    package, config, models = classes_of(model_type)
    # `__module__` and not the package, which offers its classes without importing their modules.
    classes = [getattr(import_module(package), name) for name in (config, *models.values())]
    config_class = classes[0]
    kinds = {config_class().bottleneck.model_type, *([kind] if kind else [])}
    modules = {found.__module__ for found in classes} | {kind_class(name).__module__ for name in kinds}
    return single_file(sorted(modules, key=lambda name: (name.partition(".")[0] != "excise", name)))


def _model_type(model: PreTrainedModel | PreTrainedConfig) -> str:
    config = model if isinstance(model, PreTrainedConfig) else model.config
    if not is_ours(config.model_type):
        raise ValueError(
            f"A {config.model_type!r} model is none of excise's ({', '.join(MODELS)}); it loads without further code."
        )
    inner = getattr(getattr(config, "encoder", None), "model_type", None)
    if inner is not None and is_ours(inner):
        raise ValueError(
            f"The encoder of this model is a {inner!r} model, which only excise can load. Share it "
            "for use with excise, without remote code."
        )
    return config.model_type
