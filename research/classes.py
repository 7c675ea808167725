"""Which codes of a class to remove from a CLIP whose bottleneck is in its last vision layer, and in how many rounds.

Only the class token goes on from that layer, so its activations are computed once and all else is quick. Codes are
chosen on four fifths of the training images and accuracies measured on the last fifth: the test split is untouched.

    python research/classes.py --model out/codebook --dataset_name cifar10 --top_s 8 16 24 40
"""

import argparse
import json

import numpy as np
import torch
import torch.nn.functional as F

from excise import Unlearner
from excise.data import class_column, image_column, load_rows
from excise.models import bottleneck_inputs
from excise.statistics import benjamini_hochberg, fisher

TEMPLATES = ("a photo of a {}", "a picture of a {}", "an image of a {}", "a small photo of a {}", "this is a {}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="of examples/train/train_clip.py: a codebook in the last layer")
    parser.add_argument("--dataset_name", default="cifar10", help="Hub id, or folder")
    parser.add_argument("--top_s", type=int, nargs="+", default=[8, 16, 24, 40])
    parser.add_argument("--q", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--least", type=float, default=-1.0, help="least similarity at which a token is passed on")
    parser.add_argument("--max_samples", type=int, help="training images, drawn by seed; all if not given")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = load_rows(args.dataset_name, None, "train").shuffle(seed=args.seed)
    rows = rows.select(range(min(len(rows), args.max_samples or len(rows))))
    trial = Trial(Unlearner.from_pretrained(args.model), rows, args.least)
    for top_s in args.top_s:
        found = np.array([trial.forget(c, top_s, args.q, args.rounds, args.seed) for c in range(len(trial.names))])
        means = dict(zip(("forget", "change_of_others", "codes"), found.mean(0).round(2).tolist(), strict=True))
        print(json.dumps({"top_s": top_s, "q": args.q, "by_round": means}), flush=True)


def name_embeddings(model, tokenizer, names):
    """A unit vector for each class: the mean over the templates, as `predict_classes` takes it."""
    texts = [tokenizer([t.format(name) for name in names], padding=True, return_tensors="pt") for t in TEMPLATES]
    kept = [{key: batch[key] for key in ("input_ids", "attention_mask")} for batch in texts]
    vectors = [F.normalize(model.get_text_features(**batch).pooler_output, dim=-1) for batch in kept]
    return F.normalize(torch.stack(vectors).mean(0), dim=-1)


class Trial:
    """A model's class tokens as they reach the bottleneck, and what becomes of them."""

    @torch.inference_mode()
    def __init__(self, unlearner, rows, least):
        model, processor = unlearner.model.eval(), unlearner.processor
        image, label = image_column(rows), class_column(rows)
        self.names, self.labels = rows.features[label].names, np.array(rows[label])
        self.model, self.measured = model, np.arange(len(rows)) >= 0.8 * len(rows)
        ((site, self.bottleneck),) = unlearner.sites.items()
        self.bottleneck.min_similarity.fill_(least)
        self.layer = model.vision_model.get_submodule(site)
        self.tokens = torch.cat(
            [
                bottleneck_inputs(model, processor.image_processor(batch[image], return_tensors="pt"))[site][:, 0]
                for batch in rows.iter(256)
            ]
        )
        self.features = self.bottleneck.encode(self.tokens)
        self.of_names = name_embeddings(model, processor.tokenizer, self.names)

    @torch.inference_mode()
    def accuracies(self, index):
        """On the class and on all others, in percent."""
        passed = self.bottleneck(self.tokens[self.measured][:, None]).reconstruction
        passed = passed + self.layer.mlp(self.layer.layer_norm2(passed))
        images = self.model.visual_projection(self.model.vision_model.post_layernorm(passed[:, 0]))
        predicted = (F.normalize(images, dim=-1) @ self.of_names.T).argmax(-1).numpy()
        labels = self.labels[self.measured]
        return [100 * float((predicted == labels)[of].mean()) for of in (labels == index, labels != index)]

    def forget(self, index, top_s, q, rounds, seed):
        """By round: accuracy on the class, change of that on the others, codes removed; `(3, rounds)`."""
        rng, live = np.random.default_rng(seed), self.bottleneck.live.clone()
        counted = np.flatnonzero(~self.measured)
        target = counted[self.labels[counted] == index]
        control = rng.permutation(counted[self.labels[counted] != index])[: 2 * len(target)]
        before, steps = self.accuracies(index)[1], []
        for _ in range(rounds):
            with_class, without = (self.counts(images, top_s) for images in (target, control))
            seen = np.flatnonzero(with_class + without)
            tested = fisher(with_class[seen], len(target), without[seen], len(control))
            more = with_class[seen] / len(target) > without[seen] / len(control)
            self.bottleneck.live[seen[more & (benjamini_hochberg(tested.pvalue) <= q)]] = False
            forget, others = self.accuracies(index)
            steps.append([forget, others - before, int((~self.bottleneck.live).sum())])
        self.bottleneck.live.copy_(live)
        return np.array(steps).T

    def counts(self, images, top_s):
        """How many of some images use each code."""
        codes = self.bottleneck.similar_codes(self.features[images], top_s)[0].flatten()
        return torch.bincount(codes, minlength=self.bottleneck.num_codes).numpy()


if __name__ == "__main__":
    main()
