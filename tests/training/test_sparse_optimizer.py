"""Key-value pairs are trained by gradients of the rows that were read, in an ordinary Trainer."""

import pytest
import torch
from datasets import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments, ViTConfig

from excise import KeyValueConfig, KeyValueForImageClassification, PairCountCallback, Search, Unlearner
from excise.models import KeyValueVisionConfig
from excise.training import sparse_optimizer
from tests.helpers.tiny import codebook_t5


def key_value_arguments(folder, **settings):
    given = {"learning_rate": 0.1, "weight_decay": 0.0, "max_grad_norm": 0.0, "num_train_epochs": 3, "seed": 0}
    quiet = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
    }
    return TrainingArguments(str(folder), per_device_train_batch_size=8, **given | quiet | settings)


def key_value_rows():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(48) % 4
    encodings = torch.randn(48, 12, generator=generator) + 3 * torch.eye(12)[labels]
    return Dataset.from_dict({"encodings": encodings.numpy(), "labels": labels.numpy()}).with_format("torch")


def key_value_model():
    encoder = ViTConfig(hidden_size=12, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    pairs = KeyValueConfig(num_codebooks=6, num_pairs=16, key_dim=3, value_init="zeros", keys_id="as they are")
    config = KeyValueVisionConfig(encoder=encoder, bottleneck=pairs, pooling="first", num_labels=4)
    torch.manual_seed(0)
    return KeyValueForImageClassification(config)


@pytest.mark.parametrize(("optim", "kind"), [("sgd", torch.optim.SGD), ("adamw_torch", torch.optim.SparseAdam)])
def test_a_trainer_trains_pairs_by_a_sparse_optimizer(tmp_path, optim, kind):
    model, args, rows = (
        key_value_model(),
        key_value_arguments(tmp_path, optim=optim, learning_rate=1.0),
        key_value_rows(),
    )
    sparse_kinds = []
    model.bottleneck.values.register_hook(lambda gradient: sparse_kinds.append(gradient.is_sparse))
    optimizer, counting = sparse_optimizer(model, args), PairCountCallback()
    assert type(optimizer) is kind
    trainer = Trainer(model, args, train_dataset=rows, optimizers=(optimizer, None), callbacks=[counting])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    assert sparse_kinds == [True] * 18
    assert (model(encodings=rows["encodings"][:]).logits.argmax(1) == rows["labels"][:]).float().mean() > 0.9
    read = torch.from_numpy(counting.counts.of_all()) > 0
    values = model.bottleneck.by_code(model.bottleneck.values.detach())
    assert values[read].any(1).all() and not values[~read].any()  # from zero, what was not read is where it began


@pytest.mark.parametrize("more", [{}, {"max_grad_norm": 0.01}, {"gradient_accumulation_steps": 2}], ids=str)
def test_sparse_sgd_makes_the_steps_of_a_dense_one_and_logs_the_same_norms(tmp_path, more):
    found = []
    for sparse in (True, False):
        model, args = key_value_model(), key_value_arguments(tmp_path, optim="sgd", **more)
        optimizers = (sparse_optimizer(model, args), None) if sparse else (None, None)
        trainer = Trainer(model, args, train_dataset=key_value_rows(), optimizers=optimizers)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        logs = [log for log in trainer.state.log_history if "grad_norm" in log]
        found.append((model.bottleneck.values.detach(), torch.tensor([log["grad_norm"] for log in logs])))
    for sparse, dense in zip(*found, strict=True):
        torch.testing.assert_close(sparse, dense)


def test_what_sparse_adam_remembers_of_deleted_pairs_goes_with_them(tmp_path):
    model, args = key_value_model(), key_value_arguments(tmp_path)
    optimizer, rows = sparse_optimizer(model, args), key_value_rows()
    counting = PairCountCallback()
    trainer = Trainer(model, args, train_dataset=rows, optimizers=(optimizer, None), callbacks=[counting])
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    unlearner = Unlearner(model, None)
    pairs = unlearner.delete(counting.counts.topic(1), preset=Search("activations", count=20)).codes["bottleneck"]
    moments = [model.bottleneck.by_code(optimizer.state[model.bottleneck.values][n]) for n in ("exp_avg", "exp_avg_sq")]
    assert all(not moment[list(pairs)].any() and moment.any() for moment in moments)
    optimizer.zero_grad()
    model.bottleneck.read(torch.tensor([list(pairs)[:6]])).sum().backward()
    optimizer.step()  # not even where the gradient of a deleted pair is given
    assert not model.bottleneck.by_code(model.bottleneck.values)[list(pairs)].any()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"weight_decay": 0.1}, r"weight_decay=0.1: .* Set it to 0"),
        ({"optim": "adafactor"}, r"optim='adafactor' has no sparse kind. Give 'sgd'"),
    ],
)
def test_what_has_no_sparse_kind_is_refused_for_a_sparse_optimizer(tmp_path, settings, match):
    model = key_value_model()
    with pytest.raises(ValueError, match=match):
        sparse_optimizer(model, key_value_arguments(tmp_path, **settings))
    assert not model.bottleneck.sparse_gradients


def test_a_model_with_other_weights_is_refused_for_a_sparse_optimizer(tmp_path):
    with pytest.raises(ValueError, match=r"CodebookT5ForConditionalGeneration trains shared\.weight and"):
        sparse_optimizer(codebook_t5(), key_value_arguments(tmp_path))
