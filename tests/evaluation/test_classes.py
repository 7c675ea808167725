"""A class is forgotten and the others are not, and the evaluation tells so."""

import copy
import math
from importlib import import_module

import pytest
import torch
from transformers import CLIPConfig, CLIPForImageClassification, CLIPModel, CLIPVisionConfig, CLIPVisionModel

from excise import (
    CodebookCLIPForImageClassification,
    CodebookCLIPModel,
    CodebookCLIPVisionModel,
    Evaluation,
    Selection,
    Sweep,
    Unlearner,
    class_sets,
    evaluate,
    evaluate_classes,
    initialize_codes,
    set_min_similarity,
    sweep,
)
from excise.evaluation import predict_classes, topics_table
from excise.report import plot_sweep
from tests.helpers import tiny

SITE = "encoder.layers.1"
# Grey is what an image is taken for of which nothing is passed on. Without it, what is neither of two is the third.
CLASSES = ("red", "green", "blue", "grey")
QUIET = {"progress": False}
TEMPLATES = ["a {}", "the {}"]


def pictures(rows, seed=0):
    return tiny.images(rows, seed, CLASSES)


def trained(model_class):
    """A model whose random first layers pass colours through a codebook; what comes after has learnt to tell them."""
    model, images = tiny.codebook_clip(model_class, layers=(1,), classes=4, num_codes=60), pictures(120)
    processor = tiny.clip_processor()
    initialize_codes(model, images, processor, steps=50, **QUIET)
    set_min_similarity(model, images, processor, quantile=0.01, **QUIET)
    model.config.id2label = dict(enumerate(CLASSES))
    pixels = processor(images=images["image"][:], return_tensors="pt")["pixel_values"]
    texts = processor.tokenizer([f"a photo of a {name}" for name in CLASSES], padding=True, return_tensors="pt")
    inputs = {"pixel_values": pixels}
    if model_class is CodebookCLIPModel:
        inputs |= {key: texts[key] for key in ("input_ids", "attention_mask")}
    model.requires_grad_(True).vision_model.requires_grad_(False)
    model.vision_model.encoder.layers[2].requires_grad_(True)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.005)
    for _ in range(150):
        output = model(**inputs)
        logits = output.logits if "logits" in output else output.logits_per_image
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.tensor(images["label"][:])).backward()
        optimizer.step()
    return model


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {
        model_class: trained(model_class) for model_class in (CodebookCLIPModel, CodebookCLIPForImageClassification)
    }


@pytest.fixture(params=["clip", "classifier"])
def unlearner(models, request):
    model = models[CodebookCLIPModel if request.param == "clip" else CodebookCLIPForImageClassification]
    return Unlearner(copy.deepcopy(model), tiny.clip_processor())


@pytest.fixture(scope="module")
def sets():
    return class_sets(pictures(240), "green", test=pictures(120, seed=1), min_examples=4, max_examples=60)


def accuracies(evaluation, condition):
    return [evaluation.scores[condition][name]["accuracy"] for name in ("heldout", "heldout_retain")]


def test_forgetting_a_class_leaves_the_others(unlearner, sets):
    request = unlearner.forget(sets, **QUIET)
    assert request.topic == "green" and request.thresholds["preset"] == "class"
    evaluation = evaluate_classes(unlearner, sets, **QUIET)
    assert accuracies(evaluation, "before") == pytest.approx([1, 1], abs=0.05)
    of_class, of_others = accuracies(evaluation, "after")
    assert of_class < 0.3 and of_others > 0.9
    assert accuracies(evaluation, "random codes")[0] > of_class
    assert evaluation.removed == request.num_codes
    before = accuracies(evaluation, "before")[1]
    assert evaluation.relative_drop("accuracy") == pytest.approx((before - of_others) / before)
    unlearner.undo(request)
    assert accuracies(evaluate_classes(unlearner, sets, **QUIET), "after") == pytest.approx([1, 1], abs=0.05)


def test_outputs_are_the_names_of_classes_in_the_order_of_the_images(unlearner, sets):
    evaluation = evaluate_classes(unlearner, sets, random_codes=False, **QUIET)
    assert evaluation.references["heldout_retain"] == [CLASSES[i] for i in sets.heldout_retain["label"]]
    assert evaluation.outputs["before"]["heldout"] == ["green"] * 30
    assert evaluation.texts["heldout"][:2] == ["image 0", "image 1"]


def test_an_evaluation_read_back_is_the_one_saved_and_prints_both_sets(unlearner, sets, tmp_path):
    evaluation = evaluate_classes(unlearner, sets, selection=Selection({SITE: [0, 1]}), erased=False, **QUIET)
    evaluation.save(tmp_path / "evaluation.json")
    assert Evaluation.load(tmp_path / "evaluation.json") == evaluation
    lines = str(evaluation).splitlines()
    assert "2 codes removed" in lines[0] and "30 held-out images of the class, 90 of others" in lines[0]
    conditions = ["before", "after", "bottleneck left out", "random codes", "topic-matched random codes"]
    assert [line.split(" |")[0].strip() for line in lines[2:7]] == conditions
    assert (
        lines[7].startswith("Firings in the topic's 60 and 90 other examples: the removed codes ") and len(lines) == 8
    )
    assert "1.000 [" in lines[2]


def test_a_reference_model_sets_the_scale(unlearner, sets):
    request = unlearner.forget(sets, **QUIET)
    torch.manual_seed(1)
    plain = CLIPForImageClassification(tiny.codebook_clip(classes=4).config).eval()
    plain.config.id2label = dict(enumerate(CLASSES))
    plain.classifier.bias.data[0] = 100  # it has never seen but red
    evaluation = evaluate_classes(unlearner, sets, reference_model=plain, **QUIET)
    assert accuracies(evaluation, "reference model")[0] == 0
    assert set(evaluation.outputs["reference model"]["heldout"]) == {"red"}
    assert evaluation.normalized_drop("accuracy") == 1 - accuracies(evaluation, "after")[0]
    again = evaluate_classes(unlearner, sets, reference_model="not run again", reuse=evaluation, **QUIET)
    assert again == evaluation
    with pytest.raises(ValueError, match="differs in templates"):
        evaluate_classes(unlearner, sets, templates=TEMPLATES, reuse=evaluation, **QUIET)
    unlearner.undo(request)


def test_deleted_codes_have_neither_a_before_nor_a_random_control(unlearner, sets):
    unlearner.delete(unlearner.choose(sets, **QUIET), sets)
    evaluation = evaluate_classes(unlearner, sets, **QUIET)
    assert list(evaluation.scores) == ["after", "bottleneck left out"]
    assert accuracies(evaluation, "after")[0] < 0.3


def test_a_sweep_and_a_table_of_classes_hold_accuracies(models, sets, tmp_path):
    unlearner = Unlearner(copy.deepcopy(models[CodebookCLIPForImageClassification]), tiny.image_processor())
    swept = sweep(unlearner, sets, top_s=(1, 9), **QUIET)
    frame = swept.to_pandas()
    assert set(frame.metric) == {"accuracy"} and set(frame.top_s) == {0, 1, 9}
    printed = str(swept).splitlines()
    assert "held-out images" in printed[0] and printed[3].split()[0] == "original" and len(printed) == 6
    swept.save(tmp_path / "sweep.json")
    assert Sweep.load(tmp_path / "sweep.json") == swept
    plot_sweep(swept, tmp_path / "sweep.svg")
    assert "accuracy" in (tmp_path / "sweep.svg").read_text()
    table = topics_table(unlearner, [sets], **QUIET)
    assert table.top_s == 9  # three times S
    assert "accuracy" in table.to_markdown() and "green" in table.to_markdown()
    assert table.evaluations[0] == swept.evaluations[9]


def test_mcnemar_needs_the_pairs_that_classes_have_not(unlearner, sets):
    with pytest.raises(ValueError, match="pair each target with its control, or use method='fisher'"):
        unlearner.enrich(sets, **QUIET)
    enrichment = unlearner.enrich(sets, method="fisher", retain=True, **QUIET)
    assert (enrichment.positions, enrichment.num_target, enrichment.num_control) == ("all", 60, 90)
    assert enrichment.select(q=0.05, max_retain_ratio=0.25).num_codes > 0


def test_evaluating_a_class_as_texts_is_refused(unlearner, sets):
    with pytest.raises(ValueError, match="Use `evaluate_classes`"):
        evaluate(unlearner, sets)


def test_with_the_bottleneck_left_out_it_is_the_plain_class_before_and_after_a_deletion(unlearner, sets):
    model = unlearner.model
    plain = CLIPModel if isinstance(model, CodebookCLIPModel) else CLIPForImageClassification
    vision, text = tiny.CLIP_VISION, tiny.CLIP_TEXT
    plain = plain(CLIPConfig(vision_config=vision, text_config=text, id2label=model.config.id2label, **tiny.CLIP))
    plain.load_state_dict({name: w for name, w in model.state_dict().items() if ".bottleneck." not in name})
    options = {"random_codes": False, "base": plain.eval(), **QUIET}
    found = evaluate_classes(unlearner, sets, **options)
    assert found.outputs["bottleneck left out"] == found.outputs["base model"]
    assert found.outputs["base model"]["heldout"] == predict_classes(
        plain, unlearner.processor, sets.heldout, sets.classes
    )
    expected = 1 - accuracies(found, "before")[1] / accuracies(found, "base model")[1]
    assert found.bottleneck_cost() == pytest.approx(expected) and found.bottleneck_cost("heldout", of=100) is not None
    assert any(note.startswith("The bottleneck itself, from the base model to before: ") for note in found.notes)
    unlearner.delete(unlearner.choose(sets, **QUIET), sets)
    after = evaluate_classes(unlearner, sets, left_out=True, **options | {"base": None})
    assert after.outputs["bottleneck left out"] == found.outputs["bottleneck left out"]
    assert math.isnan(after.bottleneck_cost())


def test_a_base_model_that_is_none_is_refused_before_anything_is_run(unlearner, sets, monkeypatch):
    monkeypatch.setattr(import_module("excise.evaluation.classes"), "predict_classes", None)
    other = CLIPForImageClassification(CLIPConfig(vision_config=tiny.CLIP_VISION, id2label={0: "a", 1: "b"}))
    with pytest.raises(ValueError, match="The base model tells 2 classes apart and the data set 4"):
        evaluate_classes(unlearner, sets, base=other, **QUIET)
    with pytest.raises(ValueError, match=r"base model, a CodebookCLIP\w+, has bottlenecks. Give the plain model"):
        evaluate_classes(unlearner, sets, base=copy.deepcopy(unlearner.model), **QUIET)
    with pytest.raises(ValueError, match="CLIPVisionModel does not classify"):
        evaluate_classes(unlearner, sets, base=CLIPVisionModel(CLIPVisionConfig(**tiny.CLIP_VISION)), **QUIET)
    words = CLIPConfig(vision_config=tiny.CLIP_VISION, text_config=tiny.CLIP_TEXT | {"vocab_size": 100})
    with pytest.raises(ValueError, match=r"another vocabulary than the model: it has 100 embeddings, the model has 64"):
        evaluate_classes(unlearner, sets, base=CLIPModel(words), **QUIET)


def test_what_does_not_classify_is_refused(unlearner, sets):
    tower = Unlearner(tiny.codebook_clip(CodebookCLIPVisionModel), tiny.image_processor())
    with pytest.raises(ValueError, match="does not classify"):
        evaluate_classes(tower, sets, **QUIET)


def test_names_need_a_tokenizer_and_a_place(models, sets):
    model = models[CodebookCLIPModel]
    with pytest.raises(ValueError, match="has no tokenizer"):
        predict_classes(model, tiny.image_processor(), sets.heldout, CLASSES)
    for templates in ([], ["a photo"]):
        with pytest.raises(ValueError, match="templates="):
            predict_classes(model, tiny.clip_processor(), sets.heldout, CLASSES, templates=templates)


def test_a_classifiers_own_names_decide_and_their_number_must_fit(models, sets):
    model = copy.deepcopy(models[CodebookCLIPForImageClassification])
    options = {"processor": tiny.image_processor(), "dataset": sets.heldout}
    assert set(predict_classes(model, classes=("blue", "red", "grey", "green"), **options)) == {"green"}
    model.config.id2label = {i: f"LABEL_{i}" for i in range(4)}
    assert set(predict_classes(model, classes=("rouge", "vert", "bleu", "gris"), **options)) == {"vert"}
    with pytest.raises(ValueError, match="tells 4 classes apart and the data set 2"):
        predict_classes(model, classes=("red", "green"), **options)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_predictions_do_not_depend_on_the_batch_and_the_mode_stays(models, sets, batch_size):
    model, options = models[CodebookCLIPModel].train(), {"templates": TEMPLATES}
    arguments = (model, tiny.clip_processor(), sets.heldout_retain, CLASSES)
    found = predict_classes(*arguments, batch_size=batch_size, **options)
    assert found == predict_classes(*arguments, **options)
    assert len(set(found)) == 3
    assert model.training
    model.eval()
