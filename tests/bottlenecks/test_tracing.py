"""What a trace shows, and to whom."""

import threading

import pytest
import torch

from excise.bottlenecks import trace
from excise.bottlenecks.tracing import checkpoint_contexts, current_trace
from tests.helpers.tiny import SITE, batch, codebook_t5


def test_a_trace_holds_the_output_of_each_site_and_respects_padding():
    model, inputs = codebook_t5(layers=(0, 2)), batch()
    with trace(inputs["attention_mask"]) as traced:
        model.get_encoder()(inputs["input_ids"], inputs["attention_mask"])
    assert list(traced.outputs) == ["encoder.block.0", SITE]
    codes = model(**inputs).codes
    for site, output in traced.outputs.items():
        assert torch.equal(output.codes, codes[site])
        assert ((output.codes == -1).all(-1) == (inputs["attention_mask"] == 0)).all()


def test_an_encoder_runs_without_anyone_who_traces_it():
    model, inputs = codebook_t5(), batch()
    model.get_encoder()(inputs["input_ids"], inputs["attention_mask"])
    assert current_trace().outputs == {}


def test_the_innermost_trace_gets_what_is_put_out_and_the_outer_one_is_back_after_it():
    with trace() as outer:
        with trace() as inner:
            assert current_trace() is inner
        assert current_trace() is outer
    assert current_trace() is not outer


def test_an_error_inside_closes_the_trace():
    with pytest.raises(RuntimeError), trace():
        raise RuntimeError
    with trace() as first:
        pass
    assert current_trace() is not first


def test_another_thread_sees_no_trace_of_this_one():
    seen = []
    with trace() as traced:
        thread = threading.Thread(target=lambda: seen.append(current_trace()))
        thread.start()
        thread.join()
        assert seen[0] is not traced
        assert current_trace() is traced


def test_a_second_run_of_a_layer_sees_the_first_ones_mask_and_writes_to_no_ones_trace():
    mask = torch.tensor([[1, 0]])
    with trace(mask) as traced:
        first, again = checkpoint_contexts()
        with first:
            assert current_trace() is traced
    for _ in range(2):
        with again:
            assert current_trace().attention_mask is mask
            assert current_trace() is not traced
    assert current_trace().attention_mask is None
