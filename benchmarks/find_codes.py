"""How long it takes to find a topic's codes, for every S' from 8 to 104 in one pass. Reach: 10 seconds on two cores.

A T5 of T5-small's shape with random weights and 25,000 codes reads 500 prompts of a topic and 500 controls. A prompt
has 33 tokens on average, as 25 words of Opus Books have. What is timed is everything from texts to selections:
tokens, activations, look-up, counts, tests. Reading 1,000 prompts without the topic, as `count_topic(retain=True)` does
besides, is timed on its own.

    python benchmarks/find_codes.py --positions all
"""

import argparse
import json
import os
import time

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from excise import CodebookSAEConfig, CodebookT5ForConditionalGeneration, Search, TopicSets
from excise.codes import CodeFinder
from excise.models import CodebookT5Config

TOP_S = (8, 24, 40, 56, 72, 88, 104)
WORDS = 32_000
TOPIC, REPLACEMENT = "w500", "w501"


def word_tokenizer():
    """One token a word, so that the length of a prompt is known."""
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {f"w{i}": i + 3 for i in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def sentences(count, mean_tokens, rng):
    """Made-up sentences: lengths as uneven as a novel's, words as uneven as a language's."""
    lengths = np.clip(rng.lognormal(np.log(mean_tokens) - 0.18, 0.6, count), 4, 128).astype(int)
    return [[f"w{min(word, WORDS) - 1}" for word in rng.zipf(1.2, length)] for length in lengths]


def dataset(texts, word=None):
    """Rows with `text` and `spans`; a word is put in the middle of each."""
    rows = {"text": [], "spans": []}
    for words in texts:
        middle = len(words) // 2
        text = " ".join([*words[:middle], word, *words[middle:]] if word else words)
        start = len(" ".join(words[:middle])) + 1
        rows["text"].append(text)
        rows["spans"].append([[start, start + len(word)]] if word else [])
    return Dataset.from_dict(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", choices=("topic", "all"), nargs="+", default=["topic", "all"])
    parser.add_argument("--pairs", type=int, default=500, help="prompts of the topic, and as many controls")
    parser.add_argument("--retain", type=int, default=1000, help="prompts without the topic")
    parser.add_argument("--tokens", type=int, default=33, help="mean length of a prompt")
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3, help="runs; the fastest and the median are told")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)

    bottleneck = CodebookSAEConfig(num_codes=args.num_codes)
    model = CodebookT5ForConditionalGeneration(CodebookT5Config(bottleneck=bottleneck)).eval()
    tokenizer = word_tokenizer()
    texts = sentences(args.pairs, args.tokens - 2, rng)
    retain = dataset(sentences(args.retain, args.tokens - 1, rng))
    sets = {"target": dataset(texts, TOPIC), "control": dataset(texts, REPLACEMENT), "retain": retain}
    sets |= {"heldout": retain.select([]), "heldout_retain": retain.select([])}
    topic = TopicSets((TOPIC,), (TOPIC,), "text", None, args.seed, **sets)
    finder = CodeFinder(model, tokenizer)
    options = {"max_top_s": max(TOP_S), "batch_size": args.batch_size, "progress": False}

    def find(positions):
        counts = finder.count_topic(topic, positions=positions, **options)
        return [len(counts.enrich(top_s).select(q=0.05)) for top_s in TOP_S]

    every_code = Search("activations", positions="all", count=1)
    for positions in args.positions:
        seconds, codes = timed(lambda positions=positions: find(positions), args.repeats)
        report(args, f"find codes, {positions} positions", seconds, {"codes": codes, "reach": 10.0})
    seconds, _ = timed(lambda: finder.count(retain, every_code, **options), 1)
    report(args, "count the retain set, all positions", seconds, {})


def timed(function, repeats):
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - started)
    return seconds, result


def report(args, what, seconds, more):
    numbers = {"median_s": round(float(np.median(seconds)), 2), "fastest_s": round(min(seconds), 2)}
    machine = {"threads": args.threads, "load": round(os.getloadavg()[0], 2)}
    print(json.dumps({"benchmark": what, **numbers, "pairs": args.pairs, "retain": args.retain, **machine, **more}))


if __name__ == "__main__":
    main()
