"""Forget a word: a T5 gets a codebook, learns to translate through it, and forgets one word of what it has learned.

    python examples/forget_a_word.py --model t5-small --word book

The model is a Hub id or a folder. The sentence pairs are those that excise carries; any others do as well.
"""

import argparse

from transformers import AutoTokenizer, DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

from excise import CodebookSAEConfig, CodebookT5ForConditionalGeneration, Unlearner, evaluate, topic_sets
from excise.data import load_demo, text_pairs
from excise.training import BottleneckCallback, initialize_codes, set_min_similarity

parser = argparse.ArgumentParser()
parser.add_argument("--model", default="t5-small", help="a T5: Hub id or folder")
parser.add_argument("--word", default="book", help="what is forgotten, with its other forms")
parser.add_argument("--codes", type=int, default=25_000, help="codes in the codebook")
parser.add_argument("--steps", type=int, default=1_000, help="steps of training")
parser.add_argument("--out", default="unlearned", help="folder for the model without the word")
args = parser.parse_args()

pairs, prefix = load_demo(), "translate English to French: "  # sentence pairs that excise carries
tokenizer = AutoTokenizer.from_pretrained(args.model)
texts = text_pairs(pairs["train"], "en", "fr")
rows = texts.from_dict(dict(tokenizer([prefix + en for en in texts["source"]], text_target=list(texts["target"]))))

model = CodebookT5ForConditionalGeneration.from_base(args.model, CodebookSAEConfig(num_codes=args.codes))
initialize_codes(model, rows, tokenizer, steps=min(args.steps, 200))
settings = Seq2SeqTrainingArguments("training", max_steps=args.steps, learning_rate=5e-4, report_to="none")
collator = DataCollatorForSeq2Seq(tokenizer, model=model)
Seq2SeqTrainer(model, settings, collator, rows, callbacks=[BottleneckCallback()]).train()
set_min_similarity(model, rows, tokenizer)  # a token that loses its codes passes on nothing

topic = topic_sets(pairs["train"], args.word, text="en", reference="fr", evaluation=pairs["test"], prefix=prefix)
unlearner = Unlearner(model.eval(), tokenizer)
request = unlearner.forget(topic)  # finds and masks the word's codes; `unlearner.undo(request)` takes it back
print(evaluate(unlearner, topic, max_new_tokens=32))  # before, after, without the codebook, with random codes
unlearner.save_pretrained(args.out)
