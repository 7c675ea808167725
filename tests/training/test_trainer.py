"""A plain `Seq2SeqTrainer` trains a model with bottlenecks."""

import copy

import pytest
import torch

from excise import BottleneckCallback, Unlearner
from excise.bottlenecks.site import bottlenecks
from tests.helpers.model_contract import CHECKPOINTING
from tests.helpers.tiny import SITE, codebook_t5, mask_codes


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.state_dict().items()}


def assert_same(a, b, **tolerance):
    for name, value in weights(a).items():
        torch.testing.assert_close(value, b.state_dict()[name], msg=name, **tolerance)


def test_training_lowers_the_joint_loss(trainer):
    run = trainer(codebook_t5(), max_steps=30, per_device_train_batch_size=16)
    before = run.evaluate()["eval_loss"]
    run.train()
    assert run.evaluate()["eval_loss"] < 0.7 * before


@pytest.mark.parametrize(("size", "steps"), [(1, 8), (2, 4), (4, 2)])
def test_accumulated_steps_equal_the_large_batch(trainer, size, steps):
    # Rows are of uneven length, so a mean of means would be another gradient.
    start, settings = codebook_t5(layers=(1, 2)), {"optim": "sgd", "max_grad_norm": 0, "max_steps": 1}
    whole, parts = copy.deepcopy(start), copy.deepcopy(start)
    large = trainer(whole, [BottleneckCallback()], per_device_train_batch_size=8, **settings)
    small = trainer(
        parts, [BottleneckCallback()], per_device_train_batch_size=size, gradient_accumulation_steps=steps, **settings
    )
    large.train()
    small.train()
    for name, value in weights(start).items():
        step = whole.state_dict()[name].float() - value.float()
        torch.testing.assert_close(
            parts.state_dict()[name].float() - value.float(), step, rtol=1e-3, atol=1e-5, msg=name
        )
    logged = [run.state.log_history[0] for run in (large, small)]
    for key in ("loss", "grad_norm", "task_loss", "reconstruction_loss", "l1_loss", "code_perplexity"):
        assert logged[0][key] == pytest.approx(logged[1][key], rel=1e-3), key


def test_activation_checkpointing_trains_to_the_same_weights(trainer):
    plain = codebook_t5(t5={"dropout_rate": 0.1})
    checkpointed = copy.deepcopy(plain)
    trainer(plain, optim="sgd").train()
    trainer(checkpointed, optim="sgd", **{f"{CHECKPOINTING}_checkpointing": True}).train()
    assert_same(plain, checkpointed, rtol=1e-3, atol=1e-4)


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(trainer):
    # Codes are revived at steps 4 and 8, before and after the resumption.
    def callback():
        return BottleneckCallback(revive_every=4, revive_until=1.0)

    settings = {"max_steps": 8, "save_strategy": "steps", "save_steps": 4}
    start = codebook_t5(num_codes=200, t5={"dropout_rate": 0.1})
    whole, resumed = copy.deepcopy(start), copy.deepcopy(start)
    run = trainer(whole, [callback()], **settings)
    run.train()
    again = trainer(resumed, [callback()], **settings)
    again.train(resume_from_checkpoint=f"{run.args.output_dir}/checkpoint-4")
    assert_same(whole, resumed, rtol=0, atol=0)


def test_the_best_checkpoint_is_loaded_with_its_mask(trainer):
    model = codebook_t5()
    mask_codes(model)
    settings = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2}
    run = trainer(model, load_best_model_at_end=True, **settings)
    run.train()
    assert run.state.best_model_checkpoint
    assert (~bottlenecks(model)[SITE].live).nonzero().flatten().tolist() == [0, 3, 5, 8]
    run.save_model()
    loaded = type(model).from_pretrained(run.args.output_dir)
    assert torch.equal(bottlenecks(loaded)[SITE].live, bottlenecks(model)[SITE].live)
    assert Unlearner(loaded, None).ledger == Unlearner(model, None).ledger


def test_resuming_from_before_a_mask_does_not_bring_codes_back_unseen(trainer):
    model = codebook_t5()
    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    run = trainer(model, [BottleneckCallback()], **settings)
    run.train()
    mask_codes(model)
    with pytest.warns(UserWarning, match="4 of 4 removed codes are live"):
        run.train(resume_from_checkpoint=f"{run.args.output_dir}/checkpoint-1")
    assert (~bottlenecks(model)[SITE].live).nonzero().flatten().tolist() == [0, 3, 5, 8]


def test_evaluation_can_generate(trainer):
    seen = []
    run = trainer(codebook_t5(), predict_with_generate=True, generation_max_length=6)
    run.compute_metrics = lambda prediction: seen.append(prediction.predictions) or {"rows": len(seen[0])}
    metrics = run.evaluate()
    assert metrics["eval_rows"] == 6 and metrics["eval_loss"] > 0
    assert seen[0][:, 1:6].any() and not (seen[0][:, 6:] > 0).any()


def test_predictions_hold_logits_and_no_codes(trainer):
    run = trainer(codebook_t5(), per_device_eval_batch_size=6)
    logits, *rest = run.predict(run.eval_dataset).predictions
    assert logits.shape[0] == 6 and logits.shape[-1] == 64
    assert len(rest) == 1  # the encoder's last state, as of a plain T5
