from dataclasses import replace

import numpy as np
import pytest
from datasets import Value

from excise import PairCounts, Search, Selection, Unlearner, class_sets, encode_images, select_pairs
from tests.helpers import tiny
from tests.helpers.tiny_images import images, key_value_model, processor


def test_counts_are_how_many_examples_of_each_class_select_each_pair(model, pairs):
    counts = PairCounts.count(pairs["train"], model.bottleneck)
    labels, selected = np.array(pairs["train"]["labels"][:]), np.array(pairs["train"]["pairs"][:])
    assert counts.examples.tolist() == [100] * 4
    for index in range(4):
        expected = np.bincount(selected[labels == index].ravel(), minlength=model.bottleneck.num_codes)
        assert np.array_equal(counts.of_class(index), expected)
    table = counts.against_the_rest(2)
    assert np.array_equal(table.target_count + table.control_count, np.bincount(selected.ravel(), minlength=1024))
    assert (table.num_target, table.num_control) == (100, 300)


def test_counts_of_parts_add_up_to_those_of_the_whole(model, pairs):
    rows = pairs["train"]
    parts = [PairCounts.count(rows.select(range(*cut)), model.bottleneck) for cut in ((0, 150), (150, 400))]
    whole, summed = PairCounts.count(rows, model.bottleneck), parts[0] + parts[1]
    assert (whole.table != summed.table).nnz == 0 and np.array_equal(whole.examples, summed.examples)


def test_counts_survive_a_file(model, pairs, tmp_path):
    counts = PairCounts.count(pairs["train"], model.bottleneck)
    counts.save(tmp_path / "counts.safetensors")
    loaded = PairCounts.load(tmp_path / "counts.safetensors")
    assert (counts.table != loaded.table).nnz == 0 and np.array_equal(counts.examples, loaded.examples)
    assert loaded.keys == counts.keys == model.bottleneck.keys_id
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no counts of pairs"):
        PairCounts.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("index", [10**6, -5])
def test_counts_that_lead_out_of_their_table_are_refused(model, pairs, tmp_path, index):
    counts = PairCounts.count(pairs["train"], model.bottleneck)
    counts.table.indices[3] = index
    counts.save(tmp_path / "counts.safetensors")
    with pytest.raises(ValueError, match="holds no counts of pairs"):
        PairCounts.load(tmp_path / "counts.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(ValueError, match="holds no counts of pairs"):
        PairCounts.load(tmp_path / "x.safetensors")


def test_counts_without_labels_are_all_of_one_class(model, pairs):
    counts = PairCounts.count(pairs["train"].remove_columns("labels"), model.bottleneck)
    assert counts.examples.tolist() == [400, 0, 0, 0]


def test_what_does_not_fit_is_refused(model, pairs, encodings, tmp_path):
    counts = PairCounts.count(pairs["train"].select(range(3)), model.bottleneck)
    absent = next(index for index in range(4) if not counts.examples[index])
    with pytest.raises(ValueError, match="No example of class"):
        counts.of_class(absent)
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match="classes are 0 to 3"):
            counts.of_class(wrong)
    with pytest.raises(ValueError, match="is empty"):
        PairCounts.count(pairs["train"].select([]), model.bottleneck)
    with pytest.raises(ValueError, match="Expected what `select_pairs` returns"):
        PairCounts.count(encodings["train"], model.bottleneck)
    unknown = pairs["train"].cast_column("labels", Value("int64")).map(lambda row: {"labels": row["labels"] + 1})
    with pytest.raises(ValueError, match=r"from 1 to 4; .*classes 0 to 3"):
        PairCounts.count(unknown, model.bottleneck)
    other = key_value_model(num_codebooks=16)
    options = {"cache_dir": tmp_path, "progress": False}
    theirs = select_pairs(other, encode_images(other, images(8), processor(), **options), **options)
    with pytest.raises(ValueError, match="other keys"):
        PairCounts.count(theirs, model.bottleneck)
    with pytest.raises(ValueError, match="do not add up"):
        counts + PairCounts.count(theirs, other.bottleneck)


def test_pairs_and_counts_know_the_keys_top_k_and_mask_that_they_were_selected_with(
    model, pairs, encodings, tmp_path, monkeypatch
):
    options = {"cache_dir": tmp_path, "progress": False}
    counts = PairCounts.count(pairs["train"], model.bottleneck)
    never = [key_value_model(seed=seed) for seed in (0, 1)]  # keys that were never initialised differ too
    assert never[0].bottleneck.keys_id != never[1].bottleneck.keys_id
    masked = np.unique(pairs["train"]["pairs"][0])[:3]
    with Unlearner(model, processor()).trial(Selection({"bottleneck": masked})):
        selected = select_pairs(model, encodings["train"], **options)
        PairCounts.count(selected, model.bottleneck)
        PairCounts.count(pairs["train"], model.bottleneck)  # selected without any mask: what training was on
    with pytest.raises(ValueError, match="under another mask"):
        PairCounts.count(selected, model.bottleneck)
    monkeypatch.setattr(model.bottleneck.config, "top_k", 2)
    with pytest.raises(ValueError, match="other keys"):
        PairCounts.count(pairs["train"], model.bottleneck)
    with pytest.raises(ValueError, match="other keys"):
        Unlearner(model, processor()).forget(counts.topic(1, "green"), Search("activations", count=5))


def test_pairs_of_images_need_an_image_processor(model):
    with pytest.raises(ValueError, match="is no image processor"):
        Unlearner(model, tiny.tokenizer()).pairs(images(4))


def test_examples_in_any_format_are_forgotten_with_the_digest_of_their_rows(model, pairs, encodings):
    unlearner, search = Unlearner(model, processor()), Search("activations", count=3)
    for examples in (pairs["test"], encodings["test"], images(4)):
        requests = []
        for form in (None, "torch", "numpy"):
            requests.append(unlearner.forget(examples.with_format(form), search, name="red", progress=False))
            unlearner.undo(requests[-1])
        assert len({(str(request.codes), request.data["target"]) for request in requests}) == 1


def test_a_class_is_named_or_numbered_by_any_whole_number(model, pairs):
    counts = PairCounts.count(pairs["train"], model.bottleneck)
    assert counts.topic(np.int64(1)).digest() == counts.topic(1).digest() == counts.topic("green").digest()
    assert counts.topic([1]).digest() == counts.topic(1).digest()
    for class_ in (True, 1.0, None, {"green": 1}):
        with pytest.raises(ValueError, match="expected the name of a class, or its index"):
            counts.topic(class_)


def test_what_cannot_be_counted_is_refused_with_the_reason(model, pairs, encodings):
    unlearner, search = Unlearner(model, processor()), Search("activations", count=3)
    sets = class_sets(images(40), "red", min_examples=1)
    texts = Unlearner(tiny.codebook_t5(), tiny.tokenizer())
    for refused, message in [
        (lambda: unlearner.choose(sets, Search("fisher", multiple=0), progress=False), "multiple=0"),
        (lambda: unlearner.choose(sets, "class_token", progress=False), "one encoding an image"),
        (lambda: unlearner.choose(pairs["test"], replace(search, positions="class_token")), "pairs have no positions"),
        (lambda: unlearner.choose(encodings["test"], replace(search, positions="topic")), "encodings have no pos"),
        (lambda: texts.choose(pairs["test"], search), "so pairs are not for it"),
        (lambda: texts.choose(encodings["test"], search), "so encodings are not for it"),
    ]:
        with pytest.raises(ValueError, match=message):
            refused()


def test_counts_of_other_classes_do_not_add_up(model, pairs):
    counts = PairCounts.count(pairs["train"], model.bottleneck)
    with pytest.raises(ValueError, match="of other classes"):
        counts + replace(counts, classes=counts.classes[::-1])
    assert (counts + replace(counts, classes=None)).classes == counts.classes
