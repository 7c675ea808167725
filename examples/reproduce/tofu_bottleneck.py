"""Bottlenecks for reproduce_tofu.py: attached to the model that knows all authors, trained, and what that costs."""

import json
import time
from functools import partial

import torch
import torch.nn.functional as F
from datasets import Dataset, concatenate_datasets
from tofu_chats import written_chats
from tofu_data import first, settings_of, write
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from excise import BottleneckCallback, CodebookSAEConfig, SparseUnitsConfig, attach, initialize_codes
from excise.bottlenecks import bottlenecks
from excise.data import load_demo, question_inputs
from excise.training import adamw, train_only

KINDS = {"codebook": CodebookSAEConfig, "sparse_units": SparseUnitsConfig}
# What a bottleneck is trained by, if nothing else is given behind its kind; the rest is its config's.
TRAINING = {"layers": 3, "part": "all", "epochs": 1, "rate": 3e-5, "codes_rate": 2e-4, "init_steps": 400, "batch": 4}
TRAINING |= {"teacher": 0.0, "others": 0, "own": 0, "vocabulary": 0, "init_tokens": 1_024, "used": 0}
TOKENS = 80_000
# Of rows of random pieces of the vocabulary, in tokens.
LENGTH = 24


def trained(spec, folder, tuned, rows, writer):
    """Attaches a bottleneck to a model and trains it; what is there already is left.

    Args:
        spec: `"sparse_units num_codes=9216 active=16 layers=3 epochs=1 rate=3e-5"`: a kind with settings of it and of
            its training. `layers` are joined by commas, `part` is of `train_only`, `teacher` the weight of the
            divergence from what the model put out before, of all tokens, and `others` the number of other sentences,
            half of them as questions and answers, of which one token alone is learnt, and which go into that
            divergence; `own` is the number of chats that `writer` writes, which do so as well. `vocabulary` is how
            often each piece of the vocabulary is among what the codes are trained on alone, beside ten times as many
            other sentences: which piece is there is what early layers say most of. `used` is how many codes or units a
            token is passed on as after the training, if not as many.
        folder: where the trained model goes, with `curve.json`: perplexities of retained answers and of other text
            by the tokens that were seen.
        tuned: folder of the model that knows all authors.
        rows: `"stay"` and `"go"`, which are both trained on.
        writer: folder or Hub id of the model that writes chats, one that never saw what goes.
    """
    if (folder / "curve.json").exists():
        return
    kind, *given = spec.split()
    values = settings_of(given)
    how = TRAINING | {name: value for name, value in values.items() if name in TRAINING}
    config = KINDS[kind](**{name: value for name, value in values.items() if name not in TRAINING})
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tuned), AutoTokenizer.from_pretrained(tuned)
    tokenizer.padding_side = "right"
    inputs = question_inputs(concatenate_datasets([rows["stay"], rows["go"]]), tokenizer)
    demo = {name: [pair["en"] for pair in part["translation"]] for name, part in load_demo().items()}
    ids = other_texts(demo["train"][: how["others"]], tokenizer) if how["others"] else []
    if how["own"]:
        chats = written_chats(writer, how["own"], folder.parent / "chats.json")
        ids += question_inputs(chats, tokenizer)["input_ids"][:]
    if ids:
        # The second token has a label, as a batch without any has no loss.
        told = {"input_ids": ids, "labels": [[-100, *row[1:2], *[-100] * (len(row) - 2)] for row in ids]}
        told["attention_mask"] = [[1] * len(row) for row in ids]
        inputs = concatenate_datasets([inputs, Dataset.from_dict(told).select_columns(inputs.column_names)])
    told = {"retained": question_inputs(first(rows["stay"].shuffle(seed=1), 80), tokenizer)}
    texts = tokenizer(demo["test"][:300])["input_ids"]
    told["other text"] = [{"input_ids": ids, "labels": ids} for ids in texts if len(ids) > 1]
    collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
    asked = partial(perplexities, told=told, collator=collator)
    start, curve = time.perf_counter(), [{"tokens": 0, "of": "the model before"} | asked(model)]
    teacher = AutoModelForCausalLM.from_pretrained(tuned).eval() if how["teacher"] else None
    attach(model, config, [int(layer) for layer in str(how["layers"]).split(",")])
    settings = TrainingArguments(
        str(folder / "checkpoints"),
        num_train_epochs=how["epochs"],
        learning_rate=how["rate"],
        per_device_train_batch_size=how["batch"],
        lr_scheduler_type="linear",
        warmup_steps=0.05,
        train_sampling_strategy="group_by_length",
        include_num_input_tokens_seen="all",
        save_steps=100,
        save_total_limit=1,
        logging_steps=20,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    shown = pieces(tokenizer, how["vocabulary"], inputs[0]["input_ids"][0])
    if shown and how["others"]:
        shown += tokenizer(demo["train"][: 10 * how["others"]])["input_ids"]
    alone = {"max_tokens": TOKENS + how["vocabulary"] * len(tokenizer), "steps": how["init_steps"]}
    alone |= {"batch_tokens": how["init_tokens"], "progress": False}
    seen = Dataset.from_dict({"input_ids": [*inputs["input_ids"], *shown]})
    errors = initialize_codes(model, seen, tokenizer, **alone)
    curve.append({"tokens": 0, "of": "codes alone", "unexplained": errors} | asked(model))
    print(spec, curve[-1], flush=True)
    model = train_only(model, how["part"])
    trainer = TaughtTrainer(
        model,
        settings,
        collator,
        inputs,
        callbacks=[BottleneckCallback()],
        optimizers=(adamw(model, settings, codebook_learning_rate=how["codes_rate"]), None),
    )
    trainer.teacher, trainer.weight = teacher, how["teacher"]
    if how["epochs"]:
        last = get_last_checkpoint(settings.output_dir) if (folder / "checkpoints").is_dir() else None
        trainer.train(resume_from_checkpoint=last)
        tokens = trainer.state.num_input_tokens_seen
        curve.append({"tokens": tokens, "of": "trained together", "log": trainer.state.log_history} | asked(model))
    model = model.merge_and_unload() if how["part"] == "lora" else model
    if how["used"]:
        for bottleneck in bottlenecks(model).values():
            bottleneck.widen(how["used"])
        curve.append({"tokens": curve[-1]["tokens"], "of": f"passed on as {how['used']}"} | asked(model))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write(folder / "curve.json", {"spec": spec, "seconds": time.perf_counter() - start, "curve": curve})
    print(json.dumps([{name: of[name] for name in of if name != "log"} for of in curve]), flush=True)


def other_texts(sentences, tokenizer):
    """Sentences as they are, and as questions that the next one answers, which says nothing but looks like a chat."""
    half = len(sentences) // 2
    talk = {"question": sentences[:half], "answer": [*sentences[1:half], sentences[0]]}
    return [
        *question_inputs(Dataset.from_dict(talk), tokenizer)["input_ids"],
        *tokenizer(sentences[half:])["input_ids"],
    ]


def pieces(tokenizer, times, begins):
    """Rows of the pieces of a vocabulary in random orders, each piece so many times; all begin with the same token."""
    order = torch.Generator().manual_seed(0)
    ids = [torch.randperm(len(tokenizer), generator=order) for _ in range(times)]
    return [[begins, *row.tolist()] for once in ids for row in once.split(LENGTH)]


class TaughtTrainer(Trainer):
    """A `Trainer` of the joint loss and, with a teacher, of the mean divergence from what it puts out for a token."""

    teacher, weight = None, 0.0

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        """The model's own loss, and the teacher's."""
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if self.teacher is not None:
            there = inputs["attention_mask"][:, 1:].bool()
            with torch.inference_mode():
                right = self.teacher(**inputs).logits[:, :-1][there].float().log_softmax(-1)
            own = outputs.logits[:, :-1][there].float().log_softmax(-1)
            loss = loss + self.weight * F.kl_div(own, right.clone(), log_target=True, reduction="batchmean")
        return (loss, outputs) if return_outputs else loss


@torch.inference_mode()
def perplexities(model, told, collator):
    """Perplexity by token of each kind of rows."""
    training, found = model.training, {}
    model.eval()
    for name, rows in told.items():
        total = count = 0.0
        for at in range(0, len(rows), 8):
            batch = collator([rows[i] for i in range(at, min(at + 8, len(rows)))]).to(model.device)
            labels = batch.pop("labels")[:, 1:]
            logits = model(**batch).logits[:, :-1].float()
            total += float(F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum"))
            count += int((labels != -100).sum())
        found[name] = float(torch.tensor(total / count).exp())
    model.train(training)
    return {"perplexity": found}
