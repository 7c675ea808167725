"""Whatever pushes a model with deletions, it does not go over weights that could bring back what was deleted."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSeq2SeqLM, DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

from excise import BottleneckCallback, CodebookT5ForConditionalGeneration, PairCountCallback, Selection, Unlearner
from tests.helpers.local_hub.bundles import REPO
from tests.helpers.tiny import SITE, codebook_t5, copying, delete_codes, tokenizer
from tests.sharing.hub.test_clients import logits


@pytest.fixture
def trainer(hub, tmp_path):
    """Makes a Trainer that pushes."""

    def make(model, callback=None, **settings) -> Seq2SeqTrainer:
        words = tokenizer()
        common = {
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "max_steps": 2,
            "save_steps": 1,
            "save_strategy": "steps",
            "dataloader_pin_memory": False,
            "push_to_hub": True,
            "hub_model_id": REPO,
            "hub_always_push": True,
        }
        return Seq2SeqTrainer(
            model,
            Seq2SeqTrainingArguments(str(tmp_path / "model"), **common | settings),
            train_dataset=copying(8),
            data_collator=DataCollatorForSeq2Seq(words, model),
            processing_class=words,
            callbacks=[callback or BottleneckCallback()],
        )

    return make


@pytest.mark.parametrize("hub_model_id", [REPO, "model", None])
@pytest.mark.parametrize("callback", [BottleneckCallback, PairCountCallback])
def test_a_trainer_refuses_before_it_trains(trainer, api, hub_model_id, callback):
    model = codebook_t5()
    older = model.push_to_hub(REPO).oid
    delete_codes(model)
    run = trainer(model, callback(), hub_model_id=hub_model_id)
    with pytest.raises(ValueError, match=r"holds other weights already.*purge_history=True"):
        run.train()
    assert run.state.global_step == 0
    with pytest.raises(ValueError, match="holds other weights already"):
        run.push_to_hub()
    assert api.model_info(REPO).sha == older


def test_a_trainer_refuses_a_deletion_over_what_it_pushed_before(trainer, api):
    model = codebook_t5()
    run = trainer(model, hub_strategy="every_save")
    run.train()
    older = api.model_info(REPO).sha
    delete_codes(model)
    for push in (run.push_to_hub, run.train):
        with pytest.raises(ValueError, match="holds other weights already"):
            push()
    assert api.model_info(REPO).sha == older


@pytest.mark.parametrize("strategy", ["end", "every_save", "checkpoint"])
def test_a_trainer_pushes_a_deletion_on_and_on_where_nothing_was_before(trainer, strategy):
    model = codebook_t5()
    delete_codes(model)
    run = trainer(model, hub_strategy=strategy)
    run.train()
    run.push_to_hub()
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(REPO)), logits(model))


def test_a_trainer_that_pushes_nothing_asks_the_hub_nothing(trainer, hub):
    model = codebook_t5()
    delete_codes(model)
    trainer(model, push_to_hub=False).train()
    assert not hub.log


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_nor_does_an_adapter_with_its_bottleneck(hub, api):
    codebook_t5().push_to_hub("tester/base")
    base = CodebookT5ForConditionalGeneration.from_pretrained("tester/base")
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"], modules_to_save=["bottleneck"])
    whole = get_peft_model(base, config)
    unlearner = Unlearner(whole, tokenizer())
    whole.push_to_hub(REPO)
    unlearner.mask(Selection({SITE: [4]}), "masked")
    older = whole.push_to_hub(REPO).oid
    unlearner.delete(Selection({SITE: [1, 2]}), "planted")
    with pytest.raises(ValueError, match="holds other weights already"):
        whole.push_to_hub(REPO)
    assert api.model_info(REPO).sha == older
    first = whole.push_to_hub("tester/new")
    assert whole.push_to_hub("tester/new").oid == first.oid
    other = copy.deepcopy(whole)  # the guard is of the model that it is on
    with torch.no_grad():
        next(parameter for parameter in other.parameters() if parameter.requires_grad).add_(1)
    with pytest.raises(ValueError, match="holds other weights already"):
        other.push_to_hub("tester/new")
