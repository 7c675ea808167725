"""Classes that are to be forgotten: how much of one goes is told, and what can hardly have gone is said to be there."""

import json

import pytest
from transformers import AutoTokenizer

from excise import PairCounts, Search, Unlearner, class_sets, encode_images, initialize_keys
from excise.cli import main
from excise.sharing.bundle.writing import save_processor
from excise.sharing.erasure import ErasedRows
from tests.helpers.tiny import codebook_clip
from tests.helpers.tiny_images import images, key_value_model, processor

SEARCHES = {
    "a share and a count": ({"method": "activations", "share": 0.5, "count": 3}, "takes the place of its count"),
    "a share of a test": ({"method": "fisher", "share": 0.5}, "share=0.5 is of Search"),
    "a share of examples": ({"method": "examples", "share": 0.5, "count": None}, "share=0.5 is of Search"),
    "no share": ({"method": "activations", "share": 0.0}, "above 0 and at most 1"),
    "a share in percent": ({"method": "activations", "share": 95}, "above 0 and at most 1"),
    "neither share nor count": ({"method": "activations"}, "give count=..., or the share of all firings, share=1.0"),
}


@pytest.mark.parametrize(("options", "said"), SEARCHES.values(), ids=SEARCHES)
def test_a_search_that_cannot_be_is_refused_by_name(options, said):
    with pytest.raises(ValueError, match=said):
        Search(**options)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_a_share_of_firings_is_reached_by_no_fewer_codes(model, pairs, share):
    topic = PairCounts.count(pairs["train"], model.bottleneck).topic("green")
    fired = topic.frequency(1)["bottleneck"]
    chosen = Unlearner(model, processor()).choose(topic, Search("activations", share=share))
    made_up = sorted(fired[list(chosen.codes["bottleneck"])])
    assert sum(made_up) >= share * fired.sum() > sum(made_up[1:])
    assert chosen.thresholds == {"method": "activations", "share": share, "count": len(chosen)}


@pytest.fixture
def folder(model, pairs, tmp_path):
    """A folder with a classifier, the counts of its training, and sets of few images of a class."""
    Unlearner(model, processor()).save_pretrained(tmp_path / "classifier")
    PairCounts.count(pairs["train"], model.bottleneck).save(tmp_path / "classifier" / "pair_counts.safetensors")
    class_sets(images(400), "green", max_examples=12, min_examples=5).save(tmp_path / "green")
    return tmp_path


# What is typed, the least and the most share of the forget images that are left, and whether a warning says so.
TYPED = {
    "nothing but model and class": ("", 0, 0.05, False),
    "too small a share of the firings": ("--share 0.5", 0.6, 1, True),
    "too few pairs": ("--method activations --count 20", 0.6, 1, True),
    "too few images": ("--method examples --count 1", 0.6, 1, True),
    "nothing but model and class, private": ("--private --label request-1", 0, 0.05, False),
}


@pytest.mark.parametrize(("options", "least", "most", "warned"), TYPED.values(), ids=TYPED)
def test_a_command_tells_how_much_of_a_class_it_forgot(folder, capsys, caplog, options, least, most, warned):
    words = f"unlearn {folder}/classifier {folder}/green --out {folder}/out --json --quiet {options}"
    assert main(words.split()) == 0
    told = json.loads(capsys.readouterr().out)["forget_images"]
    assert told["removed"] <= told["codes"] == 1024
    assert told["accuracy_before"] > 0.9
    assert least <= told["accuracy_after"] <= most
    assert told["hardly_forgotten"] is warned
    assert ("The class is hardly forgotten: the model still takes" in caplog.text) is warned


def test_the_counts_of_training_are_taken_where_a_classifier_has_them(folder, capsys):
    for counts, what in ((True, "class's 100 training images"), (False, "forget images")):
        if not counts:
            (folder / "classifier" / "pair_counts.safetensors").unlink()
        assert main(f"unlearn {folder}/classifier {folder}/green --out {folder}/{counts} --quiet".split()) == 0
        assert f" of 1,024 pairs, 100.0 % of the firings of the {what}." in capsys.readouterr().out


def test_where_no_test_finds_a_class_all_pairs_of_its_images_go(model):
    few = class_sets(images(400), "green", max_examples=2, max_retain=2, min_examples=2)
    unlearner = Unlearner(model, processor())
    request = unlearner.forget(few)
    assert request.thresholds["preset"] == "pairs"
    with pytest.raises(ValueError, match="request 1 \\(mask\\) removes the codes of 'green' already"):
        unlearner.forget(few)


@pytest.mark.parametrize("wrap", [lambda search: search, lambda search: [search]], ids=["a search", "searches"])
def test_a_search_in_the_place_of_the_name_is_told_where_it_goes(model, wrap):
    sets = class_sets(images(400), "green", max_examples=5, min_examples=5)
    with pytest.raises(ValueError, match=r"how codes are found\. Give it by its name: `preset=Search"):
        Unlearner(model, processor()).delete(sets, wrap(Search("activations", count=3)))


def test_a_model_without_pairs_has_no_encodings(encodings):
    for call in (lambda m: encode_images(m, images(8), processor()), lambda m: initialize_keys(m, encodings["train"])):
        with pytest.raises(ValueError, match="has no key-value pairs on a frozen encoder"):
            call(codebook_clip())


@pytest.mark.parametrize("initialised", [True, False])
def test_keys_that_were_never_put_where_data_is_are_told_once(model, encodings, initialised, caplog):
    model = model if initialised else key_value_model(num_codebooks=16)
    rows = encodings["test"].with_format("torch")["encodings"][:]
    for _ in range(2):
        model(encodings=rows)
    assert caplog.text.count("`initialize_keys(model, encodings)` was not called") == (not initialised)


def test_keys_and_values_that_are_erased_are_counted_apart(model):
    unlearner = Unlearner(model, processor())
    unlearner.mask(unlearner.choose(images(8).remove_columns("label"), Search("activations", count=20)), "green")
    assert ErasedRows.of(model).by_tensor == {"keys": 20, "values": 20}


def test_how_a_tokenizer_was_fetched_is_in_no_file_of_a_bundle(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "there")
    fetched = AutoTokenizer.from_pretrained(tmp_path / "there", local_files_only=True, cache_dir=str(tmp_path / "c"))
    (tmp_path / "out").mkdir()
    save_processor(fetched, tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert not {"local_files_only", "cache_dir", "token"} & {*settings}
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab() == tokenizer.get_vocab()
