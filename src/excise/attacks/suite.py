"""Suites of attacks: names, quick or all of them, run one after the other and kept in a checkpoint."""

import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import Attack
from excise.bottlenecks.site import has_bottlenecks
from excise.ledger.ledger import Ledger
from excise.report.attacks import AttackReport, AttackResult
from excise.report.sections import removed_section
from excise.storage.digests import digest, sums
from excise.storage.expected import expects
from excise.storage.files import new_file
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, json_values, read, written

TEXTS, CLASSES = "texts", "classes"


@dataclass(frozen=True)
class Planned:
    """An attack of a suite, imported and made when its turn comes.

    Attributes:
        name: its name in `ATTACKS`.
        quick: as its `quick()` makes it, where it has that: what its verdict needs and no more.
    """

    name: str
    quick: bool = False

    def made(self, of_questions: bool = False) -> Attack:
        """The attack, as `quick_of_questions()` makes it where that is there and a decoder is asked questions."""
        module, name, _ = ATTACKS[self.name]
        kind = getattr(import_module(f"excise.attacks.{module}"), name)
        ways = ["quick_of_questions", "quick"] if of_questions else ["quick"]
        made = next((getattr(kind, way) for way in ways if self.quick and hasattr(kind, way)), kind)
        return made()


# By name: module, class, and what alone it can be run on.
ATTACKS: dict[str, tuple[str, str, str | None]] = {
    "left out": ("left_out", "LeftOut", None),
    "made again": ("made_again", "MadeAgain", None),
    "learnt again": ("learnt_again", "LearntAgain", None),
    "rounded": ("rounded", "Rounded", None),
    "guessed": ("guessed", "Guessed", None),
    "probed": ("probed", "Probed", None),
    "said otherwise": ("said_otherwise", "SaidOtherwise", None),
    "text membership": ("text_membership", "TextMembership", TEXTS),
    "class membership": ("membership", "ClassSeen", CLASSES),
    "example membership": ("membership", "ExampleMembership", CLASSES),
}
# What costs seconds to minutes: left out, made again from 8 sentences, learnt again from 16 at one rate, 8 bits.
QUICK = tuple(Planned(name, quick=True) for name in ("left out", "made again", "learnt again", "rounded"))
# All of them, each as it is by default.
ALL = tuple(Planned(name) for name in ATTACKS)
SUITES = {"quick": QUICK, "all": ALL}

Chosen = str | Attack | Iterable[str | Attack]


def chosen_attacks(attacks: Chosen, of_texts: bool) -> list[Planned | Attack]:
    """The attacks that are asked for, in order and each once.

    Args:
        attacks: `"quick"`, `"all"`, the name of an attack, such as `"left out"` or `"left-out"`, an attack, or several
            of these.
        of_texts: whether a topic of texts is attacked, and no class; attacks of a suite that are for the other alone
            are left out of it.

    Raises:
        ValueError: if one is not known, or there is none.

    Example:
        >>> [one.name for one in chosen_attacks("quick", of_texts=True)]
        ['left out', 'made again', 'learnt again', 'rounded']
    """
    if not isinstance(attacks, Iterable | Attack):
        raise ValueError(f'attacks={attacks!r}: expected "quick", "all", names, or attacks.')
    asked = [attacks] if isinstance(attacks, str | Attack) else list(attacks)
    chosen: list[Planned | Attack] = []
    for one in asked:
        if isinstance(one, Attack):
            chosen.append(one)
            continue
        name = " ".join(str(one).replace("-", " ").replace("_", " ").lower().split())
        if name in SUITES:
            others = CLASSES if of_texts else TEXTS
            chosen += [planned for planned in SUITES[name] if ATTACKS[planned.name][2] != others]
        elif name in ATTACKS:
            chosen.append(Planned(name))
        else:
            known = ", ".join([*SUITES, *(known.replace(" ", "-") for known in ATTACKS)])
            raise ValueError(f"attacks={one!r}: expected one of {known}, or an attack of your own.")
    if not chosen:
        raise ValueError('There is no attack to run: `attacks` is empty. Give "quick", "all", names or attacks.')
    return [one for number, one in enumerate(chosen) if one not in chosen[:number]]


@expects(original="?model", removed="model", never_saw="?model", sets="attack_sets")
def run_attacks(
    original: PreTrainedModel | None,
    removed: PreTrainedModel,
    never_saw: PreTrainedModel | None,
    sets: AttackSets,
    attacks: Chosen = "quick",
    *,
    depth: str = "codes",
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
) -> AttackReport:
    """Runs attacks on a model that was made to forget, and judges each by its own rule. All models stay as they are.

    An attack that fails is *not measured*, with the error as its reason, and the others go on.

    Args:
        original: the model before anything was removed; `None` where nobody has it, and then what was lost is unknown.
        removed: the model that is shared: of excise, or of any other method.
        never_saw: the model of the same recipe that never saw the topic; without it, results are held against a proxy.
        sets: what is attacked, and how it is measured.
        attacks: `"quick"`, `"all"`, names or attacks: as in `chosen_attacks`.
        depth: how deep the deletion was, for the report.
        checkpoint: a folder to keep the result of each attack in. A run that was killed goes on from there, if models,
            sets, attack and version of excise are the same; what failed is tried again.
        progress: show a progress bar.

    Returns:
        The results; `save` keeps them, and `Record.of(..., attacks=[...])` puts them into a record.

    Raises:
        ValueError: if an attack is not known, the models read texts by other vocabularies, or a file of the checkpoint
            was not written by this.
    """
    chosen = chosen_attacks(attacks, sets.of_texts)
    sets.check_same_words(original, removed, never_saw)
    roles = {"original": original, "removed": removed, "never_saw": never_saw}
    models = {role: None if model is None else model_digest(model) for role, model in roles.items()}
    about = sets.about()
    # What is guessed is read in the ledger, too, which no tensor tells of; when a request was made says nothing.
    requests = Ledger.from_dict(getattr(removed.config, "unlearning", None)).requests
    ledger = [(of.kind, of.topic, of.private, dict(of.rows), bool(of.undone)) for of in requests]
    ran: dict[str, Any] = {}
    results = []
    for one in tqdm(chosen, desc="Attacks", disable=not progress, leave=False):
        ran[one.name] = described(one)
        made_of = {"models": models, "ledger": ledger, "sets": about, "attack": [one.name, ran[one.name]]}
        key = digest(json_values(made_of), {})
        file = None if checkpoint is None else Path(checkpoint, f"{one.name.replace(' ', '-')}-{key[:16]}.json")
        if file is not None and file.is_file():
            results.append(_kept(file, key))
            continue
        result, finished = _run(one, original, removed, never_saw, sets)
        if file is not None and finished:
            _keep(file, key, result)
        results.append(result)
    codes = {"removed": removed_section(removed)} if has_bottlenecks(removed) else {}
    settings = json_values(about | codes | {"attacks": ran})
    return AttackReport(
        sets.topic.name, depth, tuple(results), models, settings, sum(result.seconds for result in results)
    )


def _run(
    one: Planned | Attack,
    original: PreTrainedModel | None,
    removed: PreTrainedModel,
    never_saw: PreTrainedModel | None,
    sets: AttackSets,
) -> tuple[AttackResult, bool]:
    """The result of an attack, and whether it came to its end."""
    start = time.perf_counter()
    try:
        made = one.made(sets.of_questions) if isinstance(one, Planned) else one
        return made(original, removed, never_saw, sets).without_nan(), True
    except Exception as error:
        logging.getLogger(__name__).warning("The attack %r failed.", one.name, exc_info=True)
        reason = f"It failed: {type(error).__name__}: {' '.join(str(error).split())}"
        result = AttackResult.not_measured(one.name, sets.measure, reason)
        return replace(result, seconds=time.perf_counter() - start), False


def described(one: Planned | Attack) -> dict[str, Any]:
    """What an attack is set to, as JSON values; of one that is planned, whether it is the quick one."""
    if isinstance(one, Planned):
        return {"quick": one.quick}
    settings = {field.name: getattr(one, field.name) for field in fields(one)} if is_dataclass(one) else vars(one)
    return {name: _json_value(value) for name, value in settings.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, PreTrainedModel):
        return f"{type(value).__name__} {model_digest(value)}"
    try:
        return json_values(value)
    except ValueError:
        return repr(value)


def model_digest(model: PreTrainedModel) -> str:
    """A digest of a model: its class, its tensors by their sums, and how it generates, which can hide outputs."""
    generation = model.generation_config.to_diff_dict() if model.can_generate() else {}
    return digest([type(model).__name__, repr(sorted(generation.items())), sums(model.state_dict())], {})


@by_main_process("file")
def _keep(file: Path, key: str, result: AttackResult) -> None:
    with new_file(file) as partial:
        state = {"excise": version("excise"), "key": key, "result": result.to_dict()}
        partial.write_text(written(state) + "\n", encoding="utf-8")


def _kept(file: Path, key: str) -> AttackResult:
    """The result that an earlier run has kept.

    Raises:
        ValueError: if the file holds another.
    """
    try:
        state = checked(read(file), dict[str, Any], "it")
        if state.get("key") != key:
            raise ValueError("Its `key` is another.")
        return AttackResult.from_dict(checked(state.get("result"), dict[str, Any], "result"))
    except ValueError as error:
        raise ValueError(f"{os.fspath(file)!r} is no result of this attack, and can be removed: {error}") from error
