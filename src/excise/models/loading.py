"""Loading of models and their processors, each of the class that it was saved as."""

import copy
import importlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import IMAGE_PROCESSOR_NAME, PROCESSOR_NAME, SAFE_WEIGHTS_NAME, cached_file

from excise.bottlenecks.identity import copy_codes_id
from excise.bottlenecks.site import bottleneck_copies, bottlenecks
from excise.ledger.ledger import Ledger
from excise.ledger.masks import check_model, enforce
from excise.models.attached.families import ATTACHED_TYPE
from excise.models.auto import classes_of, is_ours
from excise.models.bottlenecked import OF_THE_HUB
from excise.storage.digests import sums
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, read

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

log = logging.getLogger(__name__)
TOKENIZER_NAME = "tokenizer_config.json"
# Beside an adapter: by the name of each weight that it is put on, its type and sums of its bits.
BASE_OF_ADAPTER = "adapter_base.json"


def load_model(folder: str | os.PathLike, **kwargs: Any) -> PreTrainedModel:
    """The model in a folder or on the Hub, of the class that its config names; arguments as in `from_pretrained`."""
    hub = {key: kwargs[key] for key in (*OF_THE_HUB, "trust_remote_code") if key in kwargs}
    try:
        config = AutoConfig.from_pretrained(folder, **hub)
    except RecursionError:
        raise ValueError(f"The config in {os.fspath(folder)!r} is nested too deeply to be one.") from None
    except ValueError as error:
        if f"`{ATTACHED_TYPE}" in str(error):
            raise ValueError(
                f"The model in {os.fspath(folder)!r} was made by `attach` of one whose class this transformers does "
                "not have, so nothing here can tell what that class is. Where it is code of your own, attach to a new "
                "one of it, as it was done before it was saved, and open the folder by "
                "`type(model).from_pretrained(folder)`; otherwise install the transformers that it was saved with."
            ) from error
        raise
    return model_class(config).from_pretrained(folder, **kwargs)


def model_class(config: PreTrainedConfig) -> type[PreTrainedModel] | type[AutoModel]:
    """The class of a model of a config: the one that it was saved as, or else its type's own."""
    names = config.architectures or []
    if not is_ours(config.model_type):
        return next((getattr(transformers, name) for name in names if hasattr(transformers, name)), AutoModel)
    module, _, models = classes_of(config.model_type)
    saved_as = next((name for name in names if name in models.values()), next(iter(models.values())))
    return getattr(importlib.import_module(module), saved_as)


def load_processor(folder: str | os.PathLike) -> Any:
    """What was saved beside a model: a tokenizer, an image processor, or a processor of both.

    `AutoProcessor` alone would make up the tokenizer of a CLIP that has an image processor only.
    """
    image, text, both = (_is_there(folder, name) for name in (IMAGE_PROCESSOR_NAME, TOKENIZER_NAME, PROCESSOR_NAME))
    if both or (image and text):
        return AutoProcessor.from_pretrained(folder)
    return (AutoImageProcessor if image else AutoTokenizer).from_pretrained(folder)


def has_tokenizer(folder: str | os.PathLike) -> bool:
    """Whether a tokenizer was saved beside a model; the automatic classes make one up where there is none."""
    return _is_there(folder, TOKENIZER_NAME)


def _is_there(folder: str | os.PathLike, name: str) -> bool:
    found = cached_file(
        os.fspath(folder),
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found is not None


def load_saved(folder: str | os.PathLike, **kwargs: Any) -> "PreTrainedModel | PeftModel":
    """What was saved: a model, as by `load_model`, or an adapter on one, as by `load_adapted`.

    Where there is a GPU it is put there, unless a `device_map` says where it goes.
    """
    load = load_adapted if Path(folder, "adapter_config.json").is_file() else load_model
    model: Any = load(folder, **kwargs)
    return model.to("cuda") if torch.cuda.is_available() and "device_map" not in kwargs else model


def tell_of_a_gpu(model: PreTrainedModel) -> None:
    """Says that a model is on the CPU where there is a GPU. It stays: whoever made it has put it there."""
    if model.device.type == "cpu" and torch.cuda.is_available():
        log.warning('The model is on the CPU, and there is a GPU, on which all of this is faster: `model.to("cuda")`.')


def load_adapted(folder: str | os.PathLike, **kwargs: Any) -> "PeftModel":
    """A LoRA adapter on its base model, with the masks that were saved beside it in force in the base, too.

    The base has bottlenecks, or is the plain model that `from_base` put them into; they are then the adapter's.

    Args:
        folder: of the adapter, with the model's config.
        **kwargs: passed on to the base's `from_pretrained`.

    Raises:
        MaskMismatchError: if the masks are not those of the ledger.
        ValueError: if the adapter does not tell its base, or neither of them holds the bottlenecks.
    """
    from peft import PeftConfig, PeftModel

    adapter, saved = PeftConfig.from_pretrained(os.fspath(folder)), AutoConfig.from_pretrained(folder)
    base, new = _base_of_adapter(os.fspath(folder), adapter, saved, **kwargs)
    check_base_of_adapter(folder, base, adapter.base_model_name_or_path)
    copy_codes_id(saved, base)
    enforce(base, ledger := Ledger.from_dict(saved.unlearning))
    model = PeftModel.from_pretrained(base, os.fspath(folder))
    if new:  # without its adapter the model has the same codes, as it had when it was saved
        _take_over(base)
    check_model(base)
    enforce(base, ledger)
    return model


def _base_of_adapter(
    folder: str, adapter: "PeftConfig", saved: PreTrainedConfig, **kwargs: Any
) -> tuple[PreTrainedModel, bool]:
    """The model that an adapter is put on, and whether its bottlenecks are new and come with the adapter."""
    name = adapter.base_model_name_or_path
    if not name:
        raise ValueError(
            f"The adapter in {folder!r} does not tell the model that it is put on, which was made in memory and never "
            "saved. Save that model by `save_pretrained`, and name its folder as `base_model_name_or_path` in "
            "adapter_config.json."
        )
    hub = {key: kwargs[key] for key in (*OF_THE_HUB, "trust_remote_code") if key in kwargs}
    try:
        plain = not is_ours(AutoConfig.from_pretrained(name, **hub).model_type)
    except OSError as error:
        raise ValueError(
            f"The adapter in {folder!r} is put on {name!r}, which cannot be had: put that model back there, or name "
            f"its new place as `base_model_name_or_path` in adapter_config.json. {error}"
        ) from error
    if not plain:
        return load_model(name, **kwargs), False
    own = getattr(adapter, "modules_to_save", None) or ()
    if not any("bottleneck" in module for module in own):
        raise ValueError(
            f"The adapter in {folder!r} is put on {name!r}, a plain model, and holds no bottlenecks, so there are "
            "none. Save the model with bottlenecks before the adapter is put on it, or give LoraConfig "
            'modules_to_save=["bottleneck"].'
        )
    config = copy.deepcopy(saved)
    config.unlearning = None  # its masks come with the adapter
    kind: Any = model_class(saved)  # which gives two values, as its types do not say
    base, loading = kind.from_pretrained(name, **kwargs, config=config, output_loading_info=True)
    kept = set(own)
    lost = sorted(key for key in loading["missing_keys"] if not kept & set(key.split(".")))
    if lost:
        raise ValueError(
            f"The base {name} lacks weights of the model, and the adapter does not have them: {lost[:5]} ({len(lost)} "
            "in all). What is new in a model belongs into `modules_to_save` of the `LoraConfig`, or merge the adapter "
            "and save the whole model."
        )
    return base, True


@by_main_process("folder")
def save_base_of_adapter(folder: str | os.PathLike, whole: "PeftModel", ledger: Ledger) -> None:
    """Writes, beside an adapter, sums of the weights that it is put on, and warns where its base on disk has others."""
    model: Any = whole.get_base_model()
    left_out = ["modules_to_save"]
    if any(ledger.removed(site, ("delete",)) for site in bottlenecks(model)):
        left_out += ["bottleneck"]  # whose rows are erased here, and once it is loaded
    if ledger.rows_of(("delete",)):
        left_out += ["embed", "shared", "lm_head"]
    copied = {name for name, of in model.named_modules() if hasattr(of, "modules_to_save")}
    weights = {}
    for name, tensor in model.state_dict().items():
        plain = name.replace(".base_layer", "").replace(".original_module", "")
        within = any(plain.startswith(f"{module}.") for module in copied)
        if tensor.is_floating_point() and not within and not any(part in plain for part in left_out):
            weights[plain] = [str(tensor.dtype), sums({"": tensor})]
    Path(folder, BASE_OF_ADAPTER).write_text(json.dumps(weights, indent=0) + "\n", encoding="utf-8")
    name = whole.peft_config[whole.active_adapters[0]].base_model_name_or_path or ""
    if changed := _others(weights, _on_disk(name, weights)):
        log.warning(
            "The weights that the adapter is put on are not those of %s: %d differ, such as %s. Trained in memory, "
            "they are in no file, and the adapter will not load. Save that model first, and put the adapter on what "
            "was saved; or merge it, by `merge_and_unload()`, and save the whole model.",
            name,
            len(changed),
            changed[0],
        )


def check_base_of_adapter(folder: str | os.PathLike, base: PreTrainedModel, name: str) -> None:
    """Makes sure that an adapter is put on the weights that it was trained on, if it tells them.

    Raises:
        ValueError: if the base has others.
    """
    file = Path(folder, BASE_OF_ADAPTER)
    if file.is_file() and (changed := _others(checked(read(file), dict, file.name), base.state_dict())):
        raise ValueError(
            f"The adapter in {os.fspath(folder)!r} was trained on other weights than {name} has: {len(changed)} "
            f"differ, such as {changed[0]}. Its base was trained in memory after it was loaded. Put that model in its "
            "place, as `base_model_name_or_path` in adapter_config.json; without it, the adapter is of no use."
        )


def _others(known: Mapping[str, Sequence[str]], tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of tensors that are others than known ones; those in fewer bits than the known are not compared."""
    changed = []
    for name in sorted(known.keys() & tensors.keys()):
        dtype, tensor = getattr(torch, known[name][0].removeprefix("torch.")), tensors[name]
        if tensor.dtype.itemsize >= dtype.itemsize and sums({"": tensor.to(dtype)}) != known[name][1]:
            changed.append(name)
    return changed


def _on_disk(name: str, wanted: Iterable[str]) -> dict[str, torch.Tensor]:
    """Those of some tensors that a model's file on this disk has; nothing of one in several files."""
    try:
        file = cached_file(name, SAFE_WEIGHTS_NAME, local_files_only=True)
        with safe_open(file, "pt") as weights:
            return {key: weights.get_tensor(key) for key in {*weights.keys()} & {*wanted}}
    except (OSError, ValueError, TypeError, SafetensorError):
        return {}


def _take_over(base: PreTrainedModel) -> None:
    """Gives new bottlenecks under an adapter the adapter's weights, where there would be random ones."""
    for of_site in bottleneck_copies(base).values():
        trained, others = of_site[-1], of_site[:-1]
        for bottleneck in others:
            bottleneck.load_state_dict(trained.state_dict())
