"""How a topic's codes are searched for, in named presets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from excise.codes.enrichment import Enrichment, Method
from excise.codes.selection import Selection
from excise.codes.topic_counts import TopicCounts
from excise.data.forget_sets import ForgetSets
from excise.data.inputs import Positions


@dataclass(frozen=True)
class Search:
    """One search for a topic's codes.

    Attributes:
        method: test of enrichment, as in `Unlearner.enrich`.
        positions: tokens counted, as in `Unlearner.count_topic`.
        multiple: S' as a multiple of the model's S.
        q: as in `Enrichment.select`.
        effect: as in `Enrichment.select`.
        count: as in `Enrichment.select`.
        max_retain_ratio: as in `Enrichment.select`.
        rounds: how often `Unlearner.choose` searches, each time under the mask of what it has found: what takes the
            place of those codes is then found too. A sweep makes the first round alone.
    """

    method: Method = "mcnemar"
    positions: Positions = "topic"
    multiple: int = 3
    q: float = 0.05
    effect: float = 0.0
    count: int | None = None
    max_retain_ratio: float | None = None
    rounds: int = 1

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds={self.rounds}: expected at least 1.")

    def select(self, enrichment: Enrichment) -> Selection:
        """The codes that pass in a table of the search's own method and positions."""
        return enrichment.select(q=self.q, effect=self.effect, count=self.count, max_retain_ratio=self.max_retain_ratio)


# What each preset is and does is in docs/experiments.md.
PRESETS: Mapping[str, tuple[Search, ...]] = {
    "default": (Search(),),
    # Chi-squared at p <= 0.05, uncorrected, counted at every token (CodeUnlearn, sections 3.5 and 4.2; table 2's S').
    "paper": (Search(method="paper", positions="all", multiple=13),),
    # For a class of images, whose control is not paired: codes that the other classes hardly use.
    "class": (Search(method="fisher", positions="all", max_retain_ratio=0.25),),
    # The same where the bottleneck is in a CLIP's last layer: only the class token goes on from there.
    "class_token": (Search(method="fisher", positions="class_token", multiple=5, rounds=2),),
}


def searches_of(preset: str | Search | Sequence[Search]) -> tuple[Search, ...]:
    """The searches of a preset, by its name or as they are.

    Raises:
        ValueError: if there is no preset of the name, or no search.
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise ValueError(f"preset={preset!r}: expected one of {', '.join(PRESETS)}, or searches of your own.")
        return PRESETS[preset]
    searches = (preset,) if isinstance(preset, Search) else tuple(preset)
    if not searches:
        raise ValueError("No searches were given; expected the name of a preset or at least one Search.")
    return searches


def preset_for(
    topic: ForgetSets | None, preset: str | Search | Sequence[Search] = "default"
) -> str | Search | Sequence[Search]:
    """A preset, with what is the default for a topic in place of `"default"`."""
    return topic.preset if preset == "default" and topic is not None else preset


@dataclass(frozen=True)
class SearchCounts:
    """What the searches of a preset count, for every S' at once.

    Attributes:
        preset: its name, or "" for searches of one's own.
        searches: what is selected, and how.
        counts: of each search.
        model_top_s: the model's S.
    """

    preset: str
    searches: tuple[Search, ...]
    counts: tuple[TopicCounts, ...]
    model_top_s: int

    def select(self, top_s: int | None = None, count: int | None = None) -> Selection:
        """The codes that any of the searches finds.

        Args:
            top_s: S' for all of them; each one's own multiple of S if not given.
            count: at most so many, those of the smallest p in any search, then of the largest ratio.
        """
        sure: dict[tuple[str, int], tuple[float, float]] = {}
        thresholds = []
        for search, counts in zip(self.searches, self.counts, strict=True):
            enrichment = counts.enrich(top_s or search.multiple * self.model_top_s, search.method)
            selection = search.select(enrichment)
            thresholds.append(selection.thresholds)
            keys = zip(enrichment.site.tolist(), enrichment.code.tolist(), strict=True)
            tested = dict(zip(keys, zip(enrichment.pvalue, -enrichment.log2_ratio, strict=True), strict=True))
            for key in ((site, code) for site, ids in selection.codes.items() for code in ids):
                sure[key] = min(sure.get(key, tested[key]), tested[key])
        codes: dict[str, list[int]] = {}
        for site, code in sorted(sure, key=lambda key: (sure[key], key))[:count]:
            codes.setdefault(site, []).append(code)
        told = thresholds[0] if len(thresholds) == 1 else {"searches": thresholds}
        if count is not None:
            told = told | {"count": count}
        return Selection(codes, ({"preset": self.preset} if self.preset else {}) | told)
