"""The look-ups on an accelerator: the same codes, seconds and memory, both ways. At most eight minutes.

For each of three shapes: whether the dense look-up and the one by active units find the same codes, as one in fp64 does
and as on the processor; then the bare product, the look-up, the bottleneck forward and a step of training (forward,
backward, AdamW), both ways and written out in plain torch, with the most memory each takes. Then a training step and
greedy generation of a T5 of T5-small's shape, plain and with codes. What has not begun after `--limit` seconds is left
out and named.

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --device cpu --tiny        a test of the script
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from bottleneck_step import dense
from harness.machine import commit, date, describe
from harness.measurement import spread, take_turns
from harness.shapes import plain_and_codebook, words_of
from harness.synthetic import token_pairs, word_tokenizer
from lookup import start

from excise import CodebookSAEConfig
from excise.bottlenecks import CodebookSAE

# Width of the model, of the codes, number of codes, active units.
SHAPES = {
    "T5-small": {"hidden_size": 512, "code_dim": 2048, "num_codes": 25_000, "active": 32},
    "real run": {"hidden_size": 256, "code_dim": 1024, "num_codes": 25_000, "active": 32},
    "7B model": {"hidden_size": 4096, "code_dim": 16_384, "num_codes": 25_000, "active": 32},
}
TINY = {
    "a": {"hidden_size": 16, "code_dim": 64, "num_codes": 200, "active": 8},
    "b": {"hidden_size": 8, "code_dim": 32, "num_codes": 100, "active": 4},
    "c": {"hidden_size": 16, "code_dim": 64, "num_codes": 150, "active": 32},
}


# Whether a bottleneck looks up by active units alone: the values of `CodebookSAE.sparse_lookup`.
WAYS = {"dense": False, "sparse": True}


def by(way, bottleneck, run):
    """A function that has the bottleneck look up in a way."""

    def forced(*args):
        bottleneck.sparse_lookup = WAYS[way]
        return run(*args)

    return forced


def look_up(way, bottleneck):
    """A function from activations and S to codes, in a way."""
    return by(way, bottleneck, lambda arrived, top_s: bottleneck.rank(arrived, top_s)[0][:, 0])


class Clock:
    """The device's clock and memory.

    Args:
        device: where tensors are.
    """

    def __init__(self, device):
        self.cuda = device.startswith("cuda")

    def wait(self):
        """Until the device has done all."""
        if self.cuda:
            torch.cuda.synchronize()

    def peak(self, run):
        """Megabytes that a call takes at most beyond what is there before; `None` where the device does not say."""
        if not self.cuda:
            return None
        self.wait()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        self.wait()
        return round((torch.cuda.max_memory_allocated() - before) / 10**6, 1)

    def measure(self, turns, rounds):
        """Seconds and memory of things that take turns."""
        seconds = take_turns(turns, rounds, warm=2, wait=self.wait)
        return {name: spread(seconds[name]) | {"peak_mb": self.peak(run)} for name, run in turns.items()}


@torch.no_grad()
def parity(bottleneck, on_cpu, tokens, top_s):
    """Shares of tokens with the same codes in the same order, and as the same set, against fp64 and each other."""
    few, half = tokens[:512], tokens.bfloat16()
    exact = bottleneck.encode(few).double() @ torch.nn.functional.normalize(bottleneck.codebook.double(), dim=1).T
    truth = exact.topk(top_s, dim=1).indices
    codes = {way: look_up(way, bottleneck)(tokens, top_s) for way in WAYS}
    shares = {"sparse, as dense": same(codes["sparse"], codes["dense"])}
    for way in WAYS:
        run = look_up(way, bottleneck)
        shares[f"{way}, as fp64"] = same(codes[way][: len(few)], truth)
        shares[f"{way}, as on the processor"] = same(
            codes[way][: len(few)].cpu(), look_up(way, on_cpu)(few.cpu(), top_s)
        )
        shares[f"{way}, bf16 activations as the same in fp32"] = same(run(half, top_s), run(half.float(), top_s))
    return shares


def same(codes, others):
    """Shares of tokens with the same codes, in order and as sets."""
    in_order = (codes == others).all(-1).float().mean()
    as_sets = (codes.sort(-1).values == others.sort(-1).values).all(-1).float().mean()
    return {"in_order": round(in_order.item(), 5), "as_sets": round(as_sets.item(), 5)}


def of_shape(shape, args, clock):
    """Parity, seconds and memory at a shape."""
    config = CodebookSAEConfig(**shape)
    on_cpu = start(CodebookSAE(config), args.seed)
    bottleneck = CodebookSAE(config).to(args.device)
    bottleneck.load_state_dict(on_cpu.state_dict())
    tokens = torch.randn(args.tokens, shape["hidden_size"], device=args.device)
    features = torch.randn(args.tokens, shape["code_dim"], device=args.device)
    result = {"shape": shape, "parity": {}, "memory_of_codebook_mb": bottleneck.codebook.nbytes / 10**6}
    for top_s in (8, min(104, shape["num_codes"])):
        result["parity"][f"{top_s} codes"] = parity(bottleneck.eval(), on_cpu, tokens, top_s)
    with torch.no_grad():
        turns = {"product": lambda: torch.mm(features, bottleneck.codebook.T)}
        for way in WAYS:
            turns[f"look-up, {way}"] = lambda way=way: look_up(way, bottleneck)(tokens, 8)
            turns[f"forward, {way}"] = lambda way=way: by(way, bottleneck, bottleneck)(tokens[None])
        turns["forward, plain torch"] = lambda: dense(bottleneck, tokens[None])
        result["inference"] = clock.measure(turns, args.rounds)
    optimizer = torch.optim.AdamW(bottleneck.parameters(), lr=1e-6, fused=clock.cuda)
    hidden_states = tokens[None].clone().requires_grad_()

    def step(forward):
        optimizer.zero_grad(set_to_none=True)
        hidden_states.grad = None
        reconstruction, loss = forward()
        (reconstruction.square().mean() + loss).backward()
        optimizer.step()

    def own():
        output = bottleneck(hidden_states)
        return output.reconstruction, output.loss

    bottleneck.train()
    turns = {way: lambda way=way: step(by(way, bottleneck, own)) for way in WAYS}
    turns["plain torch"] = lambda: step(lambda: dense(bottleneck, hidden_states)[:2])
    result["training step"] = clock.measure(turns, args.rounds)
    return result


def of_model(args, clock):
    """A training step and greedy generation of a whole model, plain and with codes."""
    shape, num_codes = ("tiny", 64) if args.tiny else ("T5-small", 25_000)
    batch_size = 4 if args.tiny else 96
    words = words_of(shape)
    tokenizer = word_tokenizer(words)
    rows = token_pairs(20 * batch_size, words, np.random.default_rng(args.seed))
    models = dict(zip(("plain", "codebook"), plain_and_codebook(shape, num_codes, rows, tokenizer), strict=True))
    batch = tokenizer.pad(
        rows.select(range(batch_size)).select_columns(["input_ids", "attention_mask"])[:], return_tensors="pt"
    )
    batch = batch.to(args.device)
    labels = torch.randint(3, words, (batch_size, 14), device=args.device)
    length = {"min_new_tokens": 16, "max_new_tokens": 16}
    steps, writes = {}, {}
    for name, model in models.items():
        model.to(args.device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=clock.cuda)

        def step(model=model, optimizer=optimizer):
            optimizer.zero_grad(set_to_none=True)
            model.train()(**batch, labels=labels).loss.backward()
            optimizer.step()

        steps[name] = step
        writes[name] = lambda model=model: model.eval().generate(**batch, do_sample=False, num_beams=1, **length)
    return {
        "shape": shape,
        "batch_size": batch_size,
        "training step": clock.measure(steps, args.rounds),
        "generation": clock.measure(writes, max(2, args.rounds // 3)),
    }


def main(argv=None):
    """Measures and writes it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes for a test of the script")
    parser.add_argument("--tokens", type=int, help="4,096 if not given")
    parser.add_argument("--rounds", type=int, help="10 if not given")
    parser.add_argument("--limit", type=float, default=420.0, help="seconds after which no further part begins")
    parser.add_argument("--out", type=Path, help="file for the results, as JSON; they are printed, too")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    args.tokens = args.tokens or (64 if args.tiny else 4096)
    args.rounds = args.rounds or (2 if args.tiny else 10)
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("There is no CUDA device here. Give another by --device; `--device cpu --tiny` tests the script.")
    torch.manual_seed(args.seed)
    torch.backends.cuda.matmul.allow_tf32 = False  # codes are those of fp32
    clock, started = Clock(args.device), time.perf_counter()
    results = {"device": args.device, "machine": describe(), "commit": commit(), "date": date(), "seed": args.seed}
    if clock.cuda:
        results["device"] = torch.cuda.get_device_name()
    results |= {"tokens": args.tokens, "rounds": args.rounds, "shapes": {}, "left_out": []}
    shapes = TINY if args.tiny else SHAPES
    parts = {name: lambda shape=shape: of_shape(shape, args, clock) for name, shape in shapes.items()}
    parts["a whole model"] = lambda: of_model(args, clock)
    for name, part in parts.items():
        if time.perf_counter() - started > args.limit:
            results["left_out"].append(name)
            continue
        try:
            results["shapes"][name] = part()
        except torch.OutOfMemoryError as error:
            results["left_out"].append(f"{name}: {error}")
        results["seconds"] = round(time.perf_counter() - started, 1)
        if args.out:  # after each part, in case that the time ends before the next one does
            args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results))
    return results


if __name__ == "__main__":
    main()
