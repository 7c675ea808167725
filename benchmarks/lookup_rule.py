"""The rule by which a bottleneck looks up by active units alone or by a product with all of them, held against both.

For some widths and shares of active units, and in training for some numbers of tokens: how long the look-up by active
units takes against the dense one, and how long the bottleneck that chooses for itself takes against the faster of both.

    python benchmarks/lookup_rule.py --widths 512 2048
"""

import statistics

import torch
from harness.measurement import Benchmark, Turn, ratio, take_turns
from lookup import start

from excise import CodebookSAEConfig
from excise.bottlenecks import CodebookSAE

WAYS = {"sparse": True, "dense": False, "chosen": None}


def arguments(parser):
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 1024, 2048], help="of codes")
    parser.add_argument("--shares", type=int, nargs="+", default=[64, 16, 8, 4], help="one unit active of so many")
    parser.add_argument("--steps", type=int, nargs="+", default=[16, 64, 256], help="tokens of a step of training")
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=3)


TINY = {"tokens": 32, "widths": [64], "shares": [8], "steps": [16], "num_codes": 200, "rounds": 2}


def row(title, seconds, settings):
    """Sparse against dense, and whether the choice was the faster of both."""
    best = min(WAYS.keys() - {"chosen"}, key=lambda way: statistics.median(seconds[way]))
    chosen = ratio("", seconds, "chosen", best).value
    note = f"{best} is faster; left to itself, the bottleneck takes {chosen:.2f} times as long as that"
    return ratio(title, seconds, "sparse", "dense", settings=settings, note=note)


def force(bottleneck, way):
    bottleneck.sparse_lookup = WAYS[way]


def measure(args):
    for width in args.widths:
        for share in args.shares:
            active = width // share
            config = CodebookSAEConfig(hidden_size=width // 4, num_codes=args.num_codes, active=active)
            bottleneck = start(CodebookSAE(config), args.seed)
            arrived = torch.randn(args.tokens, width // 4)

            @torch.no_grad()
            def look_up(bottleneck=bottleneck, arrived=arrived, top_s=config.top_s):
                bottleneck.rank(arrived, top_s)

            turns = {way: Turn(look_up, before=lambda b=bottleneck, way=way: force(b, way)) for way in WAYS}
            title = f"rule: look-up of {args.tokens:,} tokens, {active} of {width:,} units active, sparse against dense"
            settings = {"num_codes": args.num_codes, "code_dim": width, "active": active}
            yield row(title, take_turns(turns, args.rounds), settings)
    config = CodebookSAEConfig(hidden_size=args.widths[-1] // 4, num_codes=args.num_codes)
    bottleneck = start(CodebookSAE(config), args.seed).train()
    for tokens in args.steps:
        arrived = torch.randn(1, tokens, args.widths[-1] // 4)

        def change(way):
            force(bottleneck, way)
            with torch.no_grad():
                bottleneck.codebook.mul_(1.0)  # as an optimizer's step does, so that nothing prepared can be kept

        def step(arrived=arrived):
            bottleneck.zero_grad(set_to_none=True)
            bottleneck(arrived).loss.backward()

        turns = {way: Turn(step, before=lambda way=way: change(way)) for way in WAYS}
        title = f"rule: a step of training of {tokens} tokens, {args.widths[-1]:,} wide, sparse against dense"
        yield row(title, take_turns(turns, args.rounds), {"num_codes": args.num_codes, "tokens": tokens})


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
