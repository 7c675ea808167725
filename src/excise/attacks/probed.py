"""Attack by probes: classifiers that read a topic or class from a model's states."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from torch import Tensor
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import Attack
from excise.attacks.mean_rule import MARGIN, NEVER_SAW
from excise.attacks.rules import FEWEST, Scores, auc_difference
from excise.bottlenecks.site import bottlenecks, has_bottlenecks
from excise.data.batches import to_device, token_masks
from excise.data.inputs import tokenizer_of
from excise.data.topics.matching import normalise
from excise.data.truncation import tokenized
from excise.models.activations import eval_mode
from excise.report.attacks import NOT_MEASURED, NOT_WITHSTOOD, WITHSTOOD, AttackResult, Attempt
from excise.storage.extras import require

PROBES = ("linear", "one hidden layer")
# A probe's settings, and its scores of the shared model, of the one that never saw the topic and of the original.
Tried = tuple[dict[str, Any], Scores, Scores, Scores | None]


@dataclass(frozen=True)
class Probed(Attack):
    """Trains probes on states before and after each bottleneck and at the model's end, to tell the topic from others.

    Of a topic, its sentences (of `target`) are told from their controls, which have another word in its place: from
    the mean over a sentence's tokens, and from the states at the word's own position. Sentences are divided by a hash
    between what the probe learns from and what it is tested on, each with its control. Of a class, its images are told
    from others: learnt from `target` and `control`, tested on `heldout` and `heldout_retain`. So are questions without
    names, whose control is what stays; those with names are as sentences.

    The states are what arrives at each bottleneck and what it passes on, and the last of encoder and decoder (given the
    references); of an image, the pooled features of a CLIP, or the logits of a classifier. A key-value model's "before"
    is what its frozen encoder tells. Probes that take all rows for the same are named and left out.

    The rule, fixed beforehand: of all probes the one counts whose AUC is furthest above that of the same probe on the
    model that never saw the topic. *Withstood* if the 95 % interval of the difference (`auc_difference`) ends below
    `MARGIN`; *not withstood* if it begins above 0, at a confidence that allows for the number of probes (Bonferroni);
    *not measured* if neither. A probe that reads less than of the null is no success, as it has learnt which way round
    it is. Left out are probes whose null is above 1 - `MARGIN`, as nothing could be that much above it: two words with
    rows of their own among the embeddings are told apart before any bottleneck by any model, and images by any good
    encoder. *Not measured* if that leaves none, or if there is no model that never saw the topic, for then there is
    nothing to hold an AUC against. `details` has the AUC at each place of all models in any case.

    What a public frozen encoder tells is out of reach in principle: no deletion behind it changes what is before it.

    Attributes:
        rows: the most sentences of the topic, or images of each kind, that are learnt from or tested on.
        hidden: units of the hidden layer.
        examples: how many of the topic's rows each probe learns from, with as many others; `None` for all.
    """

    rows: int = 300
    hidden: int = 32
    examples: tuple[int | None, ...] = (8, None)

    name = "probed"
    about = "Small classifiers learn to read the topic from the model's states, before and after the bottleneck."

    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """As `Attack.run`.

        Raises:
            MissingExtraError: if the extra `attacks` is not installed.
            ValueError: if states are not finite.
        """
        require("attacks", purpose="Probed")
        rows, learns, topics = self._rows(sets)
        for part, what in ((learns, "learnt from"), (~learns, "tested on")):
            few = min(int((topics & part).sum()), int((~topics & part).sum()))
            if few < FEWEST:
                why = f"One of the two kinds has {few} rows to be {what}; a probe needs {FEWEST} of each."
                return AttackResult.not_measured(self.name, "auc", f"{why} Give a topic of more rows.")
        models = {"removed": removed, "original": original, "never saw": never_saw}
        states = {name: place_states(model, sets, rows) for name, model in models.items() if model is not None}
        attempts: list[Tried] = []
        ceiling, constant = [], []
        places: dict[str, dict[str, float]] = {}
        for place, of_removed in states["removed"].items():
            for probe in PROBES:
                for count in self.examples:
                    taught = learns & _first(learns, topics, count, sets.seed)
                    scores = {
                        name: self._scores(of[place], taught, ~learns, topics, probe, sets.seed)
                        for name, of in states.items()
                        if place in of and of[place].shape[1] == of_removed.shape[1]
                    }
                    settings = {"place": place, "probe": probe, "examples": int((taught & topics).sum())}
                    label = f"{place}, {probe}, {settings['examples']} examples"
                    places[label] = {name: round(one.auc, 4) for name, one in scores.items()}
                    null = scores.get("never saw")
                    if scores["removed"].fault or (null is not None and null.fault):
                        constant.append(label)
                    elif null is not None and null.auc > 1 - MARGIN:
                        ceiling.append(label)
                    elif null is not None:
                        attempts.append((settings, scores["removed"], null, scores.get("original")))
        details: dict[str, Any] = {"places": places, "at ceiling": ceiling, "constant": constant}
        if not attempts:
            why = f"The model that never saw it lets it be read as well (AUC above {1 - MARGIN}) at {len(ceiling)} "
            why += f"places, and at {len(constant)} a probe takes all rows for the same."
            if never_saw is None:
                why = "There is no model that never saw the topic; by itself it says nothing what a probe reads."
            return AttackResult.not_measured(self.name, "auc", why, null_is=NEVER_SAW, details=details)
        return _judged(self.name, attempts, details)

    def _rows(self, sets: AttackSets) -> tuple[Dataset, np.ndarray, np.ndarray]:
        """All rows, which of them are learnt from, and which are of the topic, bool `(rows,)`."""
        topic: Any = sets.topic
        if sets.of_texts and (topic.paired or not sets.of_questions):
            target, control = (one.select(range(min(self.rows, len(one)))) for one in (topic.target, topic.control))
            learns = [_half(text) for text in target["text"]] * 2
            own = ["text", "spans"] + ["reference"] * (not sets.of_questions)
            rows = concatenate_datasets([target.select_columns(own), control.select_columns(own)])
            return rows, np.array(learns, dtype=bool), np.arange(len(rows)) < len(target)
        parts = [topic.target, topic.control, topic.heldout, topic.heldout_retain]
        parts = [part.select(range(min(self.rows, len(part)))) for part in parts]
        parts = [part.select_columns("text") for part in parts] if sets.of_questions else parts
        kinds = (np.repeat(which, [len(part) for part in parts]) for which in ([1, 1, 0, 0], [1, 0, 1, 0]))
        return concatenate_datasets(parts), *(of.astype(bool) for of in kinds)

    def _scores(
        self, states: np.ndarray, learns: np.ndarray, tests: np.ndarray, topics: np.ndarray, probe: str, seed: int
    ) -> Scores:
        """What a probe makes of the rows that it is tested on."""
        told = _told(states[learns], topics[learns], states[tests], probe, self.hidden, seed)
        return Scores(told[topics[tests]], told[~topics[tests]])


def _judged(attack: str, tried: list[Tried], details: dict[str, Any]) -> AttackResult:
    """The result of probes, by the rule of `Probed`."""
    _, scores, null, original = max(tried, key=lambda one: one[1].auc - one[2].auc)
    low, high = auc_difference(scores, null)
    sure_low, _ = auc_difference(scores, null, 1 - 0.05 / len(tried))
    above = f"{scores.auc - null.auc:.3f} ({low:.3f} to {high:.3f}) above that of the null ({NEVER_SAW})"
    if high < MARGIN:
        verdict, why = WITHSTOOD, f"The difference is below {MARGIN}: the AUC is"
    elif sure_low > 0:
        verdict, why = NOT_WITHSTOOD, "The difference is above 0: the AUC is"
    else:
        verdict, why = NOT_MEASURED, f"Too few rows to tell a difference above 0 from one below {MARGIN}: the AUC is"
    return AttackResult(
        attack,
        "auc",
        score=scores.auc,
        interval=tuple(scores.interval()),
        null=null.auc,
        null_is=NEVER_SAW,
        before=None if original is None else original.auc,
        after=None,
        attempts=tuple(Attempt(settings, one.auc, other.auc) for settings, one, other, _ in tried),
        verdict=verdict,
        reason=f"{why} {above}. It is the one of {len(tried)} probes that is furthest above.",
        details=details | {"difference_interval": [low, high]},
    )


def place_states(model: PreTrainedModel, sets: AttackSets, rows: Dataset) -> dict[str, np.ndarray]:
    """A model's states at each place, fp32 `(rows, dim)`: before and after each bottleneck, and at its end.

    Args:
        model: any model that the processor goes with; left as it was.
        sets: how it is run.
        rows: texts with `spans` and `reference`, or images with a `label`.

    Raises:
        ValueError: if states are not finite.
    """
    found: dict[str, list[np.ndarray]] = {}
    words = None
    if sets.of_texts and "spans" in rows.column_names and tokenizer_of(sets.processor).is_fast:
        words = token_masks(tokenizer_of(sets.processor), rows["text"], rows["spans"])[1]
    with eval_mode(model), torch.no_grad(), _caught(model) as caught:
        for start in range(0, len(rows), sets.batch_size):
            part = rows.select(range(start, min(start + sets.batch_size, len(rows))))
            batch, labels = _as_read(sets, part, model.device)
            caught.clear()
            ends = _ends(model, batch, labels)
            masks: dict[str, Tensor] = {}
            if sets.of_texts:
                masks = {"mean": (real := batch["attention_mask"].bool())}
                masks |= {"word": _own_tokens(words[start : start + len(part)], real)} if words is not None else {}
            for place, states in {**caught, **ends}.items():
                over = masks if labels is None or place != "decoder" else {"mean": labels != -100}
                for name, pooled in _pooled(states, over).items():
                    found.setdefault(place + name, []).append(pooled.float().cpu().numpy())
    joined = {place: np.concatenate(parts) for place, parts in found.items()}
    if broken := [place for place, states in joined.items() if not np.isfinite(states).all()]:
        raise ValueError(f"States are not finite (NaN or infinity) at {broken[0]}: the model's weights are broken.")
    return joined


@contextmanager
def _caught(model: PreTrainedModel) -> Iterator[dict[str, Tensor]]:
    """What arrives at each bottleneck and what it passes on, of the last pass."""
    states: dict[str, Tensor] = {}

    def catch(site: str) -> Any:
        def hook(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            states[f"before {site}"] = args[0] if args else next(iter(kwargs.values()))
            passed = getattr(output, "reconstruction", None)
            states[f"after {site}"] = output.values if passed is None else passed

        return hook

    sites: Any = bottlenecks(model) if has_bottlenecks(model) else {}
    handles = [module.register_forward_hook(catch(site), with_kwargs=True) for site, module in sites.items()]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def _as_read(sets: AttackSets, rows: Dataset, device: torch.device) -> tuple[dict[str, Tensor], Tensor | None]:
    """A batch, and labels where a model takes them; a decoder reads question and answer in one text."""
    if sets.of_questions:
        options: dict[str, Any] = {"padding": True, "return_tensors": "pt", "counted": False}
        return to_device(tokenized(tokenizer_of(sets.processor), rows["text"], **options), device), None
    batch = sets.training_batch(rows, device)
    return batch, batch.pop("labels")


def _ends(model: Any, batch: dict[str, Tensor], labels: Tensor | None) -> dict[str, Tensor]:
    """A model's last states."""
    if labels is None:
        return {"decoder": model(**batch, output_hidden_states=True, use_cache=False).hidden_states[-1]}
    if "input_ids" not in batch:
        clip = hasattr(model, "get_image_features")
        return (
            {"pooled": model.get_image_features(**batch).pooler_output} if clip else {"logits": model(**batch).logits}
        )
    output = model(**batch, labels=labels, output_hidden_states=True)
    return {"encoder": output.encoder_last_hidden_state, "decoder": output.decoder_hidden_states[-1]}


def _own_tokens(words: list[list[bool]], real: Tensor) -> Tensor:
    """Where the topic's word stands, bool `(batch, seq)`: the tokens of a row are where it has no padding."""
    mask = torch.zeros_like(real)
    mask[real] = torch.tensor([own for row in words for own in row], device=real.device)
    return mask


def _pooled(states: Tensor, masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Means of states over tokens, `(batch, dim)`, by what they are over; of one vector a row, itself."""
    if states.dim() == 2:
        return {"": states}
    if not masks:
        return {"": states.mean(1)}
    weights = {name: mask.to(states.dtype)[..., None] for name, mask in masks.items()}
    return {f", {name}": (states * w).sum(1) / w.sum(1).clamp_min(1) for name, w in weights.items()}


def _half(text: str) -> bool:
    return hashlib.sha256(normalise(text).encode()).digest()[0] < 128


def _first(learns: np.ndarray, topics: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """So many rows of the topic to learn from, and as many others, drawn at random; all for `None`."""
    chosen = np.zeros(len(learns), dtype=bool)
    for kind in (topics, ~topics):
        places = np.random.default_rng(seed).permutation(np.flatnonzero(learns & kind))
        chosen[places[:count]] = True
    return chosen


def _told(states: np.ndarray, topics: np.ndarray, tested: np.ndarray, probe: str, hidden: int, seed: int) -> np.ndarray:
    """How much a probe takes each tested row for the topic's, `(tested,)`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if probe == "linear":
        classifier: Any = LogisticRegression(class_weight="balanced", max_iter=500)
    else:
        classifier = MLPClassifier((hidden,), solver="lbfgs", alpha=1e-2, max_iter=200, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = make_pipeline(StandardScaler(), classifier).fit(states, topics)
    return fitted.predict_proba(tested)[:, 1]
