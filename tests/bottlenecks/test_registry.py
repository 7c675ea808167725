"""Registration of kinds of bottleneck."""

import pytest
from transformers import PreTrainedConfig

from excise.bottlenecks import Bottleneck, CodebookSAE, KeyValueConfig, register_kind
from excise.bottlenecks.registry import REGISTERED, kind_class, kind_named
from excise.models import CodebookCLIPConfig, CodebookT5Config
from tests.helpers import tiny


@pytest.fixture(autouse=True)
def as_before():
    kind_named("codebook")  # all built-in ones are there
    kinds = dict(REGISTERED)
    yield
    REGISTERED.clear()
    REGISTERED.update(kinds)


class Settings(PreTrainedConfig):
    model_type = "a_kind_of_ones_own"
    hidden_size = None


def subclass(**attributes) -> type[Bottleneck]:
    return type("Mine", (Bottleneck,), {"config_class": Settings, "kind": "mine", "title": "my own"} | attributes)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"config_class": None}, "is no kind of bottleneck yet"),
        ({"config_class": PreTrainedConfig}, "is no kind of bottleneck yet"),
        ({"kind": ""}, "is no kind of bottleneck yet"),
        ({"config_class": CodebookSAE.config_class}, "so does .*CodebookSAE"),
        ({"config_class": KeyValueConfig}, "so does .*KeyValueBottleneck"),
        ({"kind": "codebook"}, "so does .*CodebookSAE"),
    ],
)
def test_a_kind_that_lacks_something_or_is_there_already_is_refused(attributes, message):
    before = dict(REGISTERED)
    with pytest.raises(ValueError, match=message):
        register_kind(subclass(**attributes))
    assert before == REGISTERED


def test_a_class_that_is_defined_again_takes_the_place_of_the_one_before():
    assert register_kind(CodebookSAE) is CodebookSAE
    register_kind(subclass())
    again = register_kind(subclass())
    assert kind_class("a_kind_of_ones_own") is kind_named("mine") is again


def test_settings_of_a_kind_that_does_not_sit_in_a_layer_are_refused_by_models_that_would_put_it_there():
    settings = KeyValueConfig(num_codebooks=2, num_pairs=8, key_dim=4, value_dim=16)
    vision = tiny.CLIP_VISION | {"bottleneck": settings}
    for make in (
        lambda: CodebookT5Config(**tiny.T5, bottleneck=settings),
        lambda: CodebookT5Config(**tiny.T5, bottleneck=settings.to_dict()),
        lambda: CodebookCLIPConfig(vision_config=vision, text_config=tiny.CLIP_TEXT),
    ):
        with pytest.raises(ValueError, match="a 'key_value_bottleneck' does not sit in a layer"):
            make()
