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


# What is to be known to read a peer's number.
NOTES = {
    "vector-quantize-pytorch": "one code a token, cosine; it gives the code vectors too",
    "codebook-features": "eight codes a token, cosine; it gives their mean too",
}
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


def quantizers(dim, num_codes):
    """The peers that are there, as `quantizer` gives them by package; and why the others are not."""
    there, gone = {}, {}
    for package in NOTES:
        try:
            there[package] = quantizer(package, dim, num_codes)
        except MissingPeerError as error:  # noqa: PERF203
            gone[package] = str(error)
    return there, gone


@torch.no_grad()
def measure(args):
    dense = CodebookSAEConfig.paper(args.hidden_size, num_codes=args.num_codes)
    default = CodebookSAEConfig(hidden_size=args.hidden_size, num_codes=args.num_codes)
    yield from of_shape(args, "default", default, Reach(0.2))
    yield from of_shape(args, "dense", dense, Reach(1.1))


def of_shape(args, shape, config, reach):
    """The rows of a shape."""
    bottleneck = start(CodebookSAE(config), args.seed)
    arrived = torch.randn(args.tokens, args.hidden_size)
    codebook = bottleneck.codebook.detach().clone()
    dim = codebook.shape[1]
    features = torch.randn(args.tokens, dim)
    live, many = torch.ones(args.num_codes, dtype=torch.bool), min(104, args.num_codes)
    turns = {
        "product": lambda: torch.mm(features, codebook.T),
        "excise": lambda: bottleneck.rank(arrived, config.top_s),
        "excise, one code": lambda: bottleneck.rank(arrived, 1),
    }
    if shape == "default":
        turns["excise, many codes"] = lambda: bottleneck.rank(arrived, many)
        turns["excise, codes changed"] = Turn(turns["excise"], before=lambda: bottleneck.codebook.mul_(1.0))
    else:  # without the encoder, as the others have none
        turns["excise, one code"] = lambda: top_codes(features, codebook, 1, live)
        turns["excise, no encoder"] = lambda: top_codes(features, codebook, config.top_s, live)
    peers, gone = quantizers(dim, args.num_codes)
    for name, run in peers.values():
        turns[name] = lambda run=run: run(features)
    seconds = take_turns(turns, args.rounds)

    settings = {"tokens": args.tokens, "num_codes": args.num_codes, "hidden_size": args.hidden_size}
    settings |= {"code_dim": dim, "active": config.active}
    title = f"look-up of {args.tokens:,} tokens in {args.num_codes:,} codes, {shape} encoder, {dim:,} wide"
    note = "with the encoder before it"
    yield ratio(title, seconds, "excise", "product", reach=reach, settings=settings, note=note)
    if shape == "default":
        changed = "the codebook is prepared anew, as after a step of training"
        told = (("codes just changed", "excise, codes changed", changed), (f"{many} a token", "excise, many codes", ""))
        for what, ours, note in told:
            yield ratio(f"{title}, {what}", seconds, ours, "product", settings=settings, note=note)
    with_encoder = "ours has its encoder in it" if shape == "default" else "no encoder on either side"
    eight = "excise" if shape == "default" else "excise, no encoder"
    for package, (name, _) in peers.items():
        ours = "excise, one code" if package == "vector-quantize-pytorch" else eight
        note = f"{NOTES[package]}; {with_encoder}"
        yield ratio(title, seconds, ours, name, settings=settings, note=note, peer=True)
    for package, why in gone.items():
        yield missing(title, package, why, peer=True)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
