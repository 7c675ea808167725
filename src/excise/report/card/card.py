"""Model card of a record, and of nothing else: the same record gives the same card."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import as_file, files
from typing import Any

from huggingface_hub import ModelCard

from excise.bottlenecks.registry import kind_named, kind_title
from excise.report.attack_lines import RULE as ATTACK_RULE
from excise.report.attack_lines import attack_claim, out_of_reach
from excise.report.attacks import NOT_WITHSTOOD, AttackReport
from excise.report.card.how_to_load import going_on, loading
from excise.report.card.metadata import metadata
from excise.report.card.requests import request_row
from excise.report.card.scores import (
    about_evaluation,
    attack_table,
    evaluation_table,
    frontier_table,
    has_intervals,
    sweep_table,
)
from excise.report.in_force import InForce
from excise.report.markdown import code, counted, escaped, listed, plain, table
from excise.report.measures import Condition, takes
from excise.report.not_shown import DELETED, MASKED, NOTHING, UNDONE, needed, standing
from excise.report.page import figures
from excise.report.private import about_publishing
from excise.report.record import Record
from excise.report.sweep import sweep_rows, sweep_steps
from excise.report.verdict import MOST_TOPICS, RULE, Verdict, grouped, headline
from excise.storage.expected import expects
from excise.storage.extras import require

REVERSIBLE = (
    "**This is reversible, and for private use only: the codes are masked, and still in the weights. Share a deletion "
    "instead.**"
)
ERASED = (
    "**The codes are deleted: their rows are erased, and that cannot be undone. What this does not show stands below.**"
)
FIRST_LINES = {
    MASKED: REVERSIBLE,
    DELETED: ERASED,
    UNDONE: "**Nothing is forgotten: all that was asked for was undone.**",
    NOTHING: "**Nothing was forgotten yet.**",
}
# What models are called in a title, by what is in the name of their class.
FAMILIES = {"T5": "T5", "CLIPForImage": "Image classifier", "CLIP": "CLIP", "KeyValue": "Image classifier"}
MOST_PLOTS = 5  # all are in the report
OTHER_STATE = "Measured with **other codes removed** than those that are removed now."


@expects("record")
def model_card(
    record: Record, *, load_with: str | None = None, bottleneck_only: bool = False, remote_code: bool = True
) -> ModelCard:
    """The card of a model that was made to forget.

    Args:
        record: its evidence, of the model as it is shared (`Record.for_model`); of a private request, what
            `Record.public` leaves of it.
        load_with: id on the Hub or path by which the card says that it is loaded.
        bottleneck_only: whether only the bottleneck is shared, and the base model fetched.
        remote_code: whether the code to load it without excise is shared with it.

    Raises:
        MissingExtraError: if the extra `report` is not installed.
        ValueError: if the base model of a bottleneck that is shared alone is not known.
    """
    require("report", purpose="model_card")
    record = record.public()
    state, now, made = record.state, record.in_force, record.verdicts
    model = state["model"]
    alone = [e for e in record.evaluations if "top_s" not in e.settings or now.is_of(e)]
    if bottleneck_only and not (model["base_model"] and model["base_model"]["revision"]):
        raise ValueError(
            "A bottleneck that is shared alone needs its base model on the card: give the record a base_model with "
            "'id' and 'revision'."
        )
    name = plain(load_with).rstrip("/").rpartition("/")[2] if load_with else model["class"]
    with as_file(files("excise.report.card").joinpath("card.md")) as template:
        return ModelCard.from_template(
            metadata(record, name, bottleneck_only),
            template_path=str(template),
            first_line=" ".join([*_claims(made), *_brought_back(record), _first_line(state)]),
            title=_title(state, load_with and name, made),
            about=_about(model),
            sites=_sites(model),
            requests=_requests(state),
            tables=_tables(state),
            evaluations=[
                {
                    "topic": escaped(e.topic),
                    "about": about_evaluation(e) + ("" if now.is_of(e) else f" {OTHER_STATE}"),
                    "table": evaluation_table(e),
                }
                for e in alone
            ],
            needed=needed(model["sites"]),
            rule=RULE if made else "",
            sweeps=[
                {"topic": escaped(rows["topic"]), "table": sweep_table(rows)}
                for rows in (sweep_rows(steps, now) for steps in sweep_steps(record.evaluations).values())
            ],
            intervals=bool(record.frontiers) or any(map(has_intervals, record.evaluations)),
            measured_masked=_measured_masked(record),
            frontiers=[
                {
                    "topic": escaped(f.topic),
                    "way": f", by {escaped(f.method)}" if f.method else "",
                    "table": frontier_table(f, now.point(f)),
                }
                for f in record.frontiers
            ],
            attacks=[_attacks(report, now) for report in record.attacks],
            attack_rule=ATTACK_RULE,
            out_of_reach=_bullets(map(escaped, out_of_reach(record.attacks, model["sites"]))),
            plots=_plots(record),
            loading=loading(state, load_with, bottleneck_only=bottleneck_only, remote_code=remote_code),
            checks=_checks(state),
            not_shown=_bullets(map(escaped, state["not_shown"])),
            published=about_publishing(state),
            notes=state["data"].get("notes", ""),
            going_on=going_on(state, load_with),
            made=_made(state),
            citations=citations({site["kind"] for site in model["sites"]}, state["excise"]),
        )


def _title(state: Mapping[str, Any], name: str | None, made: Sequence[Verdict]) -> str:
    said, told = escaped(name or _kind_of_model(state["model"])), headline(made, escaped)
    return f"{said} ({told[:1].lower()}{told[1:]})" if told else said


def _kind_of_model(model: Mapping[str, Any]) -> str:
    """A model in words: what it was made from, or what it is, and with which bottlenecks."""
    base = (model["base_model"] or {}).get("id") or ""
    of_class = next((words for name, words in FAMILIES.items() if name in model["class"]), model["class"])
    kinds = sorted({kind_title(site["kind"]) for site in model["sites"]})
    name = plain(base).rstrip("/").rpartition("/")[2] or of_class
    return f"{name} with {listed([kind if kind.endswith('s') else f'a {kind}' for kind in kinds])}"


def _claims(made: Sequence[Verdict]) -> list[str]:
    """What was measured of each topic, and what of it was; of many, only that."""
    if len(made) > MOST_TOPICS:
        return [f"**{headline(made, escaped)}.**"]
    groups = [one for alike, topics in grouped(made) for one in made if one.topic in topics]
    return [f"**{headline([one], escaped)}** ({escaped(one.sentence)})." for one in groups]


def _brought_back(record: Record) -> list[str]:
    """Which attacks the model did not withstand in the state that is shared."""
    of_state = [report for report in record.attacks if record.in_force.is_of(report)]
    names = [(report.topic, [r.attack for r in report.results if r.verdict == NOT_WITHSTOOD]) for report in of_state]
    return [f"**Not withstood: {listed(attacks)}** ({escaped(topic)})." for topic, attacks in names if attacks]


def _attacks(report: AttackReport, now: InForce) -> dict[str, str]:
    of_state = "" if now.is_of(report) else f" {OTHER_STATE}"
    deleted = f", deleted by {report.depth}" if report.depth else ""
    return {
        "topic": escaped(report.topic),
        "about": escaped(f"{deleted}: {attack_claim(report)}.") + of_state,
        "table": attack_table(report),
        "notes": " ".join(map(escaped, report.notes)),
    }


def _about(model: Mapping[str, Any]) -> str:
    base = model["base_model"]
    made = f", made from {code(base['id'])}" if base else ""
    made += f" at revision {code(base['revision'])}" if base and base["revision"] else ""
    return (
        f"A {code(model['class'])} of {model['parameters']:,} parameters in {model['dtype']}{made}. All that it knows "
        f"of {_with_article(takes(model))} passes through a discrete bottleneck as a few of many codes; to forget a "
        "topic, the codes that carry it are taken out, and nothing is trained again."
    )


def _with_article(what: str) -> str:
    return " or ".join(f"an {one}" if one == "image" else f"a {one}" for one in what.split(" or "))


def _first_line(state: Mapping[str, Any]) -> str:
    return FIRST_LINES[standing(state["mode"], state["model"]["sites"], state["requests"])]


def _sites(model: Mapping[str, Any]) -> str:
    header = ["bottleneck", "kind", "codes", "selected at a time", "live", "masked", "deleted"]
    numbers = ("num_codes", "selected", "live", "masked", "deleted")
    rows = [
        [code(site["site"]), kind_title(site["kind"]), *(f"{site[number]:,}" for number in numbers)]
        for site in model["sites"]
    ]
    return table(header, rows)


def _requests(state: Mapping[str, Any]) -> str:
    if not state["requests"]:
        return ""
    header = ["request", "topic", "codes", "how they were found", "when", "now"]
    return table(header, [request_row(request, state) for request in state["requests"]])


def _tables(state: Mapping[str, Any]) -> str:
    return _bullets(
        f"{escaped(entry['topic'])}{_of_round(entry)}: [{escaped(entry['file'])}](report/{entry['file']}), "
        f"{counted(entry['rows'], 'code')} seen in {counted(entry['num_target'], 'target')} and "
        f"{counted(entry['num_control'], 'control')}"
        for entry in state["enrichments"]
    )


def _of_round(entry: Mapping[str, Any]) -> str:
    return f", round {entry['round']} of {entry['rounds']}" if entry.get("rounds", 1) > 1 else ""


def _checks(state: Mapping[str, Any]) -> str:
    return _bullets(
        f"{'passed' if check['passed'] else '**failed**'}: {escaped(check['name'])}"
        + (f": {escaped(check['found'])}" if check.get("found") else "")
        + (f" ({escaped(check['detail'])})" if check["detail"] else "")
        for check in state["checks"]
    )


def _measured_masked(record: Record) -> bool:
    """Whether what is deleted in what is shared was masked when it was measured."""
    measured_before = any(Condition.BEFORE in evaluation.conditions for evaluation in record.evaluations)
    return record.state["mode"] == "delete" and measured_before


def _plots(record: Record) -> list[dict[str, str]]:
    return [
        {
            "file": f"report/{name}.png",
            "alt": "What is left of what was to be forgotten, and of all else"
            if entry is None
            else f"How many cases of {escaped(entry.topic)} come back as the model is trained on examples of it again"
            if isinstance(entry, AttackReport)
            else f"How much more often each code is used with {escaped(entry['topic'])}, and how sure that is",
        }
        for name, entry in list(figures(record).items())[:MOST_PLOTS]
    ]


def _made(state: Mapping[str, Any]) -> str:
    """What the record says of data and settings; what is not said of it in words is in the report."""
    told = [
        f"{escaped(name.replace('_', ' '))}: {escaped(', '.join(map(str, values)))}"
        for part in ("data", "settings")
        for name, value in state[part].items()
        if name != "notes"
        and (values := value if isinstance(value, list) else [value])
        and all(isinstance(one, str | int | float) for one in values)
    ]
    return _bullets([*told, f"excise {escaped(state['excise'])}"])


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


EXCISE = """\
@software{{excise,
  title   = {{excise: machine unlearning for transformers models through discrete bottlenecks}},
  author  = {{{{The excise authors}}}},
  version = {{{version}}}
}}"""


def citations(kinds: set[str], version: str) -> str:
    """BibTeX of the methods' papers and of excise.

    Args:
        kinds: of the model's bottlenecks.
        version: of excise.
    """
    papers = (getattr(kind_named(kind), "citation", None) for kind in sorted(kinds))
    return "\n".join([*(paper for paper in papers if paper), EXCISE.format(version=version)])
