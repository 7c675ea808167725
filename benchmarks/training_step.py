"""What the bottleneck adds to the time of a training step of a T5 of T5-small's shape. Reach: 1.6 times.

Steps (forward, backward, AdamW) of the model with and without the bottleneck take turns, so that a busy machine slows
both; the medians are compared.

    python benchmarks/training_step.py --batch-size 32 --length 33
"""

import argparse
import json
import os
import time

import numpy as np
import torch
from transformers import T5Config, T5ForConditionalGeneration

from excise import CodebookSAEConfig, CodebookT5ForConditionalGeneration
from excise.models import CodebookT5Config


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--length", type=int, default=33, help="tokens of each source and target")
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    shape = {"decoder_start_token_id": 0}
    bottleneck = CodebookSAEConfig(num_codes=args.num_codes)
    trained = {
        "plain": T5ForConditionalGeneration(T5Config(**shape)),
        "codebook": CodebookT5ForConditionalGeneration(CodebookT5Config(**shape, bottleneck=bottleneck)),
    }
    vocabulary = trained["plain"].config.vocab_size
    tokens = torch.randint(3, vocabulary, (2, args.batch_size, args.length), device=args.device)
    batch = {"input_ids": tokens[0], "attention_mask": torch.ones_like(tokens[0]), "labels": tokens[1]}
    steps = {name: training_step(model.to(args.device).train(), batch) for name, model in trained.items()}

    seconds = {name: [] for name in steps}
    for i in range(args.steps + 2):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if args.device.startswith("cuda"):
                torch.cuda.synchronize()
            if i >= 2:  # the first steps make the optimizer's state
                seconds[name].append(time.perf_counter() - started)
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    numbers = {f"{name}_ms": round(1000 * median, 1) for name, median in medians.items()}
    times = round(medians["codebook"] / medians["plain"], 3)
    about = {"batch_size": args.batch_size, "length": args.length, "steps": args.steps, "device": args.device}
    machine = {"threads": args.threads, "load": round(os.getloadavg()[0], 2)}
    print(json.dumps({"benchmark": "training step", "times": times, **numbers, **about, **machine, "reach": 1.6}))


def training_step(model, batch):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step():
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    main()
