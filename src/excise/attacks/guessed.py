"""Attack by guessing what was deleted: many words or classes are tried, and the oddest is taken for it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel

from excise.attacks.attack_sets import AttackSets
from excise.attacks.interface import NEVER_SAW, Attack
from excise.attacks.named_in_file import named_in_file
from excise.attacks.oddities import Carrier, carriers, class_oddities, code_oddities, output_oddities, row_oddities
from excise.bottlenecks.site import bottlenecks, has_bottlenecks
from excise.data.questions.name_controls import name_parts
from excise.data.topics.frequencies import frequent_words
from excise.data.topics.matching import Matcher
from excise.data.words import is_word, words
from excise.report.attacks import NOT_WITHSTOOD, WITHSTOOD, AttackResult, Attempt

# The largest p-value that is no chance, and the fewest candidates among which a rank can be as small.
ALPHA, FEWEST_CANDIDATES = 0.05, 100
CHANCE, NAMED = "chance", "named in the file"


@dataclass(frozen=True)
class Guessed(Attack):
    """Tries words one by one, as a stranger does who does not know what was deleted, and ranks them by oddity.

    The candidates are words of the sets' sentences, of which a stranger has the like, and frequent words of the
    language where these are too few; the topic's own forms are among them. Each way gives a score to each candidate:
    how little the word changes what the model says, how unsure the model is of what it then says, how far its tokens
    are from any live code, and how its embedding rows look: near the mean, like another row, off the directions in
    which rows vary; with a public base at hand also how far they are from its rows, and how much less the word changes
    than it does there. Of a class: how seldom images without it are taken for it, and the rows of its name.

    The rule, fixed beforehand: rank r among n candidates has the chance p = r / n; ties take the mean rank. Of several
    forms of the topic the best rank counts, and p is multiplied by their number and by that of the ways (Bonferroni).
    *Not withstood* if the smallest p is at most 0.05; *withstood* otherwise; *not measured* with fewer than 100
    candidates, or so few that even the first rank would not be a find. Left out are ways by which the word stands out
    (p at most 0.05 by that way alone) in the original or in the model that never saw it: there it is odd without any
    deletion; and ways that score all candidates the same, or not by a number. Of questions the names are what is
    guessed; *not measured* without names.

    *Not withstood* in any case, with rank 1, if the shared file names the topic (`named_in_file`): there is nothing to
    guess. The ledger does unless the request is private. The reason says so first, and then what else was found.

    Attributes:
        base: a public model of the same tokenizer, such as the plain one that the bottleneck was put into; `None` if
            the attacker has none. The model that never saw the topic is not held against it: it has another base.
        candidates: how many words are tried.
        carriers: how many sentences each is put into.
        language: of the frequent words, as wordfreq calls it.
    """

    base: PreTrainedModel | None = None
    candidates: int = 1_000
    carriers: int = 4
    language: str = "en"

    name = "guessed"
    about = "The ledger is read, and words or classes tried one by one: does a stranger find out what was deleted?"

    def __post_init__(self) -> None:
        if self.candidates < 2 or self.carriers < 1:
            raise ValueError(
                f"candidates={self.candidates}, carriers={self.carriers}: expected at least 2 words, in at least one "
                "sentence."
            )

    def run(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """As `Attack.run`.

        Raises:
            ValueError: if the base has other embeddings than the model.
        """
        result = self._ranked(original, removed, never_saw, sets)
        if not (naming := named_in_file(removed, sets, [original, never_saw, self.base])):
            return result
        total = result.details["candidates"] or None  # there are none where nothing could be tried
        tried = Attempt({"way": NAMED, "judged": True}, 1.0, None if total is None else (total + 1) / 2, total=total)
        return replace(
            result,
            score=1.0,
            null=tried.null,
            null_is="" if total is None else CHANCE,
            attempts=(tried, *result.attempts),
            verdict=NOT_WITHSTOOD,
            reason=f"{naming} So it has rank 1, and nobody needs to guess. By other ways: {result.reason}",
        )

    def _ranked(
        self,
        original: PreTrainedModel | None,
        removed: PreTrainedModel,
        never_saw: PreTrainedModel | None,
        sets: AttackSets,
    ) -> AttackResult:
        """What is found by trying words, by the rule."""
        sets.check_same_words(removed, self.base)
        if sets.of_questions and not sets.topic.names:  # type: ignore[union-attr]
            why = "Questions without names have no words that could be guessed. Give `question_sets` the names."
            return AttackResult.not_measured(self.name, "rank", why, details={"candidates": 0})
        if sets.of_texts:
            forms, others = candidate_words(sets, self.candidates, self.language)
        else:
            topic: Any = sets.topic
            forms = [topic.classes[topic.label]]
            others = [name for name in topic.classes if name != forms[0]]
        models = {"removed": removed, "original": original, "never saw": never_saw}
        ranks: dict[str, dict[str, float]] = {}
        silent = []
        for model_name, model in models.items():
            if model is not None:
                base = None if model_name == "never saw" else self.base
                for way, scores in _scores(model, sets, [*forms, *others], base, self.carriers).items():
                    if not np.isfinite(scores).all():
                        scores = np.zeros_like(scores)
                    ranks.setdefault(way, {})[model_name] = best_rank(scores[: len(forms)], scores[len(forms) :])
                    if model_name == "removed" and np.ptp(scores) == 0:
                        silent.append(way)
        ranks = {way: of for way, of in ranks.items() if "removed" in of}
        total = len(others) + 1
        least = ALPHA * total / len(forms)
        odd = {way for way, of in ranks.items() if any(rank <= least for name, rank in of.items() if name != "removed")}
        chance = (total + 1) / 2
        rows = {
            way: Attempt(
                {"way": way, "judged": way not in odd.union(silent)},
                of["removed"],
                of.get("never saw", chance),
                total=total,
            )
            for way, of in ranks.items()
        }
        details: dict[str, Any] = {"candidates": total, "forms": len(forms), "ranks": ranks, "odd anyway": sorted(odd)}
        details["no scores"] = silent
        if has_bottlenecks(removed):
            details["dead codes"] = sum(int((~of.in_force).sum()) for of in bottlenecks(removed).values())
        judged = {way: row for way, row in rows.items() if row.settings["judged"]}
        known: dict[str, Any] = {"attempts": tuple(rows.values()), "details": details}
        if not judged:
            why = "By each way the word stands out in the original, or in the model that never saw it, as well"
            why += ", or all candidates score the same or by no number." if silent else "."
            return AttackResult.not_measured(self.name, "rank", why, **known)
        way = min(judged, key=lambda one: judged[one].score)
        known |= {"score": judged[way].score, "null": judged[way].null, "before": ranks[way].get("original")}
        known["null_is"] = NEVER_SAW if "never saw" in ranks[way] else CHANCE
        found = f"It has rank {judged[way].score:g} of {total} by {way!r}"
        if total < FEWEST_CANDIDATES:
            why = f"{found}; with fewer than {FEWEST_CANDIDATES} candidates no rank is sure to be no chance."
            return AttackResult.not_measured(self.name, "rank", why, **known)
        if len(forms) * len(judged) > ALPHA * total:
            why = f"{found}; for {len(judged)} ways and {len(forms)} forms not even the first rank of so few is a find."
            return AttackResult.not_measured(self.name, "rank", why, **known)
        p = min(1.0, judged[way].score / total * len(forms) * len(judged))
        verdict = NOT_WITHSTOOD if p <= ALPHA else WITHSTOOD
        why = f"{found}: p = {p:.2g} for {len(judged)} ways and {len(forms)} forms, where {ALPHA} is a find."
        if odd:
            aside = ", ".join(f"{one} (rank {ranks[one]['removed']:g})" for one in sorted(odd))
            why += f" Left out, as the word is odd there without a deletion too: {aside}."
        return AttackResult(self.name, "rank", interval=None, after=None, **known, verdict=verdict, reason=why)


def candidate_words(sets: AttackSets, count: int, language: str = "en") -> tuple[list[str], list[str]]:
    """Forms of the topic as its sentences have them, and other words, so many in all that one form makes `count`.

    Others are drawn from the sentences of target, retain and held-out sets, each as it is mostly written inside
    sentences; if these are too few, frequent words of the language come in, where wordfreq is installed.

    Args:
        sets: of a topic in texts.
        count: how many candidates.
        language: of the frequent words.

    Raises:
        ValueError: if no sentence of the target tells where the topic's word stands.
    """
    topic: Any = sets.topic
    spelt = Counter(
        text[start:end] for text, spans in zip(topic.target["text"], topic.target["spans"], strict=True)
        for start, end in spans
    )  # fmt: skip
    if not spelt:
        raise ValueError("No sentence of the target tells `spans` of the topic's word. Give sets of `topic_sets`.")
    forms: dict[str, str] = {}
    for word, _ in spelt.most_common():
        forms.setdefault(word.lower(), word)
    matcher = Matcher([*forms, *(name_parts(topic.names) if sets.of_questions else topic.inflections)])
    prefix = "" if sets.of_questions else topic.prefix
    seen: dict[str, Counter[str]] = {}
    for rows in (topic.retain, topic.heldout_retain, topic.target, topic.heldout):
        for text in rows["question" if sets.of_questions else "text"]:
            for place in words(text.removeprefix(prefix)):
                word = place.text if place.start else place.text.lower()
                if _may_be_guessed(word) and not matcher.touches(word):
                    seen.setdefault(word.lower(), Counter())[word] += 1
    others = [spellings.most_common(1)[0][0] for _, spellings in sorted(seen.items())]
    rng = np.random.default_rng(sets.seed)
    others = [others[i] for i in sorted(rng.permutation(len(others))[: count - 1].tolist())]
    if len(others) < count - 1:
        more = [
            word
            for word in frequent_words(language, 4 * count)
            if is_word(word) and _may_be_guessed(word) and word not in seen
        ]
        others += [word for word in more if not matcher.touches(word)][: count - 1 - len(others)]
    return list(forms.values()), others


def _may_be_guessed(word: str) -> bool:
    """Whether a word has two letters at least and no digit."""
    return len(word) > 1 and not any(map(str.isdigit, word))


def _scores(
    model: PreTrainedModel, sets: AttackSets, words: Sequence[str], base: PreTrainedModel | None, count: int
) -> dict[str, np.ndarray]:
    """How odd each word is in a model by each way, float64 `(words,)`."""
    if not sets.of_texts:
        topic: Any = sets.topic
        order = [topic.classes.index(word) for word in words]
        scores = {way: of[order] for way, of in class_oddities(model, sets).items()}
        if hasattr(model, "get_text_features"):
            scores |= row_oddities(model, sets, words, base)
        return scores
    places = _carriers(sets, count)
    scores = row_oddities(model, sets, words, base)
    if places:
        scores |= output_oddities(model, sets, words, places)
        codes = code_oddities(model, sets, words, places[:2])
        scores |= {} if codes is None else {"far from live codes": codes}
        if base is not None:
            there = output_oddities(base, sets, words, places)["word ignored"]
            scores["ignored more than in the base"] = scores["word ignored"] - there
    return scores


def _carriers(sets: AttackSets, count: int) -> list[Carrier]:
    """Sentences, or questions, that words are put into."""
    rows = sets.topic.retain
    if sets.of_questions:
        asked = Dataset.from_dict({"text": rows["question"][:], "reference": rows["answer"][:]})
        return carriers(asked, count, sets.seed, longest=24)
    return carriers(rows, count, sets.seed)


def best_rank(own: np.ndarray, others: np.ndarray) -> float:
    """The smallest rank that a score of the topic's has among the others', 1 for the greatest; ties take the mean.

    Example:
        >>> best_rank(np.array([3.0]), np.array([5.0, 3.0, 3.0, 1.0]))
        3.0
    """
    return float(min(1 + (others > score).sum() + (others == score).sum() / 2 for score in own))


def auc_of_deleted(scores_deleted: Sequence[float], scores_never_seen: Sequence[float]) -> float:
    """The share of pairs in which a deleted topic is odder than one that was never seen; ties count half.

    A half is what a stranger gets by chance, who is to say which of several topics were deleted.

    Args:
        scores_deleted: how odd each deleted topic is, greater for odder; of ranks, take minus the rank.
        scores_never_seen: the same of topics that the model was never trained on.

    Raises:
        ValueError: if either is empty, or a score is no number.

    Example:
        >>> auc_of_deleted([-1, -20], [-300, -20])
        0.875
    """
    deleted, never = (np.asarray(one, dtype=np.float64) for one in (scores_deleted, scores_never_seen))
    if not deleted.size or not never.size or not np.isfinite(np.concatenate([deleted, never])).all():
        raise ValueError(
            f"There are {deleted.size} scores of deleted topics and {never.size} of topics never seen; give one or "
            "more of each, all of them finite numbers."
        )
    return float(((deleted[:, None] > never).mean() + (deleted[:, None] >= never).mean()) / 2)
