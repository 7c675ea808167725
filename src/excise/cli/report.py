"""Make the report of an unlearning from its saved record: a page to read, figures, and the record itself.

A record is what `Record.save` wrote, or the `report` of a model that was saved to be shared. The page, `index.html`, is
one file that needs no network.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from excise.cli.options import add_out_folder, load_record
from excise.cli.output import Output
from excise.storage.extras import require
from excise.storage.files import check_free

HELP = "make the page of a saved record"
EXAMPLES = """\
  excise report record --out report
  excise report cat-record --out cat-report
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Declares the arguments of the verb."""
    parser.add_argument("record", metavar="RECORD", help="folder with report.json, or of a model with a report")
    add_out_folder(parser, "the report")
    parser.add_argument("--full", action="store_true", help="for its owner: words and texts of private requests too")


def run(args: Namespace) -> Output:
    """Runs the verb."""
    from excise.report.attack_lines import attack_claim
    from excise.report.page import PAGE, write_report
    from excise.report.verdict import headline

    require("report", purpose="excise report")
    check_free(args.out)
    record = load_record(args.record)
    write_report(record, args.out, full=args.full)
    state = record.state
    made = record.verdicts
    public = record if args.full else record.public()
    attacked = [f"Attacked, {one.topic}: {attack_claim(one)}." for one in public.attacks]
    failed = [check["name"] for check in state["checks"] if not check["passed"]]
    parts = ("requests", "evaluations", "frontiers", "attacks", "enrichments", "codes")
    sections = {key: len(state[key]) for key in parts if key in state}
    files = sorted(path.name for path in Path(args.out).iterdir())
    text = (
        "\n".join([f"{headline([one])} ({one.sentence})." for one in made] or ["Nothing is forgotten."])
        + "".join(f"\n{of_topic}" for of_topic in attacked)
        + f"\nMode: {state['mode']}; "
        + ", ".join(f"{count} {name}" for name, count in sections.items())
        + (f"\nFailed checks: {', '.join(failed)}" if failed else "")
        + f"\nOpen {Path(args.out) / PAGE}"
    )
    data = {"mode": state["mode"], "topics": record.in_force.topics, "failed": failed, "files": files, "out": args.out}
    data["verdicts"] = [one.to_dict() for one in made]
    data["attacked"] = [{"topic": one.topic, "verdict": one.verdict, "counts": one.counts} for one in public.attacks]
    return Output(text, data | sections)
