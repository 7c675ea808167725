"""Attack by other words: synonyms, inflections, misspellings, other case, translation, and a topic not named at all."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from transformers import PreTrainedModel

from excise.attacks.asked_otherwise import asked_otherwise
from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import NEVER_SAW, Attack, null_hits, share_result
from excise.data.inputs import tokenizer_of
from excise.data.topics import associated_words
from excise.data.topics.inflections import inflections
from excise.data.topics.parts_of_speech import nearest_form
from excise.data.topics.spellings import MISSPELLINGS, misspelt
from excise.data.topics.synonyms import is_derived, wordnet_synonyms
from excise.evaluation.classes import predict_classes
from excise.evaluation.metrics.words import phrases, spans
from excise.evaluation.texts import without_spans
from excise.report.attacks import AttackResult

# Makes another wording of a word, as it stands in a sentence; nothing where there is none.
Wording = Callable[[str], str | None]
# Texts, or names of a class, in each wording: by its kind and what is special to it.
Asked = dict[tuple[str, str], list[str]]
# Of a topic whose synonyms are looked for, the most that are tried; and of sentences that imply it.
MOST_SYNONYMS, MOST_IMPLIED = 6, 200


@dataclass(frozen=True)
class SaidOtherwise(Attack):
    """Asks for the topic in other words: the held-out sentences with its word in another wording, or without it.

    Each wording is an attempt: synonyms, each inflected form, letters swapped, dropped or doubled, upper case, lower
    case and title case, the word of the references put into the source, the word cut out or a pronoun in its place, and
    the word inside longer words. What counts is whether any of the topic's words in the references' language comes out,
    in whichever form; of a class in a CLIP, whether images are taken for it when it goes by the other wording. Wordings
    that the tokenizer reads like the word itself are left out, as are those that a word does not have.

    The rule is that of `share_result`. The null of a wording is the same wording given to the model that never saw the
    topic. Where there is none, the topic's word put into the source in the references' language is not judged, as a
    model may copy it without knowing anything; what came out is in `details`.

    Sentences of `heldout_retain` whose reference holds the topic's word while the source does not are other cases than
    the held-out ones: they are in `details` (`"implied"`) and not judged.

    Attributes:
        synonyms: other words for the topic, in the language of the source. If none are given: WordNet's, where NLTK has
            its data; or else the words that the retain set has where its references have the topic's.
        pronouns: what stands in the word's place where it is implied.
        compounds: longer words, with `{}` for the topic's.
        seed: of the misspellings.
    """

    synonyms: tuple[str, ...] = ()
    pronouns: tuple[str, ...] = ("it",)
    compounds: tuple[str, ...] = ("{}shop", "{}like", "mini{}")
    seed: int = 0

    name = "said otherwise"
    about = "The topic is asked for in other words: synonyms, misspellings, other case, or implied and not named."

    def __post_init__(self) -> None:
        if isinstance(self.synonyms, str) or isinstance(self.pronouns, str):
            raise ValueError("`synonyms` and `pronouns` are tuples of words, for example synonyms=('novel',).")
        if broken := [one for one in self.compounds if "{}" not in one]:
            raise ValueError(f"`compounds` holds {broken[0]!r}: expected {{}} for the topic's word, as in '{{}}shop'.")

    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """As `Attack.run`; of questions, by `asked_otherwise`."""
        if sets.of_questions:
            return asked_otherwise(self.name, original, removed, never_saw, cast(Any, sets), self.seed)
        wordings, details = self._wordings(sets)
        if sets.of_texts:
            rows = sorted({row for row, _ in sets.cases})
            heldout = sets.topic.heldout.select(rows)
            places = heldout["spans"] if "spans" in heldout.column_names else [[]] * len(rows)
            if lacking := sum(not place for place in places):
                return AttackResult.not_measured(
                    self.name, sets.measure, f"{lacking} of {len(rows)} held-out sentences tell no `spans` of the "
                    "topic's word, so it cannot be said otherwise. Give sets as `topic_sets` makes them.",
                )  # fmt: skip
            asked = _sentences(wordings, list(zip(heldout["text"], places, strict=True)))
        elif not hasattr(removed, "get_text_features"):
            why = "The model tells classes by their number and is asked in no words, so there are no others."
            return AttackResult.not_measured(self.name, sets.measure, why)
        else:
            asked = _names(wordings, sets)
        same, asked = _read_alike(sets, asked)
        details["left out"] = same + [label for label in wordings if label not in asked and label not in same]
        if not asked:
            return AttackResult.not_measured(
                self.name, sets.measure, "No wording differs from the topic's word. Give `synonyms`.", details=details
            )
        hits = _text_hits if sets.of_texts else _class_hits
        came_out, of_null = hits(removed, sets, asked), hits(never_saw, sets, asked) if never_saw is not None else {}
        null, null_is = null_hits(original, never_saw, sets)
        copied = [label for label in asked if label[0] == "translation" and null_is != NEVER_SAW]
        details["not judged"] = [_shown(label, sets) | {"hits": int(came_out[label].sum())} for label in copied]
        if sets.of_texts:
            details |= _implied({"original": original, "removed": removed, "never saw": never_saw}, sets)
        details["left out"] = [_shown(label, sets) for label in details["left out"]]
        attempts = [
            (_shown(label, sets), came_out[label], of_null.get(label), None) for label in asked if label not in copied
        ]
        before = None if original is None else sets.hits(original)
        return share_result(self.name, sets, attempts, before, sets.hits(removed), null, null_is, **details)

    def _wordings(self, sets: AttackSets) -> tuple[dict[tuple[str, str], Wording], dict[str, Any]]:
        """All wordings by kind and word, and where the synonyms are from."""
        topic: Any = sets.topic
        rng = np.random.default_rng((sets.seed, self.seed))
        name = topic.words[0] if sets.of_texts else topic.classes[topic.label]
        found, source = (self.synonyms, "given") if self.synonyms else _synonyms(name, sets)
        forms = topic.inflections if sets.of_texts else _forms(name)
        wordings: dict[tuple[str, str], Wording] = {("synonym", one): partial(_inflected, one, name) for one in found}
        wordings |= {("inflection", one): partial(_cased, one) for one in forms}
        for how in MISSPELLINGS:
            wordings["misspelling", how] = partial(misspelt, how=how, rng=rng)
        for how, cased in {"upper": str.upper, "lower": str.lower, "title": str.title}.items():
            wordings["case", how] = cased
        if sets.of_texts:
            wordings |= {("translation", one): partial(_put, one) for one in sets.words}
            wordings["implied", "cut out"] = partial(_put, "")
            wordings |= {("implied", one): partial(_cased, one) for one in self.pronouns}
        wordings |= {("longer word", one): partial(_inside, one) for one in self.compounds}
        return wordings, {"synonyms": source}


def _sentences(
    wordings: dict[tuple[str, str], Wording], sentences: Sequence[tuple[str, Sequence[Sequence[int]]]]
) -> Asked:
    """The sentences in each wording that all their topic words have."""
    asked: Asked = {}
    for label, wording in wordings.items():
        if label == ("implied", "cut out"):
            asked[label] = [without_spans(text, places) for text, places in sentences]
            continue
        made = [_reworded(text, places, wording) for text, places in sentences]
        if texts := [text for text in made if text is not None]:
            asked |= {label: texts} if len(texts) == len(made) else {}
    return asked


def _reworded(text: str, places: Iterable[Sequence[int]], wording: Wording) -> str | None:
    for start, end in sorted(map(tuple, places), reverse=True):
        new = wording(text[start:end])
        if new is None:
            return None
        text = text[:start] + new + text[end:]
    return text


def _names(wordings: dict[tuple[str, str], Wording], sets: AttackSets) -> Asked:
    """The class by each wording of its name that no other class has."""
    topic: Any = sets.topic
    classes = topic.classes
    made = {label: wording(classes[topic.label]) for label, wording in wordings.items()}
    return {label: [name] for label, name in made.items() if name and name not in classes}


def _read_alike(sets: AttackSets, asked: Asked) -> tuple[list[tuple[str, str]], Asked]:
    """Wordings that the tokenizer reads like the word itself, and the others."""
    topic: Any = sets.topic
    if sets.of_texts:
        own = list(topic.heldout.select(sorted({row for row, _ in sets.cases}))["text"])
    else:
        own = [topic.classes[topic.label]]
    tokenizer = tokenizer_of(sets.processor)
    plain = tokenizer(own)["input_ids"]
    same = [label for label, texts in asked.items() if tokenizer(texts)["input_ids"] == plain]
    return same, {label: texts for label, texts in asked.items() if label not in same}


def _text_hits(model: PreTrainedModel, sets: AttackSets, asked: Asked) -> dict[tuple[str, str], np.ndarray]:
    """In which cases any of the topic's words comes out of the sentence in each wording, bool `(cases,)`."""
    every = list(dict.fromkeys(text for texts in asked.values() for text in texts))
    said = dict(zip(every, sets.outputs(model, every), strict=True))
    rows, wanted = sorted({row for row, _ in sets.cases}), phrases(sets.words)
    hits = {}
    for label, texts in asked.items():
        named = {row: bool(spans(said[text], wanted)) for row, text in zip(rows, texts, strict=True)}
        hits[label] = np.array([named[row] for row, _ in sets.cases])
    return hits


def _class_hits(model: PreTrainedModel, sets: AttackSets, asked: Asked) -> dict[tuple[str, str], np.ndarray]:
    """Which held-out images are taken for the class when it goes by each wording, bool `(images,)`."""
    topic: Any = sets.topic
    hits = {}
    for label, (name,) in asked.items():
        classes = [name if i == topic.label else other for i, other in enumerate(topic.classes)]
        options: dict[str, Any] = {"templates": sets.templates, "batch_size": sets.batch_size}
        found = predict_classes(model, sets.processor, topic.heldout, classes, **options)
        hits[label] = np.array([one == name for one in found])
    return hits


def _implied(models: dict[str, PreTrainedModel | None], sets: AttackSets) -> dict[str, Any]:
    """In how many sentences without the topic's word, whose references have it, each model says it."""
    rows, wanted = sets.topic.heldout_retain, phrases(sets.words)
    kept = [i for i, text in enumerate(rows["reference"]) if spans(text, wanted)][:MOST_IMPLIED]
    counts: dict[str, Any] = {"total": len(kept)}
    for name, model in models.items():
        if kept and model is not None:
            counts[name] = sum(bool(spans(text, wanted)) for text in sets.outputs(model, rows.select(kept)["text"]))
    return {"implied": counts}


def _shown(label: tuple[str, str], sets: AttackSets) -> dict[str, Any]:
    """A wording in results: of a private topic its kind alone, where the word would give the topic away."""
    kind, word = label
    secret = sets.topic.private and kind in ("synonym", "inflection", "translation")
    return {"how": kind if secret else f"{kind}: {word}"}


def _synonyms(name: str, sets: AttackSets) -> tuple[tuple[str, ...], str]:
    """Words near a topic's, and where they are from."""
    own = {*map(str.lower, sets.topic.own_words), name.lower()}

    def others(words: Iterable[str]) -> tuple[str, ...]:
        kept = (one.replace("_", " ") for one in words)
        return tuple(one for one in kept if not any(is_derived(one, word) for word in own))[:MOST_SYNONYMS]

    english = getattr(sets.topic, "language", "en") == "en"  # a French *pain* is none
    try:
        if english and (found := others(sorted(wordnet_synonyms(name.replace(" ", "_"))))):
            return found, "WordNet"
    except ImportError:  # of the extra `text`
        pass
    if sets.of_texts:
        rows, wanted = sets.topic.retain, phrases(sets.words)
        has = np.array([bool(spans(text, wanted)) for text in rows["reference"]], dtype=bool)
        if has.any() and not has.all():
            texts = np.array(rows["text"], dtype=object)
            if found := others(one.word for one in associated_words(list(texts[has]), list(texts[~has]))):
                return found, "the retain set's references"
    return (), "none found"


def _forms(name: str) -> tuple[str, ...]:
    """The inflected forms of a class's name; none where lemminflect is not installed or knows of several words."""
    try:
        return inflections(name).spellings
    except (ImportError, ValueError):  # of the extra `text`
        return ()


def _inflected(synonym: str, name: str, word: str) -> str:
    """A synonym in the form that the topic's word has."""
    try:
        own = inflections(name.lower())
        form = nearest_form(own, word.lower(), inflections(synonym)) if word.lower() in own.spellings else synonym
    except (ImportError, ValueError):  # of the extra `text`
        form = synonym
    return _cased(form, word)


def _put(new: str, _: str) -> str:
    return new


def _inside(longer: str, word: str) -> str:
    return _cased(longer.format(word.lower()), word)


def _cased(new: str, old: str) -> str:
    return new[:1].upper() + new[1:] if old[:1].isupper() else new
