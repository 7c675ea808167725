"""Registration of excise's models with transformers' `Auto*` classes, without importing a model before it is needed.

The names go into the lazy tables in which transformers' own models stand, as soon as those tables are loaded. The
tables are private; tests/models/test_auto.py asks each of them by name for what is relied on here.

The public `AutoConfig.register`, `AutoModel.register` and so on want the classes themselves. At `import excise` that
costs seconds. Called from a hook at the import of `transformers.models.auto.modeling_auto` they break transformers, for
modules that all its models need import that one half-way through their own import: after `import excise`,
`from transformers import CLIPModel` ends in a circular import (tried with transformers 5.23).
"""

import importlib
from types import ModuleType
from typing import Any

import wrapt

from excise.models.attached.families import ATTACHED_CLASS, ATTACHED_TYPE

CLIP = "excise.models.codebook_clip"
ATTACHED = "excise.models.attached"

# model type: (module, config class, {Auto table: model class})
MODELS = {
    "codebook_t5": (
        "excise.models.codebook_t5",
        "CodebookT5Config",
        {
            "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING": "CodebookT5ForConditionalGeneration",
            "MODEL_FOR_PRETRAINING_MAPPING": "CodebookT5ForConditionalGeneration",
            "MODEL_MAPPING": "CodebookT5ForConditionalGeneration",  # a T5 without its head there is none
        },
    ),
    "key_value_vision": (
        "excise.models.key_value",
        "KeyValueVisionConfig",
        {
            "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING": "KeyValueForImageClassification",
            "MODEL_MAPPING": "KeyValueForImageClassification",  # an encoding alone has passed no mask
        },
    ),
    "codebook_clip": (
        CLIP,
        "CodebookCLIPConfig",
        {
            "MODEL_MAPPING": "CodebookCLIPModel",
            "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING": "CodebookCLIPModel",
            "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING": "CodebookCLIPForImageClassification",
        },
    ),
    "codebook_clip_vision_model": (
        CLIP,
        "CodebookCLIPVisionConfig",
        {"MODEL_MAPPING": "CodebookCLIPVisionModel"},
    ),
}
# model type: the type whose tokenizer and processors it uses
LIKE = {"codebook_t5": "t5", "codebook_clip": "clip", "codebook_clip_vision_model": "clip"}
# module of transformers: its table
PROCESSORS = {
    "tokenization_auto": "TOKENIZER_MAPPING",
    "image_processing_auto": "IMAGE_PROCESSOR_MAPPING",
    "processing_auto": "PROCESSOR_MAPPING",
}
# A vision tower alone has an image processor only.
NO_TEXT = {"codebook_clip_vision_model"}


def is_ours(model_type: str) -> bool:
    """Whether a model type is one of excise's."""
    return model_type in MODELS or model_type.startswith(ATTACHED_TYPE)


def classes_of(model_type: str) -> tuple[str, str, dict[str, str]]:
    """The module of a model type of excise's, the name of its config's class, and of its models' by `Auto*` table.

    Raises:
        KeyError: if it is none of excise's.
    """
    if model_type in MODELS or not is_ours(model_type):
        return MODELS[model_type]
    configs = importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING
    tables = vars(importlib.import_module("transformers.models.auto.modeling_auto"))
    names = {name: table._model_mapping.get(model_type) for name, table in tables.items() if _is_of_models(name, table)}
    ours = {name: found if isinstance(found, str) else found[0] for name, found in names.items() if found}
    return ATTACHED, ATTACHED_CLASS + configs._mapping[model_type.removeprefix(ATTACHED_TYPE)], ours


def register() -> None:
    """Enters excise's models in the `Auto*` tables, now or when transformers loads them."""
    auto = "transformers.models.auto"
    wrapt.register_post_import_hook(_register_configs, f"{auto}.configuration_auto")
    wrapt.register_post_import_hook(_register_models, f"{auto}.modeling_auto")
    for module in PROCESSORS:
        wrapt.register_post_import_hook(_register_processors, f"{auto}.{module}")


def _register_configs(configuration_auto: ModuleType) -> None:
    table = configuration_auto.CONFIG_MAPPING
    for plain, config in list(table._mapping.items()):
        table._mapping[ATTACHED_TYPE + plain] = ATTACHED_CLASS + config
        table._modules[_module_name(ATTACHED_TYPE + plain)] = importlib.import_module(ATTACHED)
    for model_type, (module, config, _) in MODELS.items():
        table._mapping[model_type] = config
        table._modules[model_type] = importlib.import_module(module)  # a lazy package: nothing heavy happens here


def _register_models(modeling_auto: ModuleType) -> None:
    for name, table in list(vars(modeling_auto).items()):
        if _is_of_models(name, table):
            _enter_attached(table, ATTACHED_CLASS)
    for model_type, (_, _, models) in MODELS.items():
        for name, model in models.items():
            _enter(getattr(modeling_auto, name), model_type, model)


def _register_processors(auto_module: ModuleType) -> None:
    kind = auto_module.__name__.rpartition(".")[2]
    table = getattr(auto_module, PROCESSORS[kind])
    _enter_attached(table)
    for model_type, like in LIKE.items():
        text = kind != "image_processing_auto"
        if like in table._model_mapping and not (text and model_type in NO_TEXT):
            _enter(table, model_type, table._model_mapping[like])


def _enter_attached(table: Any, prefix: str = "") -> None:
    """Enters what `attach` makes of every model in a table, by names of classes that begin with `prefix`."""
    for plain, names in list(table._model_mapping.items()):
        model_type = ATTACHED_TYPE + plain
        if names and (config := table._config_mapping.get(model_type)):
            if prefix:
                names = prefix + names if isinstance(names, str) else tuple(prefix + name for name in names if name)
            table._reverse_config_mapping[config] = model_type
            table._model_mapping[model_type] = names
            table._modules[_module_name(model_type)] = importlib.import_module(ATTACHED)


def _module_name(model_type: str) -> str:
    """What transformers calls the module of a model type, as there are some with hyphens."""
    return model_type.replace("-", "_")


def _is_of_models(name: str, table: Any) -> bool:
    return name.startswith("MODEL_") and name.endswith("MAPPING") and hasattr(table, "_model_mapping")


def _enter(table: Any, model_type: str, names: Any) -> None:
    module, config, _ = MODELS[model_type]
    table._reverse_config_mapping[config] = model_type
    table._model_mapping[model_type] = names
    table._modules[model_type] = importlib.import_module(module)  # what is not in it is looked for in transformers
