"""Record of an unlearning: its evidence as JSON values and tables."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import PIL.Image
from transformers import PreTrainedModel

from excise.codes.enrichment import Enrichment
from excise.codes.selection import Selection
from excise.data.forget_sets import PrivateLabel
from excise.ledger.ledger import Ledger
from excise.ledger.masks import check_model
from excise.report.attacks import AttackReport
from excise.report.frontier import Frontier
from excise.report.in_force import InForce
from excise.report.measures import Condition
from excise.report.not_shown import not_shown, standing
from excise.report.private import public_state
from excise.report.results import Evaluation
from excise.report.schema import NAME, SCHEMA_FILE, VERSION, check_state, schema_text
from excise.report.sections import (
    codes_section,
    described,
    evidence_section,
    file_names,
    inner_model,
    model_section,
    requests_section,
    same_request,
    tables_of,
)
from excise.report.sweep import Sweep
from excise.report.verdict import Verdict, grouped, verdicts
from excise.storage.display import few, printable, shortened
from excise.storage.extras import require
from excise.storage.files import new_folder
from excise.storage.processes import by_main_process
from excise.storage.strict_json import json_values, read, written

FILE = "report.json"
MODES = ("mask", "delete")


@dataclass(frozen=True, eq=False, repr=False)
class Record:
    """What was forgotten, how it was found, what it cost, and what is not shown. Made by `of` or `load`.

    Attributes:
        state: JSON values, as the packaged schema says: what `report.json` holds.
        enrichments: by file name, the tables that are written beside it.
    """

    state: Mapping[str, Any]
    enrichments: Mapping[str, Enrichment]

    def __repr__(self) -> str:
        parts = ("requests", "evaluations", "frontiers", "attacks", "enrichments", "codes")
        sizes = ", ".join(f"{part} {len(self.state[part]):,}" for part in parts if part in self.state)
        model, mode = shortened(self.state["model"]["class"]), self.state["mode"]
        said = [f"{one.label}: {shortened(', '.join(topics))}" for one, topics in grouped(self.verdicts)]
        return f"Record: {model} ({mode}), {few(said) or 'nothing is forgotten'}; {sizes}"

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """The evaluations of the state."""
        return tuple(map(Evaluation.from_dict, self.state["evaluations"]))

    @property
    def frontiers(self) -> tuple[Frontier, ...]:
        """The frontiers of the state."""
        return tuple(map(Frontier.from_dict, self.state["frontiers"]))

    @property
    def attacks(self) -> tuple[AttackReport, ...]:
        """The reports of attacks of the state."""
        return tuple(map(AttackReport.from_dict, self.state.get("attacks", ())))

    @property
    def measured(self) -> tuple[Frontier | Evaluation, ...]:
        """All that tells what is left and what is kept: frontiers and evaluations."""
        return (*self.frontiers, *self.evaluations)

    @property
    def in_force(self) -> InForce:
        """The codes that are removed in the model that the record is of, and by which requests."""
        return InForce(self.state)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What was measured of each topic that is in force: whether it is forgotten, by a rule fixed beforehand."""
        return verdicts(self.state, self.evaluations, self.frontiers)

    @classmethod
    def of(
        cls,
        model: PreTrainedModel,
        *,
        mode: str = "mask",
        evaluations: Iterable[Evaluation | Sweep | Mapping[str, Any]] = (),
        frontiers: Iterable[Frontier | Mapping[str, Any]] = (),
        attacks: Iterable[AttackReport | Mapping[str, Any]] = (),
        enrichments: Mapping[str, Enrichment | Selection] | Iterable[tuple[str, Enrichment | Selection]] = (),
        tokens: Mapping[tuple[str, int], Mapping[str, int]] | None = None,
        thumbnails: Mapping[tuple[str, int], PIL.Image.Image | Sequence[PIL.Image.Image]] | None = None,
        data: Mapping[str, Any] | None = None,
        base_model: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> "Record":
        """Puts together what is known of an unlearning.

        Args:
            model: the model that forgot, or a `PeftModel` around it; its ledger is part of the record.
            mode: `"mask"` or `"delete"`: whether what was forgotten can be brought back from what is shared.
            evaluations: of `evaluate` or `evaluate_classes`, or what their `to_dict` gave; and sweeps, whose steps are
                evaluations.
            frontiers: of `frontier`, or what their `to_dict` gave.
            attacks: of `Unlearner.attack` or `excise.attacks.run_attacks`, or what their `to_dict` gave.
            enrichments: by topic, the table that its codes were chosen from; of several rounds or searches, what
                `choose(..., tables=True)` gave, which has the table of each.
            tokens: by site and code, how often each token selects it: see `excise.token_meanings`.
            thumbnails: by site and code, an image that selects it, or several: see `excise.image_meanings`.
            data: what it was trained and tested on: `name`, `split`, `language` (`["en", "fr"]`), `license` and so on;
                `task`, the pipeline that a card files it under; `notes` are Markdown that the card shows as it is.
            base_model: `{"id": ..., "revision": ...}` of what the model was made from; if not given, what `from_base`
                has remembered of it.
            settings: seed, command and whatever else it takes to do it again.

        Raises:
            MissingExtraError: if the extra `report` is not installed.
            ValueError: if the mode is another, the model has no bottleneck or other masks than its ledger tells of, or
                something is no value of JSON.
        """
        require("report", purpose="A Record")
        model = inner_model(model)
        tables = tables_of(enrichments.items() if isinstance(enrichments, Mapping) else enrichments)
        check_model(model)
        ledger = Ledger.from_dict(model.config.unlearning)
        state = {
            "evaluations": evidence_section(evaluations),
            "frontiers": evidence_section(frontiers),
            "attacks": evidence_section(attacks),
            "enrichments": [described(entry, ledger) for entry in tables],
            "codes": codes_section(tokens, thumbnails),
            "data": dict(data or {}),
            "settings": dict(settings or {}),
        }
        state = _whole(model, mode, base_model, state, [])
        check_state(state)
        return cls(state, {entry.file: entry.table for entry in tables})

    def for_model(
        self,
        model: PreTrainedModel,
        *,
        mode: str,
        checks: Sequence[Mapping[str, Any]] = (),
        removed: Mapping[str, Any] | None = None,
    ) -> "Record":
        """The same evidence for a model that is about to be written, which may be another than the one measured.

        Args:
            model: what is written; model and ledger of the record become its own.
            mode: `"mask"` or `"delete"`.
            checks: what was made sure of: `name`, `passed` and `detail` of each, and perhaps what was `found`.
            removed: of a model that deleted codes were taken out of, the codes that were removed before.

        Raises:
            ValueError: as `of`.
        """
        base_model, requests = self.state["model"]["base_model"], requests_section(inner_model(model))
        if removed is None and all(map(same_request, requests, self.state["requests"])):
            removed = self.state["model"].get("removed")
        checks = [dict(check) for check in checks]
        state = _whole(inner_model(model), mode, base_model, self.state, checks, removed)
        # Codes are as they were when they were checked, and there may be tens of thousands: seconds.
        check_state(state | {"codes": []})
        return Record(state, self.enrichments)

    def public(self, labels: Iterable[PrivateLabel] = ()) -> "Record":
        """What may leave of the record, as page, card and bundle show it: itself, if no request is private.

        Args:
            labels: `private` of topics whose evidence was made under their own names, which then goes by their labels.
        """
        state = public_state(self.state, labels)
        if state is self.state:
            return self
        entries = state["enrichments"]
        files = file_names([entry["topic"] for entry in entries])
        tables = {file: self.enrichments[entry["file"]] for file, entry in zip(files, entries, strict=True)}
        entries = [entry | {"file": file} for file, entry in zip(files, entries, strict=True)]
        return Record({**state, "enrichments": entries}, tables)

    @by_main_process("folder")
    def save(self, folder: str | os.PathLike) -> None:
        """Writes `report.json`, its schema and the tables into a new or empty folder: all of it, private words too.

        Raises:
            FileExistsError: if the folder holds something.
        """
        with new_folder(folder) as partial:
            partial.joinpath(FILE).write_text(written(self.state) + "\n", encoding="utf-8")
            partial.joinpath(SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
            for file, table in self.enrichments.items():
                table.save(partial / file)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Record":
        """What `save` wrote.

        Raises:
            MissingExtraError: if the extra `report` is not installed.
            ValueError: if the folder holds no record, a newer excise wrote it, or it is not as its schema says.
        """
        require("report", purpose="A Record")
        path = Path(folder, FILE)
        if not path.is_file():
            raise ValueError(f"There is no record in {os.fspath(folder)!r}: it has no file {FILE}.")
        state = read(path)
        check_state(state)
        tables: dict[str, Enrichment] = {}
        for entry in state["enrichments"]:
            file = path.with_name(entry["file"])
            try:
                tables[entry["file"]] = Enrichment.load(file)
            except (OSError, ValueError, KeyError, TypeError) as error:
                message = f"The record names the table {os.fspath(file)!r}, which cannot be read: {error}"
                raise ValueError(printable(message)) from error
        named, found = (
            [(e["file"], e["rows"]) for e in state["enrichments"]],
            [(f, len(t)) for f, t in tables.items()],
        )
        if named != found:
            raise ValueError(f"The record names the tables (with rows) {named}, but there are {found}.")
        return cls(state, tables)


def _whole(
    model: PreTrainedModel,
    mode: str,
    base_model: Mapping[str, Any] | None,
    state: Mapping[str, Any],
    checks: list,
    removed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A state with everything in it that depends on a model, in the order in which it is written."""
    if mode not in MODES:
        raise ValueError(f"mode={mode!r}: expected 'mask' (reversible) or 'delete'.")
    about, requests = model_section(model, base_model), requests_section(model)
    about["removed"] |= {key: removed[key] for key in ("codes", "digest")} if removed else {}
    conditions = [set(evaluation.get("scores", ())) for evaluation in state["evaluations"]]
    conditions += [{Condition.BEFORE, Condition.AFTER} for _ in state["frontiers"] if not conditions]
    attacks = {"attacks": state["attacks"]} if state.get("attacks") else {}
    now = InForce({"requests": requests, "model": about, "mode": mode})
    attacked = any(now.is_of(AttackReport.from_dict(json_values(one))) for one in state.get("attacks", ()))
    return json_values(
        {
            "schema": NAME,
            "version": VERSION,
            "excise": version("excise"),
            "mode": mode,
            "model": about,
            "requests": requests,
            **{key: state[key] for key in ("evaluations", "frontiers", "enrichments", "codes", "data", "settings")},
            **attacks,
            "checks": checks,
            "not_shown": not_shown(standing(mode, about["sites"], requests), about["sites"], conditions, attacked),
        }
    )
