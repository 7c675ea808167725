"""How well controls read: the loss per token of a language model that chose none of them, against the targets' own.

The language model is a judge: it has no part in making the sets. A ratio of 1 means that the controls read as well as
what people wrote. The loss of a whole sentence stands beside it, for a rare word that falls into many pieces lowers the
loss per token.

    python research/controls.py --judge HuggingFaceTB/SmolLM2-135M-Instruct --train train.parquet --test test.parquet \
        --out controls

Sets that lie in `--out` are judged as they are; those that do not are made there.
"""

import argparse
from pathlib import Path

import torch
from datasets import load_dataset
from tabulate import tabulate
from transformers import AutoModelForCausalLM, AutoTokenizer

from excise import TopicSets, topic_sets


def main():
    """One row a topic: losses of targets and controls, and how many words stand in for the topic's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", required=True, help="a causal language model: Hub id or folder")
    parser.add_argument("--train", help="Parquet with a column `translation`, to make the sets from")
    parser.add_argument("--test", help="likewise, for the held-out sets; a part of `--train` if not given")
    parser.add_argument("--text", default="en")
    parser.add_argument("--reference", default="fr")
    parser.add_argument("--topics", nargs="+", default=["love", "car", "water", "teacher", "wish", "Mary", "Boston"])
    parser.add_argument("--rows", type=int, default=200, help="sentences a topic")
    parser.add_argument("--show", type=int, default=0, help="so many pairs of each, to read")
    parser.add_argument("--out", type=Path, required=True, help="where the sets lie, or are put")
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.judge)
    judge = AutoModelForCausalLM.from_pretrained(args.judge, dtype=torch.float32).eval()
    table = []
    for word in args.topics:
        topic = topic_of(args, word)
        rows = range(min(args.rows, len(topic.target)))
        target, control = (part.select(rows) for part in (topic.target, topic.control))
        (loss, sentence), (own, own_sentence) = (losses(judge, tokenizer, part["text"]) for part in (control, target))
        words = [row["text"][start:stop].lower() for row in control for start, stop in row["spans"]]
        most = max(map(words.count, set(words))) / len(words)
        table.append([word, len(rows), own, loss, loss / own, sentence / own_sentence, len(set(words)), most])
        for before, after in list(zip(target["text"], control["text"], strict=True))[: args.show]:
            print(f"{word:8} {before}\n{'':8} {after}")
    names = ["topic", "rows", "target", "control", "ratio", "ratio of sentences", "words", "most frequent"]
    print(tabulate(table, names, tablefmt="github", floatfmt=".3f"))


def topic_of(args, word):
    """The sets that lie in `--out`, or new ones."""
    folder = args.out / word
    if not folder.exists():
        files = {"train": args.train} | ({"test": args.test} if args.test else {})
        rows = load_dataset("parquet", data_files=files)
        topic_sets(
            rows["train"], word, text=args.text, reference=args.reference, evaluation=rows.get("test"), progress=False
        ).save(folder)
    return TopicSets.load(folder)


@torch.inference_mode()
def losses(judge, tokenizer, texts, size=50):
    """The loss per token over all texts, and the loss per text."""
    vocabulary, total, count = tokenizer.get_vocab(), 0.0, 0
    # What stood between documents, where there is such a token: a chat's first token promises no sentence.
    start = vocabulary.get("<|endoftext|>", tokenizer.bos_token_id or tokenizer.eos_token_id)
    by_length = sorted(texts, key=len)
    for first in range(0, len(texts), size):
        ids = [[start, *tokenizer(text)["input_ids"]] for text in by_length[first : first + size]]
        longest = max(map(len, ids))
        tokens = torch.tensor([own + [start] * (longest - len(own)) for own in ids])
        there = torch.arange(longest) < torch.tensor([len(own) for own in ids])[:, None]
        logits = judge(input_ids=tokens, attention_mask=there.long()).logits[:, :-1]
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
        total += float((each * there[:, 1:]).sum())
        count += int(there[:, 1:].sum())
    return total / count, total / len(texts)


if __name__ == "__main__":
    main()
