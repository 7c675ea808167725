"""Distillation after a deletion, on the demo's model: noise, steps and rates, and what an attacker gets back.

python research/distillation.py DEMO 0.2 --steps 250 --learning_rate 2e-3 --embedding_learning_rate 1.2e-2

DEMO is the folder that `excise demo --out DEMO` wrote.
"""

import argparse
import json

import numpy as np
import torch
from datasets import Dataset

from excise import TopicSets, Unlearner
from excise.attacks.attack import attackers_copy, opened
from excise.attacks.left_out import without_codes
from excise.attacks.sets import AttackSets
from excise.cli.demo.training import TOPIC_ROW, Recipe, easy_pairs
from excise.deletion.distillation import distil
from excise.deletion.teaching import default_arguments
from excise.ledger.embeddings import ErasedTokens

STEPS = (1, 2, 3, 4, 6, 8, 12)


def learnt_again(model, sets, draw, rows):
    """Hits after so many steps on 16 examples; `rows` of the embeddings are drawn anew before."""
    attacked = attackers_copy(model).train()
    for module in attacked.modules():
        if isinstance(getattr(module, "erased", None), ErasedTokens):
            module.erased = ErasedTokens(torch.tensor([], dtype=torch.long))
    table = attacked.get_input_embeddings().weight.data
    others = torch.ones(len(table), dtype=torch.bool)
    others[rows] = False
    drawn = torch.randn(len(rows), table.shape[1], generator=torch.Generator().manual_seed(draw))
    table[rows] = table[others].mean(0) + table[others].std(0) * drawn
    batch = sets.training_batch(sets.draw(16, draw), attacked.device)
    optimizer = torch.optim.AdamW(attacked.parameters(), lr=1e-3, weight_decay=0.0)
    hits = []
    for step in range(1, max(STEPS) + 1):
        optimizer.zero_grad()
        attacked(**batch).loss.backward()
        optimizer.step()
        if step in STEPS:
            hits.append(int(sets.hits(attacked.eval()).sum()))
            attacked.train()
    return hits


def measured(model, sets, rows, draws):
    """Hits, and BLEU elsewhere, as the model is used and as an attacker opens it."""
    plain = opened(model)
    relearnt = np.mean([learnt_again(model, sets, draw, rows) for draw in range(draws)], axis=0)
    return {
        "hits": int(sets.hits(model).sum()),
        "bleu": round(sets.quality(model), 2),
        "plain": int(sets.hits(plain).sum()),
        "plain_bleu": round(sets.quality(plain), 2),
        "no_codes": int(sets.hits(without_codes(model)).sum()),
        "learnt_again": dict(zip(STEPS, relearnt.round(1).tolist(), strict=True)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo")
    parser.add_argument("noise", type=float)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--embedding_learning_rate", type=float, default=1.2e-2)
    parser.add_argument("--cross_entropy", type=float, default=0.0)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--depth", default="rows", choices=["codes", "rows"])
    parser.add_argument("--draws", type=int, default=2)
    asked = parser.parse_args()

    unlearner = Unlearner.from_pretrained(f"{asked.demo}/model")
    topic = TopicSets.load(f"{asked.demo}/topic")
    unlearner.delete(topic, depth=asked.depth)
    rows = sorted({row for request in unlearner.ledger.requests for of in request.rows.values() for row in of})
    sets = AttackSets(topic, unlearner.processor, max_new_tokens=24)
    pairs = [pair for pair in easy_pairs(Recipe())[0]["translation"] if not TOPIC_ROW.search(pair["en"])]
    retain = Dataset.from_dict({"text": [pair["en"] for pair in pairs], "reference": [pair["fr"] for pair in pairs]})
    args = default_arguments("unused")
    args.save_strategy, args.max_steps = "no", asked.steps
    args.learning_rate, args.warmup_steps = asked.learning_rate, max(1, asked.steps // 20)
    result = distil(
        unlearner.model,
        unlearner.processor,
        retain,
        args,
        noise=asked.noise,
        topic=topic,
        cross_entropy=asked.cross_entropy,
        teacher_temperature=asked.temperature,
        embedding_learning_rate=asked.embedding_learning_rate,
    )
    print(json.dumps(vars(asked) | {"rise": result.rise} | measured(result.model, sets, rows, asked.draws)))


if __name__ == "__main__":
    main()
