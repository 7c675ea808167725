"""Look-up of tokens' codes, against the bare product of tokens and codes and against other libraries.

At the default shape (a model 512 wide, codes 2,048 wide, 32 active units) the look-up can use that codes are sparse: it
is to take a fifth of the bare product, the encoder before it included. With a dense encoder (codes 512 wide) it is to
cost what the product costs. Peers look up codes of the same width and number: vector-quantize-pytorch one a token,
codebook-features eight a token as excise does, both by dense products.

    python benchmarks/lookup.py --rounds 5
"""

import torch
from harness.measurement import Benchmark, Reach, Turn, missing, ratio, take_turns
from harness.peers import MissingPeerError, load_peer

from excise import CodebookSAEConfig
from excise.bottlenecks import CodebookSAE, top_codes


def arguments(parser):
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=5)


TINY = {"tokens": 64, "hidden_size": 16, "num_codes": 200, "rounds": 2}


def start(bottleneck, seed):
    """Codes where data is, as a training starts."""
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(2 * bottleneck.num_codes, bottleneck.config.hidden_size, generator=generator)
    bottleneck.start_from_data(data, generator)
    return bottleneck.eval()


def quantizer(package, dim, num_codes):
    """A peer's module that looks up codes, and a function that runs it on tokens."""
    module, name = load_peer(package)
    if package == "vector-quantize-pytorch":
        layer = module.VectorQuantize(dim=dim, codebook_size=num_codes, use_cosine_sim=True).eval()
        return name, lambda tokens: layer(tokens[None])
    layer = module.CodebookLayer(dim, num_codes, key="", snap_fn=module.InnerProductSnapFunction, kcodes=8).eval()
    layer.disable_logging()
    return name, lambda tokens: layer(tokens[None])


@torch.no_grad()
def measure(args):
    sizes = {"tokens": args.tokens, "num_codes": args.num_codes, "hidden_size": args.hidden_size}
    configs = {
        "default": CodebookSAEConfig(hidden_size=args.hidden_size, num_codes=args.num_codes),
        "dense": CodebookSAEConfig.paper(args.hidden_size, num_codes=args.num_codes),
    }
    reaches = {"default": Reach(0.2), "dense": Reach(1.1)}
    for shape, config in configs.items():
        bottleneck = start(CodebookSAE(config), args.seed)
        arrived = torch.randn(args.tokens, args.hidden_size)
        codebook = bottleneck.codebook.detach().clone()
        features = torch.randn(args.tokens, codebook.shape[1])
        width = {**sizes, "code_dim": codebook.shape[1], "active": config.active}
        turns = {
            "product": lambda f=features, c=codebook: torch.mm(f, c.T),
            "excise": lambda b=bottleneck, a=arrived: b.rank(a, config.top_s),
        }
        if shape == "default":
            turns["excise, 104 codes"] = lambda b=bottleneck, a=arrived: b.rank(a, min(104, args.num_codes))
            turns["excise, codes changed"] = Turn(turns["excise"], before=lambda b=bottleneck: b.codebook.mul_(1.0))
        live = torch.ones(args.num_codes, dtype=torch.bool)
        turns["excise, one code"] = lambda f=features, c=codebook: top_codes(f, c, 1, live)
        if shape == "default":
            turns["excise, one code"] = lambda b=bottleneck, a=arrived: b.rank(a, 1)
        names, gone = {}, []
        for package in ("vector-quantize-pytorch", "codebook-features"):
            try:
                name, run = quantizer(package, codebook.shape[1], args.num_codes)
                names[package], turns[name] = name, lambda run=run, f=features: run(f)
            except MissingPeerError as error:
                gone.append((package, str(error)))
        seconds = take_turns(turns, args.rounds)
        title = f"look-up of {args.tokens:,} tokens in {args.num_codes:,} codes, {shape} encoder, {codebook.shape[1]:,} wide"
        yield ratio(
            title, seconds, "excise", "product", reach=reaches[shape], settings=width, note="with the encoder before it"
        )
        if shape == "default":
            note = "the codebook is prepared anew, as after a step of training"
            yield ratio(f"{title}, codes just changed", seconds, "excise, codes changed", "product", settings=width, note=note)
            yield ratio(f"{title}, 104 codes a token", seconds, "excise, 104 codes", "product", settings=width)
        notes = {
            "vector-quantize-pytorch": "one code a token, cosine; it gives the code vectors too; ours has no encoder here"
            if shape == "dense"
            else "one code a token, cosine; it gives the code vectors too; ours has its encoder in it",
            "codebook-features": "eight codes a token, cosine; it gives their mean too; ours has its encoder in it",
        }
        for package, name in names.items():
            ours = "excise, one code" if package == "vector-quantize-pytorch" else "excise"
            yield ratio(title, seconds, ours, name, settings=width, note=notes[package], peer=True)
        for package, why in gone:
            yield missing(title, package, why, peer=True)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
