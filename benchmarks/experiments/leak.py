"""How much of a topic comes out although nothing passes the bottleneck at its own word: a bound on any mask.

*wiped*: at the tokens of the topic's word, what the bottleneck passes on is replaced by the mean activation. What is
still said was told by the word's neighbours, which have read it in the layers before the bottleneck, or is guessed.
*cut*: the word is cut out of the sentence that is translated. What is still said is guessed from the rest.

    python benchmarks/experiments/leak.py MODEL --topics TOPICS/*/
"""

import argparse

import torch
from forgetting import COMPANIONS
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.utils import logging

from excise import TopicSets
from excise.evaluation.evaluate import without_spans
from excise.metrics import TopicRecall
from excise.models.site import bottlenecks
from excise.profiling import token_masks
from excise.topics import topic_words


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--topics", nargs="+", required=True)
    args = parser.parse_args()
    logging.disable_progress_bar()
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(args.model), AutoTokenizer.from_pretrained(args.model)
    for folder in args.topics:
        topic = TopicSets.load(folder)
        texts, spans = list(topic.heldout["text"]), list(topic.heldout["spans"])
        rest = [without_spans(*pair) for pair in zip(texts, spans, strict=True)]
        before = recall(model.eval(), tokenizer, topic, texts, spans)
        wiped = recall(model, tokenizer, topic, texts, spans, wipe=True)
        guessed = recall(model, tokenizer, topic, rest, [[]] * len(rest))
        print(f"{topic.name:12} topic recall {before:.3f}, wiped {wiped:.3f}, cut {guessed:.3f}", flush=True)


@torch.inference_mode()
def recall(model, tokenizer, topic, texts, spans, wipe=False):
    """Topic recall of the translations, with or without what the spans' own positions pass on."""
    input_ids, masks = token_masks(tokenizer, texts, spans)
    batch = tokenizer.pad({"input_ids": input_ids}, return_tensors="pt")
    own = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    for row, mask in zip(own, masks, strict=True):
        row[: len(mask)] = torch.tensor(mask)

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
