import dataclasses

import pytest
import torch
from datasets import Dataset

from excise.bottlenecks.site import bottlenecks
from excise.codes.counting import count_codes, count_pairs
from excise.codes.topic_counts import TopicCounts
from excise.data.batches import token_masks
from excise.models.activations import bottleneck_inputs
from excise.unlearner import Unlearner


def counts(usages):
    return {site: (usage.examples.tolist(), usage.num_examples) for site, usage in usages.items()}


def test_counts_are_those_of_looking_up_every_token_alone(make_model, tokenizer, topic):
    model = make_model()
    usage = count_codes(model, tokenizer, topic.retain, max_top_s=6, progress=False)["encoder.block.1"]
    bottleneck = bottlenecks(model)["encoder.block.1"]
    expected = torch.zeros(32, dtype=torch.int64)
    for text in topic.retain["text"]:
        hidden = bottleneck_inputs(model, tokenizer(text, return_tensors="pt"))["encoder.block.1"]
        expected[bottleneck.most_similar(hidden, 4)[0].unique()] += 1
    assert torch.equal(usage.example_counts(4), expected)
    assert usage.num_examples == 12


def test_a_code_that_would_pass_nothing_on_is_not_counted(make_model, tokenizer, topic):
    model = make_model()
    before = count_codes(model, tokenizer, topic.retain, max_top_s=6, progress=False)["encoder.block.1"]
    bottleneck = bottlenecks(model)["encoder.block.1"]
    hidden = bottleneck_inputs(model, tokenizer("the cat likes", return_tensors="pt"))["encoder.block.1"]
    bottleneck.min_similarity.copy_(bottleneck.most_similar(hidden, 6)[1].median())
    after = count_codes(model, tokenizer, topic.retain, max_top_s=6, progress=False)["encoder.block.1"]
    assert (after.example_counts(6) <= before.example_counts(6)).all()
    assert 0 < after.examples.sum() < before.examples.sum()
    assert after.num_examples == before.num_examples


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_counts_depend_on_neither_batch_size_nor_order_nor_padding(make_model, tokenizer, topic, batch_size, side):
    texts = [*topic.target["text"], "the teacher", "teacher reads the book the cat likes ."]
    spans = [*topic.target["spans"], [[4, 11]], [[0, 7]]]
    dataset = Dataset.from_dict({"text": texts, "spans": spans})
    expected = count_codes(make_model(), tokenizer, dataset, positions="topic", max_top_s=8, progress=False)
    tokenizer.padding_side = side
    try:
        found = count_codes(
            make_model(),
            tokenizer,
            dataset.shuffle(seed=1),
            positions="topic",
            max_top_s=8,
            batch_size=batch_size,
            progress=False,
        )
    finally:
        tokenizer.padding_side = "right"
    assert counts(found) == counts(expected)


def test_topic_positions_are_the_tokens_of_the_topic_word(tokenizer):
    _, masks = token_masks(tokenizer, ["the teacher reads a book .", "a cat"], [[[4, 11]], []])
    assert masks == [[False, True, False, False, False, False, False], [False, False, False]]


def test_every_site_is_counted_in_the_same_pass(make_model, tokenizer, topic):
    model = make_model(layers=(0, 2))
    pairs = count_pairs(model, tokenizer, topic.target, topic.control, max_top_s=4, progress=False)
    assert list(pairs) == ["encoder.block.0", "encoder.block.2"]
    for usage in pairs.values():
        assert usage.target.num_examples == usage.control.num_examples == 12


def test_nothing_after_the_last_bottleneck_runs(make_model, tokenizer, topic):
    model = make_model(layers=(1,))
    ran = []
    later = {"feed-forward": model.encoder.block[1].layer[1], "block": model.encoder.block[2], "decoder": model.decoder}
    for name, module in later.items():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    count_codes(model, tokenizer, topic.retain, max_top_s=4, progress=False)
    assert ran == []


def test_masked_codes_are_not_counted(make_model, tokenizer, topic):
    model = make_model()
    bottlenecks(model)["encoder.block.1"].live[:10] = False
    usage = count_codes(model, tokenizer, topic.retain, max_top_s=22, progress=False)["encoder.block.1"]
    assert usage.example_counts(22)[:10].sum() == 0


def test_the_model_stays_in_the_mode_that_it_was_in(make_model, tokenizer, topic):
    model = make_model().train()
    count_codes(model, tokenizer, topic.retain, max_top_s=4, progress=False)
    assert model.training
    with pytest.raises(ValueError, match="live codes"):
        count_codes(model, tokenizer, topic.retain, max_top_s=33, progress=False)
    assert model.training


def test_bad_input_is_refused(make_model, tokenizer, topic):
    model = make_model()
    with pytest.raises(ValueError, match="set is empty"):
        count_codes(model, tokenizer, topic.retain.select([]), progress=False, max_top_s=4)
    with pytest.raises(ValueError, match="come in pairs"):
        count_pairs(model, tokenizer, topic.target, topic.control.select([0]), max_top_s=4, progress=False)
    with pytest.raises(ValueError, match="expected one of 'topic', 'all'"):
        count_codes(model, tokenizer, topic.retain, positions="own", max_top_s=4, progress=False)
    with torch.no_grad():
        model.shared.weight[3] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        count_codes(model, tokenizer, topic.retain, max_top_s=4, progress=False)


def test_the_codes_found_are_the_topic_word_s_own_and_none_in_a_null_control(make_model, tokenizer, topic):
    model = make_model(seed=3)
    unlearner = Unlearner(model, tokenizer)
    enrichment = unlearner.enrich(topic, top_s=2, progress=False)
    own = count_codes(model, tokenizer, topic.target, positions="topic", max_top_s=2, progress=False)["encoder.block.1"]
    selection = enrichment.select(q=0.05)
    assert set(selection.codes["encoder.block.1"]) <= set(own.example_counts(2).nonzero().flatten().tolist())
    assert len(selection) > 0
    null = dataclasses.replace(topic, control=topic.target)
    assert len(unlearner.enrich(null, top_s=2, progress=False).select(q=0.05)) == 0


@pytest.mark.parametrize("retain", [False, True])
def test_counts_of_a_topic_survive_a_folder_and_is_not_written_over_another(
    make_model, tokenizer, topic, tmp_path, retain
):
    made = Unlearner(make_model(), tokenizer).count_topic(topic, retain=retain, max_top_s=8, progress=False)
    made.save(tmp_path / "counts")
    loaded = TopicCounts.load(tmp_path / "counts")
    assert loaded.max_top_s == 8
    assert loaded.data == topic.digest()
    assert loaded.enrich(4).to_pandas().equals(made.enrich(4).to_pandas())
    assert (loaded.enrich(4).retain_frequency is not None) == retain
    with pytest.raises(FileExistsError, match="not an empty folder"):
        made.save(tmp_path / "counts")
    with pytest.raises(ValueError, match="holds no counts"):
        TopicCounts.load(tmp_path)


def test_one_example_is_counted_and_proves_nothing(make_model, tokenizer, topic):
    one = dataclasses.replace(topic, target=topic.target.select([0]), control=topic.control.select([0]))
    enrichment = Unlearner(make_model(), tokenizer).enrich(one, top_s=2, progress=False)
    assert enrichment.num_target == 1
    assert enrichment.pvalue.min() == 1.0
    assert len(enrichment.select(q=0.05)) == 0
