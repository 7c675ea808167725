import pytest
import torch
from transformers import Seq2SeqTrainingArguments, TrainingArguments

from excise.bottlenecks.site import bottlenecks
from excise.training.optimizer import adamw
from tests.helpers.tiny import batch, codebook_clip, codebook_t5


def test_embeddings_and_codes_have_their_own_rates_and_every_parameter_is_trained_once(tmp_path):
    model = codebook_t5()
    args = Seq2SeqTrainingArguments(str(tmp_path), learning_rate=1e-3, weight_decay=0.1, adam_beta2=0.9, use_cpu=True)
    optimizer = adamw(model, args, embedding_learning_rate=0.5, codebook_learning_rate=0.25)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in model.parameters()}
    assert len(trained) == len({id(p) for p in trained})
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.pop(id(model.shared.weight)) == 0.5
    assert [rates.pop(id(bottleneck.codebook)) for bottleneck in bottlenecks(model).values()] == [0.25]
    assert set(rates.values()) == {1e-3}
    assert all(group["betas"] == (0.9, 0.9) for group in optimizer.param_groups)
    assert all(p.dim() > 1 for group in optimizer.param_groups if group["weight_decay"] for p in group["params"])
    before = model.shared.weight.clone()
    model(**batch()).loss.backward()
    optimizer.step()
    assert (model.shared.weight - before).abs().max() > 0.4  # a first step of Adam is as long as its rate
    assert torch.isfinite(model(**batch()).loss)


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused"])
def test_it_is_fused_where_the_arguments_say_so(tmp_path, optim):
    args = Seq2SeqTrainingArguments(str(tmp_path), optim=optim, use_cpu=True)
    assert adamw(codebook_t5(), args, 0.5).defaults["fused"] == (optim == "adamw_torch_fused")


def test_what_has_no_rate_of_its_own_has_that_of_the_arguments(tmp_path):
    optimizer = adamw(codebook_t5(), Seq2SeqTrainingArguments(str(tmp_path), learning_rate=1e-3, use_cpu=True))
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3}


def test_a_clip_has_a_rate_of_its_own_for_codes_and_none_for_embeddings(tmp_path):
    model, args = codebook_clip(), TrainingArguments(str(tmp_path), use_cpu=True, learning_rate=1e-3)
    groups = adamw(model, args, codebook_learning_rate=5e-3).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    codebook = model.vision_model.encoder.layers[2].bottleneck.codebook
    assert rates.pop(id(codebook)) == 5e-3
    assert set(rates.values()) == {1e-3} and len(rates) == len(list(model.parameters())) - 1
    with pytest.raises(ValueError, match="no one table"):
        adamw(model, args, embedding_learning_rate=1e-2)
