"""A kind of bottleneck that excise does not know passes the contract, and all that can be done with codes."""

import json

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, TrainerControl, TrainerState, TrainingArguments

from excise import (
    BottleneckCallback,
    CodebookT5ForConditionalGeneration,
    Record,
    Selection,
    Unlearner,
    check_bundle,
    initialize_codes,
    set_min_similarity,
)
from excise.attacks.left_out import can_skip_codes
from excise.attacks.made_again import can_be_made
from excise.bottlenecks.site import bottlenecks
from excise.models import CodebookT5Config
from excise.report import write_report
from excise.report.card import model_card
from tests.helpers import tiny
from tests.helpers.model_contract import CodebookContract, CompiledInTheSlowSuite
from tests.helpers.vector_quantizer import VectorQuantizer, VectorQuantizerConfig

SITES = ("encoder.block.1", "encoder.block.2")


def quantised_t5(**settings) -> CodebookT5ForConditionalGeneration:
    torch.manual_seed(0)
    kind = VectorQuantizerConfig(**{"num_codes": 40, "l1_weight": 1e-3} | settings)
    model = CodebookT5ForConditionalGeneration(CodebookT5Config(**tiny.T5, bottleneck=kind, bottleneck_layers=[1, 2]))
    return model.eval()


class TestVectorQuantizerInT5(CompiledInTheSlowSuite, CodebookContract):
    model_class = CodebookT5ForConditionalGeneration
    auto_class = AutoModelForSeq2SeqLM
    imports = "excise, tests.helpers.vector_quantizer"
    exported = False

    def make(self, **settings):
        return quantised_t5(**settings)

    def batch(self):
        return tiny.batch()

    def without_loss(self):
        batch = tiny.batch()
        return {**batch, "labels": None, "decoder_input_ids": torch.zeros((3, 1), dtype=torch.long)}

    def disk_map(self):
        names = ("shared", "encoder.embed_tokens", "encoder.final_layer_norm", "decoder", "lm_head")
        blocks = {f"encoder.block.{i}": "disk" if i else "cpu" for i in range(3)}
        return dict.fromkeys(names, "cpu") | blocks


@pytest.fixture
def unlearner():
    return Unlearner(quantised_t5(), tiny.tokenizer())


def test_it_comes_back_as_the_kind_that_it_was(unlearner, tmp_path):
    unlearner.mask(Selection({SITES[0]: [1, 2]}), "cat")
    unlearner.save_pretrained(tmp_path / "saved")
    again = Unlearner.from_pretrained(tmp_path / "saved")
    assert all(type(module) is VectorQuantizer for module in again.sites.values())
    assert again.ledger == unlearner.ledger
    again.undo(1)
    assert again.sites[SITES[0]].live.all()


def test_codes_start_from_data_are_counted_found_and_deleted(unlearner, make_model, tokenizer, topic):
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 3, "num_heads": 4}
    config = CodebookT5Config(
        **sizes | {"num_decoder_layers": 1, "decoder_start_token_id": 0, "dropout_rate": 0.0},
        bottleneck=VectorQuantizerConfig(num_codes=24),
        bottleneck_layers=[1],
    )
    model = CodebookT5ForConditionalGeneration(config).eval()
    errors = initialize_codes(model, topic.target, tokenizer, steps=5, progress=False)
    assert errors.keys() == {"encoder.block.1"}
    finder = Unlearner(model, tokenizer)
    request = finder.delete(topic, preset="default", progress=False)
    (codes,) = request.codes.values()
    assert codes and not bottlenecks(model)["encoder.block.1"].codebook[list(codes)].any()


def test_a_kind_without_a_least_similarity_is_told_so(unlearner):
    with pytest.raises(ValueError, match="no least similarity to set"):
        set_min_similarity(unlearner.model, tiny.copying(4), unlearner.processor, progress=False)


def test_a_kind_whose_codes_cannot_be_written_is_neither_revived_nor_made_again(unlearner, tmp_path):
    args = TrainingArguments(str(tmp_path), use_cpu=True)
    options = {"model": unlearner.model, "optimizer": None}
    with pytest.raises(ValueError, match=r"revive_every=2: codes at .* cannot be put where tokens are"):
        BottleneckCallback(revive_every=2).on_train_begin(args, TrainerState(), TrainerControl(), **options)
    BottleneckCallback().on_train_begin(args, TrainerState(), TrainerControl(), **options)
    assert not any(can_be_made(of) or can_skip_codes(of) for of in unlearner.sites.values())


@pytest.mark.parametrize("compact", [False, True])
def test_a_bundle_of_it_is_written_read_back_and_described(unlearner, tmp_path, compact):
    unlearner.mask(Selection({SITES[0]: [1, 2], SITES[1]: [0]}), "cat")
    record = unlearner.save_bundle(tmp_path / "bundle", compact=compact)
    check_bundle(tmp_path / "bundle")
    assert {site["kind"] for site in record.state["model"]["sites"]} == {"vector_quantizer"}
    assert "vector quantiser" in (tmp_path / "bundle" / "README.md").read_text()
    again = Unlearner.from_pretrained(tmp_path / "bundle")
    assert [request.kind for request in again.ledger.requests] == ["delete"]
    expected = Unlearner(quantised_t5(), tiny.tokenizer())
    expected.delete(Selection({SITES[0]: [1, 2], SITES[1]: [0]}), "cat")
    batch = tiny.batch()
    torch.testing.assert_close(again.model(**batch).logits, expected.model(**batch).logits)


@pytest.mark.slow
def test_its_remote_code_carries_it_and_runs_without_excise(unlearner, tmp_path, without_excise):
    unlearner.mask(Selection({SITES[0]: [1, 2]}), "cat")
    unlearner.save_bundle(tmp_path / "bundle")
    code = (tmp_path / "bundle" / "modeling_excise.py").read_text()
    assert "class VectorQuantizer(Bottleneck)" in code and "KeyValue" not in code
    torch.save(tiny.batch(), tmp_path / "batch.pt")
    script = (
        "import sys, torch, transformers\n"
        "model = transformers.AutoModelForSeq2SeqLM.from_pretrained(sys.argv[1], trust_remote_code=True).eval()\n"
        "torch.save(model(**torch.load(sys.argv[2])).logits, sys.argv[3])\n"
    )
    arguments = [tmp_path / "bundle", tmp_path / "batch.pt", tmp_path / "logits.pt"]
    without_excise.run(script, *arguments).check_returncode()
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), unlearner.model(**tiny.batch()).logits)


def test_settings_of_a_kind_that_is_not_registered_are_an_error_that_says_what_to_do(unlearner, tmp_path):
    unlearner.model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["bottleneck"]["model_type"] = "unheard_of"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"no kind of bottleneck .* 'unheard_of'"):
        CodebookT5ForConditionalGeneration.from_pretrained(tmp_path)
    record = Record.of(unlearner.model)
    write_report(record, tmp_path / "report")
    assert "vector quantiser" in (tmp_path / "report" / "index.html").read_text() and model_card(record)
