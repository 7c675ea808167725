"""Searches for a topic's codes, and named presets of them."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeAlias, Union, cast, get_args

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import Identity
from excise.codes.enrichment import Enrichment, Method, check_thresholds
from excise.codes.pair_counts import ClassCounts
from excise.codes.selection import Selection, Step, by_activations, ever_selected
from excise.codes.topic_counts import TargetCounts, TopicCounts
from excise.data.forget_sets import ForgetSets
from excise.data.inputs import Positions
from excise.data.reading import is_dataset, is_stream
from excise.storage.display import few, shortened
from excise.storage.expected import ARGUMENTS, described

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

# What can be chosen on: sets of words or of classes, a class known by counts, or examples alone.
Topic: TypeAlias = Union[ForgetSets, ClassCounts, "Dataset", "IterableDataset"]
Counts: TypeAlias = TopicCounts | TargetCounts | ClassCounts

# Searches by how often examples select a code, without a test (Unlearning via Sparse Representations, section 4).
BY_FREQUENCY = ("activations", "examples")
SearchMethod = Literal[Method, "activations", "examples"]


@dataclass(frozen=True)
class Search:
    """One search for a topic's codes.

    Attributes:
        method: a test of enrichment, as in `Unlearner.enrich`; or `"activations"`, the codes that the target selects
            most often, or `"examples"`, all codes that some of its examples select. These two test nothing: they
            take no `effect` or `max_retain_ratio`, and `q` and `multiple` are not looked at.
        positions: tokens counted, as in `Unlearner.count_topic`; the topic's own default if not given.
        multiple: S' as a multiple of the model's S; of a search without a test, S' is S.
        q: as in `Enrichment.select`.
        effect: as in `Enrichment.select`.
        count: as in `Enrichment.select`; the number of codes (`"activations"`) or of examples (`"examples"`).
        share: of `"activations"`, in place of `count`: as many codes as make up this share of the target's firings.
        max_retain_ratio: as in `Enrichment.select`.
        rounds: how often `Unlearner.choose` searches, each time under the mask of what it has found: what takes the
            place of those codes is then found too. A sweep makes the first round alone.
        seed: of the examples that are drawn.

    Raises:
        ValueError: if there is no such method, a number is out of range, `count` or `share` is missing where one is
            needed, or `effect` or `max_retain_ratio` is given where nothing is tested.
    """

    method: SearchMethod = "mcnemar"
    positions: Positions | None = None
    multiple: int = 3
    q: float = 0.05
    effect: float = 0.0
    count: int | None = None
    max_retain_ratio: float | None = None
    rounds: int = 1
    seed: int = 0
    share: float | None = None

    def __post_init__(self) -> None:
        methods = (*get_args(Method), *BY_FREQUENCY)
        if self.method not in methods:
            raise ValueError(f"method={self.method!r}: expected one of {', '.join(methods)}.")
        for name, least in {"multiple": 1, "rounds": 1, "seed": 0, "count": 1}.items():
            value = getattr(self, name)
            if name == "count" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, SupportsIndex) or operator.index(value) < least:
                raise ValueError(f"{name}={value!r}: expected at least {least}, a whole number.")
        check_thresholds(self.q, self.effect, self.max_retain_ratio)
        if self.share is not None and (self.method != "activations" or self.count is not None):
            raise ValueError(f"share={self.share!r} is of Search('activations'), and takes the place of its count.")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"share={self.share!r}: expected a share of the firings, above 0 and at most 1.")
        if self.by_frequency and self.count is None and self.share is None:
            what = "codes" if self.method == "activations" else "examples"
            give = "count=..., or the share of all firings, share=1.0" if what == "codes" else "count=..."
            raise ValueError(f"Search({self.method!r}) needs the number of {what}: give {give}.")
        if self.by_frequency and (self.effect or self.max_retain_ratio is not None):
            raise ValueError(f"Search({self.method!r}) tests nothing: leave out effect and max_retain_ratio.")

    @property
    def needed_count(self) -> int:
        """The `count` of a search without a test, which has one."""
        return cast(int, self.count)

    @property
    def by_frequency(self) -> bool:
        """Whether codes are chosen by how often the target selects them, without a control."""
        return self.method in BY_FREQUENCY

    @property
    def counted(self) -> tuple:
        """What tells the counts that the search needs from those of other searches."""
        if self.method == "examples":
            return self.method, self.count, self.seed, self.positions
        return self.by_frequency, self.positions

    def top_s(self, model_top_s: int) -> int:
        """S' of the search, in a model of some S."""
        return model_top_s if self.by_frequency else self.multiple * model_top_s

    def select(self, enrichment: Enrichment) -> Selection:
        """The codes that pass in a table of the search's own method and positions."""
        return enrichment.select(q=self.q, effect=self.effect, count=self.count, max_retain_ratio=self.max_retain_ratio)

    def find(self, counts: Counts, top_s: int) -> tuple[Selection, Enrichment | None]:
        """The codes that the search finds in counts, at one S', and the table of the test, if there is one."""
        if self.method == "activations":
            found = by_activations(counts.frequency(top_s), self.count, self.share)
            where = {} if self.positions is None else {"positions": self.positions}
            return replace(found, thresholds=found.thresholds | where), None
        if self.method == "examples":
            return ever_selected(counts.frequency(top_s), self.needed_count, self.seed), None
        table = counts.enrich(top_s, self.method)
        return self.select(table), table


# What each preset is and does is in docs/method/experiments.md.
PRESETS: Mapping[str, tuple[Search, ...]] = {
    "default": (Search(),),
    # Chi-squared at p <= 0.05, uncorrected, counted at every token (CodeUnlearn, sections 3.5 and 4.2; table 2's S').
    "paper": (Search(method="paper", positions="all", multiple=13),),
    # For a class of images, whose control is not paired: codes that the other classes hardly use.
    "class": (Search(method="fisher", positions="all", max_retain_ratio=0.25),),
    # The same where the bottleneck is in a CLIP's last layer: only the class token goes on from there.
    "class_token": (Search(method="fisher", positions="class_token", multiple=5, rounds=2),),
    # For a class in a key-value model, whose pairs fire too seldom for a test: all that its images select. Of the many
    # pairs that one image alone selects, those that are left would still tell it.
    "pairs": (Search(method="activations", share=1.0),),
}


def is_topic(value: object) -> bool:
    """Whether something is a `Topic`."""
    return isinstance(value, ForgetSets | ClassCounts) or is_dataset(value) or is_stream(value)


def check_topic(topic: object) -> None:
    """Refuses what no codes can be chosen on.

    Raises:
        ValueError: if it is none of `Topic`.
    """
    if not is_topic(topic):
        message = (
            f"`topic` is {described(topic)}, which is nothing to choose codes on: expected sets, as `topic_sets` or "
            "`class_sets` make them; a class of PairCounts, `counts.topic(...)`; a Dataset of examples; or a Selection."
        )
        message += ARGUMENTS["dataset" if "Dict" in type(topic).__name__ else "sets"].hint(topic)
        raise ValueError(message)


def searches_of(preset: str | Search | Sequence[Search]) -> tuple[Search, ...]:
    """The searches of a preset, by its name or as they are.

    Raises:
        ValueError: if there is no preset of the name, or no search.
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise ValueError(f"preset={preset!r}: expected one of {', '.join(PRESETS)}, or searches of your own.")
        return PRESETS[preset]
    if isinstance(preset, Search):
        return (preset,)
    searches = tuple(preset) if isinstance(preset, list | tuple) else ()
    if not searches or not all(isinstance(search, Search) for search in searches):
        given = "No searches were" if preset in ([], ()) else f"preset: {described(preset)} was"
        raise ValueError(f"{given} given; expected one of {', '.join(PRESETS)}, or at least one Search.")
    return searches


def preset_for(topic: Topic, preset: str | Search | Sequence[Search] = "default") -> str | Search | Sequence[Search]:
    """A preset, with what is the default for a topic in place of `"default"`.

    Raises:
        ValueError: if the topic is none; or the preset is to be the default, and the topic is counts or examples alone,
            which have none.
    """
    check_topic(topic)
    if preset != "default":
        return preset
    own = getattr(topic, "preset", None)
    if own is None:
        raise ValueError(
            f"A {type(topic).__name__} has no search of its own. Give one, such as "
            'Search("activations", count=...), the codes that it selects most often.'
        )
    return own


@dataclass(frozen=True, repr=False)
class SearchCounts:
    """What the searches of a preset count, for every S' at once.

    Attributes:
        preset: its name, or "" for searches of one's own.
        searches: what is selected, and how.
        counts: of each search.
        model_top_s: the model's S.
        sites: the bottlenecks that were counted.
        identity: of their codes, at the time.
    """

    preset: str
    searches: tuple[Search, ...]
    counts: tuple[Counts, ...]
    model_top_s: int
    sites: Mapping[str, Bottleneck] = field(default_factory=dict)
    identity: Identity | None = None

    def __repr__(self) -> str:
        searches = few([search.method for search in self.searches])
        preset = f"preset {shortened(self.preset)}" if self.preset else "no preset"
        return f"SearchCounts: {preset} ({searches}); {'; '.join(map(repr, self.counts[:2]))}"

    def select(self, top_s: int | None = None, count: int | None = None, tables: bool = False) -> Selection:
        """The codes that any of the searches finds.

        Args:
            top_s: S' for all of them; each one's own multiple of S if not given.
            count: at most so many, those of the smallest p in any search, then of the largest ratio; of a search
                without a test, those selected most often.
            tables: whether the selection keeps the tables of tests that it was chosen from.

        Raises:
            ValueError: if the model was trained since it was counted.
        """
        if self.identity is not None:
            self.identity.check(self.sites, "Counts", "Count anew, as with `Unlearner.count`")
        named = {"preset": self.preset} if self.preset else {}
        hits = [
            (*search.find(counts, top_s or search.top_s(self.model_top_s)), counts)
            for search, counts in zip(self.searches, self.counts, strict=True)
        ]
        of_each = [selection.thresholds for selection, *_ in hits]
        thresholds: dict[str, Any] = of_each[0] if len(hits) == 1 else {"searches": of_each}
        best: dict[tuple[str, int], tuple[float, float]] = {}
        codes: Mapping[str, Sequence[int]] = hits[0][0].codes
        if len(hits) > 1 or count is not None:
            for selection, table, counts in hits:
                order = _order(selection, table, counts)
                for key, value in order.items():
                    best[key] = min(best.get(key, value), value)
            codes = _by_site(sorted(best, key=lambda key: (best[key], key))[:count])
        if count is not None:
            thresholds = thresholds | {"count": count}
        steps = [
            Step(
                1, {site: sorted({*ids} & {*codes.get(site, ())}) for site, ids in one.codes.items()}, one.thresholds, t
            )
            for one, t, _ in hits
            if tables and t is not None
        ]
        identity = None if self.identity is None else Identity.of(self.sites, codes)
        return Selection(codes, named | thresholds, steps=tuple(steps), identity=identity)


def _by_site(keys: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
    codes: dict[str, list[int]] = {}
    for site, code in keys:
        codes.setdefault(site, []).append(code)
    return codes


def _order(
    selection: Selection, table: Enrichment | None, counts: Counts
) -> dict[tuple[str, int], tuple[float, float]]:
    """What each selected code is put in order by, the surest first: p-value and ratio, or the number of examples."""
    keys = [(site, code) for site, codes in selection.codes.items() for code in codes]
    if table is None:
        frequency = counts.frequency(counts.max_top_s)
        return {(site, code): (0.0, -float(frequency[site][code])) for site, code in keys}
    rows = zip(table.site.tolist(), table.code.tolist(), strict=True)
    tested = dict(zip(rows, zip(table.pvalue, -table.log2_ratio, strict=True), strict=True))
    return {key: tested[key] for key in keys}
