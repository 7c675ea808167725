"""How much of a topic comes out although nothing passes the bottleneck at its own word: a bound on any mask.

At the tokens of the topic's word, what the bottleneck passes on is replaced by the mean activation. What is still said
was told by the word's neighbours, which have read it in the layers before the bottleneck, or is guessed
(`excise.evaluate(..., cut_out=True)` tells how much of it).

    python research/leak.py MODEL --topics TOPICS/*/
"""

import argparse

import torch
from forgetting import COMPANIONS
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging

from excise import TopicSets
from excise.bottlenecks import bottlenecks
from excise.data import topic_words
from excise.evaluation.metrics import TopicRecall


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--topics", nargs="+", required=True)
    args = parser.parse_args()
    logging.disable_progress_bar()
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(args.model), AutoTokenizer.from_pretrained(args.model)
    for folder in args.topics:
        topic = TopicSets.load(folder)
        before, wiped = (recall(model.eval(), tokenizer, topic, wipe) for wipe in (False, True))
        print(f"{topic.name:12} topic recall {before:.3f}, without its own positions {wiped:.3f}", flush=True)


@torch.inference_mode()
def recall(model, tokenizer, topic, wipe):
    """Topic recall on the held-out sentences, with or without what the word's own positions pass on."""
    options = {"truncation": True, "padding": True, "return_token_type_ids": False, "return_tensors": "pt"}
    batch = tokenizer(list(topic.heldout["text"]), return_offsets_mapping=True, **options)
    start, end = batch.pop("offset_mapping").unbind(-1)
    own = torch.zeros_like(start, dtype=torch.bool)
    for i, spans in enumerate(topic.heldout["spans"]):
        for a, b in spans:
            own[i] |= (start[i] < b) & (a < end[i])

    def replace(bottleneck, args, output):
        output.reconstruction = torch.where(own[..., None], bottleneck.mean, output.reconstruction)
        return output

    hooks = [bottleneck.register_forward_hook(replace) for bottleneck in bottlenecks(model).values() if wipe]
    outputs = model.generate(**batch, max_new_tokens=48, do_sample=False, num_beams=1)
    for hook in hooks:
        hook.remove()
    texts = tokenizer.batch_decode(outputs, skip_special_tokens=True)
    words = [word for word in topic_words(topic) if word not in COMPANIONS]
    return TopicRecall(words).compute(predictions=texts, references=topic.heldout["reference"])["recall"]


if __name__ == "__main__":
    main()
