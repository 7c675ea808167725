"""All benchmarks in one process, one after the other; results.json, and tables with plots in README.md.

    python benchmarks/run.py                          everything, about 20 minutes on two idle cores
    python benchmarks/run.py --only lookup            one benchmark; the other results stay as they are
    python benchmarks/run.py --tiny --folder /tmp/x   the same at sizes for a test, into another folder

`make bench` does the first in an environment with the peers. A benchmark that fails is told, and the others go on; then
the run ends with 1.
"""

import argparse
import gc
import importlib
import sys
import time
import traceback
from pathlib import Path

from harness.machine import commit, date, describe, load
from harness.measurement import Benchmark, rounded
from harness.peers import peer_versions
from harness.plots import plot_peers, plot_reaches
from harness.report import END, START, ResultsFile, number, write_readme

HERE = Path(__file__).resolve().parent
BENCHMARKS = (
    "lookup",
    "lookup_rule",
    "lookup_memory",
    "bottleneck_step",
    "sparse_coders",
    "training_step",
    "generation",
    "find_codes",
    "code_index",
    "topic_sets",
    "key_value",
    "undo",
    "demo",
)
# Options that some benchmarks take.
TAKE = {"data": {"topic_sets", "code_index"}, "model": {"code_index"}}


def main(argv: list[str] | None = None) -> int:
    """Runs them; gives 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=BENCHMARKS, nargs="+", default=BENCHMARKS, metavar="NAME")
    parser.add_argument("--folder", type=Path, default=HERE, help="where results.json, README.md and plots go")
    parser.add_argument("--data", help="pairs for the benchmarks that read a corpus; made up if not given")
    parser.add_argument("--model", help="a model with codes, trained on them, for the index; random if not given")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="sizes for a test of the scripts, not for numbers")
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    results, failed = ResultsFile(args.folder / "results.json"), []
    for name in args.only:
        print(f"== {name}", flush=True)
        try:
            section = run_one(name, args)
        except Exception:  # the others are worth their time whatever became of this one
            traceback.print_exc()
            failed.append(name)
            continue
        results.write(name, section, {"machine": describe(), "peers": peer_versions()})
        write_page(results, args.folder)
    if failed:
        print(
            f"Failed: {', '.join(failed)}. Their earlier results, if there were any, are as they were.", file=sys.stderr
        )
    return int(bool(failed))


def run_one(name: str, args: argparse.Namespace) -> dict:
    """The section of a benchmark: what it ran on, and its rows, each told as it comes."""
    benchmark: Benchmark = importlib.import_module(name).BENCHMARK
    options = [f"--threads={args.threads}", f"--seed={args.seed}", *(["--tiny"] if args.tiny else [])]
    options += [f"--{of}={value}" for of, names in TAKE.items() if name in names and (value := getattr(args, of))]
    before, started, rows = load(), time.perf_counter(), []
    for row in benchmark.rows(options):
        rows.append(row.as_json())
        shown = number(row.value, row.unit) if row.value is not None else f"not measured: {row.note}"
        reach = f" (reach {row.reach}: {'yes' if row.passed else 'no'})" if row.reach else ""
        print(f"{row.what}{f', against {row.against}' if row.against else ''}: {shown}{reach}", flush=True)
    gc.collect()
    return {
        "command": f"python benchmarks/{name}.py",
        "commit": commit(),
        "date": date(),
        "seed": args.seed,
        "threads": args.threads,
        "tiny": args.tiny,
        "load": [before, load()],
        "seconds": rounded(time.perf_counter() - started),
        "rows": rows,
    }


def write_page(results: ResultsFile, folder: Path) -> None:
    """Tables and plots of all results so far."""
    readme = folder / "README.md"
    if not readme.is_file():
        readme.write_text(f"# Benchmarks\n\n{START}\n{END}\n", encoding="utf-8")
    plots = {"numbers-to-reach.svg": plot_reaches, "beside-others.svg": plot_peers}
    drawn = [name for name, plot in plots.items() if plot(results.rows, folder / name)]
    write_readme(readme, results, drawn)


if __name__ == "__main__":
    sys.exit(main())
