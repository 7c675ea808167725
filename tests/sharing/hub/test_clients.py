"""The unmodified clients of transformers, peft and `Trainer` work with models that have bottlenecks."""

import pytest
import torch
from huggingface_hub import snapshot_download
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from excise import BottleneckCallback, CodebookT5ForConditionalGeneration, Unlearner
from tests.helpers.tiny import SITE, batch, codebook_t5, copying, delete_codes, mask_codes, tokenizer

REPO = "tester/model"


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**batch()).logits


def test_a_pushed_model_loads_to_the_same_logits_with_its_mask(hub):
    model = codebook_t5()
    mask_codes(model)
    model.push_to_hub(REPO)
    tokenizer().push_to_hub(REPO)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(REPO)
    assert isinstance(loaded, CodebookT5ForConditionalGeneration)
    assert torch.equal(logits(loaded), logits(model))
    assert Unlearner(loaded, None).ledger.removed(SITE) == [0, 3, 5, 8]
    assert AutoTokenizer.from_pretrained(REPO)("the cat").input_ids == tokenizer()("the cat").input_ids


def test_large_weights_come_back_whole(hub):
    hub.lfs_from, hub.chunk = 10_000, 20_000
    model = codebook_t5()
    model.push_to_hub(REPO, max_shard_size="30KB")
    assert len(hub.repository(REPO).objects) > 1 and hub.asked("^PUT /objects/.*/2$")
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(REPO)), logits(model))


def test_a_second_push_of_a_model_makes_no_commit(hub):
    model = codebook_t5()
    first = model.push_to_hub(REPO)
    assert model.push_to_hub(REPO).oid == first.oid
    assert len(hub.asked("/commit/")) == 1


def test_a_model_is_pushed_to_a_branch_and_as_a_pull_request(hub, api):
    old, new = codebook_t5(), codebook_t5(num_codes=50)
    old.push_to_hub(REPO)
    new.push_to_hub(REPO, revision="more")
    assert new.push_to_hub(REPO, create_pr=True).pr_revision == "refs/pr/1"
    for revision, model in (("main", old), ("more", new), ("refs/pr/1", new)):
        loaded = CodebookT5ForConditionalGeneration.from_pretrained(REPO, revision=revision)
        assert torch.equal(logits(loaded), logits(model))


def test_a_private_model_loads_with_a_token_only(hub):
    codebook_t5().push_to_hub(REPO, private=True)
    AutoModelForSeq2SeqLM.from_pretrained(REPO, token="hf_read")
    with pytest.raises(OSError, match="tester/model"):
        AutoModelForSeq2SeqLM.from_pretrained(REPO, token="hf_other")


@pytest.mark.parametrize("strategy", ["end", "every_save", "checkpoint"])
def test_a_trainer_pushes_model_tokenizer_and_card(hub, tmp_path, strategy):
    words, model = tokenizer(), codebook_t5()
    if strategy == "end":
        delete_codes(model)
    settings = Seq2SeqTrainingArguments(
        str(tmp_path / "run"),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        max_steps=2,
        save_steps=1,
        save_strategy="steps",
        dataloader_pin_memory=False,
        push_to_hub=True,
        hub_model_id=REPO,
        hub_strategy=strategy,
        hub_always_push=True,
    )
    trainer = Seq2SeqTrainer(
        model,
        settings,
        train_dataset=copying(8),
        data_collator=DataCollatorForSeq2Seq(words, model),
        processing_class=words,
        callbacks=[BottleneckCallback()],
    )
    trainer.train()
    trainer.push_to_hub()
    snapshot_download(REPO, local_dir=tmp_path / "down")
    assert "generated_from_trainer" in (tmp_path / "down" / "README.md").read_text()
    assert (tmp_path / "down" / "last-checkpoint").is_dir() == (strategy == "checkpoint")
    assert torch.equal(logits(AutoModelForSeq2SeqLM.from_pretrained(REPO)), logits(model))
    assert AutoTokenizer.from_pretrained(REPO).vocab_size == words.vocab_size


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_an_adapter_is_pushed_beside_the_base_that_it_is_of(hub):
    codebook_t5().push_to_hub("tester/base")
    base = CodebookT5ForConditionalGeneration.from_pretrained("tester/base")
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"], modules_to_save=["bottleneck"])
    torch.manual_seed(1)
    model = get_peft_model(base, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_()
    model.push_to_hub(REPO)
    again = CodebookT5ForConditionalGeneration.from_pretrained("tester/base")
    loaded = PeftModel.from_pretrained(again, REPO)
    assert torch.equal(logits(loaded), logits(model))
    assert loaded.peft_config["default"].base_model_name_or_path == "tester/base"
