"""From counts to a class that is forgotten: selection, masks, deletion, and the frontier."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Value
from transformers import AutoModelForImageClassification

from excise import (
    Frontier,
    KeyValueForImageClassification,
    PairCounts,
    Record,
    Search,
    Selection,
    Unlearner,
    class_sets,
    evaluate_classes,
    frontier,
)
from excise.codes.selection import SITE, by_activations, random_like
from excise.models.key_value.masked_logits import MaskedLogits
from tests.helpers.tiny_images import images, key_value_model, processor

GREEN = 1


@pytest.fixture
def counts(model, pairs):
    return PairCounts.count(pairs["train"], model.bottleneck)


@pytest.fixture
def unlearner(model):
    return Unlearner(model, processor())


@pytest.fixture
def green(pairs):
    labels = np.array(pairs["train"]["labels"][:])
    return pairs["train"].select(np.flatnonzero(labels == GREEN))


def accuracies(model, encodings):
    rows = encodings["test"].with_format("torch")
    right = model(encodings=rows["encodings"][:]).logits.argmax(1) == rows["labels"][:]
    green = rows["labels"][:] == GREEN
    return right[green].float().mean().item(), right[~green].float().mean().item()


class TestSelection:
    def test_by_activations_takes_the_most_frequent_and_never_one_that_was_not_selected(self, counts):
        of_class = counts.of_class(GREEN)
        few, all_of_them = (by_activations({SITE: of_class}, count) for count in (20, len(of_class)))
        chosen = list(few.codes[SITE])
        assert len(chosen) == 20
        assert of_class[chosen].min() >= np.delete(of_class, chosen).max()
        assert len(all_of_them) == np.count_nonzero(of_class)

    def test_by_examples_takes_all_pairs_of_some_examples_and_more_with_more(self, unlearner, green):
        def by_examples(count, seed=0):
            return unlearner.choose(green, Search("examples", count=count, seed=seed), progress=False)

        few, more = by_examples(5, seed=3), by_examples(9, seed=3)
        assert set(few.codes[SITE]) < set(more.codes[SITE])
        everything = by_examples(len(green))
        assert set(everything.codes[SITE]) == set(np.array(green["pairs"][:]).ravel().tolist())
        assert by_examples(5, seed=4) != few
        assert few.thresholds == {"method": "examples", "count": 5, "seed": 3}

    @pytest.mark.parametrize(
        ("counts", "count", "message"),
        [
            ([1, 2], 0, "expected 1 to 2, the number of codes"),
            ([1, 2], 3, "expected 1 to 2, the number of codes"),
            ([0, 0], 1, "forget set is empty"),
            ([0.5, 2.0], 1, "expected integers"),
            ([-1, 2], 1, "expected integers"),
            ([[1, 2]], 1, "expected integers"),
        ],
    )
    def test_counts_that_are_none_are_refused(self, counts, count, message):
        with pytest.raises(ValueError, match=message):
            by_activations({SITE: np.array(counts)}, count)

    def test_more_examples_than_there_are_are_refused(self, unlearner, green):
        for wrong, message in {0: "expected at least 1", 101: "expected 1 to 100, the number of examples"}.items():
            with pytest.raises(ValueError, match=f"count={wrong}: {message}"):
                unlearner.choose(green, Search("examples", count=wrong))


class TestMasking:
    def test_by_counts_alone_the_class_is_forgotten_and_the_rest_stays(self, unlearner, counts, encodings):
        before = accuracies(unlearner.model, encodings)
        assert min(before) > 0.9
        request = unlearner.forget(counts.topic("green"), Search("activations", count=400))
        forget, retain = accuracies(unlearner.model, encodings)
        assert forget == 0 and retain >= before[1] - 0.02
        assert request.thresholds["method"] == "activations" and request.topic == "green"
        unlearner.undo(request)
        assert accuracies(unlearner.model, encodings) == before

    def test_by_examples_too_from_pairs_encodings_or_images(self, unlearner, encodings, green, tmp_path, monkeypatch):
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
        labels = np.array(encodings["train"]["labels"][:])
        of_class = encodings["train"].select(np.flatnonzero(labels == GREEN))
        photos = images(400).select(np.flatnonzero(labels == GREEN))
        found = []
        for forget in (green, of_class, photos):
            request = unlearner.forget(forget, Search("examples", count=100), name="green")
            assert accuracies(unlearner.model, encodings)[0] < 0.1
            found.append(request.codes)
            unlearner.undo(request)
        assert found[0] == found[1] == found[2]
        counted = unlearner.forget(photos, Search("activations", count=50), name="green")
        unlearner.undo(counted)
        assert counted.codes == unlearner.forget(green, Search("activations", count=50), name="green").codes

    def test_counts_of_other_keys_unknown_classes_and_empty_sets_are_refused(self, unlearner, counts, green):
        with pytest.raises(ValueError, match=r"no class 'teal'; the counts' are \['red', 'green'"):
            counts.topic("teal")
        with pytest.raises(ValueError, match="give its index"):
            replace(counts, classes=None).topic("green")
        with pytest.raises(ValueError, match="other keys than the model's"):
            unlearner.forget(replace(counts, keys="others").topic("green"), Search("activations", count=5))
        for method in ("activations", "examples"):
            with pytest.raises(ValueError, match="is empty"):
                unlearner.mask(green.select([]), "green", Search(method, count=5))
        with pytest.raises(ValueError, match="Name it for the ledger"):
            unlearner.forget(green, Search("activations", count=5))
        with pytest.raises(ValueError, match="asks for more than counts tell"):
            unlearner.forget(counts.topic("green"), Search("examples", count=5))
        with pytest.raises(ValueError, match="there is none"):
            unlearner.forget(green, Search("fisher"), name="green")
        assert not unlearner.ledger.requests

    @pytest.mark.parametrize("verb", ["forget", "mask", "delete"])
    def test_every_verb_takes_counts_examples_class_sets_and_selections(self, unlearner, counts, green, verb):
        topic = class_sets(images(400), "green", test=images(120, seed=1), min_examples=10)
        search = Search("activations", count=40)
        chosen = unlearner.choose(counts.topic("green"), search)
        call = getattr(unlearner, verb)
        with unlearner.trial(counts.topic("green"), search):
            assert not unlearner.model.bottleneck.live[list(chosen.codes[SITE])].any()
        requests = [
            call(counts.topic("green"), preset=search),
            call(topic, preset=search),
            call(green, name="green", preset=search),
            call(chosen, name="green"),
        ]
        assert [request.topic for request in requests] == ["green"] * 4
        assert [set(request.data) for request in requests[::2]] == [{"counts"}, {"target"}]
        assert set(requests[1].data) == {"target", "control", "retain", "heldout", "heldout_retain"}
        assert requests[0].codes == requests[3].codes == chosen.codes

    def test_a_statistical_search_forgets_a_class_by_its_sets_or_by_its_counts(self, unlearner, counts, encodings):
        topic = class_sets(images(400), "green", test=images(120, seed=1), min_examples=10)
        before = accuracies(unlearner.model, encodings)
        for what, search in ((topic, "default"), (counts.topic("green"), Search("fisher", q=1.0, count=400))):
            request = unlearner.forget(what, search)
            forget, retain = accuracies(unlearner.model, encodings)
            assert forget < 0.2 and retain > before[1] - 0.1
            assert request.thresholds["method"] == "fisher"
            unlearner.undo(request)
        with pytest.raises(ValueError, match="has no search of its own"):
            unlearner.forget(counts.topic("green"))

    def test_as_many_random_pairs_as_often_used_forget_nothing(self, unlearner, counts, encodings):
        frequency = counts.of_all()
        chosen = by_activations({SITE: counts.of_class(GREEN)}, 150)
        drawn = random_like(chosen, {SITE: frequency}, {SITE: np.ones(1024, bool)}, seed=0)
        with unlearner.trial(drawn):
            assert accuracies(unlearner.model, encodings)[0] > 0.9

    def test_a_deletion_erases_keys_and_values_from_model_and_file_and_stays(
        self, unlearner, counts, encodings, tmp_path
    ):
        chosen = by_activations({SITE: counts.of_class(GREEN)}, 400)
        unlearner.delete(chosen, "green")
        rows = list(chosen.codes[SITE])
        unlearner.save_pretrained(tmp_path / "saved")
        for model in (unlearner.model, AutoModelForImageClassification.from_pretrained(tmp_path / "saved")):
            bottleneck = model.bottleneck
            for name in ("keys", "values"):
                assert not bottleneck.by_code(getattr(bottleneck, name))[rows].any()
            assert accuracies(model, encodings)[0] == 0

    def test_counts_of_training_serve_for_a_second_class_after_a_deletion(self, unlearner, counts, encodings):
        unlearner.delete(by_activations({SITE: counts.of_class(GREEN)}, 300), "green")
        unlearner.forget(counts.topic("blue"), Search("activations", count=300))
        rows = encodings["test"].with_format("torch")
        right = unlearner.model(encodings=rows["encodings"][:]).logits.argmax(1) == rows["labels"][:]
        for index, least, most in ((0, 0.8, 1), (1, 0, 0.1), (2, 0, 0.1), (3, 0.8, 1)):
            assert least <= right[rows["labels"][:] == index].float().mean() <= most, index

    def test_a_mask_that_empties_a_codebook_is_refused_and_changes_nothing(self, unlearner):
        with pytest.raises(ValueError, match="codebook 3 would keep 0 live pairs"):
            unlearner.mask(Selection({SITE: range(192, 256)}), "too much")
        assert unlearner.model.bottleneck.live.all() and not unlearner.ledger.requests

    def test_an_optimizer_forgets_deleted_values(self, unlearner, counts, pairs):
        model, rows = unlearner.model, pairs["train"].with_format("torch")
        optimizer = torch.optim.AdamW([model.bottleneck.values], lr=0.1)
        model(pairs=rows["pairs"][:], labels=rows["labels"][:]).loss.backward()
        optimizer.step()
        chosen = by_activations({SITE: counts.of_class(GREEN)}, 30)
        unlearner.delete(chosen, "green", optimizer)
        optimizer.step()
        values = model.bottleneck.by_code(model.bottleneck.values)[list(chosen.codes[SITE])]
        assert not values.any()

    def test_class_sets_say_how_accurate_the_model_is_before_and_after(self, unlearner, counts):
        topic = class_sets(images(400), "green", test=images(120, seed=1), min_examples=10)
        unlearner.forget(counts.topic("green"), Search("activations", count=400))
        scores = evaluate_classes(unlearner, topic, progress=False).scores
        assert scores["before"]["heldout"]["accuracy"] > 0.9 and scores["after"]["heldout"]["accuracy"] == 0
        assert scores["after"]["heldout_retain"]["accuracy"] > 0.9

    def test_an_evaluation_encodes_each_set_once_and_says_that_nothing_is_read_without_pairs(
        self, unlearner, counts, monkeypatch
    ):
        topic = class_sets(images(400), "green", test=images(120, seed=1), min_examples=10)
        unlearner.forget(counts.topic("green"), Search("activations", count=20))
        encode, encoded = KeyValueForImageClassification.encode, []

        def spy(model, pixels):
            encoded.append(len(pixels))
            return encode(model, pixels)

        monkeypatch.setattr(KeyValueForImageClassification, "encode", spy)
        found = evaluate_classes(unlearner, topic, progress=False)
        sets = (topic.heldout, topic.heldout_retain, topic.target, topic.retain)
        assert sum(encoded) == sum(map(len, sets))
        assert list(found.scores) == ["before", "after", "random codes", "topic-matched random codes"]
        (condition, reason), *others = found.settings["not_measured"].items()
        assert (condition, others) == ("bottleneck left out", []) and "no logits without its pairs" in reason
        assert str(found).splitlines()[-1] == f"Not measured: bottleneck left out. {reason}"
        pixels = processor()(topic.heldout["image"][:], return_tensors="pt")["pixel_values"]
        expected = unlearner.model(pixels).logits.argmax(-1)
        assert found.outputs["after"]["heldout"] == [topic.classes[i] for i in expected]
        assert "not_measured" not in evaluate_classes(unlearner, topic, left_out=False, progress=False).settings


class TestFrontier:
    def test_its_points_are_the_accuracies_of_the_masked_model(self, unlearner, counts, encodings):
        selections = {n: by_activations({SITE: counts.of_class(GREEN)}, n) for n in (50, 200, 350)}
        made = frontier(unlearner, encodings["test"], GREEN, selections, progress=False)
        assert [point.count for point in made.points] == [0, 50, 200, 350]
        assert made.points[0][2:] == pytest.approx(accuracies(unlearner.model, encodings))
        for point in made.points[1:]:
            with unlearner.trial(selections[point.count]):
                assert point[2:] == pytest.approx(accuracies(unlearner.model, encodings))
        assert made.examples == (30, 90) and made.topic == "green" and made.method == "activations"
        assert made.points[0].forget > made.points[-1].forget

    def test_the_point_that_is_in_force_is_what_the_record_goes_by(self, unlearner, counts, encodings):
        searches = {n: Search("activations", count=n) for n in (9, 400)}
        selections = {n: unlearner.choose(counts.topic("green"), search) for n, search in searches.items()}
        made = frontier(unlearner, encodings["test"], GREEN, selections, progress=False)
        for count, label in ((9, "not forgotten"), (400, "forgotten")):
            request = unlearner.mask(selections[count], counts.topic("green"))
            record = Record.of(unlearner.model, frontiers=[made])
            assert record.in_force.point(made).count == count
            assert [(one.topic, one.label) for one in record.verdicts] == [("green", label)]
            unlearner.undo(request)
        unlearner.mask(Selection({SITE: [0]}), "another")
        record = Record.of(unlearner.model, frontiers=[made])
        assert record.in_force.point(made) is None

    def test_pairs_by_enrichment_are_a_further_choice(self, unlearner, counts, encodings):
        table = counts.enrich(GREEN)
        made = frontier(unlearner, encodings["test"], GREEN, {400: table.select(q=1.0, count=400)}, progress=False)
        assert made.method == "fisher"
        assert made.points[1].forget < 0.5 < made.points[1].retain

    def test_it_survives_a_file_and_prints(self, unlearner, counts, encodings, tmp_path):
        selections = {9: by_activations({SITE: counts.of_class(GREEN)}, 9)}
        made = frontier(unlearner, encodings["test"], GREEN, selections, progress=False)
        made.save(tmp_path / "frontier.json")
        assert Frontier.load(tmp_path / "frontier.json") == made
        assert list(made.to_pandas()["removed"]) == [0, 9] and "'green'" in str(made)
        (tmp_path / "other.json").write_text("{}")
        with pytest.raises(ValueError, match="no saved frontier"):
            Frontier.load(tmp_path / "other.json")

    def test_a_class_without_test_examples_and_a_set_without_labels_are_refused(self, unlearner, encodings):
        with pytest.raises(ValueError, match="0 of 120 test examples are of class 7"):
            frontier(unlearner, encodings["test"], 7, {})
        with pytest.raises(ValueError, match="has no 'labels'"):
            frontier(unlearner, encodings["test"].remove_columns("labels"), GREEN, {})

    def test_another_encoders_encodings_and_a_reading_of_others_are_refused(self, unlearner, encodings):
        other = Unlearner(key_value_model(seed=5), processor())
        with pytest.raises(ValueError, match="another encoder"):
            frontier(other, encodings["test"], GREEN, {})
        reading = MaskedLogits(unlearner.model.bottleneck, encodings["train"])
        with pytest.raises(ValueError, match="another model or another test set"):
            frontier(unlearner, encodings["test"], GREEN, {}, reading=reading)


def test_a_proxy_set_may_have_classes_of_its_own(unlearner):
    proxy = images(12).cast_column("label", Value("int64")).map(lambda row: {"label": row["label"] + 90})
    request = unlearner.forget(proxy, Search("activations", count=20), name="what is like these")
    assert request.num_codes == 20
    unlearner.undo(request)
    assert unlearner.forget(proxy, Search("examples", count=3), name="what is like these").num_codes > 6


def test_a_reading_follows_masks_that_come_and_go(unlearner, counts, encodings):
    reading = MaskedLogits(unlearner.model.bottleneck, encodings["test"])
    vectors = encodings["test"].with_format("torch")["encodings"][:]
    requests = []
    for name in ("red", "green", "blue"):
        requests.append(unlearner.forget(counts.topic(name), Search("activations", count=60)))
        torch.testing.assert_close(reading.logits(), unlearner.model(encodings=vectors).logits)
    for request in requests[1:]:
        unlearner.undo(request)
        torch.testing.assert_close(reading.logits(), unlearner.model(encodings=vectors).logits)
