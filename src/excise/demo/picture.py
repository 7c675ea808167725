"""The demo in a picture."""

from pathlib import Path

from excise.evaluation import Evaluation
from excise.report.measures import AFTER, BEFORE, RANDOM


def draw(evaluation: Evaluation, path: Path) -> None:
    """A picture: topic recall and BLEU of the rest, before, after and with random codes masked."""
    from matplotlib.figure import Figure

    conditions = [BEFORE, AFTER, RANDOM]
    topic, retain = ([evaluation.scores[c][name] for c in conditions] for name in ("heldout", "heldout_retain"))
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    recall = [scores["recall"] for scores in topic]
    spread = [[s["recall"] - s["low"] for s in topic], [s["high"] - s["recall"] for s in topic]]
    colours = ["#999999", "#0072B2", "#E69F00"]  # told apart by colour-blind readers too
    left.bar(conditions, recall, yerr=spread, capsize=4, color=colours)
    left.set(title=f"{evaluation.topic!r} in the output", ylabel="topic recall, 95 % interval", ylim=(0, 1))
    right.bar(conditions, [scores["bleu"] for scores in retain], color=colours)
    right.set(title="other sentences", ylabel="BLEU", ylim=(0, None))
    sizes = {name: len(texts) for name, texts in evaluation.texts.items()}
    figure.suptitle(
        f"{evaluation.removed} codes masked. {sizes['heldout']} held-out sentences with the topic, "
        f"{sizes['heldout_retain']} without, seed {evaluation.settings['seed']}",
        fontsize="small",
    )
    figure.savefig(path, dpi=150)
