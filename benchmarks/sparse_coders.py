"""Sparse autoencoders of other libraries beside excise's: encoding and decoding at the same width, codes left aside.

Like for like is the autoencoder: 512 numbers to 2,048 units of which the 32 largest stay, and back. excise standardises
before and has a layer norm after, which the others have not, and its decoder is a dense product since what it decodes
in a model is a sum of codes. Neither peer has a codebook: what codes cost beside an autoencoder is a row of its own.

    python benchmarks/sparse_coders.py --tokens 4096
"""

import contextlib
import io

import torch
from harness.measurement import Benchmark, missing, ratio, take_turns
from harness.peers import MissingPeerError, load_peer
from lookup import start

from excise import CodebookSAEConfig
from excise.bottlenecks import CodebookSAE


def arguments(parser):
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=7)


TINY = {"tokens": 64, "hidden_size": 16, "num_codes": 200, "rounds": 2}


def peer_coder(package, width, units, active):
    """A peer's name, and functions that encode tokens and decode what they gave."""
    with contextlib.redirect_stdout(io.StringIO()):  # it says that it has no Triton
        module, name = load_peer(package)
    if package == "eai-sparsify":
        coder = module.SparseCoder(width, module.SparseCoderConfig(num_latents=units, k=active))
        return name, coder.encode, lambda encoded: coder.decode(encoded.top_acts, encoded.top_indices)
    coder = module.TopKSAE(module.TopKSAEConfig(d_in=width, d_sae=units, k=active)).eval()
    return name, coder.encode, coder.decode


@torch.no_grad()
def measure(args):
    config = CodebookSAEConfig(hidden_size=args.hidden_size, num_codes=args.num_codes)
    bottleneck = start(CodebookSAE(config), args.seed)
    tokens = torch.randn(1, args.tokens, args.hidden_size)
    units = bottleneck.decoder.in_features
    features = bottleneck.encode(tokens)
    turns = {
        "excise, encode": lambda: bottleneck.encode(tokens),
        "excise, decode": lambda: bottleneck.decoder(features),
        "excise, with codes": lambda: bottleneck(tokens),
    }
    peers, gone = [], []
    for package in ("eai-sparsify", "sae-lens"):
        try:
            name, encode, decode = peer_coder(package, args.hidden_size, units, config.active)
        except MissingPeerError as error:
            gone.append((package, str(error)))
            continue
        encoded = encode(tokens[0])
        turns[f"{name}, encode"] = lambda encode=encode: encode(tokens[0])
        turns[f"{name}, decode"] = lambda decode=decode, encoded=encoded: decode(encoded)
        turns[name] = lambda encode=encode, decode=decode: decode(encode(tokens[0]))
        peers.append(name)
    seconds = take_turns(turns, args.rounds)
    settings = {"tokens": args.tokens, "hidden_size": args.hidden_size, "units": units, "active": config.active}
    title = f"sparse autoencoder, {args.tokens:,} tokens, {args.hidden_size} to {units:,}, {config.active} active"
    notes = {
        "encode": "no codes on either side; ours standardises before and has a layer norm after",
        "decode": "no codes on either side; ours is a dense product, as it decodes sums of codes",
    }
    for name in peers:
        for part, note in notes.items():
            of_part = f"excise, {part}", f"{name}, {part}"
            yield ratio(f"{title}: {part}", seconds, *of_part, settings=settings, note=note, peer=True)
        note = f"ours looks up 8 of {args.num_codes:,} codes a token between the two; the other has none"
        title_of_all = f"{title}: encode and decode, ours with its codes"
        yield ratio(title_of_all, seconds, "excise, with codes", name, settings=settings, note=note, peer=True)
    for package, why in gone:
        yield missing(title, package, why, peer=True)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
