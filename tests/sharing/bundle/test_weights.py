"""Every weight is in what is written, by whatever name; or nothing is kept."""

from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from excise import Unlearner
from excise.models import CodebookT5ForConditionalGeneration
from tests.helpers.tiny import codebook_t5, mask_codes, tokenizer


def plain(folder):
    return codebook_t5()


def masked(folder):
    model = codebook_t5()
    mask_codes(model)
    return model


def adapted(folder):
    masked(folder).save_pretrained(folder)
    base = CodebookT5ForConditionalGeneration.from_pretrained(folder)
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"], modules_to_save=["bottleneck"])
    return get_peft_model(base, config).eval()


def of_two_adapters(folder):
    model = adapted(folder)
    model.add_adapter("other", LoraConfig(task_type="SEQ_2_SEQ_LM", r=3, target_modules=["q"]))
    return model


def with_an_adapter_added(folder):
    model = codebook_t5()
    model.add_adapter(LoraConfig(r=2, target_modules=["q"]))
    return model


def nothing(file: Path) -> None:
    """What transformers writes of the weights on another process than the first."""
    file.unlink()


def all_but_one(file: Path) -> None:
    weights = load_file(file)
    weights.pop(min(name for name in weights if "embed" in name or "lora" in name or "shared" in name))
    save_file(weights, file, {"format": "pt"})


MAKE = (plain, masked, adapted, of_two_adapters, with_an_adapter_added)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@pytest.mark.parametrize("spoil", [nothing, all_but_one])
@pytest.mark.parametrize("make", MAKE)
def test_a_save_without_a_weight_is_refused_and_one_with_all_is_not(make, spoil, tmp_path, monkeypatch):
    model = make(tmp_path / "base")
    unlearner = Unlearner(model, tokenizer())
    unlearner.save_pretrained(tmp_path / "whole")
    save = type(model).save_pretrained

    def spoiled(self, folder, *args, **kwargs):
        save(self, folder, *args, **kwargs)
        spoil(max(Path(folder).rglob("*.safetensors"), key=lambda path: len(path.parts)))

    monkeypatch.setattr(type(model), "save_pretrained", spoiled)
    with pytest.raises(ValueError, match=r"are in no file of what was written|would not be saved"):
        unlearner.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))
