"""Makes transformers' `Auto*` classes know excise's models, without importing them before they are needed.

`AutoConfig.register` and its like want the classes themselves, which costs seconds at `import excise`. So the names are
entered in the same lazy tables that transformers' own models stand in, as soon as those tables are loaded.
"""

import importlib

import wrapt

# model type: (module, config class, {Auto table: model class})
MODELS = {
    "codebook_t5": (
        "excise.models.codebook_t5",
        "CodebookT5Config",
        {"MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING": "CodebookT5ForConditionalGeneration"},
    ),
    "key_value_vision": (
        "excise.models.key_value",
        "KeyValueVisionConfig",
        {"MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING": "KeyValueForImageClassification"},
    ),
}
# model type: the type whose tokenizer it uses
TOKENIZERS = {"codebook_t5": "t5"}


def register() -> None:
    """Enters excise's models in the `Auto*` tables, now or when transformers loads them."""
    auto = "transformers.models.auto"
    wrapt.register_post_import_hook(_register_configs, f"{auto}.configuration_auto")
    wrapt.register_post_import_hook(_register_models, f"{auto}.modeling_auto")
    wrapt.register_post_import_hook(_register_tokenizers, f"{auto}.tokenization_auto")


def _register_configs(configuration_auto) -> None:
    table = configuration_auto.CONFIG_MAPPING
    for model_type, (module, config, _) in MODELS.items():
        table._mapping[model_type] = config
        table._modules[model_type] = importlib.import_module(module)  # a lazy package: nothing heavy happens here


def _register_models(modeling_auto) -> None:
    for model_type, (module, config, models) in MODELS.items():
        for name, model in models.items():
            table = getattr(modeling_auto, name)
            table._reverse_config_mapping[config] = model_type
            table._model_mapping[model_type] = model
            table._modules[model_type] = importlib.import_module(module)


def _register_tokenizers(tokenization_auto) -> None:
    for model_type, like in TOKENIZERS.items():
        tokenization_auto.TOKENIZER_MAPPING_NAMES[model_type] = tokenization_auto.TOKENIZER_MAPPING_NAMES[like]
