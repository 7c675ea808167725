"""What a stock class of transformers takes and gives, ours of the same task takes and gives: one beside the other."""

import copy
import inspect
import pickle
from contextlib import suppress

import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.utils import _pytree as pytree
from transformers import CLIPModel, Trainer, TrainingArguments, pipeline
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.trainer_pt_utils import nested_concat, nested_detach

from excise import (
    CodebookCLIPForImageClassification,
    CodebookCLIPModel,
    CodebookCLIPVisionModel,
    CodebookT5ForConditionalGeneration,
)
from excise.models.auto import MODELS
from excise.models.outputs import SiteCodes
from excise.models.remote_code import auto_map
from tests.helpers import tiny, tiny_images
from tests.helpers.model_contract import gradients
from tests.helpers.stock_pairs import PAIRS
from tests.models.test_clip_from_base import let_through

CLASSIFIERS = [name for name, pair in PAIRS.items() if pair.labels]
each = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
each_classifier = pytest.mark.parametrize("pair", [PAIRS[name] for name in CLASSIFIERS], ids=CLASSIFIERS)


def shapes(output):
    """Shapes of all tensors in an output, nested as they are in it."""
    if isinstance(output, dict):
        return {key: shapes(value) for key, value in output.items()}
    if isinstance(output, tuple | list):
        return tuple(shapes(value) for value in output)
    return tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__


def loss_of(output):
    return output[0] if output[0].dim() == 0 else output.pooler_output.square().mean()


# How a model is called

# each is done to the model, and is given with the batch
CALLS = {
    "plain": (None, {}),
    "states": (None, {"output_hidden_states": True}),
    "attentions": ("eager", {"output_hidden_states": True, "output_attentions": True}),
    "states by the config": ("output_hidden_states", {}),
    "attentions by the config": ("output_attentions", {}),
    "no cache": (None, {"use_cache": False}),
    "unknown": (None, {"something_else": 3}),
    "other size": ("larger", {"interpolate_pos_encoding": True}),
}


@each
@pytest.mark.parametrize("call", CALLS)
def test_outputs_have_the_fields_and_shapes_of_the_stock_models(pair, call):
    done, arguments = CALLS[call]
    batch = pair.batch()
    if done == "larger":
        if "pixel_values" not in batch:
            pytest.skip("it takes no images")
        batch["pixel_values"] = torch.nn.functional.interpolate(batch["pixel_values"], scale_factor=2)
    found = []
    for model in (pair.stock(), pair.ours()):
        if done in ("eager", "output_attentions"):
            model.set_attn_implementation("eager")
        if done and done.startswith("output_"):
            setattr(model.config, done, True)
        found.append(shapes(dict(model(**batch, **arguments))))
    stock, ours = found
    assert stock == {name: ours.get(name) for name in stock}


@each
def test_every_named_argument_of_the_stock_forward_is_taken(pair):
    ours = inspect.signature(type(pair.ours()).forward).parameters
    stock = inspect.signature(type(pair.stock()).forward).parameters
    assert ours.keys() >= stock.keys() or any(p.kind == p.VAR_KEYWORD for p in ours.values())


@each
def test_a_tuple_holds_what_the_output_holds_in_its_order(pair):
    model, batch = pair.ours(), pair.batch()
    expected = shapes(model(**batch).to_tuple())
    assert shapes(model(**batch, return_dict=False)) == expected
    stock = pair.stock()
    stock.config.return_dict = model.config.return_dict = False
    with suppress(AttributeError):  # of some stock models, which do not take it from the config
        assert isinstance(stock(**batch), tuple)
        assert shapes(model(**batch)) == expected


@each
def test_a_row_alone_gives_what_it_gives_in_a_batch(pair):
    model = pair.ours()
    batch = {key: value for key, value in pair.batch().items() if key not in ("labels", "return_loss")}
    if isinstance(model, CodebookT5ForConditionalGeneration):
        batch["decoder_input_ids"] = torch.tensor([[0, 5]] * 3)
    whole, alone = model(**batch), model(**{key: value[:1] for key, value in batch.items()})
    for name, value in alone.items():
        if isinstance(value, torch.Tensor) and not name.startswith("logits_per"):
            torch.testing.assert_close(value, whole[name][:1], msg=name)


@each
def test_it_runs_without_data_on_the_meta_device(pair):
    batch = {key: value for key, value in pair.batch().items() if key != "attention_mask"}  # transformers looks into it
    batch = {key: value.to("meta") if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
    assert shapes(dict(pair.ours().to("meta")(**batch))) == shapes(dict(pair.ours()(**pair.batch())))


@each
def test_embeddings_are_had_set_and_resized_as_in_the_stock_model(pair):
    done = []
    for model in (pair.stock(), pair.ours()):
        try:
            embeddings = model.get_input_embeddings()
            model.set_input_embeddings(copy.deepcopy(embeddings))
            done.append([type(embeddings), type(model.get_output_embeddings())])
        except NotImplementedError:
            done.append("none")
        try:
            model.resize_token_embeddings(80)
            done.append(shapes(dict(model(**pair.batch()))).get("loss"))
        except (NotImplementedError, AttributeError, ValueError):
            done.append("not resized")
    assert done[:2] == done[2:]


def test_an_embedded_text_gives_what_the_text_gives():
    model, batch = tiny.codebook_t5(), tiny.batch()
    expected = model(**batch)
    batch["inputs_embeds"] = model.shared(batch.pop("input_ids"))
    assert torch.equal(model(**batch).logits, expected.logits)


# Outputs on their way


@each
def test_an_output_can_be_taken_apart_and_put_together(pair):
    output = nested_detach(pair.ours()(**pair.batch(), use_cache=False))
    leaves, structure = pytree.tree_flatten(output)
    copies = {
        "pytree": pytree.tree_unflatten(leaves, structure),
        "pickle": pickle.loads(pickle.dumps(output)),
        "deepcopy": copy.deepcopy(output),
        "from pairs": type(output)((name, value) for name, value in output.items()),  # as torch's gather does
    }
    for way, copied in copies.items():
        assert type(copied) is type(output), way
        if output.get("codes") is not None:
            assert type(copied.codes) is SiteCodes and copied.codes.keys() == output.codes.keys(), way
        for found, expected in zip(pytree.tree_leaves(copied), leaves, strict=True):
            assert found is expected or torch.equal(found, expected), way


def test_codes_by_site_are_gathered_site_by_site():
    codes = tiny.codebook_clip(layers=(0, 2))(**tiny.pairs()).codes
    gathered = nested_concat(codes, codes)
    assert isinstance(codes, dict) and list(codes) == list(gathered) == ["encoder.layers.0", "encoder.layers.2"]
    for site, found in codes.items():
        assert torch.equal(gathered[site], torch.cat([found, found])) and codes[site] is found
    assert [len(part) for part in codes.to_tuple()] == [3, 3]


# Losses and training


@each_classifier
@pytest.mark.parametrize("kind", ["regression", "multi_label_classification", "single_label_classification", None])
def test_the_loss_is_that_of_the_problem(pair, kind):
    model, batch = pair.ours(), pair.batch()
    if kind in ("regression", "multi_label_classification"):
        batch["labels"] = torch.rand(3, pair.labels).round()
    else:
        batch["labels"] = torch.tensor([0, -100, 2])
    model.config.problem_type = kind
    output = model(**batch)
    expected = model.loss_function(batch["labels"], output.logits, model.config)
    torch.testing.assert_close(output.get("task_loss", output.loss), expected)
    assert model.config.problem_type == (kind or "single_label_classification")


@each_classifier
@pytest.mark.parametrize("kind", ["multi_label_classification", "single_label_classification"])
def test_parts_of_a_batch_have_the_gradient_of_the_whole(pair, kind):
    model, batch = pair.ours(), pair.batch()
    model.config.problem_type = kind
    several = kind == "multi_label_classification"
    batch["labels"] = torch.rand(3, pair.labels).round() if several else torch.tensor([0, 1, -100])
    model(**batch).loss.backward()
    expected = gradients(model)
    model.zero_grad()
    items = int((batch["labels"] != -100).sum())
    for part in (slice(0, 2), slice(2, 3)):  # nothing in the second is labelled
        model(**{key: value[part] for key, value in batch.items()}, num_items_in_batch=items).loss.backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], msg=name)


@each
def test_checkpointing_by_the_config_is_that_of_the_stock_model_and_changes_no_gradient(pair):
    made = []
    for model in (pair.stock(), pair.ours()):
        config = copy.deepcopy(model.config)
        config.gradient_checkpointing = True
        made.append(type(model)(config).train())
    stock, ours = (
        [layer.gradient_checkpointing for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
        for model in made
    )
    assert stock == ours and all(ours)
    model, batch = made[1], pair.batch()
    assert "gradient_checkpointing" not in model.config.to_dict()  # it is not saved
    plain = type(model)(copy.deepcopy(model.config)).train()
    plain.load_state_dict(model.state_dict())
    for each_model in (model, plain):
        loss_of(each_model(**batch)).backward()
    expected = gradients(plain)
    assert gradients(model).keys() == expected.keys()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "clip vision"])
def test_a_trainer_trains_evaluates_and_predicts(name, tmp_path):
    batch = PAIRS[name].batch()
    tensors = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}
    rows = [{key: value[i] for key, value in tensors.items()} for i in range(3)]
    flags = {key: value for key, value in batch.items() if key not in tensors}
    args = TrainingArguments(
        str(tmp_path),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        max_steps=2,
        per_device_train_batch_size=1,
        per_device_eval_batch_size=2,
        gradient_accumulation_steps=2,
        save_strategy="no",
        dataloader_pin_memory=False,
    )
    found = []
    for model in (PAIRS[name].stock(), PAIRS[name].ours()):
        trainer = Trainer(
            model,
            args,
            train_dataset=rows,
            eval_dataset=rows,
            data_collator=lambda rows: {key: torch.stack([row[key] for row in rows]) for key in rows[0]} | flags,
        )
        trainer.train()
        assert trainer.evaluate()["eval_loss"] > 0
        found.append(shapes(_tensors(trainer.predict(rows).predictions)))
    assert found[0] == found[1]


def _tensors(arrays):
    """Arrays as tensors, without the outputs of CLIP's towers, which its stock class predicts too."""
    if isinstance(arrays, tuple):
        return tuple(_tensors(part) for part in arrays if not isinstance(part, dict))
    return torch.as_tensor(arrays)


# Where a model is found


@pytest.mark.parametrize("model_type", MODELS)
def test_every_auto_class_of_a_type_loads_ours(model_type, tmp_path):
    makers = {pair.ours().config.model_type: pair.ours for pair in PAIRS.values() if pair.labels != 3}
    makers[model_type]().save_pretrained(tmp_path)
    for name, reference in auto_map(model_type).items():
        loaded = getattr(transformers, name).from_pretrained(tmp_path)
        if name != "AutoModelForImageClassification" or model_type != "codebook_clip":
            assert type(loaded).__name__ == reference.split(".")[1], name
    assert "AutoModel" in auto_map(model_type)


TASKS = {
    "clip": ("zero-shot-image-classification", tiny.clip_processor),
    "clip classifier": ("image-classification", tiny.image_processor),
    "clip vision": ("image-feature-extraction", tiny.image_processor),
    "key-value vit": ("image-classification", tiny_images.processor),
    "key-value resnet": ("image-feature-extraction", tiny_images.processor),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_pipeline_gives_the_same_in_batches(name, tmp_path):
    task, processor = TASKS[name]
    PAIRS[name].ours().save_pretrained(tmp_path)
    processor().save_pretrained(tmp_path)
    colours = [(200, 30, 30), (30, 200, 30), (90, 90, 90)]
    pictures = [Image.new("RGB", (32, 32), colour) for colour in colours]
    asked = {"candidate_labels": ["cat", "dog"]} if name == "clip" else {}
    run = pipeline(task, model=str(tmp_path), device="cpu")
    for one, in_batch in zip(run(pictures, **asked), run(pictures, batch_size=2, **asked), strict=True):
        one, in_batch = (pytree.tree_leaves(found) for found in (one, in_batch))
        assert [x for x in one if isinstance(x, str)] == [x for x in in_batch if isinstance(x, str)]
        numbers = [x for x in one if not isinstance(x, str)]
        assert [x for x in in_batch if not isinstance(x, str)] == pytest.approx(numbers, abs=1e-5)


@pytest.mark.parametrize(
    "model_class", [CodebookCLIPModel, CodebookCLIPVisionModel, CodebookCLIPForImageClassification]
)
def test_a_base_whose_towers_names_have_their_prefix_twice_is_taken(model_class, tmp_path):
    plain = tiny.base_clip()
    plain.save_pretrained(tmp_path)
    towers = ("vision_model.", "text_model.")
    weights = load_file(tmp_path / "model.safetensors")
    weights = {
        name.partition(".")[0] + "." + name if name.startswith(towers) else name: weights[name] for name in weights
    }
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert torch.equal(CLIPModel.from_pretrained(tmp_path).logit_scale, plain.logit_scale)
    model = model_class.from_base(tmp_path, tiny.bottleneck_config())
    model.save_pretrained(tmp_path / "saved")
    assert not any("vision_model.vision_model." in name for name in load_file(tmp_path / "saved" / "model.safetensors"))
    loaded, info = model_class.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(info.values())
    for each_model in (model, loaded):
        let_through(each_model)
        tower = getattr(each_model, "vision_model", each_model)
        torch.testing.assert_close(tower(tiny.pixels()).pooler_output, plain.vision_model(tiny.pixels()).pooler_output)
