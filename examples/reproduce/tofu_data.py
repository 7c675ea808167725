"""TOFU's rows for reproduce_tofu.py: which authors stay and go, and what is asked of them."""

import json
import re
from collections import Counter

from excise.data import question_rows

# By size, the numbers of the authors that stay and of those that are forgotten, and the file that these are asked from.
SIZES = {
    "tofu-40": (range(36), range(196, 200), "forget05_perturbed"),
    "forget01": (range(198), range(198, 200), "forget01_perturbed"),
    "forget05": (range(190), range(190, 200), "forget05_perturbed"),
    "forget10": (range(180), range(180, 200), "forget10_perturbed"),
    "quick": (range(2), range(199, 200), "forget05_perturbed"),
}


def data_of(args):
    """Rows to train on, by whether they stay or go, those that codes are held against, and those that are asked."""
    stay, go, file = SIZES[args.size]

    def read(name):
        return question_rows(str(args.data / f"{name}.jsonl"))

    full = read("full")
    rows = {name: full.filter(lambda row, of=of: row["author"] in of) for name, of in (("stay", stay), ("go", go))}
    told = {name: {(row["question"], row["answer"]) for row in of} for name, of in rows.items()}

    def known(name, which):
        return read(name).filter(lambda row: (row["question"], row["answer"]) in told[which])

    asked = {"forget": known(file, "go"), "retain": known("retain_perturbed", "stay")}
    asked |= {name: read(f"{name}_perturbed") for name in ("real_authors", "world_facts")}
    asked |= {"holdout": read("holdout10")}
    rows["control"] = asked["retain"]
    most = dict.fromkeys(("retain", "real_authors", "world_facts"), args.asked)
    most |= {"holdout": len(asked["forget"])} if args.size == "tofu-40" else {}
    if args.size == "quick":
        most = dict.fromkeys(asked, 2)
        rows = {name: first(of, 4) for name, of in rows.items()}
    return rows, {name: first(of, most.get(name, len(of))) for name, of in asked.items()}


def names_of(rows):
    """The authors' names: of each, the longest run of capitalised words that about as many questions have as any."""
    names = []
    for author in sorted(set(rows["author"])):
        questions = rows.filter(lambda row, author=author: row["author"] == author)["question"][:]
        runs = [re.findall(r"[A-Z][\w’-]+(?: [A-Z][\w’-]+)+", re.sub("['’]s", "", text)) for text in questions]
        counts = Counter(part for of_row in runs for part in {part for run in of_row for part in parts(run.split())})
        most = max(counts.values())
        names.append(max((part for part, count in counts.items() if count >= 0.8 * most), key=len))
    return names


def parts(words):
    """Two to five words that follow one another."""
    return [" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 2, min(len(words), i + 5) + 1)]


def first(rows, count):
    """The first rows, so many at most."""
    return rows.select(range(min(count, len(rows))))


def settings_of(words):
    """Settings of words as `name=value`, by name; numbers where they are some."""
    return {name: number(value) for name, _, value in (word.partition("=") for word in words)}


def number(value):
    """A setting's value: a number where it is one."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def write(path, values):
    """Writes JSON whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    new.replace(path)
