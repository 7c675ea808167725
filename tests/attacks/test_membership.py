"""Membership inference on images and their classes."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy import stats
from transformers import ViTConfig, ViTForImageClassification

from excise import ClassSets
from excise.attacks import ClassLosses, ClassSeen, ExampleMembership, class_membership_inference
from excise.attacks.attack_sets import AttackSets
from excise.attacks.membership import class_losses
from excise.baselines import LinearClassifier, LinearClassifierConfig
from excise.evaluation import example_losses
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD
from tests.helpers import tiny
from tests.helpers.tiny_images import NAMES, VIT, images, processor


def losses(seed, forget=2.0, heldout=2.0, rows=(1000, 1000)):
    """Losses of which the classes have the given means, and as many rows in validation and test set."""
    rng = np.random.default_rng(seed)
    means = (forget, heldout, forget, heldout)
    return ClassLosses(*(rng.gamma(4, mean / 4, size=n) for mean, n in zip(means, (*rows, *rows), strict=True)))


def test_losses_of_the_same_distribution_are_told_apart_by_chance():
    found = class_membership_inference({seed: losses(seed) for seed in range(5)})
    assert found.mean == pytest.approx(0.5, abs=0.03)
    assert found.interval.low < 0.5 < found.interval.high


def test_losses_far_apart_are_told_apart():
    found = class_membership_inference({0: losses(0, forget=0.01, heldout=5.0)})
    assert found.mean > 0.99
    assert found.examples == {0: (1000, 1000)}


def test_it_does_not_matter_which_of_the_two_has_the_larger_losses():
    low, high = (class_membership_inference({0: losses(0, *means)}).mean for means in ((1.0, 3.0), (3.0, 1.0)))
    assert low == pytest.approx(high, abs=0.03)
    assert low > 0.8


def test_both_classes_weigh_the_same_in_the_score_whatever_their_numbers():
    validation = np.zeros(10), np.full(10, 9.0)
    forget, heldout = np.zeros(4), np.repeat([0.0, 9.0], 8)  # all right, and half of them
    assert class_membership_inference({0: ClassLosses(*validation, forget, heldout)}).mean == pytest.approx(0.75)


def test_both_classes_weigh_the_same_in_the_attackers_training_whatever_their_numbers():
    even = class_membership_inference({0: losses(0, 1.5, 3.0, rows=(3000, 3000))}).mean
    uneven = class_membership_inference({0: losses(0, 1.5, 3.0, rows=(150, 3000))}).mean
    assert uneven == pytest.approx(even, abs=0.05)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_unit_of_the_losses_does_not_matter(scale):
    plain = losses(0, 1.0, 2.0)
    scaled = ClassLosses(*(scale * getattr(plain, field.name) for field in dataclasses.fields(plain)))
    one, other = (class_membership_inference({0: found}).mean for found in (plain, scaled))
    assert one == pytest.approx(other, abs=1e-3)


def test_the_attacker_learns_from_validation_losses_alone():
    plain = losses(0, 1.0, 3.0)
    swapped = dataclasses.replace(plain, forget_test=plain.heldout_test, heldout_test=plain.forget_test)
    one, other = (class_membership_inference({0: found}).mean for found in (plain, swapped))
    assert one + other == pytest.approx(1)


def test_the_mean_and_its_interval_are_over_the_seeds():
    found = class_membership_inference({seed: losses(seed, 1.0, 1.5) for seed in (3, 5, 8)})
    values = [found.accuracy[seed] for seed in (3, 5, 8)]
    assert found.accuracy[3] == class_membership_inference({3: losses(3, 1.0, 1.5)}).mean
    assert found.mean == pytest.approx(np.mean(values))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.interval.low < found.mean < found.interval.high


def test_a_single_seed_has_no_interval():
    assert class_membership_inference({0: losses(0)}).interval is None


@pytest.mark.parametrize("name", ["forget_validation", "heldout_validation", "forget_test", "heldout_test"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"shape \(0,\); expected one loss"),
        (1.0, r"shape \(\)"),
        ([[1.0]], r"shape \(1, 1\)"),
        ([1.0, math.nan], "1 of 2 losses that are not finite"),
        ([math.inf], "1 of 1 losses that are not finite"),
    ],
)
def test_losses_that_are_none_are_refused(name, value, message):
    with pytest.raises(ValueError, match=f"`{name}` has {message}"):
        dataclasses.replace(losses(0), **{name: value})


def test_no_seed_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one seed"):
        class_membership_inference({})


def test_a_class_that_a_model_knows_is_told_from_one_it_never_saw():
    model = LinearClassifier(LinearClassifierConfig(hidden_size=2, num_labels=2))
    model.classifier.weight.data = torch.tensor([[3.0, 0.0], [0.0, -3.0]])  # of class 1 it knows nothing

    def rows(label, seed):
        points = torch.eye(2)[label] + 0.3 * torch.randn(200, 2, generator=torch.Generator().manual_seed(seed))
        return Dataset.from_dict({"encodings": points.tolist(), "labels": [label] * 200})

    known = ClassLosses(*(example_losses(model, rows(label, seed)) for seed in (0, 1) for label in (0, 1)))
    assert class_membership_inference({0: known}).mean > 0.95


def class_topic(seed=0, per_class=160):
    """Sets of red images, and images of grey that a model of the first three colours never saw."""

    def rows(seed, keep):
        of_all = images(4 * per_class, seed)
        return of_all.select([i for i, label in enumerate(of_all["label"]) if keep(label)]).rename_column(
            "img", "image"
        )

    parts = {"target": rows(seed, lambda label: label == 0), "heldout": rows(seed + 1, lambda label: label == 0)}
    parts |= dict.fromkeys(("control", "retain", "heldout_retain"), rows(seed + 2, lambda label: label in (1, 2)))
    return ClassSets(tuple(NAMES), 0, 0, **parts), rows(seed + 3, lambda label: label == 3)


@pytest.fixture(scope="module")
def colours():
    """Sets, images of an unseen class, and models: one that learnt red, green and blue, and one without red."""
    topic, grey = class_topic()
    sets = AttackSets(topic, processor(), batch_size=80)

    def learnt(*parts):
        model = ViTForImageClassification(ViTConfig(**VIT, num_labels=4, id2label=dict(enumerate(NAMES)))).eval()
        batches = [sets.training_batch(part, model.device) for part in parts]
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(15):
            for batch in batches:
                model(**batch).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        return model

    return sets, grey, learnt(topic.retain, topic.target), learnt(topic.retain)


def test_a_class_that_was_learnt_is_told_from_one_never_seen_and_models_stay_as_they_were(colours):
    sets, grey, knows, never = colours
    state = {name: tensor.clone() for name, tensor in knows.state_dict().items()}
    found = ClassSeen(unseen=grey)(knows, knows, never, sets)
    assert found.verdict == NOT_WITHSTOOD
    assert max(found.score, 1 - found.score) > 0.9
    accuracy = found.details["attacker_accuracy"]
    assert accuracy["a model that never saw the class"]["removed"] > 0.9
    assert set(accuracy["a class never seen"]) == {"removed", "never_saw", "original"}
    assert all(torch.equal(tensor, state[name]) for name, tensor in knows.state_dict().items())
    assert not knows.training


def test_a_model_that_never_saw_the_class_withstands_though_two_classes_differ_in_themselves(colours):
    sets, grey, knows, never = colours
    found = ClassSeen(unseen=grey)(knows, never, never, sets)
    assert found.verdict == WITHSTOOD
    assert len(found.attempts) == 2


def test_without_a_class_never_seen_the_model_that_never_saw_it_stands_in(colours):
    sets, _, knows, never = colours
    assert ClassSeen()(None, knows, never, sets).verdict == NOT_WITHSTOOD
    assert ClassSeen()(knows, never, never, sets).verdict == WITHSTOOD
    missing = ClassSeen()(knows, knows, None, sets)
    assert missing.verdict == NOT_MEASURED
    assert "`unseen`" in missing.reason


def test_images_of_a_model_that_never_saw_the_class_are_not_told_from_others(colours):
    sets, _, _, never = colours
    result = ExampleMembership()(None, never, never, sets)
    assert result.verdict == WITHSTOOD
    assert result.details["examples"] == [160, 160]
    assert ExampleMembership(most=9)(None, never, None, sets).verdict == NOT_MEASURED


def test_losses_of_classes_are_the_cross_entropy_whatever_the_order_of_the_head(colours):
    sets, _, knows, _ = colours
    batch = sets.training_batch(sets.topic.retain, knows.device)
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(knows(**batch).logits, batch["labels"], reduction="none")
    assert class_losses(knows, sets, sets.topic.retain) == pytest.approx(expected.numpy(), rel=1e-4)
    turned = copy.deepcopy(knows)
    turned.config.id2label = dict(enumerate(reversed(NAMES)))
    turned.classifier.weight.data, turned.classifier.bias.data = (
        part.data.flip(0) for part in (knows.classifier.weight, knows.classifier.bias)
    )
    assert class_losses(turned, sets, sets.topic.retain) == pytest.approx(expected.numpy(), rel=1e-4)


def test_sets_of_texts_are_not_attacked_as_images(topic, tokenizer, make_model):
    sets = AttackSets(topic, tokenizer, words=("professeur",))
    for attack in (ClassSeen(), ExampleMembership()):
        assert attack(None, make_model(), None, sets).verdict == NOT_MEASURED


def test_losses_of_a_clip_are_those_of_its_own_logits_of_names():
    model, names = tiny.base_clip(), ("red", "green", "blue")
    rows = tiny.images(6, classes=names)
    parts = dict.fromkeys(("target", "control", "retain", "heldout", "heldout_retain"), rows)
    sets = AttackSets(ClassSets(names, 0, 0, **parts), tiny.clip_processor(), templates=("{}",))
    texts = sets.processor.tokenizer(list(names), padding=True, return_tensors="pt")
    pixels = sets.processor.image_processor(rows["image"][:], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = model(pixel_values=pixels, **texts).logits_per_image
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(rows["label"][:]), reduction="none")
    assert class_losses(model, sets, rows) == pytest.approx(expected.numpy(), rel=1e-4)
