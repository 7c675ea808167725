"""The bottleneck alone, forward and backward, against a dense one written out in plain torch.

The dense one is the bottleneck of excise 0.2.0 at the default settings: encoder, largest units, layer norm, cosines
with all codes, sum of the best, decoder, unexplained variance, and the L1 norms of all codes, looked up. Both have the
same weights and get the same tokens, and the losses of both are compared. Ours is to take a quarter of the time.

    python benchmarks/bottleneck_step.py --tokens 1024
"""

import torch
import torch.nn.functional as F
from harness.measurement import Benchmark, Reach, Turn, ratio, seconds_row, take_turns
from lookup import start

from excise import CodebookSAEConfig
from excise.bottlenecks import CodebookSAE, top_codes


def arguments(parser):
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=5)


TINY = {"tokens": 64, "hidden_size": 16, "num_codes": 200, "rounds": 2}


def dense(bottleneck, hidden_states):
    """Reconstruction and loss of the bottleneck by products with all codes, and its codes."""
    config, codebook = bottleneck.config, bottleneck.codebook
    standardized = (hidden_states - bottleneck.mean) / bottleneck.scale
    units = torch.relu(bottleneck.encoder(standardized))
    units = units * (units >= units.topk(config.active).values[..., -1:])
    features = bottleneck.layer_norm(units)
    codes, _ = top_codes(features.detach().flatten(0, -2), codebook, config.top_s, bottleneck.live)
    summed = F.embedding_bag(codes, codebook, mode="sum", per_sample_weights=torch.ones_like(codes, dtype=torch.float))
    decoded = bottleneck.decoder(summed.view_as(features) + (features - features.detach()))
    reconstruction = decoded * bottleneck.scale + bottleneck.mean
    error = (hidden_states - reconstruction).square().mean(-1) / bottleneck.scale.square()
    l1 = codebook.abs().sum(-1)[codes].sum(-1).view_as(error)
    return reconstruction, config.penalty(error, l1).mean(), codes.view(*error.shape, -1)


def measure(args):
    config = CodebookSAEConfig(hidden_size=args.hidden_size, num_codes=args.num_codes)
    bottleneck = start(CodebookSAE(config), args.seed).train()
    hidden_states = torch.randn(1, args.tokens, args.hidden_size, requires_grad=True)
    passed_on = torch.randn_like(hidden_states)  # the gradient that comes from the layers behind

    def sparse(bottleneck, hidden_states):
        output = bottleneck(hidden_states)
        return output.reconstruction, output.loss, output.codes

    def step(forward, bottleneck=bottleneck, hidden_states=hidden_states):
        hidden_states.grad = None
        bottleneck.zero_grad(set_to_none=True)
        reconstruction, loss, codes = forward(bottleneck, hidden_states)
        ((reconstruction * passed_on).sum() + loss).backward()
        return loss.item(), codes.detach()

    @torch.no_grad()
    def change():
        bottleneck.codebook.mul_(1.0)  # as an optimizer's step does, so that nothing prepared can be kept

    forwards = {"excise": sparse, "dense": dense}
    results = {name: step(forward) for name, forward in forwards.items()}
    same = (results["excise"][1] == results["dense"][1]).all(-1).float().mean().item()
    losses = {name: round(loss, 6) for name, (loss, _) in results.items()}
    steps = {name: Turn(lambda f=f: step(f), before=change) for name, f in forwards.items()}
    with_gradients = take_turns(steps, args.rounds)
    with torch.no_grad():
        alone = {f"{name}, forward": lambda f=f: f(bottleneck, hidden_states) for name, f in forwards.items()}
        seconds = with_gradients | take_turns(alone, args.rounds)
    settings = {"tokens": args.tokens, "hidden_size": args.hidden_size, "code_dim": 4 * args.hidden_size}
    settings |= {"num_codes": args.num_codes, "top_s": config.top_s, "losses": losses, "tokens_of_same_codes": same}
    title = f"bottleneck alone, {args.tokens:,} tokens, default shape of a model {args.hidden_size} wide"
    note = f"the same codes for {same:.2%} of the tokens; losses {losses['excise']:.6g} and {losses['dense']:.6g}"
    yield ratio(
        f"{title}, forward and backward", seconds, "excise", "dense", reach=Reach(0.25), settings=settings, note=note
    )
    yield ratio(f"{title}, forward without gradient", seconds, "excise, forward", "dense, forward", settings=settings)
    yield seconds_row(f"{title}, forward and backward", seconds["excise"], settings=settings)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    BENCHMARK.main()
