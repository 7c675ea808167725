"""The whole way in two minutes on real text: train from nothing, forget a topic, show it, save, reload, undo."""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    ProgressCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

from excise.bottlenecks import CodebookSAEConfig
from excise.data import load_demo, train_tokenizer
from excise.evaluation import Evaluation, evaluate, generate_texts
from excise.evaluation.result import AFTER, BEFORE, RANDOM
from excise.files import new_folder
from excise.models.codebook_t5 import CodebookT5ForConditionalGeneration
from excise.topics import TopicSets, topic_sets
from excise.training import BottleneckCallback, initialize_codes
from excise.unlearner import Unlearner

TOPIC = "book"
_TOPIC_ROW = re.compile(rf"\b{TOPIC}s?\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Recipe:
    """What the demo trains, and for how long.

    Attributes:
        max_words: longest English sentence; those of the topic may be two words longer.
        min_count: every word, English and French, is in so many sentences.
        dim: width of the model.
        plain_steps: steps of a T5 without a bottleneck.
        codebook_steps: steps with it.
        init_steps: steps of the bottleneck alone, in between.
        num_codes: size of the codebook.
        batch_size: sentences a step.
        learning_rate: at first, of all but the embeddings.
        embedding_boost: times that, for the embeddings: T5 starts them at a standard deviation of 1, far from where
            steps of the usual size would bring them in a minute.
        max_retain: sentences without the topic, for selecting and for evaluating.
        seed: of everything.
    """

    max_words: int = 5
    min_count: int = 40
    dim: int = 128
    plain_steps: int = 500
    codebook_steps: int = 300
    init_steps: int = 60
    num_codes: int = 1024
    batch_size: int = 64
    learning_rate: float = 2e-3
    embedding_boost: float = 6.0
    max_retain: int = 300
    seed: int = 0


@dataclass(frozen=True)
class Bounds:
    """What must come out, or the demo fails. Measured values stand in the documentation of the demo.

    Attributes:
        min_recall_before: topic recall of the trained model, so that there is something to forget.
        min_recall_lost: share of it that is gone afterwards.
        max_retain_loss: share of BLEU on other sentences that is gone.
        max_random_lost: share of topic recall that is gone with random codes.
    """

    min_recall_before: float = 0.5
    min_recall_lost: float = 0.8
    max_retain_loss: float = 0.1
    max_random_lost: float = 0.25


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
    recipe: Recipe = Recipe(),
    bounds: Bounds = Bounds(),
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

        clock.start(f"Finding and masking the codes of {TOPIC!r}")
        unlearner = Unlearner(model.eval(), tokenizer)
        unlearner.save_pretrained(partial / "model")
        original = outputs(model, tokenizer, topic)
        enrichment = unlearner.enrich(topic, progress=progress)
        request = unlearner.mask(enrichment.select(q=0.05), topic)

        clock.start("Evaluating before, after, and with random codes masked")
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


def easy_pairs(recipe: Recipe) -> tuple[Dataset, Dataset]:
    """Sentence pairs, train and test, that a small model learns in a minute: short, of frequent words."""
    pairs = {split: list(rows["translation"]) for split, rows in load_demo().items()}

    def words(text):
        return _WORD.findall(text.lower())

    counts = {key: Counter(w for pair in pairs["train"] for w in set(words(pair[key]))) for key in ("en", "fr")}

    def easy(pair):
        longest = recipe.max_words + (2 if _TOPIC_ROW.search(pair["en"]) else 0)
        frequent = all(counts[key][word] >= recipe.min_count for key in counts for word in words(pair[key]))
        return frequent and len(pair["en"].split()) <= longest

    train, test = (
        Dataset.from_dict({"translation": [pair for pair in pairs[split] if easy(pair)]}) for split in ("train", "test")
    )
    return train, test


def tokenize_pairs(pairs: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Rows as a `Seq2SeqTrainer` takes them."""
    english, french = ([pair[key] for pair in pairs["translation"]] for key in ("en", "fr"))
    return Dataset.from_dict(dict(tokenizer(english, text_target=french)))


def plain_t5(tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> T5ForConditionalGeneration:
    """A T5 with random weights."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=recipe.dim,
        d_kv=recipe.dim // 4,
        d_ff=3 * recipe.dim,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        relative_attention_num_buckets=16,
        relative_attention_max_distance=32,
        dropout_rate=0.0,
        decoder_start_token_id=tokenizer.pad_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return T5ForConditionalGeneration(config)


def fit(
    model: PreTrainedModel,
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    steps: int,
    progress: bool,
) -> None:
    """Trains with an ordinary `Seq2SeqTrainer`."""
    args = Seq2SeqTrainingArguments(
        tempfile.gettempdir(),  # nothing is written there
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_size,
        train_sampling_strategy="group_by_length",
        lr_scheduler_type="linear",
        warmup_steps=max(1, steps // 20),
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        dataloader_pin_memory=False,
        disable_tqdm=not progress,
        seed=recipe.seed,
    )
    embeddings = model.get_input_embeddings().weight
    others = [parameter for parameter in model.parameters() if parameter is not embeddings]
    groups = [
        {"params": [embeddings], "lr": recipe.learning_rate * recipe.embedding_boost},
        {"params": others, "lr": recipe.learning_rate},
    ]
    has_codes = isinstance(model, CodebookT5ForConditionalGeneration)
    trainer = Seq2SeqTrainer(
        model=model,
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        callbacks=[BottleneckCallback(revive_every=50)] if has_codes else None,
        optimizers=(torch.optim.AdamW(groups, betas=(0.9, 0.98)), None),
    )
    if not progress:
        trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.remove_callback(ProgressCallback)


def outputs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, topic: TopicSets) -> list[str]:
    """What the model makes of the topic's held-out sentences."""
    return generate_texts(model, tokenizer, topic.heldout["text"], max_new_tokens=24)


def broken_bounds(evaluation: Evaluation, bounds: Bounds) -> list[str]:
    """The bounds that an evaluation misses, in words."""
    recall = {condition: sets["heldout"]["recall"] for condition, sets in evaluation.scores.items()}
    before = recall[BEFORE]
    lost = {condition: (before - recall[condition]) / before if before else 0.0 for condition in (AFTER, RANDOM)}
    retain = evaluation.relative_drop("bleu", "heldout_retain")
    checks = [
        (before >= bounds.min_recall_before, f"topic recall before is {before:.2f}, below {bounds.min_recall_before}"),
        (
            lost[AFTER] >= bounds.min_recall_lost,
            f"{lost[AFTER]:.0%} of topic recall is gone, less than {bounds.min_recall_lost:.0%}",
        ),
        (
            retain <= bounds.max_retain_loss,
            f"{retain:.1%} of BLEU on other sentences is gone, more than {bounds.max_retain_loss:.0%}",
        ),
        (
            lost[RANDOM] <= bounds.max_random_lost,
            f"random codes take {lost[RANDOM]:.0%} of topic recall, more than {bounds.max_random_lost:.0%}",
        ),
    ]
    return [problem for holds, problem in checks if not holds]


def broken_promises(folder: Path, request: int, after: list[str], before: list[str], topic: TopicSets) -> list[str]:
    """What does not hold of a saved model: reloaded it forgets the same, undone it is as it was."""
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    unlearner = Unlearner(model.eval(), tokenizer)
    problems = []
    if outputs(model, tokenizer, topic) != after:
        problems.append("the reloaded model does not put out what the saved one did")
    masked = {site: (~bottleneck.live).nonzero().flatten().tolist() for site, bottleneck in unlearner.sites.items()}
    if masked != {site: unlearner.ledger.removed(site) for site in masked} or not any(masked.values()):
        problems.append("the mask is not in force in the reloaded model")
    unlearner.undo(request)
    if outputs(model, tokenizer, topic) != before:
        problems.append("undoing the request does not bring the first outputs back")
    return problems


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


def _text(evaluation: Evaluation, seconds: dict[str, float], folder: str | Path) -> str:
    lines = [str(evaluation), "", "What changed:"]
    for row in evaluation.examples():
        lines += [
            f"  {row['text']}   (reference: {row['reference']})",
            f"    before: {row[BEFORE]}",
            f"    after:  {row[AFTER]}",
        ]
    lines += ["", *(f"{value:6.1f} s  {step}" for step, value in seconds.items())]
    lines += [f"{sum(seconds.values()):6.1f} s  in all", f"Models, evaluation and picture are in {folder}"]
    return "\n".join(lines)
