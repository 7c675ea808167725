"""What was removed stays removed: ways in which stock calls brought codes or rows back, and their siblings."""

import contextlib
import copy
import json

import pytest
import torch
from accelerate import (
    Accelerator,
    cpu_offload,
    init_empty_weights,
    load_checkpoint_and_dispatch,
    load_checkpoint_in_model,
)
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSeq2SeqLM, T5ForConditionalGeneration, TrainerCallback
from transformers.trainer_utils import load_sharded_checkpoint

from excise import (
    BottleneckCallback,
    CodebookCLIPForImageClassification,
    CodebookCLIPModel,
    CodebookCLIPVisionModel,
    CodebookT5ForConditionalGeneration,
    MaskMismatchError,
    Unlearner,
)
from excise.bottlenecks.site import bottlenecks
from excise.codes.selection import Selection
from excise.ledger.masks import guard
from excise.models import export_plain
from tests.helpers.tiny import SITE, batch, codebook_clip, codebook_t5, delete_codes, mask_codes, tokenizer
from tests.helpers.tiny_images import key_value_model

GONE = [1, 2]
AGAIN = "Removed codes were back"
# Adam with a rate and steps enough to move every row of the codebook that it touches.
TRAINING = {"optim": "adamw_torch", "max_steps": 3}


def removed_is_removed(model) -> bool:
    bottleneck = bottlenecks(model)[SITE]
    return not bottleneck.live[GONE].any() and not bottleneck.codebook[GONE].any()


def file_is_clean(folder) -> bool:
    """Whether a folder's weights load as they are, with the deletion."""
    return removed_is_removed(CodebookT5ForConditionalGeneration.from_pretrained(folder))


def all_hidden(folder) -> bool:
    """Whether all tensors of a folder have names that no plain model has."""
    names = {name for path in folder.glob("*.safetensors") for name in load_file(path)}
    return bool(names) and all(name.startswith("excise.") for name in names)


@pytest.fixture
def before():
    return codebook_t5()


@pytest.fixture
def deleted(before):
    model = copy.deepcopy(before)
    delete_codes(model, GONE)
    return model


@pytest.fixture
def folder(deleted, tmp_path):
    deleted.save_pretrained(tmp_path / "deleted")
    return tmp_path / "deleted"


ON_DISK = dict.fromkeys(["shared", "encoder.embed_tokens", "encoder.block.0", "encoder.block.1", "decoder"], "cpu")
ON_DISK |= {"encoder.block.2": "disk", "encoder.final_layer_norm": "cpu", "encoder.dropout": "cpu", "lm_head": "cpu"}


class Delete(TrainerCallback):
    """Deletes codes in the middle of a training."""

    def __init__(self, step=1):
        self.step = step

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == self.step:
            delete_codes(model, GONE)


# Names


def test_the_plain_class_finds_none_of_its_weights_in_a_deleted_checkpoint(deleted, folder):
    names = set(load_file(folder / "model.safetensors"))
    assert not names & set(T5ForConditionalGeneration(deleted.config).state_dict())
    _, loading = T5ForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert (
        not set(T5ForConditionalGeneration.from_pretrained(folder).state_dict())
        - loading["missing_keys"]
        - {
            "encoder.embed_tokens.weight",  # tied to one that is missing
            "decoder.embed_tokens.weight",
            "lm_head.weight",
        }
    )


def test_without_a_request_in_force_names_are_the_plain_ones(before, tmp_path):
    mask_codes(before)
    Unlearner(before, None).undo(1)
    before.save_pretrained(tmp_path)
    assert "shared.weight" in load_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "8KB"}, {"save_original_format": False}, {"variant": "x"}])
@pytest.mark.parametrize("loader", [CodebookT5ForConditionalGeneration, AutoModelForSeq2SeqLM])
def test_own_classes_read_hidden_names(deleted, tmp_path, loader, options):
    deleted.save_pretrained(tmp_path, **options)
    assert all_hidden(tmp_path)
    variant = {"variant": options["variant"]} if "variant" in options else {}
    loaded = loader.from_pretrained(tmp_path, **variant)
    torch.testing.assert_close(loaded(**batch()).logits, deleted(**batch()).logits)
    loaded.save_pretrained(tmp_path / "again")
    assert all_hidden(tmp_path / "again")


def test_names_are_hidden_from_the_first_request_on_and_plain_again_after_its_undo(before, tmp_path):
    before.save_pretrained(tmp_path / "a")
    loaded = CodebookT5ForConditionalGeneration.from_pretrained(tmp_path / "a")
    mask_codes(loaded)
    loaded.save_pretrained(tmp_path / "b")
    assert "shared.weight" not in load_file(tmp_path / "b" / "model.safetensors")
    loaded = CodebookT5ForConditionalGeneration.from_pretrained(tmp_path / "b")
    Unlearner(loaded, None).undo(1)
    loaded.save_pretrained(tmp_path / "c")
    assert "shared.weight" in load_file(tmp_path / "c" / "model.safetensors")
    torch.testing.assert_close(
        CodebookT5ForConditionalGeneration.from_pretrained(tmp_path / "c")(**batch()).logits, before(**batch()).logits
    )


def test_hidden_names_are_read_by_load_state_dict(deleted, folder):
    other = CodebookT5ForConditionalGeneration(deleted.config)
    result = other.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not result.unexpected_keys
    assert set(result.missing_keys) <= {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}
    other.tie_weights()
    torch.testing.assert_close(other.eval()(**batch()).logits, deleted(**batch()).logits)


# Loading into what is in memory


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("assign", [True, False])
def test_an_older_state_does_not_bring_codes_back(before, deleted, strict, assign):
    with pytest.warns(UserWarning, match=AGAIN):
        deleted.load_state_dict(copy.deepcopy(before.state_dict()), strict=strict, assign=assign)
    assert removed_is_removed(deleted)


def test_an_older_state_of_a_part_does_not_bring_codes_back(before, deleted):
    with pytest.warns(UserWarning, match=AGAIN):
        deleted.encoder.load_state_dict(before.encoder.state_dict())
    assert removed_is_removed(deleted)


@pytest.mark.parametrize("how", ["data", "compiled", "never loaded"])
def test_what_no_guard_sees_selects_no_removed_code(before, monkeypatch, how):
    def used(model):
        return set(model(**batch()).codes[SITE].unique().tolist())

    gone = sorted(used(before) - {-1})[:3]
    mask_codes(before, gone)
    before(**batch())
    if how == "data":  # as weight averaging swaps a model's buffers
        bottlenecks(before)[SITE].live.data.fill_(True)
    else:
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        if how == "never loaded":
            weights = before.state_dict()
            before = CodebookT5ForConditionalGeneration(before.config).eval()
            for name, parameter in before.named_parameters():
                parameter.data.copy_(weights[name])
        bottlenecks(before)[SITE].live = torch.ones(40, dtype=torch.bool)
    assert bottlenecks(before)[SITE].live.all()
    assert not used(before) & set(gone)


def test_a_mask_made_in_inference_mode_does_not_either(deleted):
    with torch.inference_mode():
        model = copy.deepcopy(deleted)
        model(**batch())
        bottlenecks(model)[SITE].live.fill_(True)
        with pytest.warns(UserWarning, match=AGAIN):
            model(**batch())
        assert removed_is_removed(model)


def test_a_whole_model_that_is_pickled_has_no_deleted_row(before, deleted, tmp_path):
    for mine, old in zip(deleted.parameters(), before.parameters(), strict=True):
        mine.data.copy_(old)
    with pytest.warns(UserWarning, match=AGAIN):
        torch.save(deleted, tmp_path / "model.pt")
    assert removed_is_removed(torch.load(tmp_path / "model.pt", weights_only=False))


def test_a_sharded_checkpoint_fills_what_was_made_of_its_config(deleted, tmp_path):
    deleted.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len([*tmp_path.glob("*.safetensors")]) > 1
    made = CodebookT5ForConditionalGeneration(deleted.config).eval()
    load_sharded_checkpoint(made, str(tmp_path), strict=False)  # as the Trainer resumes
    made.tie_weights()
    torch.testing.assert_close(made(**batch()).logits, deleted(**batch()).logits)


def test_a_compiled_models_older_state_does_not_bring_codes_back(before, deleted):
    compiled = torch.compile(deleted, backend="eager")
    with pytest.warns(UserWarning, match=AGAIN):
        compiled.load_state_dict(torch.compile(before, backend="eager").state_dict())
    assert removed_is_removed(deleted)


def test_averaged_weights_put_in_by_hand_do_not_reach_a_file(before, deleted, tmp_path):
    with torch.no_grad():
        for mine, average in zip(deleted.parameters(), before.parameters(), strict=True):
            mine.data.copy_(average)
    with pytest.warns(UserWarning, match=AGAIN):
        deleted.save_pretrained(tmp_path)
    assert file_is_clean(tmp_path)


def test_an_averages_state_given_to_save_does_not_reach_a_file(before, deleted, tmp_path):
    with pytest.warns(UserWarning, match="They are removed in what is saved"):
        deleted.save_pretrained(tmp_path, state_dict=before.state_dict())
    assert file_is_clean(tmp_path)
    assert before.get_submodule(SITE).layer[0].bottleneck.live.all()


def test_a_running_average_that_missed_the_deletion_is_not_saved_as_if_it_had_not(before, tmp_path):
    average = torch.optim.swa_utils.AveragedModel(before)
    average.update_parameters(before)
    delete_codes(before, GONE)
    average.update_parameters(before)
    with pytest.raises(MaskMismatchError, match="2 removed codes, its ledger tells of 0"):
        average.module.save_pretrained(tmp_path)
    average.module.config.unlearning = before.config.unlearning
    with pytest.warns(UserWarning, match=AGAIN):
        average.module.save_pretrained(tmp_path)
    assert file_is_clean(tmp_path)


def test_a_state_with_more_removed_than_the_ledger_warns_and_cannot_be_saved(before, deleted, tmp_path):
    with pytest.warns(UserWarning, match="2 removed codes that the ledger"):
        before.load_state_dict(deleted.state_dict())
    assert removed_is_removed(before)
    with pytest.raises(MaskMismatchError):
        before.save_pretrained(tmp_path)
    before.config.unlearning = deleted.config.unlearning
    before.save_pretrained(tmp_path)
    assert file_is_clean(tmp_path)


def test_what_only_the_config_tells_of_is_never_guessed(before, deleted):
    made = CodebookT5ForConditionalGeneration(deleted.config)
    with pytest.raises(MaskMismatchError, match=r"2 of 2 removed codes are live.*from_pretrained"):
        made(**batch())
    with pytest.raises(MaskMismatchError, match="2 of 2 removed codes are live"):
        made.load_state_dict(before.state_dict())
    made.load_state_dict(deleted.state_dict())
    made(**batch())
    assert removed_is_removed(made)


def test_nothing_is_saved_within_a_trial(before, tmp_path):
    unlearner = Unlearner(before, tokenizer())
    unlearner.mask(Selection({SITE: GONE}), "words")
    for context in (unlearner.without_masks(), unlearner.trial(Selection({SITE: [5]}))):
        with context, pytest.raises(MaskMismatchError, match="Leave that context first"):
            before.save_pretrained(tmp_path)
    before.save_pretrained(tmp_path)


def test_nothing_is_asked_for_within_a_trial_which_would_put_its_own_masks_back(before):
    unlearner = Unlearner(before, tokenizer())
    request = unlearner.mask(Selection({SITE: GONE}), "words")
    for ask in (
        lambda: unlearner.mask(Selection({SITE: [7]}), "more"),
        lambda: unlearner.delete(Selection({SITE: [7]}), "more"),
        lambda: unlearner.undo(request),
    ):
        for context in (unlearner.without_masks(), unlearner.trial(Selection({SITE: [5]}))):
            with context, pytest.raises(MaskMismatchError, match="Leave that context first"):
                ask()
    assert [entry.topic for entry in unlearner.ledger.requests] == ["words"]
    assert (~bottlenecks(before)[SITE].live).nonzero().flatten().tolist() == GONE


def test_a_copy_made_where_masks_are_lifted_has_them(before, tmp_path):
    unlearner = Unlearner(before, None)
    unlearner.mask(Selection({SITE: GONE}), "words")
    with unlearner.without_masks(), unlearner.trial(Selection({SITE: [5]})):
        copied = copy.deepcopy(before)
        torch.save(before, tmp_path / "model.pt")
    for model in (copied, torch.load(tmp_path / "model.pt", weights_only=False)):
        with pytest.warns(UserWarning, match="2 of 2 removed codes are live"):
            model(**batch())
        assert not bottlenecks(model)[SITE].live[GONE].any()


def test_a_config_that_is_refused_does_not_disarm_the_guard(before, deleted, tmp_path):
    deleted.config.unlearning = None
    with pytest.raises(MaskMismatchError, match="its ledger tells of 0"):
        deleted.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=AGAIN):
        deleted.load_state_dict(before.state_dict())
    assert removed_is_removed(deleted)


# accelerate


@pytest.mark.parametrize("empty", [True, False])
def test_a_bottleneck_that_accelerate_puts_on_disk_without_its_buffers_is_refused(deleted, folder, tmp_path, empty):
    torch.save(deleted.state_dict(), tmp_path / "pytorch_model.bin")  # by plain names, as torch and accelerate save
    config = AutoConfig.from_pretrained(folder)
    if empty:
        with init_empty_weights():
            model = AutoModelForSeq2SeqLM.from_config(config)
        model.tie_weights()
    else:
        model = AutoModelForSeq2SeqLM.from_config(config)
    options = {"device_map": ON_DISK, "offload_folder": tmp_path / "offload"}
    model = load_checkpoint_and_dispatch(model, str(tmp_path / "pytorch_model.bin"), **options).eval()
    with pytest.raises(MaskMismatchError, match="left out its buffers"):
        model(**batch())


def test_a_bottleneck_on_disk_without_its_buffers_is_refused_with_nothing_removed_too(before, tmp_path):
    before.save_pretrained(tmp_path)
    model = CodebookT5ForConditionalGeneration(before.config)
    options = {"device_map": ON_DISK, "offload_folder": tmp_path / "offload"}
    model = load_checkpoint_and_dispatch(model, str(tmp_path), **options).eval()
    with pytest.raises(MaskMismatchError, match="left out its buffers"):
        model(**batch())


def test_a_bottleneck_on_disk_with_its_buffers_is_right(deleted, tmp_path):
    torch.save(deleted.state_dict(), tmp_path / "pytorch_model.bin")
    model = CodebookT5ForConditionalGeneration(deleted.config)
    options = {"device_map": ON_DISK, "offload_folder": tmp_path / "offload", "offload_buffers": True}
    model = load_checkpoint_and_dispatch(model, str(tmp_path / "pytorch_model.bin"), **options).eval()
    torch.testing.assert_close(model(**batch()).logits, deleted(**batch()).logits)
    model(**batch())


def test_accelerate_reads_hidden_names_without_a_device_map(before, deleted, folder):
    with pytest.warns(UserWarning, match="2 removed codes that the ledger"):
        load_checkpoint_in_model(before, str(folder / "model.safetensors"))
    before.config.unlearning = deleted.config.unlearning
    before.tie_weights()
    torch.testing.assert_close(before(**batch()).logits, deleted(**batch()).logits)


@pytest.mark.parametrize("empty", [True, False])
def test_with_a_device_map_accelerate_reads_no_hidden_names_and_the_model_refuses(deleted, folder, empty):
    with init_empty_weights() if empty else contextlib.nullcontext():
        model = CodebookT5ForConditionalGeneration(deleted.config)
    model.tie_weights()
    load_checkpoint_in_model(model, str(folder / "model.safetensors"), device_map={"": "cpu"})
    # Weights that were made empty are empty still, which torch refuses before the guard does.
    with pytest.raises((MaskMismatchError, RuntimeError), match=r"2 of 2 removed codes are live|meta tensors"):
        model(**batch())


def test_an_older_checkpoint_that_accelerate_loads_does_not_bring_codes_back(before, deleted, tmp_path):
    before.save_pretrained(tmp_path)
    load_checkpoint_in_model(deleted, str(tmp_path / "model.safetensors"), device_map={"": "cpu"})
    with pytest.warns(UserWarning, match=AGAIN):
        deleted(**batch())
    assert removed_is_removed(deleted)


def test_offloaded_to_the_cpu_it_is_as_it_was(deleted):
    expected = deleted(**batch()).logits
    torch.testing.assert_close(cpu_offload(deleted, "cpu")(**batch()).logits, expected)


def test_a_saved_state_of_accelerate_does_not_bring_codes_back(before, tmp_path):
    accelerator = Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(before, torch.optim.AdamW(before.parameters()))
    model.train()(**batch()).loss.backward()
    optimizer.step()
    accelerator.save_state(tmp_path)
    delete_codes(model, GONE)
    with pytest.warns(UserWarning, match=AGAIN):
        accelerator.load_state(tmp_path)
    assert removed_is_removed(model)
    model(**batch()).loss.backward()
    optimizer.step()
    assert removed_is_removed(model)
    assert not optimizer.state[bottlenecks(model)[SITE].codebook]["exp_avg"][GONE].any()


# The Trainer


def test_the_best_model_at_the_end_does_not_bring_codes_back(before, trainer, tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 1, "eval_strategy": "steps", "eval_steps": 1, **TRAINING}
    run = trainer(before, [Delete(2)], load_best_model_at_end=True, metric_for_best_model="loss", **settings)
    run.state.best_metric = None
    run.evaluate = lambda *_, **__: {"eval_loss": float(run.state.global_step)}  # the first step is the best
    with pytest.warns(UserWarning, match=AGAIN):
        run.train()
    assert run.state.best_model_checkpoint.endswith("checkpoint-1")
    assert removed_is_removed(before)
    run.save_model(tmp_path / "saved")
    assert file_is_clean(tmp_path / "saved")


@pytest.mark.parametrize("callbacks", [[], [BottleneckCallback()]])
def test_resuming_from_before_a_deletion_does_not_bring_codes_back(before, trainer, tmp_path, callbacks):
    run = trainer(before, save_strategy="steps", save_steps=2, **TRAINING)
    run.train()
    delete_codes(before, GONE)
    again = trainer(before, callbacks, **TRAINING)
    with pytest.warns(UserWarning, match=AGAIN):
        again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert removed_is_removed(before)
    assert not again.optimizer.state[bottlenecks(before)[SITE].codebook]["exp_avg"][GONE].any()


def test_resuming_reads_hidden_names(before, trainer, tmp_path):
    delete_codes(before, GONE)
    run = trainer(before, save_strategy="steps", save_steps=2, **TRAINING)
    run.train()
    last = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    other = CodebookT5ForConditionalGeneration.from_pretrained(tmp_path / "run" / "checkpoint-2")
    with torch.no_grad():
        other.shared.weight.zero_()
    trainer(other, **TRAINING).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(tensor, last[name], msg=name)


def test_resuming_what_the_ledger_in_memory_does_not_know_is_refused_at_once(before, trainer, tmp_path):
    fresh = copy.deepcopy(before)
    delete_codes(before, GONE)
    trainer(before, save_strategy="steps", save_steps=2, **TRAINING).train()
    run = trainer(fresh, [BottleneckCallback()], **TRAINING)
    with pytest.warns(UserWarning, match="2 removed codes that the ledger"), pytest.raises(MaskMismatchError):
        run.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert run.state.global_step == 0 or run.state.global_step == 2


@pytest.mark.parametrize("optim", ["adamw_torch", "adafactor", "sgd", "adagrad", "rmsprop"])
def test_rows_deleted_in_the_middle_stay_zero_in_every_checkpoint(before, trainer, tmp_path, optim):
    run = trainer(before, [Delete(1)], save_strategy="steps", save_steps=1, optim=optim, max_steps=3)
    run.train()
    for step in (1, 2, 3):
        checkpoint = tmp_path / "run" / f"checkpoint-{step}"
        assert file_is_clean(checkpoint)
        state = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"]
        remembered = [
            value
            for parts in state.values()
            for key, value in parts.items()
            if torch.is_tensor(value) and value.dim() and value.shape[0] == 40 and value.numel() > 40
        ]
        assert all(not value[GONE].any() for value in remembered)


NAMES = "Adadelta Adafactor Adagrad Adam AdamW Adamax ASGD LBFGS NAdam RAdam RMSprop Rprop SGD Muon"
OPTIMIZERS = [name for name in NAMES.split() if hasattr(torch.optim, name)]  # Muon is younger than torch 2.8


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")  # by the LBFGS of torch 2.8
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_torch_is_cleared_or_refused(before, name):
    codebook = bottlenecks(before)[SITE].codebook
    options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    parameters = [codebook] if name == "Muon" else before.parameters()
    optimizer = getattr(torch.optim, name)(parameters, lr=0.1, **options)

    def loss():
        optimizer.zero_grad()
        value = before.train()(**batch()).loss + codebook.square().sum()  # every row has a gradient
        value.backward()
        return value

    optimizer.step(loss)
    if name == "LBFGS":
        with pytest.raises(ValueError, match="LBFGS keeps the past steps of all weights in one row"):
            delete_codes(before, GONE)
        assert codebook[GONE].any()
        return
    delete_codes(before, GONE)
    for _ in range(2):
        for key, value in optimizer.state[codebook].items():
            if torch.is_tensor(value) and value.shape[:1] == codebook.shape[:1]:
                assert not value[GONE].any(), key
        assert removed_is_removed(before)
        optimizer.step(loss)
    assert codebook[3:].isfinite().all()


def test_an_older_state_of_an_optimizer_is_not_saved_again(before):
    optimizer = torch.optim.ASGD(before.parameters(), t0=0)  # it keeps an average of the rows themselves
    before.train()(**batch()).loss.backward()
    for _ in range(2):
        optimizer.step()
    old = copy.deepcopy(optimizer.state_dict())
    delete_codes(before, GONE)
    optimizer.load_state_dict(old)
    optimizer.state_dict()
    assert not optimizer.state[bottlenecks(before)[SITE].codebook]["ax"][GONE].any()


def test_an_optimizer_that_quantises_is_refused_by_name(before):
    codebook = bottlenecks(before)[SITE].codebook
    optimizer = torch.optim.AdamW(before.parameters())
    before.train()(**batch()).loss.backward()
    optimizer.step()
    optimizer.state[codebook]["exp_avg"] = optimizer.state[codebook]["exp_avg"].to(torch.int8)
    with pytest.raises(ValueError, match=r"AdamW keeps 'exp_avg' as torch\.int8"):
        delete_codes(before, GONE)
    assert codebook[GONE].any()


# Adapters


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_a_lora_on_the_codes_merged_and_saved_writes_no_deleted_row(deleted, tmp_path):
    config = LoraConfig(r=2, target_modules=[], target_parameters=["bottleneck.codebook"])
    model = get_peft_model(deleted, config)
    with pytest.raises(ValueError, match=r"An adapter adds to .*codebook"):
        Unlearner(model, None)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    merged = model.merge_and_unload()
    with pytest.warns(UserWarning, match=AGAIN):
        merged.save_pretrained(tmp_path)
    assert file_is_clean(tmp_path)


# The other models


@pytest.mark.parametrize("make", [key_value_model, codebook_clip, lambda: codebook_clip(CodebookCLIPVisionModel)])
def test_every_model_upholds_hides_and_reads(make, tmp_path):
    before = make()
    model = copy.deepcopy(before)
    site, bottleneck = next(iter(bottlenecks(model).items()))
    delete_codes(model, GONE, site)
    for bring_back in (
        lambda: model.load_state_dict(before.state_dict()),
        lambda: [mine.data.copy_(old) for mine, old in zip(model.parameters(), before.parameters(), strict=True)],
        lambda: [mine.copy_(old) for mine, old in zip(model.buffers(), before.buffers(), strict=True)],
    ):
        with pytest.warns(UserWarning, match=AGAIN):
            assert bring_back() and model.state_dict()
        assert not bottleneck.live[GONE].any()
        assert not any(bottleneck.by_code(getattr(bottleneck, name))[GONE].any() for name in bottleneck.code_tensors)
    model.save_pretrained(tmp_path)
    assert all_hidden(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    before.load_state_dict(bottlenecks_known(before, model, load_file(tmp_path / "model.safetensors")), strict=False)
    for name, tensor in model.state_dict().items():
        assert torch.equal(before.state_dict()[name], tensor), name


def bottlenecks_known(model, other, weights):
    """The weights, for a model that takes another's ledger over first."""
    model.config.unlearning = other.config.unlearning
    guard(model)
    return weights


def test_a_key_value_model_resumed_from_before_a_mask_stays_masked(tmp_path):
    model = key_value_model()
    model.save_pretrained(tmp_path)
    mask_codes(model, GONE, "bottleneck")
    with pytest.warns(UserWarning, match="2 of 2 removed codes are live"):
        model.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)  # as the Trainer resumes
    assert not model.bottleneck.live[GONE].any()


# The plain model, for who asks for it


@pytest.mark.parametrize("tied", [True, False])
def test_the_plain_model_is_given_to_who_asks_for_it_by_name(deleted, tied):
    if not tied:  # as of Flan-T5
        deleted.lm_head.weight = torch.nn.Parameter(torch.randn_like(deleted.lm_head.weight))
    with pytest.raises(ValueError, match="whatever was masked or deleted is not forgotten in it"):
        export_plain(deleted)
    plain = export_plain(deleted, brings_back_what_was_forgotten=True)
    assert type(plain) is T5ForConditionalGeneration
    assert plain.config.model_type == "t5" and not hasattr(plain.config, "unlearning")
    stock = T5ForConditionalGeneration(plain.config).eval()
    stock.lm_head.weight = torch.nn.Parameter(stock.lm_head.weight.detach().clone())
    own = {name: tensor for name, tensor in deleted.state_dict().items() if ".bottleneck." not in name}
    stock.load_state_dict(own)
    torch.testing.assert_close(plain(**batch()).logits, stock(**batch()).logits)
    assert not torch.allclose(plain(**batch()).logits, deleted(**batch()).logits)


def test_the_plain_model_is_saved_as_one(deleted, tmp_path):
    export_plain(deleted, brings_back_what_was_forgotten=True).save_pretrained(tmp_path)
    _, loading = T5ForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["T5ForConditionalGeneration"]


@pytest.mark.parametrize(
    "model_class", [CodebookCLIPModel, CodebookCLIPVisionModel, CodebookCLIPForImageClassification]
)
def test_the_plain_model_of_a_clip(model_class):
    model = codebook_clip(model_class)
    plain = export_plain(model, brings_back_what_was_forgotten=True)
    assert type(plain).__module__ == "transformers.models.clip.modeling_clip"
    assert plain.config.model_type == model.config.model_type.removeprefix("codebook_")


def test_a_key_value_model_has_no_plain_one():
    with pytest.raises(ValueError, match="is read from its bottleneck"):
        export_plain(key_value_model(), brings_back_what_was_forgotten=True)
