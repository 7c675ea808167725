"""With its bottlenecks left out a model puts out what the plain class of the same weights does, to the bit."""

import copy
import threading

import pytest
import torch
from transformers import CLIPConfig, CLIPForImageClassification, CLIPModel, T5Config, T5ForConditionalGeneration

from excise import (
    CodebookCLIPForImageClassification,
    CodebookCLIPModel,
    CodebookCLIPVisionModel,
    CodebookT5ForConditionalGeneration,
    KeyValueForImageClassification,
)
from excise.bottlenecks.site import left_out
from excise.models import CodebookT5Config, KeyValueVisionConfig
from tests.helpers import tiny
from tests.helpers.vector_quantizer import VectorQuantizerConfig


def plain_weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if ".bottleneck." not in name}


def plain_t5(model) -> T5ForConditionalGeneration:
    plain = T5ForConditionalGeneration(T5Config(**tiny.T5)).eval()
    plain.load_state_dict(plain_weights(model))
    return plain


def quantised_t5() -> CodebookT5ForConditionalGeneration:
    config = CodebookT5Config(**tiny.T5, bottleneck=VectorQuantizerConfig(num_codes=40), bottleneck_layers=[0, 2])
    return CodebookT5ForConditionalGeneration(config).eval()


T5S = {"codebooks": lambda: tiny.codebook_t5(layers=(1, 2)), "a third kind": quantised_t5}


@pytest.mark.parametrize("kind", T5S)
@pytest.mark.parametrize("removed", [None, tiny.mask_codes, tiny.delete_codes])
def test_a_t5_is_the_plain_one_whatever_is_removed(kind, removed):
    model, batch = T5S[kind](), tiny.batch()
    if removed:
        removed(model)
    plain = plain_t5(model)
    expected, ids = plain(**batch), plain.generate(batch["input_ids"], max_new_tokens=6)
    assert not torch.equal(model(**batch).logits, expected.logits)
    with left_out(model):
        output = model(**batch)
        assert torch.equal(output.logits, expected.logits) and torch.equal(output.loss, expected.loss)
        assert output.codes is None
        assert torch.equal(model.generate(batch["input_ids"], max_new_tokens=6), ids)


@pytest.mark.parametrize(
    ("model_class", "plain_class"),
    [(CodebookCLIPModel, CLIPModel), (CodebookCLIPForImageClassification, CLIPForImageClassification)],
)
def test_a_clip_is_the_plain_one(model_class, plain_class):
    model = tiny.codebook_clip(model_class, layers=(0, 2))
    names = {i: f"class {i}" for i in range(3)}
    config = CLIPConfig(vision_config=tiny.CLIP_VISION, text_config=tiny.CLIP_TEXT, id2label=names, **tiny.CLIP)
    plain = plain_class(config).eval()
    plain.load_state_dict(plain_weights(model))
    batch = tiny.pairs() if plain_class is CLIPModel else {"pixel_values": tiny.pixels()}
    result = "logits_per_image" if plain_class is CLIPModel else "logits"
    expected = plain(**batch)[result]
    assert not torch.equal(model(**batch)[result], expected)
    with left_out(model):
        assert torch.equal(model(**batch)[result], expected)


def test_a_vision_tower_runs_without():
    model = tiny.codebook_clip(CodebookCLIPVisionModel)
    with left_out(model):
        assert model(tiny.pixels()).codes is None
    assert model(tiny.pixels()).codes


def test_after_it_and_after_an_error_inside_the_bottleneck_is_there_again():
    model, batch = tiny.codebook_t5(), tiny.batch()
    expected = model(**batch).logits
    with pytest.raises(RuntimeError, match="interrupted"), left_out(model):
        raise RuntimeError("interrupted")
    assert torch.equal(model(**batch).logits, expected)
    with left_out(model):
        with left_out(model):
            pass
        assert not torch.equal(model(**batch).logits, expected)
    assert torch.equal(model(**batch).logits, expected)


def test_another_model_a_copy_and_another_thread_keep_their_bottlenecks():
    model, batch = tiny.codebook_t5(), tiny.batch()
    other, expected, found = copy.deepcopy(model), model(**batch).logits, []
    with left_out(model):
        thread = threading.Thread(target=lambda: found.append(model(**batch).logits))
        thread.start()
        thread.join()
        found += [other(**batch).logits, (made_inside := copy.deepcopy(model))(**batch).logits]
    assert all(torch.equal(logits, expected) for logits in (*found, made_inside(**batch).logits))


def test_a_compiled_model_is_not_run_with_its_bottleneck_all_the_same():
    # The checks of shapes that the suite adds cannot be compiled, nor what a T5 keeps for its next token by torch 2.9.
    model, batch = quantised_t5(), tiny.batch() | {"use_cache": False}
    expected, plain = model(**batch).logits, plain_t5(model)(**batch).logits
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    model.compile(backend=backend)
    with left_out(model):
        assert torch.equal(model(**batch).logits, plain) and not graphs
    torch.testing.assert_close(model(**batch).logits, expected)
    assert graphs
    with left_out(model):
        assert torch.equal(model(**batch).logits, plain)


def test_what_is_read_from_its_bottleneck_cannot_leave_it_out():
    encoder = CLIPConfig(vision_config=tiny.CLIP_VISION).vision_config
    config = KeyValueVisionConfig(encoder=encoder, bottleneck={"num_pairs": 8, "num_codebooks": 2}, num_labels=2)
    model = KeyValueForImageClassification(config)
    with pytest.raises(ValueError, match="no logits without its pairs"), left_out(model):
        pass
    with pytest.raises(ValueError, match="has no bottleneck"), left_out(tiny.base_t5()):
        pass
