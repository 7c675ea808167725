"""What the callback logs and revives."""

import copy
import math

import pytest
import torch

from excise import BottleneckCallback
from excise.bottlenecks.site import bottlenecks
from excise.training.callback import perplexity, revive
from tests.helpers.tiny import SITE, codebook_t5, delete_codes, mask_codes

PARTS = ("task_loss", "reconstruction_loss", "l1_loss")


class Interrupt(BottleneckCallback):
    """A user who presses Ctrl-C at a step."""

    def on_step_end(self, args, state, control, **kwargs):
        super().on_step_end(args, state, control, **kwargs)
        if state.global_step == 2:
            raise KeyboardInterrupt


def dead_codebook(**settings):
    """A model in which codes 4 to 9 point away from everything, so that no token selects them."""
    model = codebook_t5(**{"num_codes": 40} | settings)
    module = bottlenecks(model)[SITE]
    module.codebook.data[4:10] = -100 * torch.ones(module.codebook.shape[1])
    module.layer_norm.bias.data.fill_(2.0)  # all features have a positive sum, the dead codes a negative one
    return model, module


def test_logs_hold_the_parts_of_the_loss_and_the_use_of_codes(trainer):
    run = trainer(codebook_t5(), [BottleneckCallback()], logging_steps=2)
    run.train()
    logs = [log for log in run.state.log_history if "loss" in log]
    assert len(logs) == 2
    for log in logs:
        whole = log["task_loss"] + 1.0 * log["reconstruction_loss"] + 1e-3 * log["l1_loss"]
        assert log["loss"] == pytest.approx(whole, rel=1e-3)
        assert 0 < log["live_code_share"] <= 1
        assert 1 <= log["code_perplexity"] <= 40


def test_logged_parts_are_means_over_the_steps_since_the_last_log(trainer):
    model = codebook_t5()
    every, pairs = (
        trainer(copy.deepcopy(model), [BottleneckCallback()]),
        trainer(model, [BottleneckCallback()], logging_steps=2),
    )
    every.train()
    pairs.train()
    for part in ("loss", *PARTS):
        steps = [log[part] for log in every.state.log_history if "loss" in log]
        expected = [(steps[0] + steps[1]) / 2, (steps[2] + steps[3]) / 2]
        assert [log[part] for log in pairs.state.log_history if "loss" in log] == pytest.approx(expected, rel=1e-3)


def test_evaluations_during_training_count_in_no_log(trainer):
    model = codebook_t5()
    plain = trainer(copy.deepcopy(model), [BottleneckCallback()])
    evaluated = trainer(model, [BottleneckCallback()], eval_strategy="steps", eval_steps=1)
    plain.train()
    evaluated.train()
    keys = ("live_code_share", "code_perplexity", *PARTS)
    logs = [[log[key] for key in keys] for run in (plain, evaluated) for log in run.state.log_history if "loss" in log]
    assert logs[:4] == logs[4:]
    assert not any(key in log for log in evaluated.state.log_history if "eval_loss" in log for key in keys)


def test_masked_codes_do_not_lower_the_live_share(trainer):
    model = codebook_t5(num_codes=4, top_s=2)
    mask_codes(model, [1, 3])
    run = trainer(model, [BottleneckCallback()], max_steps=1)
    run.train()
    assert run.state.log_history[0]["live_code_share"] == 1


def test_label_smoothing_is_refused(trainer):
    with pytest.raises(ValueError, match="label_smoothing_factor"):
        trainer(codebook_t5(), [BottleneckCallback()], label_smoothing_factor=0.1).train()


@pytest.mark.parametrize("every", [0, -1])
def test_a_round_of_revival_needs_a_step(every):
    with pytest.raises(ValueError, match="revive_every"):
        BottleneckCallback(revive_every=every)


def test_dead_codes_are_revived_where_tokens_are_and_masked_or_deleted_ones_are_not(trainer):
    model, module = dead_codebook()
    mask_codes(model, [4])
    delete_codes(model, [5])
    before = module.codebook.detach().clone()
    run = trainer(model, [BottleneckCallback(revive_every=2, revive_until=1.0)], max_steps=2, learning_rate=1e-6)
    run.train()
    after = module.codebook.detach()
    changed = (after - before).abs().amax(1) > 1
    assert changed[6:10].all()
    assert not changed[4] and not after[5].any()
    state = run.optimizer.state[module.codebook]
    for name in ("exp_avg", "exp_avg_sq"):
        assert not state[name][6:10].any()
        assert state[name][10:].any()
    live = after[10:].norm(dim=1).median()
    assert torch.allclose(after[6:10].norm(dim=1), live.expand(4), rtol=0.05)


def test_no_code_is_revived_late_in_training_nor_by_default(trainer):
    for settings in ({"revive_every": 2, "revive_until": 0.5}, {"revive_every": None}, {}):
        model, module = dead_codebook()
        trainer(model, [BottleneckCallback(**settings)], max_steps=3, learning_rate=1e-6).train()
        assert (module.codebook[4:10] < -90).all(), settings


def test_reviving_clears_the_optimizers_memory_of_those_rows_only():
    model, module = dead_codebook()
    optimizer = torch.optim.AdamW(model.parameters())
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    features = torch.randn(7, module.codebook.shape[1])
    revive(module, torch.tensor([4, 6]), features, optimizer, torch.Generator().manual_seed(0))
    state = optimizer.state[module.codebook]
    for name in ("exp_avg", "exp_avg_sq"):
        assert (state[name] == 0).all(1).nonzero().flatten().tolist() == [4, 6]
    rows = module.codebook.detach()[[4, 6]]
    assert all(torch.cosine_similarity(row, features).max() > 1 - 1e-5 for row in rows)


def test_after_an_interruption_training_again_observes_once(trainer):
    model = codebook_t5()
    callback = Interrupt()
    run = trainer(model, [callback])
    with pytest.raises(KeyboardInterrupt):
        run.train()
    other = trainer(model, [callback], max_steps=1)
    other.train()
    whole = other.state.log_history[0]
    parts = whole["task_loss"] + whole["reconstruction_loss"] + 1e-3 * whole["l1_loss"]
    assert whole["loss"] == pytest.approx(parts, rel=1e-3)
    assert not model._forward_hooks


def test_a_round_after_a_resumption_does_not_take_part_of_a_window_for_all_of_it(trainer):
    model, module = dead_codebook()
    settings = {"save_strategy": "steps", "save_steps": 3, "learning_rate": 1e-6}
    trainer(model, [BottleneckCallback(revive_every=None)], max_steps=3, **settings).train()
    run = trainer(model, [BottleneckCallback(revive_every=4, revive_until=1.0)], max_steps=8, **settings)
    seen = []
    run.callback_handler.callbacks[-1].on_step_end = spy(run.callback_handler.callbacks[-1].on_step_end, module, seen)
    run.train(resume_from_checkpoint=f"{run.args.output_dir}/checkpoint-3")
    assert seen == [(4, False), (5, False), (6, False), (7, False), (8, True)]


def spy(on_step_end, module, seen):
    def observed(args, state, control, **kwargs):
        on_step_end(args, state, control, **kwargs)
        seen.append((state.global_step, bool((module.codebook[4:10] > -90).any())))

    return observed


def test_perplexity_is_the_exponential_of_the_entropy():
    counts = torch.tensor([5, 0, 3, 2])
    shares = [0.5, 0.3, 0.2]
    assert perplexity(counts) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))
