"""The experiments on forgetting as a table in Markdown. Give it the file of results."""

import json
import sys
from pathlib import Path

from tabulate import tabulate

COLUMNS = {
    "recall before": lambda m, t: f"{m['recall_before']:.2f}",
    "after": lambda m, t: f"{m['recall_after']:.2f}",
    "lost": lambda m, t: f"{100 * m['recall_lost']:.0f} %",
    "least lost": lambda m, t: f"{100 * min(s['recall_lost'] for s in t.values()):.0f} %",
    "mentions after": lambda m, t: f"{m['mentions_after']:.2f}",
    "drop D'_T": lambda m, t: f"{100 * m['drop']:.0f} %",
    "drop D_R": lambda m, t: f"{100 * m['retain_drop']:.1f} %",
    "rest": lambda m, t: f"{m['rest']:.2f}",
    "codes": lambda m, t: f"{sum(s['codes'] for s in t.values()) / len(t):.0f}",
    "BLEU D_R before": lambda m, t: f"{m['retain_before']:.1f}",
}


def main():
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    rows = [
        [line["model"], line["name"], *(column(line["mean"], line["topics"]) for column in COLUMNS.values())]
        for line in lines
    ]
    print(tabulate(rows, ["model", "rule", *COLUMNS], tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
