"""Generation, hidden states and attentions of a T5 with bottlenecks."""

import threading

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from excise.bottlenecks import trace
from excise.bottlenecks.site import bottlenecks
from tests.helpers.tiny import SITE, batch, codebook_t5, mask_codes

WAYS = {
    "greedy": {},
    "beam": {"num_beams": 3, "num_return_sequences": 2},
    "sample": {"do_sample": True, "top_k": 10},
    "static cache": {"cache_implementation": "static"},
    "no cache": {"use_cache": False},
}


def generate(model, inputs=None, **settings) -> torch.Tensor:
    inputs = inputs or {key: value for key, value in batch().items() if key != "labels"}
    return model.generate(**inputs, **{"max_new_tokens": 6, "disable_compile": True} | settings)


def calls(model) -> list:
    """The batch size of each call of the bottleneck from here on."""
    seen = []
    bottlenecks(model)[SITE].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(args[0])), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize("way", WAYS)
def test_the_bottleneck_runs_once_for_each_generate(way):
    model = codebook_t5()
    seen = calls(model)
    assert generate(model, **WAYS[way]).shape[1] <= 7
    assert seen == [3]


@pytest.mark.parametrize("way", ["static cache", "no cache"])
def test_greedy_output_does_not_depend_on_the_cache(way):
    model = codebook_t5()
    assert torch.equal(generate(model, **WAYS[way]), generate(model))


def test_sampling_with_a_seed_repeats_itself():
    model = codebook_t5()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(generate(model, do_sample=True, min_new_tokens=6))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_neither_output_nor_codes_nor_losses(side):
    model = codebook_t5(layers=(0, 2))
    inputs = batch()
    width = inputs["input_ids"].shape[1] + 3
    for i, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
        row = {key: value[i : i + 1] for key, value in inputs.items()}
        row["input_ids"], row["attention_mask"] = row["input_ids"][:, :length], row["attention_mask"][:, :length]
        padded, where = dict(row), slice(0, length) if side == "right" else slice(width - length, width)
        padded["input_ids"] = torch.zeros((1, width), dtype=torch.long)
        padded["attention_mask"] = torch.zeros_like(padded["input_ids"])
        padded["input_ids"][:, where], padded["attention_mask"][:, where] = row["input_ids"], 1
        expected, output = model(**row), model(**padded)
        torch.testing.assert_close(output.logits, expected.logits, rtol=1e-4, atol=1e-4)
        for name in ("loss", "task_loss", "reconstruction_loss", "l1_loss"):
            torch.testing.assert_close(output[name], expected[name], rtol=1e-4, atol=1e-5)
        for site, codes in output.codes.items():
            assert torch.equal(codes[:, where], expected.codes[site])
            assert (codes[~padded["attention_mask"].bool()] == -1).all()
        without = [{key: value for key, value in inputs.items() if key != "labels"} for inputs in (row, padded)]
        assert torch.equal(generate(model, without[0]), generate(model, without[1]))


def test_a_batch_loss_is_the_mean_of_its_rows_weighted_by_their_labels():
    model, inputs = codebook_t5(layers=(1, 2)), batch()
    whole, weights = model(**inputs), (inputs["labels"] != -100).sum(1)
    for name in ("loss", "task_loss", "reconstruction_loss", "l1_loss"):
        rows = [model(**{key: value[i : i + 1] for key, value in inputs.items()})[name] for i in range(3)]
        torch.testing.assert_close(whole[name], (torch.stack(rows) * weights).sum() / weights.sum())


def test_a_row_of_padding_alone_gives_no_nan():
    model, inputs = codebook_t5(), batch()
    inputs["attention_mask"][2] = 0
    inputs["labels"][2] = -100
    output = model.train()(**inputs)
    output.loss.backward()
    assert output.logits.isfinite().all() and output.loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    two = {key: value[:2] for key, value in inputs.items()}
    torch.testing.assert_close(output.loss, model(**two).loss)


def test_hidden_states_are_those_after_the_bottleneck():
    model, inputs = codebook_t5(), batch()
    output = model(**inputs, output_hidden_states=True)
    with trace(inputs["attention_mask"]) as traced:
        encoded = model.encoder(inputs["input_ids"], inputs["attention_mask"])
    block = model.encoder.block[2]
    after = block.layer[-1](traced.outputs[SITE].reconstruction)
    torch.testing.assert_close(model.encoder.final_layer_norm(after), output.encoder_hidden_states[-1])
    torch.testing.assert_close(encoded.last_hidden_state, output.encoder_last_hidden_state)
    assert len(output.encoder_hidden_states) == 4


def test_encoder_states_between_layers_have_gone_through_the_bottleneck():
    model, inputs = codebook_t5(layers=(0,)), batch()
    expected = model(**inputs, output_hidden_states=True).encoder_hidden_states
    bottlenecks(model)["encoder.block.0"].decoder.bias.data += 1
    found = model(**inputs, output_hidden_states=True).encoder_hidden_states
    assert torch.equal(found[0], expected[0])
    assert not torch.allclose(found[1], expected[1])


def test_attentions_can_be_had_with_eager_attention():
    model = codebook_t5()
    model.set_attn_implementation("eager")
    attentions = model(**batch(), output_attentions=True).encoder_attentions
    assert [tuple(a.shape) for a in attentions] == [(3, 4, 7, 7)] * 3
    torch.testing.assert_close(attentions[2].sum(-1), torch.ones(3, 4, 7))


def test_a_mask_changes_what_is_generated_and_stale_encodings_bypass_it():
    model, inputs = codebook_t5(), batch()
    stale = model.encoder(inputs["input_ids"], inputs["attention_mask"])
    before = model(**inputs)
    mask_codes(model, before.codes[SITE][0, 0].tolist())
    assert not torch.allclose(model(**inputs).logits, before.logits)
    labels = {"attention_mask": inputs["attention_mask"], "labels": inputs["labels"]}
    for encodings in (stale, BaseModelOutput(stale.last_hidden_state), (stale.last_hidden_state,)):
        output = model(encoder_outputs=encodings, **labels)
        torch.testing.assert_close(output.logits, before.logits)
        torch.testing.assert_close(output.loss, before.task_loss)
        assert output.codes is None and output.reconstruction_loss is None


def test_threads_generate_with_one_model_as_one_does():
    model = codebook_t5()
    inputs = {key: value for key, value in batch().items() if key != "labels"}
    parts = [{key: value[:n] for key, value in inputs.items()} for n in (1, 3)]
    expected, found = [generate(model, part) for part in parts], {}

    def work(n):
        found[n] = [generate(model, parts[n]) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(n,)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in (0, 1):
        assert all(torch.equal(output, expected[n]) for output in found[n])
