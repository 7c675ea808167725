"""One model of each kind that has forgotten, with all that its bundle needs."""

from dataclasses import dataclass

import pytest
import torch
from transformers import AutoModelForImageClassification, AutoModelForSeq2SeqLM, AutoModelForZeroShotImageClassification

from excise import CodebookCLIPModel, CodebookT5ForConditionalGeneration, Selection, Unlearner
from tests.helpers import tiny, tiny_images

DELETED, MASKED, UNDONE = [1, 4, 7], [2, 9, 30], [11]


@dataclass
class Case:
    """A model with a deletion, a mask and an undone mask at one site."""

    unlearner: Unlearner
    inputs: dict
    auto: type
    base: str

    @property
    def site(self) -> str:
        return next(iter(self.unlearner.sites))

    @property
    def masked_rows(self) -> list[torch.Tensor]:
        """What its masks have not erased."""
        bottleneck = self.unlearner.sites[self.site]
        return [bottleneck.by_code(getattr(bottleneck, name).detach())[MASKED] for name in bottleneck.code_tensors]

    def logits(self, model=None) -> torch.Tensor:
        with torch.no_grad():
            output = (model or self.unlearner.model).eval()(**self.inputs)
        return output["logits" if "logits" in output else "logits_per_image"]


def t5(folder):
    tiny.base_t5().save_pretrained(folder)
    model = CodebookT5ForConditionalGeneration.from_base(folder, tiny.bottleneck_config(), layers=[2])
    return model, tiny.tokenizer(), tiny.batch(), AutoModelForSeq2SeqLM


def clip(folder):
    tiny.base_clip().save_pretrained(folder)
    model = CodebookCLIPModel.from_base(folder, tiny.bottleneck_config(), layers=[2])
    return model, tiny.clip_processor(), tiny.pairs(), AutoModelForZeroShotImageClassification


def key_value(folder):
    model = tiny_images.key_value_model()
    model.encoder.save_pretrained(folder)
    return model, tiny_images.processor(), tiny_images.image_batch(), AutoModelForImageClassification


MAKE = {"t5": t5, "clip": clip, "key-value": key_value}


def make_case(kind, folder) -> Case:
    torch.manual_seed(0)
    model, processor, inputs, auto = MAKE[kind](folder)
    unlearner = Unlearner(model.eval(), processor)
    case = Case(unlearner, inputs, auto, str(folder))
    unlearner.delete(Selection({case.site: DELETED}), "first topic")
    unlearner.mask(Selection({case.site: MASKED}, {"q": 0.05}), "second topic")
    unlearner.undo(unlearner.mask(Selection({case.site: UNDONE}), "third topic"))
    return case


@pytest.fixture(params=list(MAKE))
def case(request, tmp_path_factory) -> Case:
    return make_case(request.param, tmp_path_factory.mktemp("base"))


@pytest.fixture
def t5_case(tmp_path_factory) -> Case:
    return make_case("t5", tmp_path_factory.mktemp("base"))
