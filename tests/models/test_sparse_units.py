"""Sparse units in a T5 and in a CLIP pass the contract, and all that can be done with codes can be done with units."""

import copy
from functools import partial

import pytest
import torch
from datasets import concatenate_datasets
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoModelForZeroShotImageClassification,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from excise import (
    BottleneckCallback,
    CodebookCLIPModel,
    CodebookT5ForConditionalGeneration,
    Record,
    Selection,
    SparseUnitsConfig,
    Unlearner,
    check_bundle,
    initialize_codes,
    set_min_similarity,
)
from excise.bottlenecks import SparseUnits
from excise.bottlenecks.site import bottlenecks
from excise.codes import CodeFinder, CodeIndex, token_meanings
from excise.codes.counting import count_codes, count_used
from excise.models import CodebookT5Config, attach
from excise.report.card import model_card
from excise.sharing import ErasedRows
from tests.helpers import tiny
from tests.helpers.families import FAMILIES
from tests.helpers.model_contract import CodebookContract, CompiledInTheSlowSuite

SITES = ("encoder.block.1", "encoder.block.2")
SETTINGS = {"num_codes": 40, "active": 4, "l1_weight": 1e-3}


def with_buffers(model):
    """The model with buffers that are not at their defaults, in eval mode."""
    for module in bottlenecks(model).values():
        module.mean.normal_(std=0.1)
        module.scale.fill_(1.5)
    return model.eval()


def t5_of_units(**settings) -> CodebookT5ForConditionalGeneration:
    torch.manual_seed(0)
    config = SparseUnitsConfig(**SETTINGS | settings)
    return with_buffers(CodebookT5ForConditionalGeneration.from_base(tiny.base_t5(), config, layers=[1, 2]))


def clip_of_units(**settings) -> CodebookCLIPModel:
    torch.manual_seed(0)
    config = SparseUnitsConfig(**SETTINGS | settings)
    return with_buffers(CodebookCLIPModel.from_base(tiny.base_clip(), config, layers=[1, 2]))


class TestSparseUnitsInT5(CompiledInTheSlowSuite, CodebookContract):
    model_class = CodebookT5ForConditionalGeneration
    auto_class = AutoModelForSeq2SeqLM

    def make(self, **settings):
        return t5_of_units(**settings)

    def batch(self):
        return tiny.batch()

    def without_loss(self):
        batch = tiny.batch()
        return {**batch, "labels": None, "decoder_input_ids": torch.zeros((3, 1), dtype=torch.long)}

    def disk_map(self):
        names = ("shared", "encoder.embed_tokens", "encoder.final_layer_norm", "decoder", "lm_head")
        blocks = {f"encoder.block.{i}": "disk" if i else "cpu" for i in range(3)}
        return dict.fromkeys(names, "cpu") | blocks


# What accelerate says of a parameter that is in no submodule, as CLIP's `logit_scale`, though it wants it named.
@pytest.mark.filterwarnings("ignore:The following device_map keys do not match any submodules")
@pytest.mark.slow
class TestSparseUnitsInCLIP(CodebookContract):
    model_class = CodebookCLIPModel
    auto_class = AutoModelForZeroShotImageClassification
    result = "logits_per_image"
    exported = False

    def make(self, **settings):
        return clip_of_units(**settings)

    def batch(self):
        return tiny.pairs()

    def without_loss(self):
        return tiny.pairs() | {"return_loss": None}

    def ledger_holder(self, config):
        return config["vision_config"]

    def add_a_code(self, config):
        config["vision_config"]["bottleneck"]["num_codes"] += 1

    def disk_map(self):
        parts = {name: "cpu" for name in self.make().state_dict() if not name.startswith("vision_model.")}
        tower = dict.fromkeys(("embeddings", "pre_layrnorm", "post_layernorm", "encoder.layers.0"), "cpu")
        tower |= dict.fromkeys(("encoder.layers.1", "encoder.layers.2"), "disk")
        return parts | {f"vision_model.{key}": value for key, value in tower.items()}


@pytest.fixture
def unlearner():
    return Unlearner(t5_of_units(), tiny.tokenizer())


@pytest.fixture(scope="module")
def started(tokenizer, topic):
    """A T5 whose units were put where the topic's data is, and what was not explained then."""
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 3, "num_heads": 4}
    config = CodebookT5Config(
        **sizes | {"num_decoder_layers": 1, "decoder_start_token_id": 0, "dropout_rate": 0.0},
        bottleneck=SparseUnitsConfig(num_codes=48, active=4),
        bottleneck_layers=[0, 2],
    )
    model = CodebookT5ForConditionalGeneration(config).eval()
    rows = concatenate_datasets([topic.target, topic.retain])
    return model, initialize_codes(model, rows, tokenizer, steps=10, progress=False)


def test_they_are_of_their_kind_wherever_a_kind_is_told(unlearner):
    assert all(type(module) is SparseUnits for module in unlearner.sites.values())
    record = Record.of(unlearner.model)
    assert {site["kind"] for site in record.state["model"]["sites"]} == {"sparse_units"}
    card = str(model_card(record))
    assert "sparse units" in card and "gao2024scaling" in card


def test_a_clip_of_units_forgets_saves_and_loads(tmp_path):
    model = clip_of_units()
    output = model(**tiny.pairs())
    output.loss.backward()
    site = next(iter(output.codes))
    used = output.codes[site][output.codes[site] >= 0].unique()[:3].tolist()
    unlearner = Unlearner(model, None)
    unlearner.delete(Selection({site: used}), "cat")
    after = model(**tiny.pairs())
    assert not torch.isin(after.codes[site], torch.tensor(used)).any()
    assert not torch.allclose(after.logits_per_image, output.logits_per_image)
    model.save_pretrained(tmp_path)
    loaded = CodebookCLIPModel.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(**tiny.pairs()).logits_per_image, after.logits_per_image)


def test_units_start_from_data_are_found_and_a_deletion_leaves_nothing_of_them(started, tokenizer, topic, tmp_path):
    model, errors = copy.deepcopy(started[0]), started[1]
    assert errors.keys() == bottlenecks(model).keys() and all(error < 0.9 for error in errors.values())
    finder = Unlearner(model, tokenizer)
    before = {site: copy.deepcopy(of.state_dict()) for site, of in finder.sites.items()}
    rows = ErasedRows.of(model, finder.choose(topic, preset="default", progress=False).codes)
    request = finder.delete(topic, preset="default", progress=False)
    assert any(request.codes.values())
    for site, codes in request.codes.items():
        for name in finder.sites[site].code_tensors:
            tensor = getattr(finder.sites[site], name)
            assert not finder.sites[site].by_code(tensor)[list(codes)].any()
            kept = [code for code in range(48) if code not in codes]
            assert torch.equal(tensor[kept], before[site][name][kept])
    finder.save_pretrained(tmp_path / "deleted")
    assert not rows.find_in(tmp_path / "deleted")
    started[0].save_pretrained(tmp_path / "original")
    found = rows.find_in(tmp_path / "original")
    assert {left.tensor for left in found} == {"encoder_weight", "encoder_bias", "decoder_weight"}


@pytest.mark.parametrize("top_s", [None, 3, 9], ids=["what is passed on", "fewer", "more"])
def test_counts_and_meanings_are_the_same_from_an_index_under_any_mask(started, tokenizer, topic, tmp_path, top_s):
    model = copy.deepcopy(started[0])
    rows = concatenate_datasets([topic.target, topic.retain])
    index = CodeIndex.build(model, tokenizer, rows, tmp_path / "index", progress=False)

    def counted(index=None):
        count = count_used if top_s is None else partial(count_codes, max_top_s=top_s)
        return count(model, tokenizer, rows, progress=False, index=index)

    def told(index=None):
        finder = CodeFinder(model, tokenizer, index=index)
        return token_meanings(finder, rows["text"][::3], top_s=top_s, progress=False)

    unlearner = Unlearner(model, tokenizer)
    for masked in ([], [1, 5, 9, 20], [30, 31]):
        if masked:
            unlearner.mask(Selection(dict.fromkeys(bottlenecks(model), masked)), str(masked))
        without, with_it = counted(), counted(index)
        assert all(torch.equal(without[site].examples, with_it[site].examples) for site in without)
        assert told() == told(index)
    with torch.no_grad():
        next(iter(bottlenecks(model).values())).encoder_bias.add_(0.01)
    with pytest.raises(ValueError, match="trained"):
        counted(index)


def test_counts_of_what_is_passed_on_are_those_of_a_forward_pass(started, tokenizer, topic):
    model = started[0]
    batch = tokenizer(topic.target["text"][:], return_tensors="pt", padding=True)
    codes = model(**batch, labels=batch["input_ids"]).codes
    counts = count_used(model, tokenizer, topic.target, progress=False)
    for site, found in codes.items():
        per_row = torch.stack([torch.bincount(row[row >= 0].unique(), minlength=48) for row in found])
        assert torch.equal(counts[site].example_counts(4), per_row.sum(0)), site


def test_a_token_whose_units_are_masked_is_passed_on_as_the_units_that_are_left(started, tokenizer):
    model = copy.deepcopy(started[0])
    batch = tokenizer(["the teacher reads a book ."], return_tensors="pt")
    site = next(iter(bottlenecks(model)))
    before = model(**batch, labels=batch["input_ids"]).codes[site]
    gone = before[0, 1][before[0, 1] >= 0].tolist()
    Unlearner(model, tokenizer).mask(Selection({site: gone}), "teacher")
    after = model(**batch, labels=batch["input_ids"]).codes[site]
    assert not torch.isin(after, torch.tensor(gone)).any()
    assert after[0, 1].tolist() != before[0, 1].tolist()


def test_no_mask_leaves_fewer_units_than_may_be_active(unlearner):
    with pytest.raises(ValueError, match="3 of 40 units would stay live, fewer than the 4"):
        unlearner.mask(Selection({SITES[0]: range(37)}), "all")


def test_a_least_similarity_is_none_of_theirs(unlearner):
    with pytest.raises(ValueError, match="no least similarity to set"):
        set_min_similarity(unlearner.model, tiny.copying(4), unlearner.processor, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("compact", [False, True], ids=["as large", "without the rows"])
def test_a_bundle_is_read_back_and_runs_without_excise(unlearner, tmp_path, without_excise, compact):
    unlearner.mask(Selection({SITES[0]: [1, 2], SITES[1]: [0]}), "cat")
    unlearner.save_bundle(tmp_path / "bundle", compact=compact)
    check_bundle(tmp_path / "bundle")
    again = Unlearner.from_pretrained(tmp_path / "bundle")
    assert [module.num_codes for module in again.sites.values()] == ([39, 39] if compact else [40, 40])
    expected = Unlearner(t5_of_units(), tiny.tokenizer())
    expected.delete(Selection({SITES[0]: [1, 2], SITES[1]: [0]}), "cat")
    logits = expected.model(**tiny.batch()).logits
    torch.testing.assert_close(again.model(**tiny.batch()).logits, logits)
    if compact:
        return
    code = (tmp_path / "bundle" / "modeling_excise.py").read_text()
    assert "class SparseUnits(Bottleneck)" in code and "KeyValue" not in code and "sae_lens" not in code
    torch.save(tiny.batch(), tmp_path / "batch.pt")
    script = (
        "import sys, torch, transformers\n"
        "model = transformers.AutoModelForSeq2SeqLM.from_pretrained(sys.argv[1], trust_remote_code=True).eval()\n"
        "torch.save(model(**torch.load(sys.argv[2])).logits, sys.argv[3])\n"
    )
    arguments = [tmp_path / "bundle", tmp_path / "batch.pt", tmp_path / "logits.pt"]
    without_excise.run(script, *arguments).check_returncode()
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), logits)


def test_deleted_rows_stay_erased_and_dead_units_are_revived_while_it_is_trained(started, tokenizer, topic, tmp_path):
    model = copy.deepcopy(started[0])
    site = next(iter(bottlenecks(model)))
    of = bottlenecks(model)[site]
    Unlearner(model, tokenizer).delete(Selection({site: [1, 2]}), "some")
    with torch.no_grad():
        of.encoder_bias[10:20] = -1e3  # dead
    rows = tokenizer(topic.target["text"][:], text_target=topic.target["reference"][:])
    rows = [{name: rows[name][i] for name in ("input_ids", "attention_mask", "labels")} for i in range(12)]
    options = {"max_steps": 6, "per_device_train_batch_size": 6, "learning_rate": 1e-3, "use_cpu": True}
    options |= {"save_strategy": "no", "report_to": "none", "disable_tqdm": True, "logging_steps": 1}
    trainer = Seq2SeqTrainer(
        model,
        Seq2SeqTrainingArguments(str(tmp_path), **options),
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        callbacks=[BottleneckCallback(revive_every=2, revive_until=0.5)],
    )
    trainer.train()
    assert trainer.state.log_history[0]["live_code_share"] < 1 and "reconstruction_loss" in trainer.state.log_history[0]
    assert (of.encoder_bias[10:20] > -1e3).all()
    for name in of.code_tensors:
        assert not of.by_code(getattr(of, name))[[1, 2]].any()
    assert not of.live[[1, 2]].any()


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert", "vit", "whisper"])
def test_units_are_attached_to_any_model_trained_masked_and_saved(family, tmp_path):
    model = attach(FAMILIES[family].make(), SparseUnitsConfig(**SETTINGS), layers=[1])
    batch = FAMILIES[family].batch()
    output = model(**batch)
    output.loss.backward()
    ((site, codes),) = output.codes.items()
    of = bottlenecks(model)[site]
    assert type(of) is SparseUnits and all(p.grad is not None for p in of.parameters())
    used = codes[codes >= 0].unique()[:3].tolist()
    Unlearner(model, None).delete(Selection({site: used}), "some")
    after = model.eval()(**batch)
    assert not torch.isin(after.codes[site], torch.tensor(used)).any()
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(**batch).loss, after.loss)
