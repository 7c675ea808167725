"""Whether a deletion of codes alone can be made to hold by how the bottleneck is trained: the demo's model in variants.

Each variant is trained twice, with the topic and without, from plain models that were; then the topic's codes are
deleted, and no embedding rows. An attacker leaves the bottleneck out, skips its codes, puts a linear map in its place
that was fitted on what it does to other sentences, makes codes again from 8 sentences, or trains on 16.

    python research/dependence.py --out dependence --variants as_it_is values_apart
"""

import argparse
import copy
import functools
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import set_seed

from excise import CodebookSAEConfig, CodebookT5ForConditionalGeneration, Unlearner, topic_sets
from excise.attacks import AttackSets, LearntAgain
from excise.attacks.interface import attackers_copy, opened
from excise.attacks.left_out import without_codes
from excise.attacks.made_again import write_codes
from excise.baselines import without_topic
from excise.bottlenecks import CodebookSAE, bottlenecks
from excise.bottlenecks.codebook_sae.lookup import sum_of_codes
from excise.cli.demo.training import TOPIC, Recipe, easy_pairs, fit, plain_t5, tokenize_pairs
from excise.data.packaged import train_tokenizer
from excise.training import initialize_codes, set_min_similarity

VARIANTS = {
    "as_it_is": {},
    "values_apart": {"apart": True},
    "unreadable": {"unreadable": 1.0},
    "values_apart_unreadable": {"apart": True, "unreadable": 1.0},
    "no_reconstruction": {"reconstruction_weight": 0.0},
    "block_0": {"layer": 0},
    "embeddings": {"layer": 0, "no_attention": True},
}
MARGIN = 6.0  # nats a token that the model without its bottleneck is to lose


class ValuesApart(CodebookSAE):
    """Codes are found by their keys, and passed on as values that are drawn at random and learnt."""

    code_tensors = ("codebook", "values")

    def forward(self, hidden_states, attention_mask=None):
        """As the codebook's, of values; nothing before them learns, as in key-value pairs."""
        output = super().forward(hidden_states, attention_mask)
        features = self.encode(hidden_states)
        summed, _ = sum_of_codes(output.codes.flatten(0, -2), self.values)
        decoded = self.decoder(summed.view_as(features)).float()
        output.reconstruction = (decoded * self.scale.float() + self.mean.float()).to(hidden_states.dtype)
        output.loss = output.loss * 0
        return output


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of the demo's steps")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    of = Recipe()
    steps = {name: max(1, int(args.share * getattr(of, name))) for name in ("plain_steps", "codebook_steps")}
    recipe = Recipe(**steps, seed=args.seed)
    train, test = easy_pairs(recipe)
    tokenizer = train_tokenizer([text for pair in train["translation"] for text in pair.values()], 1500)
    options = {"text": "en", "reference": "fr", "max_retain": recipe.max_retain, "min_examples": 10}
    topic = topic_sets(train, TOPIC, evaluation=test, seed=args.seed, progress=False, **options)
    rows = {"knows": train, "never": without_topic(train, topic)}
    for name, pairs in rows.items():
        if not (args.out / name).exists():
            set_seed(args.seed)
            model = plain_t5(tokenizer, recipe)
            fit(model, tokenize_pairs(pairs, tokenizer), tokenizer, recipe, recipe.plain_steps, False)
            model.save_pretrained(args.out / name)
    tokenized = {name: tokenize_pairs(pairs, tokenizer) for name, pairs in rows.items()}
    for variant in args.variants:
        made = {
            name: trained(args.out / name, tokenized[name], tokenizer, recipe, **VARIANTS[variant]) for name in rows
        }
        found = attacked(made["knows"], made["never"], AttackSets(topic, tokenizer, seed=args.seed, max_new_tokens=24))
        (args.out / f"{variant}.json").write_text(json.dumps(found, indent=1))
        print(variant, json.dumps(found), flush=True)


def trained(base, rows, tokenizer, recipe, layer=1, apart=False, unreadable=0.0, no_attention=False, **more):
    """A model with a bottleneck, by the demo's recipe and what the variant changes of it."""
    set_seed(recipe.seed)
    settings = CodebookSAEConfig(num_codes=recipe.num_codes, top_s=4, **more)
    model = CodebookT5ForConditionalGeneration.from_base(str(base), settings, [layer])
    if no_attention:
        model.encoder.block[layer].layer[0].SelfAttention.o.weight.requires_grad_(False).zero_()
    initialize_codes(model, rows, tokenizer, max_tokens=20_000, steps=recipe.init_steps, progress=False)
    for bottleneck in bottlenecks(model).values() if apart else ():
        bottleneck.__class__ = ValuesApart
        bottleneck.values = nn.Parameter(torch.randn_like(bottleneck.codebook) * bottleneck.codebook.std())
        before = [model.shared, *model.encoder.block[: layer + 1], bottleneck.encoder, bottleneck.layer_norm]
        for parameter in (bottleneck.codebook, *(each for module in before for each in module.parameters())):
            parameter.requires_grad_(False)
        for parameter in (bottleneck.values, *bottleneck.decoder.parameters()):
            parameter.requires_grad_(True)
    if unreadable:
        make_unreadable(model, unreadable)
    fit(model, rows, tokenizer, recipe, recipe.codebook_steps, False)
    vars(model).pop("forward", None)
    set_min_similarity(model, rows, tokenizer, progress=False)
    return model.eval()


def make_unreadable(model, weight):
    """Adds to the loss what the model without its bottleneck loses less than the margin."""
    forward = model.forward

    @functools.wraps(forward)
    def with_penalty(*args, **kwargs):
        output = forward(*args, **kwargs)
        if model.training:
            hooks = [one.register_forward_hook(passed_through) for one in bottlenecks(model).values()]
            without = forward(*args, **kwargs).task_loss
            for hook in hooks:
                hook.remove()
            output.loss = output.loss + weight * (MARGIN - without).relu()
        return output

    model.forward = with_penalty


def passed_through(bottleneck, args, output):
    """A hook by which a bottleneck puts out what arrives."""
    output.reconstruction = args[0]
    return output


def attacked(knows, never, sets):
    """Recall, before and after codes alone are deleted, and by each attack; BLEU; and steps to learn it again."""
    unlearner = Unlearner(copy.deepcopy(knows), sets.processor)
    request = unlearner.delete(sets.topic, depth="codes", progress=False)
    removed, recall = unlearner.model, lambda model: float(sets.hits(model).mean())
    dead = {site: ~bottleneck.live for site, bottleneck in bottlenecks(removed).items()}
    found = {"codes": sum(map(len, request.codes.values())), "bleu": sets.quality(knows), "before": recall(knows)}
    found |= {"bleu_after": sets.quality(removed), "after": recall(removed), "plain": recall(opened(removed))}
    found |= {"plain_bleu": sets.quality(opened(removed)), "no_codes": recall(without_codes(removed))}
    found["linear_map"] = recall(bridged(removed, sets))
    tries = [again(removed, dead, sets, draw) for draw in range(3)]
    found["made_again"] = float(np.mean([recall(model) for model in tries]))
    learnt = LearntAgain.quick()(knows, removed, never, sets)
    lines = {line["opened"]: line.get("ratio") for line in learnt.details.get("judged", ())}
    shared = LearntAgain(examples=(16,), rates=(1e-3,), parts=("all weights",), ways=("as shared",), unrelated=0)
    lines |= {
        line["opened"]: line.get("ratio") for line in shared(knows, removed, never, sets).details.get("judged", ())
    }
    return found | {"learnt_again": lines, "never": recall(never)}


def again(removed, dead, sets, draw):
    """A copy whose dead codes are made of features; values, where they are apart, by the map from live keys to live."""
    model = attackers_copy(removed)
    write_codes(model, dead, sets, examples=8, draw=draw, way="encoded features")
    for site, bottleneck in bottlenecks(model).items():
        if isinstance(bottleneck, ValuesApart):
            alive, made = ~dead[site], dead[site] & bottleneck.live
            with torch.no_grad():
                fitted = torch.linalg.lstsq(bottleneck.codebook[alive], bottleneck.values[alive]).solution
                bottleneck.values[made] = bottleneck.codebook[made] @ fitted
    return model


@torch.no_grad()
def bridged(removed, sets):
    """A copy with a linear map for a bottleneck, fitted on what it does to sentences without the topic."""
    model, seen = attackers_copy(removed), []
    texts = list(sets.topic.retain["text"])
    hooks = [
        one.register_forward_hook(lambda _, args, out: seen.append((args[0], out.reconstruction)))
        for one in bottlenecks(model).values()
    ]
    batch = sets.processor(texts, padding=True, return_tensors="pt")
    model.get_encoder()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    for hook in hooks:
        hook.remove()
    real = batch["attention_mask"].bool()
    inputs, outputs = (torch.cat([part[real] for part in parts]) for parts in zip(*seen, strict=True))
    ones = torch.ones(len(inputs), 1)
    fitted = torch.linalg.lstsq(torch.cat([inputs, ones], 1), outputs).solution

    def mapped(bottleneck, args, output):
        output.reconstruction = args[0] @ fitted[:-1] + fitted[-1]
        return output

    for bottleneck in bottlenecks(model).values():
        bottleneck.register_forward_hook(mapped)
    return model


if __name__ == "__main__":
    main()
