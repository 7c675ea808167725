"""How much memory the look-up of codes takes beyond its arguments, its result and what is prepared of the codebook.

4,096 tokens against 25,000 codes: one matrix of all similarities would be 400 MB. At the default shape, the prepared
copy of the codebook (its size is told) is made before; dense codes 512 wide are looked up by `top_codes`. The peak is
the highest resident size of a fresh process, which Linux can set back: elsewhere this does not run.

    python benchmarks/lookup_memory.py --top-s 104
"""

import ctypes
import json
import re
import subprocess
import sys
from pathlib import Path

import torch
from harness.measurement import Benchmark, Reach, Row, missing
from harness.peers import MissingPeerError
from lookup import quantizer, start

from excise import CodebookSAEConfig
from excise.bottlenecks import CodebookSAE, top_codes

STATUS, PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")
REACH = 64
MEGABYTE = 10**6
WHATS = ("default", "dense", "vector-quantize-pytorch", "codebook-features")


def arguments(parser):
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--top-s", type=int, nargs="+", default=[8, 104])
    parser.add_argument("--child", choices=WHATS, help="measure one thing in this process")


TINY = {"tokens": 64, "hidden_size": 16, "num_codes": 200, "top_s": [8]}


def resident(field):
    """Bytes of this process in memory, now (`VmRSS`) or at most (`VmHWM`)."""
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())[1])


def beyond(look_up, tokens):
    """Megabytes that a look-up takes beyond what is there before it, and those of its result."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)  # what was freed and kept would be taken again without a trace
    PEAK.write_text("5")  # sets the peak back to the size now
    before = resident("VmRSS")
    result = look_up(tokens)
    peak = resident("VmHWM") - before
    parts = [part for part in (result if isinstance(result, tuple) else (result,)) if isinstance(part, torch.Tensor)]
    return (peak - sum(part.nbytes for part in parts)) / MEGABYTE


@torch.no_grad()
def measure_here(args):
    """What one look-up takes, as JSON values by number of codes a token."""
    name = args.child
    if name == "default":
        config = CodebookSAEConfig(hidden_size=args.hidden_size, num_codes=args.num_codes)
        bottleneck, width = start(CodebookSAE(config), args.seed), args.hidden_size
        look_ups = {top_s: lambda tokens, top_s=top_s: bottleneck.rank(tokens, top_s) for top_s in args.top_s}
    elif name == "dense":
        codebook, width = torch.randn(args.num_codes, args.hidden_size), args.hidden_size
        live = torch.ones(args.num_codes, dtype=torch.bool)
        look_ups = {s: lambda tokens, s=s: top_codes(tokens, codebook, s, live) for s in args.top_s}
    else:
        try:
            name, run = quantizer(name, args.hidden_size, args.num_codes)
        except MissingPeerError as error:
            return {"missing": str(error)}
        width, look_ups = args.hidden_size, {1 if name.startswith("vector") else 8: run}
    tokens = torch.randn(args.tokens, width)
    few = torch.randn(32, width)
    before = resident("VmRSS")
    for look_up in look_ups.values():
        look_up(few)  # threads and libraries take what they take once, and what is prepared is
    prepared = (resident("VmRSS") - before) / MEGABYTE
    return {"name": name, "prepared": prepared, "beyond": {s: beyond(run, tokens) for s, run in look_ups.items()}}


def child(args, what):
    """The same in a process of its own."""
    numbers = ("tokens", "hidden_size", "num_codes", "threads", "seed")
    options = [f"--{name.replace('_', '-')}={getattr(args, name)}" for name in numbers]
    command = [sys.executable, __file__, f"--child={what}", *options, "--top-s", *map(str, args.top_s)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def measure(args):
    title = f"memory of a look-up of {args.tokens:,} tokens in {args.num_codes:,} codes"
    if not PEAK.exists():
        yield missing(title, None, "This system cannot set back the highest resident size of a process; Linux can.")
        return
    settings = {"tokens": args.tokens, "hidden_size": args.hidden_size, "num_codes": args.num_codes}
    ours = {what: child(args, what) for what in ("default", "dense")}
    for what, numbers in ours.items():
        for top_s, value in numbers["beyond"].items():
            note = f"{numbers['prepared']:.0f} MB were taken once before, with the prepared copy of the codebook"
            what_of = f"{title}, {what} encoder, {top_s} codes a token, beyond what is prepared"
            yield Row(what_of, value, "MB", reach=Reach(REACH), settings=settings, note=note)
    for package in WHATS[2:]:
        numbers = child(args, package)
        if "missing" in numbers:
            yield missing(title, package, numbers["missing"], peer=True)
            continue
        value, other = ours["dense"]["beyond"][str(args.top_s[0])], next(iter(numbers["beyond"].values()))
        note = f"MB beyond the inputs, dense codes of one width: ours {value:.0f}, theirs {other:.0f}"
        yield Row(title, value / other, "x", against=numbers["name"], settings=settings, note=note, peer=True)


BENCHMARK = Benchmark(__doc__, measure, arguments, TINY)

if __name__ == "__main__":
    given = BENCHMARK.parse()
    if given.child:
        torch.set_num_threads(given.threads)
        torch.manual_seed(given.seed)
        print(json.dumps(measure_here(given)))
    else:
        BENCHMARK.main()
