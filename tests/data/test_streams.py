"""Streams (`IterableDataset`): codes are counted, classes predicted and codes initialised as on data sets."""

import pytest
import torch
from datasets import Dataset, IterableDataset
from transformers import TrainingArguments

from excise import class_sets, encode_images, initialize_codes, set_min_similarity, topic_sets
from excise.baselines import finetune
from excise.bottlenecks.site import bottlenecks
from excise.codes import CodeFinder, Search
from excise.codes.counting import count_apart, count_codes, count_pairs, count_used
from excise.data import batches
from excise.evaluation import predict_classes
from excise.evaluation.predictions import class_accuracy, predict
from excise.models.activations import bottleneck_inputs
from tests.helpers.tiny import SITE, clip_processor, codebook_clip, codebook_t5, copying
from tests.helpers.tiny import tokenizer as tiny_tokenizer
from tests.helpers.tiny_images import NAMES, images, key_value_model, processor

OPTIONS = {"max_top_s": 4, "batch_size": 3, "progress": False}


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Of 24 rows there are 4 windows."""
    monkeypatch.setattr(batches, "WINDOW", 7)


def generated(dataset: Dataset) -> IterableDataset:
    """A stream that does not know its columns."""
    return IterableDataset.from_generator(lambda: iter(dataset))


STREAMS = {"of a data set": Dataset.to_iterable_dataset, "of a generator": generated}


@pytest.fixture(params=STREAMS)
def stream(request):
    return STREAMS[request.param]


def assert_same(first, second) -> None:
    assert first.keys() == second.keys()
    for site in first:
        assert torch.equal(first[site].examples, second[site].examples)
        assert first[site].num_examples == second[site].num_examples
        assert first[site].identity == second[site].identity


def test_counts_of_a_stream_are_those_of_the_data_set(make_model, tokenizer, topic, stream):
    model, rows = make_model(layers=(0, 1)), topic.retain
    for count, options in ((count_codes, OPTIONS), (count_used, {"batch_size": 3, "progress": False})):
        assert_same(count(model, tokenizer, stream(rows), **options), count(model, tokenizer, rows, **options))


@pytest.mark.parametrize("positions", ["topic", "all"])
def test_counts_of_pairs_from_two_streams_are_those_of_the_data_sets(make_model, tokenizer, topic, stream, positions):
    model, options = make_model(), OPTIONS | {"positions": positions}
    sets = topic.target, topic.control
    of_streams = count_pairs(model, tokenizer, *map(stream, sets), **options)
    for site, counts in count_pairs(model, tokenizer, *sets, **options).items():
        assert torch.equal(counts.both, of_streams[site].both) and counts.both.any()
        for which in ("target", "control"):
            assert_same({"": getattr(counts, which)}, {"": getattr(of_streams[site], which)})
    apart = count_apart(model, tokenizer, *map(stream, sets), **OPTIONS)
    for site, counts in count_apart(model, tokenizer, *sets, **OPTIONS).items():
        assert_same({"": counts.control}, {"": apart[site].control})


def test_streams_of_unequal_length_and_a_stream_beside_a_data_set_are_no_pairs(make_model, tokenizer, topic):
    target, control = topic.target, topic.control.to_iterable_dataset()
    with pytest.raises(ValueError, match="different numbers of rows, after row 9"):
        count_pairs(make_model(), tokenizer, target.to_iterable_dataset(), control.take(10), **OPTIONS)
    with pytest.raises(ValueError, match="One is a stream and the other a data set"):
        count_pairs(make_model(), tokenizer, target, control, **OPTIONS)


def test_a_stream_without_rows_is_refused(make_model, tokenizer, topic):
    empty = topic.retain.to_iterable_dataset().take(0)
    with pytest.raises(ValueError, match="The stream has no rows"):
        count_codes(make_model(), tokenizer, empty, **OPTIONS)
    with pytest.raises(ValueError, match="The stream is empty"):
        initialize_codes(make_model(), empty, tokenizer, progress=False)
    with pytest.raises(ValueError, match="The data set is empty"):
        predict(key_value_model(), Dataset.from_dict({"labels": [1]}).to_iterable_dataset().take(0))


def test_images_and_their_classes_come_in_the_order_of_the_stream(stream):
    model, rows = key_value_model(), images(20)
    expected = predict_classes(model, processor(), rows, NAMES, batch_size=3)
    assert predict_classes(model, processor(), stream(rows), NAMES, batch_size=3) == expected
    assert_same(*(count_used(model, processor(), data, batch_size=3, progress=False) for data in (stream(rows), rows)))


def test_predictions_of_a_stream_are_those_of_the_data_set(stream):
    model = key_value_model()
    encodings = Dataset.from_dict({"encodings": torch.randn(10, 16).tolist(), "labels": [0, 1, 2, 3, 1] * 2})
    first, second = predict(model, encodings, 4), predict(model, stream(encodings), 4)
    assert torch.equal(first.logits, second.logits) and torch.equal(first.labels, second.labels)
    assert class_accuracy(model, stream(encodings)) == class_accuracy(model, encodings)
    with pytest.raises(ValueError, match="neither `labels` nor `label`"):
        predict(model, stream(encodings.remove_columns("labels")))


def test_codes_are_chosen_on_a_stream_of_examples_as_on_the_data_set(make_model, tokenizer, topic, stream):
    finder, rows = CodeFinder(make_model(), tokenizer), topic.target
    search = Search("activations", count=5)
    chosen = finder.choose(stream(rows), search, progress=False)
    assert chosen.codes == finder.choose(rows, search, progress=False).codes and len(chosen) == 5
    with pytest.raises(ValueError, match="Make a data set of it, on disk"):
        finder.choose(stream(rows), Search("examples", count=5), progress=False)


def test_codes_start_from_the_first_rows_of_a_stream(stream):
    rows, model = copying(64), codebook_t5()
    first = [torch.tensor([row["input_ids"]]) for row in rows.select(range(20))]
    batch = [{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in first]
    mean = torch.cat([bottleneck_inputs(model, each)[SITE][0] for each in batch]).mean(0)
    tokens = sum(ids.numel() for ids in first)
    initialize_codes(model, stream(rows), tiny_tokenizer(), steps=0, max_tokens=tokens, progress=False)
    torch.testing.assert_close(bottlenecks(model)[SITE].mean, mean, rtol=1e-4, atol=1e-5)
    least = set_min_similarity(model, stream(rows), tiny_tokenizer(), max_tokens=tokens, progress=False)
    assert bottlenecks(model)[SITE].min_similarity.item() == least[SITE]


def test_of_images_no_more_of_a_stream_is_read_than_is_needed():
    read = []

    def rows():
        for row in images(40):
            read.append(row)
            yield row

    model = codebook_clip()
    stream = IterableDataset.from_generator(rows, features=images(1).features)
    initialize_codes(model, stream, clip_processor(), steps=0, max_tokens=20, progress=False)
    assert 0 < len(read) < 40 * 2


@pytest.mark.parametrize(
    "call",
    [
        lambda stream: topic_sets(stream, "teacher", text="text"),
        lambda stream: class_sets(stream, "red"),
        lambda stream: encode_images(key_value_model(), stream, processor()),
        lambda stream: finetune(key_value_model(), stream, TrainingArguments(use_cpu=True)),
    ],
)
def test_where_rows_are_needed_in_any_order_a_stream_is_refused_with_what_to_do(call):
    rows = images(4).rename_column("label", "labels")
    with pytest.raises(ValueError, match=r"Make a data set of it, on disk: `Dataset\.from_generator"):
        call(rows.to_iterable_dataset())


def test_what_the_message_says_makes_the_same_data_set(tmp_path):
    stream = images(4).to_iterable_dataset()
    made = Dataset.from_generator(lambda: iter(stream), features=stream.features, cache_dir=str(tmp_path))
    assert made["label"][:] == images(4)["label"][:]
