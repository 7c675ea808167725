"""Attack by relearning: further training on a few examples of the topic, or on others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.attacks.erased_rows import seen_erased
from excise.attacks.interface import NEVER_SAW, Attack, ratio_of_means
from excise.attacks.learning import (
    ALL,
    HOW,
    PARTS,
    PLAIN,
    REDRAWN,
    SHARED,
    TOPIC,
    UNRELATED,
    WAYS,
    Curve,
    Setting,
    Trainings,
    steps_to,
)
from excise.attacks.mean_rule import MARGIN
from excise.attacks.rules import FEWEST_DRAWS, verdict_of
from excise.bottlenecks.site import has_bottlenecks, needed
from excise.report.attacks import AttackResult, Attempt

# Steps until half is back, of the attacked model and of the one that never saw it, one pair a draw.
Steps = Sequence[tuple[float, float | None]]


@dataclass(frozen=True)
class LearntAgain(Attack):
    """Trains the shared model, or the plain class on its weights, on a few examples.

    The measure is *steps*: how many it takes until half of what was lost is back, which is as many hits for the
    attacked model as for the one that never saw the topic. That one is trained in the same way, on the same examples.
    Between two measured steps the hits are taken to grow evenly, and a training that does not come so far counts as
    `steps`. The score is the ratio of the means over the draws of the examples: 1 is as slow as the model that never
    saw it.

    The rule, fixed beforehand. What counts is `judged_examples` at `judged_rate`, for each part that is trained and
    each way in which the model is opened, and unrelated examples if there are any; of these the smallest ratio.
    *Withstood* if it is at least 0.8; *not withstood* if its 95 % interval (percentile bootstrap over paired draws)
    ends below 0.8; *not measured* if neither, as there are too few draws to tell. *Not measured* too if the original
    knows no more than the model that never saw it, if there is none of the two, if fewer than three draws are left
    after those that diverged, or if neither model comes so far in any draw.

    Every number of examples is tried at every rate on all weights of the model as shared, with `draws_elsewhere` draws;
    with `draws`, and for the other parts and ways, what is judged.

    Attributes:
        examples: numbers of examples.
        rates: of training.
        parts: what is trained, of `"all weights"`, `"LoRA"` and `"bottleneck"`.
        ways: how the model is opened, of `"as shared"`, `"plain class"`, and that with erased rows drawn anew, if there
            are any, which is done to the model that never saw the topic, too.
        unrelated: so many rows without the topic are trained on instead, to see whether it comes back by itself; 0 for
            none.
        steps: of a training.
        draws: of the examples, where the verdict is made.
        draws_elsewhere: of the examples, elsewhere.
        judged_examples: on which the verdict is made.
        judged_rate: at which it is made.
        cases: the most held-out cases that hits are counted in.
        full_curves: go on to the last step when half is back, for a picture.
        values_at: key-value pairs have no plain class, and their values alone learn: they are trained as shared, at so
            many times the rates. Their own training takes 0.1 (Unlearning via Sparse Representations, table 4).
        answers_at: decoders, which are asked questions, are trained at so many times the rates: as they are fine-tuned.
        strongest_only: where erased rows are seen, of `ways` only that in which they are drawn anew: the others take
            longer to train, and most of an attack's time.
    """

    name = "learnt again"
    about = "The file is trained further on a few examples of the topic, or on unrelated ones."

    examples: tuple[int, ...] = (1, 4, 16, 64, 256)
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    parts: tuple[str, ...] = PARTS
    ways: tuple[str, ...] = WAYS
    unrelated: int = 64
    steps: int = 20
    draws: int = 5
    draws_elsewhere: int = 1
    judged_examples: int = 16
    judged_rate: float = 1e-3
    cases: int = 60
    full_curves: bool = False
    values_at: float = 100.0
    answers_at: float = 0.1
    strongest_only: bool = True

    def __post_init__(self) -> None:
        for name, known in (("parts", PARTS), ("ways", WAYS)):
            values = getattr(self, name)
            if not values or set(values) - set(known):
                raise ValueError(f"{name}={values}: expected some of {list(known)}.")
        for name in ("examples", "rates"):
            values = getattr(self, name)
            if not values or any(not value > 0 for value in values):
                raise ValueError(f"{name}={values}: expected at least one, and all above 0.")
        for name in ("steps", "draws", "draws_elsewhere", "judged_examples", "cases", "values_at"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1.")
        if not self.answers_at > 0:
            raise ValueError(f"answers_at={self.answers_at}: expected a number above 0.")

    @classmethod
    def quick(cls) -> "LearntAgain":
        """Only what the verdict is made on: 16 examples at one rate, all weights of the plain class."""
        one: dict[str, Any] = {
            "examples": (16,),
            "rates": (1e-3,),
            "parts": (ALL,),
            "ways": (PLAIN, REDRAWN),
            "unrelated": 0,
        }
        return cls(**one)

    @classmethod
    def quick_of_questions(cls) -> "LearntAgain":
        """The same with fewer draws, steps and cases: passes of a language model take longer.

        At most 3 x 2 trainings of 5 steps on 16 rows, with 20 rows asked before and after each.
        """
        return replace(cls.quick(), draws=FEWEST_DRAWS, steps=5, cases=20)

    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """As `Attack.run`."""
        if sets.of_questions and self.answers_at != 1:
            return self._at(self.answers_at, answers_at=1).run(original, removed, never_saw, sets)
        if has_bottlenecks(removed) and needed(removed) and (of_values := self._of_values()) != self:
            return of_values.run(original, removed, never_saw, sets)
        if original is None:
            return AttackResult.not_measured(
                self.name, "steps", "Without the original nobody knows how much was lost. Give it, too."
            )
        settings, skipped = self._settings(removed, sets)
        models = [model for model in (original, removed, never_saw) if model is not None]
        trainings = Trainings(models, sets, self.cases, self.steps, self.full_curves)
        trainings.erased = seen_erased(removed)
        total, before, after = trainings.total, trainings.start(original), trainings.start(removed)
        half = after + (before - after) / 2
        details: dict[str, Any] = {"how": HOW, "half": half, "cases": total, "skipped": skipped}
        known: dict[str, Any] = {"before": before / total, "after": after / total, "details": details}
        if never_saw is not None:
            known["null_is"] = NEVER_SAW
        start = after if never_saw is None else trainings.start(never_saw)
        least = MARGIN * total if sets.of_questions else 0
        if before <= start + least or (start >= half and never_saw is not None):
            why = f"Of {total} cases the original gets {before:g}, the shared model {after:g}"
            why += "" if never_saw is None else f", the model that never saw it {start:g}"
            return AttackResult.not_measured(
                self.name, "steps", f"{why}: there is no half of what was lost that could come back.", **known
            )
        rows: dict[Setting, list[tuple[float, float | None]]] = {}
        attempts, diverged = [], []
        for setting in sorted(settings, key=lambda setting: setting.opened):  # models are opened once
            compared = never_saw if never_saw is not None and not setting.impossible(never_saw) else None
            for draw in range(self.draws if self._is_judged(setting) else self.draws_elsewhere):
                curve = trainings.curve(removed, setting, draw, half)
                null = None if compared is None else trainings.curve(compared, setting, draw, half)
                steps = steps_to(curve, half, self.steps)
                null_steps = None if null is None else steps_to(null, half, self.steps)
                attempts.append(_attempt(setting, draw, curve, null, (steps, null_steps), total))
                if curve.diverged or (null is not None and null.diverged):
                    diverged.append(attempts[-1].settings)
                else:
                    rows.setdefault(setting, []).append((steps, null_steps))
        details["diverged"] = diverged
        details["examples_to_half"] = self._fewest_examples(rows)
        return self._judged(rows, sets.seed, known | {"attempts": tuple(attempts)})

    def _of_values(self) -> "LearntAgain":
        return self._at(self.values_at, values_at=1, ways=tuple(dict.fromkeys((SHARED, *self.ways))))

    def _at(self, times: float, **changes: Any) -> "LearntAgain":
        """The same at so many times the rates."""
        rates = tuple(rate * times for rate in self.rates)
        return replace(self, rates=rates, judged_rate=self.judged_rate * times, **changes)

    def _settings(self, removed: PreTrainedModel, sets: AttackSets) -> tuple[list[Setting], list[str]]:
        """What is tried, and what cannot be, in words."""
        there, others = len(sets.topic.target), len(sets.topic.retain)
        if min(self.examples) > there:
            raise ValueError(
                f"The smallest attack of {list(self.examples)} examples needs {min(self.examples)}, and there are "
                f"{there}. Give more rows in the target, or smaller `examples`."
            )
        erased = seen_erased(removed)
        ways = (REDRAWN,) if self.strongest_only and REDRAWN in self.ways and erased else self.ways
        part, way = (ALL if ALL in self.parts else self.parts[0]), ways[0]
        settings = [Setting(count, rate, part, way) for count in self.examples for rate in self.rates]
        judged = self.judged_examples, self.judged_rate
        settings += [Setting(*judged, of, way) for way in ways for of in self.parts]
        if self.unrelated:
            settings.append(Setting(self.unrelated, self.judged_rate, part, way, UNRELATED))
        kept, skipped = [], []
        for setting in settings:
            available = others if setting.data == UNRELATED else there
            if setting.examples > available:
                skipped.append(f"{setting.examples} examples of {setting.data} rows: there are {available}.")
            elif setting.opened == REDRAWN and not erased:
                skipped.append(f"{setting.opened}: no embedding row is seen to be erased.")
            elif why := setting.impossible(removed):
                skipped.append(f"{setting.trained}, {setting.opened}: {why}")
            else:
                kept.append(setting)
        if not kept:
            raise ValueError(f"{' '.join(skipped)} So none of the attempts can be run on this model.")
        return list(dict.fromkeys(kept)), list(dict.fromkeys(skipped))

    def _is_judged(self, setting: Setting) -> bool:
        on_topic = setting.examples == self.judged_examples or setting.data == UNRELATED
        return on_topic and setting.rate == self.judged_rate

    def _fewest_examples(self, rows: Mapping[Setting, Steps]) -> dict[str, int | None]:
        """The smallest number of examples with which half came back before the last step, in most draws."""
        fewest: dict[str, int | None] = {}
        for place, who in enumerate(("attacked", "never_saw")):
            counts = []
            for setting, pairs in rows.items():
                steps = [self.steps if pair[place] is None else pair[place] for pair in pairs]
                if setting.data == TOPIC and np.median(np.array(steps, dtype=float)) < self.steps:
                    counts.append(setting.examples)
            fewest[who] = min(counts, default=None)
        return fewest

    def _judged(self, rows: Mapping[Setting, Steps], seed: int, known: dict[str, Any]) -> AttackResult:
        """The result, by the rule."""
        lines = [self._line(setting, pairs, seed) for setting, pairs in rows.items() if self._is_judged(setting)]
        known["details"]["judged"] = lines
        compared = [line for line in lines if "ratio" in line]
        if not compared:
            return AttackResult.not_measured(self.name, "steps", self._why_nothing(lines, known["details"]), **known)
        worst = min(compared, key=lambda line: line["ratio"])
        verdict, why = verdict_of(worst["ratio"], worst["interval"], worst["draws"])
        reason = (
            f"{why} Half of what was lost is back after {worst['steps']:.2f} steps, in the model that never saw it "
            f"after {worst['never_saw']:.2f} ({worst['examples']} {worst['data']} examples at {worst['rate']:g}, "
            f"{worst['trained']}, {worst['opened']}; {worst['draws']} draws of at most {self.steps} steps)."
        )
        known |= {"score": worst["ratio"], "interval": worst["interval"], "null": 1.0}
        return AttackResult(self.name, "steps", **known, verdict=verdict, reason=reason)

    def _line(self, setting: Setting, pairs: Steps, seed: int) -> dict[str, Any]:
        """Mean steps of what is judged, and where they can be compared, their ratio and its interval."""
        own, null = [one for one, _ in pairs], [one for _, one in pairs if one is not None]
        line: dict[str, Any] = {**setting._asdict(), "draws": len(pairs), "steps": float(np.mean(own))}
        if len(null) < len(own):
            return line
        line["never_saw"] = float(np.mean(null))
        if min(null) > 0 and min(own + null) < self.steps:
            line["ratio"], *interval = ratio_of_means(own, null, seed=seed)
            line["interval"] = interval if len(own) >= FEWEST_DRAWS else None
        return line

    def _why_nothing(self, lines: list[dict[str, Any]], details: Mapping[str, Any]) -> str:
        if not lines and details["diverged"]:
            return "Every training diverged: losses or gradients were not finite. Give a lower `judged_rate`."
        if not lines:
            return (
                f"The verdict is made on {self.judged_examples} examples at {self.judged_rate:g}, which could not be "
                f"tried: {' '.join(details['skipped'])}"
            )
        if any("never_saw" in line for line in lines):
            return (
                f"Neither model has half back within {self.steps} steps, or the one that never saw it has it before "
                "any, so which is slower is not known."
            )
        fastest = min(lines, key=lambda line: line["steps"])
        return (
            f"Half of what was lost is back after {fastest['steps']:.2f} steps ({fastest['trained']}, "
            f"{fastest['opened']}), and there is no model that never saw it to hold that against."
        )


def _attempt(
    setting: Setting, draw: int, curve: Curve, null: Curve | None, steps: tuple[float, float | None], total: int
) -> Attempt:
    settings: dict[str, Any] = {**setting._asdict(), "draw": draw}
    longest = curve.at if null is None or len(null.at) <= len(curve.at) else null.at
    if list(longest) != list(range(len(longest))):
        settings["measured_at"] = list(longest)
    null_curve = () if null is None else tuple(null.hits)
    last = curve.hits[-1]  # of answers, no number of cases
    return Attempt(settings, *steps, last if isinstance(last, int) else None, total, tuple(curve.hits), null_curve)
