"""How much memory the look-up of codes takes beyond its arguments and result. Reach: 128 MB.

4,096 activations of 512 against 25,000 codes; one matrix of all similarities would be 400 MB. The peak is the highest
resident size of this (fresh) process, which Linux can set back: elsewhere this does not run.

    python benchmarks/lookup_memory.py --top-s 104
"""

import argparse
import json
import os
import re
import time
from pathlib import Path

import torch

from excise.bottlenecks import top_codes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--num-codes", type=int, default=25_000)
    parser.add_argument("--top-s", type=int, nargs="+", default=[8, 104])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    queries, codebook = torch.randn(args.queries, args.dim), torch.randn(args.num_codes, args.dim)
    live = torch.ones(args.num_codes, dtype=torch.bool)
    for top_s in args.top_s:
        top_codes(queries[:2], codebook, top_s, live)  # threads and libraries take what they take once
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the size now
        before, started = resident("VmHWM"), time.perf_counter()
        codes, cosines = top_codes(queries, codebook, top_s, live)
        seconds, peak = time.perf_counter() - started, resident("VmHWM")
        numbers = {
            "extra_mb": round((peak - before) / 2**20, 1),
            "result_mb": round((codes.nbytes + cosines.nbytes) / 2**20, 1),
            "seconds": round(seconds, 2),
        }
        about = {"top_s": top_s, "queries": args.queries, "dim": args.dim, "num_codes": args.num_codes}
        machine = {"threads": args.threads, "load": round(os.getloadavg()[0], 2)}
        print(json.dumps({"benchmark": "look-up memory", **numbers, **about, **machine, "reach": 128}))


def resident(field):
    """Bytes of this process in memory, now (`VmRSS`) or at most (`VmHWM`)."""
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


if __name__ == "__main__":
    main()
