"""Evaluation of generated texts: a topic's held-out sets, before and after and under the controls."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from evaluate import Metric
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.codes.counts import CodeCounts
from excise.codes.finder import CodeFinder
from excise.codes.selection import Selection
from excise.data.batches import RowBatch, RowBatches, to_device
from excise.data.classes import ClassSets
from excise.data.inputs import Texts
from excise.data.topics import TopicSets, topic_words
from excise.data.truncation import cut_before, tell_cut_before, tokenized
from excise.evaluation.controls import SETS, Evaluated, base_model, evaluated
from excise.evaluation.metrics import Bleu, Chrf, TopicRecall
from excise.evaluation.metrics.tokenizers import fitting_tokenizer
from excise.evaluation.metrics.words import rest_of_sentence
from excise.evaluation.predictions import joined_pass
from excise.models.activations import eval_mode
from excise.report.measures import Condition
from excise.report.results import Evaluation
from excise.storage.expected import ARGUMENTS, expects
from excise.storage.extras import require


@expects("model", "texts", tokenizer="processor")
@torch.inference_mode()
def generate_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    num_beams: int = 1,
    max_new_tokens: int = 128,
    batch_size: int = 64,
    progress: str | None = None,
) -> list[str]:
    """What a model generates for each text, in the order of the texts, without sampling (CodeUnlearn, appendix B.2).

    The processes of a run that call it share the batches, and each gets all texts.

    Args:
        model: any model that generates from `input_ids`; run in eval mode and left as it was.
        tokenizer: the model's.
        texts: the inputs.
        num_beams: 1 is greedy.
        max_new_tokens: length at which a text is cut off.
        batch_size: texts a batch.
        progress: label of a progress bar; none is shown without it.
    """
    texts = list(texts)
    if other := [row for row, text in enumerate(texts) if not isinstance(text, str)]:
        raise ValueError(f"Row {other[0]} of the texts is {str(texts[other[0]])[:40]}. Leave out what is no text.")
    input_ids = tokenized(tokenizer, texts)["input_ids"]
    generates: Any = model  # what generates has no type of its own beside `PreTrainedModel`
    options = {"num_beams": num_beams, "do_sample": False, "max_new_tokens": max_new_tokens}

    def step(outputs: dict[int, str], batch: RowBatch) -> dict[int, str]:
        (tensors,) = batch.tensors()
        generated = generates.generate(**to_device(tensors, model.device), **options)
        texts = tokenizer.batch_decode(generated, skip_special_tokens=True)
        outputs.update(zip(batch.rows, texts, strict=True))
        return outputs

    settings = {"function": "generate_texts", "batch_size": batch_size, **options}
    batches = RowBatches([input_ids], lambda rows: Texts(rows, tokenizer), batch_size, progress)
    with eval_mode(model):
        outputs = joined_pass(model, settings, batches, step)
    return [outputs[row] for row in range(len(texts))]


@expects("finder", "seed", num_beams="number", max_new_tokens="number", batch_size="number")
def evaluate(
    finder: CodeFinder,
    topic: TopicSets,
    *,
    selection: Selection | None = None,
    words: Iterable[str] | None = None,
    reference_model: PreTrainedModel | None = None,
    reference_tokenizer: PreTrainedTokenizerBase | None = None,
    base: str | os.PathLike | PreTrainedModel | None = None,
    metrics: Sequence[Metric] = (),
    num_beams: int = 1,
    max_new_tokens: int = 128,
    batch_size: int = 64,
    seed: int = 0,
    random_codes: bool = True,
    left_out: bool = True,
    erased: bool = True,
    cut_out: bool = False,
    target: Mapping[str, CodeCounts] | None = None,
    retain: Mapping[str, CodeCounts] | None = None,
    reuse: Evaluation | None = None,
    progress: bool = True,
) -> Evaluation:
    """Generates a topic's held-out sets before, after, without the bottlenecks and under the controls, and scores them.

    The model is left as it was. "After" is the model as it is now, with its masks; or, given a selection, the model
    with those codes masked for a trial. Once codes are deleted there is no "before" and no random control: evaluate
    while they are masked.

    Args:
        finder: the model and its ledger.
        topic: sets with references; `target`, `control` and `retain` are not scored.
        selection: codes to try, chosen on this model; those in the ledger if not given.
        words: the topic's words in the language of the references; found on target and retain if not given.
        reference_model: one that never saw the topic, or the paper's zero-shot model; for normalised drops.
        reference_tokenizer: its own; the unlearner's if not given.
        base: the plain model that the bottlenecks were put into, as it was or trained on in the same way: a path, a Hub
            id or a model in memory. It shows what the bottlenecks themselves cost.
        metrics: more metrics, such as `Meteor()`; their numbers are added to the scores.
        num_beams: 1 is greedy.
        max_new_tokens: length at which an output is cut off.
        batch_size: sentences a batch.
        seed: of the random codes.
        random_codes: also evaluate with as many random live codes masked instead, drawn twice: as often used in the
            retain set as the selected ones, and as often used in the topic's target, or as near to it as there are any.
            How often all of them fire is in the settings. These controls take twice as long again.
        left_out: also evaluate with the bottlenecks left out: what the plain class of the same weights puts out, which
            is the first thing that somebody tries who wants the topic back. Masks, and deletions of codes alone, do not
            change it.
        erased: also evaluate with the embedding rows erased that go with the codes when these are deleted, with the
            bottlenecks and, if `left_out`, without.
        cut_out: also evaluate before, with the topic's word cut out of its sentences: what is still said is guessed.
        target: how often each code is passed on in the target, by site, on which random codes are matched; counted if
            not given.
        retain: the same, over the retain set.
        reuse: an earlier evaluation of the same model on the same sets. Its outputs and scores before, with the word
            cut out, with the bottlenecks left out, and of the base and the reference model, are taken over; a sweep
            would make them anew at each step otherwise.
        progress: show progress bars.

    Raises:
        MissingExtraError: if the extra `text` is not installed.
        ValueError: if the sets have no references, no word of the references goes with the topic, the base model has
            bottlenecks or another vocabulary, or what is to be reused was made on other sets or in another way.
    """
    if isinstance(topic, ClassSets):
        raise ValueError(f"{topic.name!r} is a class of images, which has no texts to score. Use `evaluate_classes`.")
    if not isinstance(topic, TopicSets):
        hint = ARGUMENTS["topic"].hint(topic)
        message = f"topic is a {type(topic).__name__}; expected sets as `topic_sets` makes them.{hint}"
        raise ValueError(message)
    require("text", purpose="evaluate")
    if topic.reference is None:
        raise ValueError("The topic sets have no references to score against. Give topic_sets a `reference` column.")
    data = topic.digest()
    topic, cut_off = as_read(topic, finder.tokenizer)
    words = tuple(words) if words is not None else topic_words(topic)
    if not words:
        raise ValueError(f"No word of the references goes with {topic.name!r} for sure. Give `words` by hand.")
    scorer = _Scorer(topic, words, metrics)

    def generated_from(texts, model, condition, tokenizer=finder.tokenizer):
        options = {"num_beams": num_beams, "max_new_tokens": max_new_tokens, "batch_size": batch_size}
        return generate_texts(model, tokenizer, texts, **options, progress=condition if progress else None)

    def run(*args):
        return {name: generated_from(scorer.texts[name], *args) for name in SETS}

    def cut(before):
        texts = [without_spans(*row) for row in zip(scorer.texts["heldout"], topic.heldout["spans"], strict=True)]
        return before | {"heldout": generated_from(texts, finder.model, Condition.CUT)}

    def reference():
        return run(reference_model, Condition.REFERENCE, reference_tokenizer or finder.tokenizer)

    settings = {
        "num_beams": num_beams,
        "max_new_tokens": max_new_tokens,
        "metrics": [type(metric).__name__ for metric in metrics],
        "data": data,
    }
    what = Evaluated(
        words,
        scorer.texts,
        scorer.references,
        run,
        lambda condition, outputs: scorer.scores(outputs),
        settings,
        cut_off,
        cut=cut if cut_out else None,
        base=None if base is None else lambda: base_model(base, finder),
        reference=None if reference_model is None else reference,
    )
    return evaluated(
        finder,
        topic,
        what,
        selection,
        seed=seed,
        random_codes=random_codes,
        left_out=left_out,
        erased=erased,
        target=target,
        retain=retain,
        reuse=reuse,
        progress=progress,
    )


def as_read(topic: TopicSets, tokenizer: PreTrainedTokenizerBase) -> tuple[TopicSets, dict[str, Any]]:
    """A topic without the held-out sentences that are cut off before its word, which say nothing of it.

    Args:
        topic: the sets.
        tokenizer: the model's.

    Returns:
        The sets, and what an evaluation's settings say of it: `cut_off`, how many sentences, of how many, and the
        length in tokens; nothing where there are none.

    Raises:
        ValueError: if all are cut off.
    """
    rows = topic.heldout
    cut = cut_before(tokenizer, rows["text"], rows["spans"]) if "spans" in rows.column_names else []
    if not any(cut):
        return topic, {}
    tell_cut_before(sum(cut), len(cut), tokenizer, "held-out sentences")
    heldout = rows.select([row for row, is_cut in enumerate(cut) if not is_cut])
    said = {"sentences": sum(cut), "of": len(cut), "max_length": tokenizer.model_max_length}
    return replace(topic, heldout=heldout), {"cut_off": said}


def without_spans(text: str, spans: Iterable[Sequence[int]]) -> str:
    """A text with spans of characters cut out.

    Example:
        >>> without_spans("I love Boston in May.", [[7, 13]])
        'I love in May.'
    """
    for start, end in sorted(map(tuple, spans), reverse=True):
        text = text[:start] + text[end:]
    return " ".join(text.split())


class _Scorer:
    """The scores of a topic's held-out sets."""

    def __init__(self, topic: TopicSets, words: tuple[str, ...], metrics: Sequence[Metric]):
        self.texts = {name: list(getattr(topic, name)["text"]) for name in SETS}
        self.references = {name: list(getattr(topic, name)["reference"]) for name in SETS}
        self.words = words
        # One for all sets and conditions.
        self.bleu = Bleu(tokenize=fitting_tokenizer(text for of_set in self.references.values() for text in of_set))
        self.metrics = [self.bleu, Chrf(), *metrics]
        # Raises where no reference holds a word: before hours of generating rather than after them.
        TopicRecall(words).compute(predictions=self.references["heldout"], references=self.references["heldout"])

    def scores(self, outputs: dict[str, list[str]]) -> dict[str, dict]:
        scores = {name: self._all_metrics(outputs[name], self.references[name]) for name in SETS}
        rest, rest_references = (
            [rest_of_sentence(text, self.words) for text in texts]
            for texts in (outputs["heldout"], self.references["heldout"])
        )
        scores["heldout"]["rest_bleu"] = self.bleu.compute(predictions=rest, references=rest_references)["bleu"]
        scores["heldout"] |= TopicRecall(self.words).compute(
            predictions=outputs["heldout"], references=self.references["heldout"]
        )
        return scores

    def _all_metrics(self, predictions: list[str], references: list[str]) -> dict:
        scores: dict[str, Any] = {}
        for metric in self.metrics:
            scores |= metric.compute(predictions=predictions, references=references)
        return scores
