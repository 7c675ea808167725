"""The demo, from the first step to the last."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import set_seed

from excise.bottlenecks.codebook_sae.configuration import CodebookSAEConfig
from excise.cli.demo.checks import Bounds, broken_bounds, broken_promises, draw, outputs
from excise.cli.demo.training import TOPIC, Recipe, easy_pairs, fit, plain_t5, tokenize_pairs
from excise.data.packaged import train_tokenizer
from excise.data.topics import topic_sets
from excise.evaluation.texts import evaluate
from excise.models.codebook_t5 import CodebookT5ForConditionalGeneration
from excise.report.measures import Condition
from excise.report.results import Evaluation
from excise.storage.files import new_folder
from excise.training import initialize_codes, set_min_similarity
from excise.unlearner import Unlearner

RECIPE, BOUNDS = Recipe(), Bounds()


@dataclass(frozen=True)
class DemoResult:
    """What the demo shows.

    Attributes:
        text: the table, examples and times, for a reader.
        data: the same, for a script.
        problems: bounds that were missed, in words.
    """

    text: str
    data: dict[str, Any]
    problems: tuple[str, ...] = ()


@dataclass
class _Clock:
    """Says what is being done, and keeps how long it took."""

    say: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    def start(self, step: str) -> None:
        self.stop()
        self.step, self.started = step, time.perf_counter()
        self.say(f"{step} ...")

    def stop(self) -> None:
        if hasattr(self, "step"):
            self.seconds[self.step] = time.perf_counter() - self.started


def run_demo(
    folder: str | Path,
    *,
    recipe: Recipe = RECIPE,
    bounds: Bounds = BOUNDS,
    progress: bool = True,
    say: Callable[[str], None] = lambda message: None,
) -> DemoResult:
    """Trains a small T5 with a codebook from nothing, makes it forget *book*, and checks what it did.

    Args:
        folder: new or empty; gets the models before and after, the topic sets, the evaluation and a picture.
        recipe: what is trained.
        bounds: what must come out.
        progress: show progress bars.
        say: takes a line before each step.
    """
    set_seed(recipe.seed)
    clock = _Clock(say)
    with new_folder(folder) as partial:
        clock.start("Choosing easy sentences and training a tokenizer on them")
        train, test = easy_pairs(recipe)
        tokenizer = train_tokenizer([text for pair in train["translation"] for text in pair.values()], 1500)
        topic = topic_sets(
            train,
            TOPIC,
            text="en",
            reference="fr",
            evaluation=test,
            max_retain=recipe.max_retain,
            min_examples=10,
            seed=recipe.seed,
            progress=progress,
        )
        topic.save(partial / "topic")

        clock.start(f"Training a plain T5 from nothing on {len(train)} sentence pairs")
        rows = tokenize_pairs(train, tokenizer)
        model = plain_t5(tokenizer, recipe)
        fit(model, rows, tokenizer, recipe, recipe.plain_steps, progress)
        model.save_pretrained(partial / "plain")

        clock.start("Training it on, through a codebook")
        bottleneck = CodebookSAEConfig(num_codes=recipe.num_codes, top_s=4)
        model = CodebookT5ForConditionalGeneration.from_base(str(partial / "plain"), bottleneck, [1])
        initialize_codes(model, rows, tokenizer, max_tokens=20_000, steps=recipe.init_steps, progress=progress)
        fit(model, rows, tokenizer, recipe, recipe.codebook_steps, progress)
        set_min_similarity(model, rows, tokenizer, progress=progress)

        clock.start(f"Finding and masking the codes of {TOPIC!r}")
        unlearner = Unlearner(model.eval(), tokenizer)
        unlearner.save_pretrained(partial / "model")
        original = outputs(model, tokenizer, topic)
        request = unlearner.forget(topic, progress=progress)

        clock.start("Evaluating before, after, without the bottleneck, and with random codes masked")
        evaluation = evaluate(unlearner, topic, max_new_tokens=24, progress=progress)
        evaluation.save(partial / "evaluation.json")
        draw(evaluation, partial / "demo.png")

        clock.start("Saving, reloading and undoing")
        unlearner.save_pretrained(partial / "unlearned")
        problems = broken_bounds(evaluation, bounds)
        problems += broken_promises(
            partial / "unlearned", request.id, outputs(model, tokenizer, topic), original, topic
        )
        clock.stop()
    return DemoResult(
        _text(evaluation, clock.seconds, folder),
        {
            "topic": topic.name,
            "codes": request.codes,
            "scores": evaluation.scores,
            "examples": evaluation.examples(),
            "seconds": clock.seconds,
            "out": str(folder),
        },
        tuple(problems),
    )


def _text(evaluation: Evaluation, seconds: dict[str, float], folder: str | Path) -> str:
    lines = [str(evaluation), "", "What changed:"]
    for row in evaluation.examples():
        lines += [
            f"  {row['text']}   (reference: {row['reference']})",
            f"    before: {row[Condition.BEFORE]}",
            f"    after:  {row[Condition.AFTER]}",
        ]
    lines += ["", *(f"{value:6.1f} s  {step}" for step, value in seconds.items())]
    lines += [f"{sum(seconds.values()):6.1f} s  in all", f"Models, evaluation and picture are in {folder}"]
    return "\n".join(lines)
