"""Distillation after a deletion: what the student keeps, what stays erased, resuming, and what is refused."""

import copy

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import T5ForConditionalGeneration, TrainerCallback, TrainingArguments

from excise import CodebookCLIPModel, Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.codes.selection import Selection
from excise.data import class_sets
from excise.deletion import distil
from excise.deletion.distilling import NoiseTrial, described, largest_within
from excise.deletion.teaching import TeachingTrainer, mix_noise_
from excise.ledger.embeddings import rows_left
from excise.ledger.masks import uphold_masks
from excise.models import CodebookCLIPForImageClassification
from tests.deletion.conftest import SITE
from tests.helpers.tiny import base_t5, clip_processor, codebook_clip, copying, image_processor, images
from tests.helpers.tiny import tokenizer as tiny_tokenizer

pytestmark = [
    pytest.mark.filterwarnings("ignore:The distilled model ends above its budget"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),  # peft asks for it
]


def state(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(one, other) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_noise_is_a_share_of_each_matrix_as_wide_as_the_matrix_and_the_same_for_a_seed(make_model):
    model, again, other = make_model(), make_model(), make_model()
    before = state(model)
    names = mix_noise_(model, 0.5, seed=3)
    mix_noise_(again, 0.5, seed=3)
    mix_noise_(other, 0.5, seed=4)
    assert_same(state(model), state(again))
    name = "encoder.block.0.layer.1.DenseReluDense.wi.weight"
    assert name in names and not any("norm" in name or "bias" in name.rpartition(".")[2] for name in names)
    assert not torch.equal(model.get_parameter(name), other.get_parameter(name))
    noise = (model.get_parameter(name) - 0.5 * before[name]) / 0.5
    assert noise.std().item() == pytest.approx(before[name].std().item(), rel=0.1)
    untouched = {n: t for n, t in state(model).items() if n not in names and ".weight" not in n}
    assert_same(untouched, {n: before[n] for n in untouched})


def test_noise_leaves_erased_codes_and_frozen_weights_and_erased_embeddings_stay_the_mean_of_the_others(deleted):
    deleted.decoder.block[0].layer[0].SelfAttention.q.weight.requires_grad_(False)
    before = state(deleted)
    mix_noise_(deleted, 1.0)
    codebook = bottlenecks(deleted)[SITE].codebook
    assert not codebook[[1, 2, 5]].any() and codebook[0].any()
    frozen = "decoder.block.0.layer.0.SelfAttention.q.weight"
    assert torch.equal(deleted.get_parameter(frozen), before[frozen])
    others = torch.cat([deleted.shared.weight[:5], deleted.shared.weight[6:9], deleted.shared.weight[10:]])
    torch.testing.assert_close(deleted.shared.weight[[5, 9]], others.mean(0).expand(2, -1))
    assert not torch.isclose(others[4], before["shared.weight"][4]).any()


def test_a_student_keeps_masks_erased_rows_and_ledger_and_the_teacher_is_left_as_it_was(
    deleted, tokenizer, retain, args
):
    deleted.train()
    before, grads = state(deleted), {name: p.requires_grad for name, p in deleted.named_parameters()}
    ledger, given = copy.deepcopy(deleted.config.unlearning), args()
    wanted = copy.deepcopy(given).to_dict()
    result = distil(deleted, tokenizer, retain, given, noise=0.5)
    student = result.model
    assert_same(before, state(deleted))
    assert deleted.training and grads == {name: p.requires_grad for name, p in deleted.named_parameters()}
    assert given.to_dict() == wanted
    assert student.config.unlearning == ledger and not student.training
    one, other = bottlenecks(student)[SITE], bottlenecks(deleted)[SITE]
    assert torch.equal(one.live, other.live) and not one.codebook[[1, 2, 5]].any()
    assert not torch.equal(one.codebook, other.codebook)
    assert not torch.equal(student.shared.weight[6], deleted.shared.weight[6])
    assert not rows_left(student.shared.weight, torch.tensor([5, 9]))
    uphold_masks(student)  # a warning would be an error
    Unlearner(student, tokenizer)  # which checks masks and rows against the ledger
    assert str(result).startswith("DistilledModel: noise 0.5, held-out loss")
    assert result.to_pandas()["noise"].tolist() == [0.5] and "model" not in result.to_dict()


def test_a_student_learns_what_its_teacher_does(deleted, tokenizer, retain, args):
    settings = {"learning_rate": 0.03, "per_device_train_batch_size": 21}
    short, long = (
        distil(deleted, tokenizer, retain, args(f"of {steps}", max_steps=steps, **settings), noise=0.6).model
        for steps in (1, 30)
    )
    batch = dict(tokenizer(retain["text"][:], text_target=retain["reference"][:], return_tensors="pt", padding=True))
    with torch.no_grad():
        told, wrong, right = (model(**batch).logits.softmax(-1) for model in (deleted.eval(), short, long))
    assert (told - right).abs().mean() < 0.5 * (told - wrong).abs().mean()


class Killed(Exception):
    """A kill."""


class KillAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "lora"])
def test_a_killed_run_goes_on_to_the_same_weights_as_one_that_was_not_killed(
    deleted, tokenizer, retain, args, monkeypatch, lora
):
    options = {"noise": 0.4, "seed": 7}
    if lora:
        options["lora"] = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"])
    saving = {"save_strategy": "steps", "save_steps": 2, "max_steps": 6}
    expected = distil(deleted, tokenizer, retain, args("whole", **saving), **options)
    start = TeachingTrainer.train
    with monkeypatch.context() as patch:
        patch.setattr(TeachingTrainer, "train", lambda self, **kw: (self.add_callback(KillAt(3)), start(self, **kw)))
        with pytest.raises(Killed):
            distil(deleted, tokenizer, retain, args("killed", **saving), **options)
    again = distil(deleted, tokenizer, retain, args("killed", **saving), **options)
    assert_same(state(expected.model), state(again.model))
    with monkeypatch.context() as patch:  # a run that is done is not trained again
        patch.setattr(TeachingTrainer, "train", lambda self, **kw: pytest.fail("trained"))
        done = distil(deleted, tokenizer, retain, args("killed", **saving), **options)
    assert_same(state(expected.model), state(done.model))
    with pytest.raises(ValueError, match=r"checkpoints of another distillation: \['seed'\] differ"):
        distil(deleted, tokenizer, retain, args("killed", **saving), **options | {"seed": 8})


def test_settings_of_peft_are_the_same_text_in_whatever_order_their_sets_are():
    one, other = (LoraConfig(r=2, target_modules=modules) for modules in (["q", "v", "o", "k"], ["k", "o", "v", "q"]))
    assert described(one) == described(other) != described(LoraConfig(r=3, target_modules=["q", "v", "o", "k"]))


def test_lora_leaves_the_noised_weights_and_is_merged(deleted, tokenizer, retain, args):
    lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q"])
    student = distil(deleted, tokenizer, retain, args(), noise=0.4, lora=lora).model
    noised = copy.deepcopy(deleted)
    mix_noise_(noised, 0.4)
    changed = {name for name, p in student.named_parameters() if not torch.equal(p, noised.get_parameter(name))}
    assert type(student) is type(deleted) and changed and all(".q." in name for name in changed)
    assert all(p.requires_grad for p in student.parameters())


def test_the_noise_is_the_largest_whose_end_is_within_the_budget_found_by_halves():
    def search(most):
        def run(share):
            return None, NoiseTrial(share, share, share <= most, 1, 0.0)

        _, best, trials = largest_within(run, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
        return best.noise, [trial.noise for trial in trials]

    assert search(1.0) == (0.6, [0.3, 0.5, 0.6])
    assert search(0.4) == (0.4, [0.3, 0.5, 0.4])
    assert search(0.25) == (0.2, [0.3, 0.1, 0.2])
    assert search(0.1) == (0.1, [0.3, 0.1, 0.2])
    assert search(0.0) == (0.1, [0.3, 0.1])


@pytest.mark.filterwarnings("default:The distilled model ends above its budget")
def test_a_student_above_the_budget_is_said_to_be(deleted, tokenizer, retain, args):
    with pytest.warns(UserWarning, match="ends above its budget"):
        result = distil(deleted, tokenizer, retain, args(learning_rate=100.0, max_steps=2), noise=0.9)
    assert not result.within_budget and result.rise > 0 and "ABOVE" in str(result)
    with pytest.warns(UserWarning, match="with less noise than 0.1"):
        chosen = distil(deleted, tokenizer, retain, args(learning_rate=100.0, max_steps=2))
    assert [trial.noise for trial in chosen.trials] == [0.3, 0.1]


def test_a_stream_and_tokenised_rows_and_a_plain_t5_will_do(tokenizer, retain, args):
    stream = Dataset.from_dict({"text": retain["text"][:] * 12, "reference": retain["reference"][:] * 12})
    model = base_t5(vocab_size=len(tokenizer))
    result = distil(model, tokenizer, stream.to_iterable_dataset(), args(max_steps=2), noise=0.2)
    assert result.heldout == 200 and type(result.model) is T5ForConditionalGeneration
    with pytest.raises(ValueError, match="max_steps"):
        distil(model, tokenizer, stream.to_iterable_dataset(), args(max_steps=-1), noise=0.2)
    result = distil(base_t5(), tiny_tokenizer(), copying(20), args(max_steps=2), noise=0.2, cross_entropy=0.5)
    assert result.heldout == 2 and result.trials[0].steps == 2


@pytest.mark.parametrize("model_class", [CodebookCLIPModel, CodebookCLIPForImageClassification])
def test_a_clip_is_distilled_on_images_of_other_classes(model_class, args):
    model = codebook_clip(model_class)
    Unlearner(model, None).delete(Selection({site: [1, 2] for site in bottlenecks(model)}), "red")
    processor = clip_processor() if model_class is CodebookCLIPModel else image_processor()
    topic = class_sets(images(90), "red", min_examples=2)
    result = distil(model, processor, topic.retain, args(max_steps=2), noise=0.3, topic=topic)
    assert result.heldout == len(topic.heldout_retain)
    for site, bottleneck in bottlenecks(result.model).items():
        assert not bottleneck.codebook[[1, 2]].any(), site
    with pytest.raises(ValueError, match="are of the topic"):
        distil(model, processor, topic.target, args(), noise=0.3, topic=topic)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": -0.1}, "`noise` is -0.1"),
        ({"noise": 1.5}, "`noise` is 1.5"),
        ({"noise": float("nan")}, "`noise` is nan"),
        ({"budget": 0.0}, "`budget` is 0.0"),
        ({"budget": -1.0}, "`budget` is -1.0"),
        ({"cross_entropy": -1.0}, "`cross_entropy` is -1.0"),
        ({"teacher_temperature": 0.0}, "`teacher_temperature` is 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(deleted, tokenizer, retain, args, options, message):
    before = state(deleted)
    with pytest.raises(ValueError, match=message):
        distil(deleted, tokenizer, retain, args(), **{"noise": 0.3} | options)
    assert_same(before, state(deleted))


def test_rows_that_are_none_hold_the_topic_or_have_no_references_are_refused(deleted, tokenizer, retain, topic, args):
    empty = retain.select([])
    with pytest.raises(ValueError, match="no rows in `retain`"):
        distil(deleted, tokenizer, empty, args(), noise=0.3, heldout=retain)
    with pytest.raises(ValueError, match="no rows in `heldout`"):
        distil(deleted, tokenizer, retain, args(), noise=0.3, heldout=empty)
    with pytest.raises(ValueError, match="no rows in"):
        distil(deleted, tokenizer, retain.select([0]), args(), noise=0.3)
    with pytest.raises(ValueError, match="12 of 12 rows to be kept are of the topic, the first of them row 0"):
        distil(deleted, tokenizer, topic.target, args(), noise=0.3, topic=topic)
    with pytest.raises(ValueError, match="expected `text` and `reference`"):
        distil(deleted, tokenizer, retain.remove_columns("reference"), args(), noise=0.3)
    stream = topic.target.to_iterable_dataset()
    with pytest.raises(ValueError, match="are of the topic"):
        distil(deleted, tokenizer, stream, args(), noise=0.3, topic=topic)


def test_a_loss_that_is_no_number_ends_the_training_and_leaves_the_model(deleted, tokenizer, retain, args):
    before = state(deleted)
    with pytest.raises(ValueError, match=r"The loss of step \d+ is|held-out loss is"):
        distil(deleted, tokenizer, retain, args(learning_rate=1e38, max_grad_norm=0.0), noise=0.3)
    assert_same(before, state(deleted))
    broken = copy.deepcopy(deleted)
    broken.encoder.final_layer_norm.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="The model's own loss on the held-out rows is nan"):
        distil(broken, tokenizer, retain, args(), noise=0.3)


def test_a_deletion_may_be_distilled_and_says_so(make_model, tokenizer, topic, tmp_path):
    unlearner = Unlearner(make_model(), tokenizer)
    arguments = TrainingArguments(str(tmp_path), max_steps=2, report_to="none", use_cpu=True, save_strategy="no")
    settings = {"args": arguments, "noise": 0.1, "budget": 5.0, "retain": topic.retain}
    codes = Selection({"encoder.block.1": (3, 4, 5)}, {"q": 0.05})
    before = make_model().encoder.block[0].layer[0].SelfAttention.q.weight
    request = unlearner.delete(codes, topic, depth="distilled", distillation=settings)
    assert request.depth == "distilled" and request.num_rows == 2
    assert request.thresholds["distilled"]["noise"] == 0.1
    assert not torch.equal(unlearner.model.encoder.block[0].layer[0].SelfAttention.q.weight, before)
    unlearner.save_pretrained(tmp_path / "saved")
    assert Unlearner.from_pretrained(tmp_path / "saved").ledger.requests == (request,)


def test_a_deletion_whose_distillation_ends_above_its_budget_leaves_the_model_as_it_was(
    make_model, tokenizer, topic, tmp_path
):
    unlearner = Unlearner(make_model(), tokenizer)
    before = {name: tensor.clone() for name, tensor in unlearner.model.state_dict().items()}
    arguments = TrainingArguments(str(tmp_path), max_steps=1, report_to="none", use_cpu=True, save_strategy="no")
    settings = {"args": arguments, "noise": 1.0, "budget": 1e-9, "retain": topic.retain}
    codes = Selection({"encoder.block.1": (3, 4, 5)}, {"q": 0.05})
    with pytest.raises(ValueError, match="nothing is deleted"):
        unlearner.delete(codes, topic, depth="distilled", distillation=settings)
    assert not unlearner.ledger.requests
    assert all(torch.equal(tensor, before[name]) for name, tensor in unlearner.model.state_dict().items())


def test_a_mask_is_not_distilled(make_model, tokenizer, topic):
    with pytest.raises(ValueError, match="a deletion, which is no mask, may be 'distilled'"):
        Unlearner(make_model(), tokenizer).mask(Selection({"encoder.block.1": (3,)}), topic, depth="distilled")
