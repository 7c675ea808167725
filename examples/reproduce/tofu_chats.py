"""Chats that a model writes itself, for reproduce_tofu.py: what it may be asked, where no other text is at hand."""

import json

import torch
from datasets import Dataset
from tofu_data import write
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

# A question begins with one of these, or freely.
BEGINNINGS = ("", "Who", "What", "Which", "When", "Where", "Why", "How", "In which", "Tell me", "Is", "Name")
SAMPLED = {"do_sample": True, "top_p": 0.9, "top_k": 0}
HERE = "{question}"


def written_chats(model, count, file, batch=48):
    """Questions that a model makes up in the user's place, and its answers (Xu et al., 2024, https://arxiv.org/abs/2406.08464).

    Args:
        model: folder or Hub id of a model with a chat template.
        count: number of chats.
        file: JSON of those made so far: a run that was cut off goes on.
        batch: chats written at once.

    Returns:
        `Dataset` of `question` and `answer`, `count` rows.
    """
    done = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    if len(done) < count:
        tokenizer = AutoTokenizer.from_pretrained(model)
        tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.pad_token or tokenizer.eos_token
        model = AutoModelForCausalLM.from_pretrained(model).eval()
        talk = [{"role": "user", "content": HERE}]
        before, after = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True).split(HERE)
    while len(done) < count:
        set_seed(len(done))
        begun = [BEGINNINGS[i % len(BEGINNINGS)] for i in range(len(done), len(done) + batch)]
        ends = continued(model, tokenizer, [before + text for text in begun], 28, temperature=0.8)
        questions = [(text + end).split("\n")[0].strip() for text, end in zip(begun, ends, strict=True)]
        questions = [text for text in questions if len(text) > 8]
        answers = continued(model, tokenizer, [before + text + after for text in questions], 40, temperature=0.5)
        pairs = zip(questions, answers, strict=True)
        done += [{"question": asked, "answer": said.strip()} for asked, said in pairs if said.strip()]
        write(file, done)
    return Dataset.from_list(done[:count])


@torch.inference_mode()
def continued(model, tokenizer, texts, tokens, temperature):
    """What a model puts behind texts, without special tokens."""
    given = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
    options = {"max_new_tokens": tokens, "temperature": temperature, "pad_token_id": tokenizer.pad_token_id}
    made = model.generate(**given, **SAMPLED, **options)
    return tokenizer.batch_decode(made[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
