"""Selections of codes, with the thresholds that chose them, and random codes to hold against them."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import Identity, joined
from excise.ledger.packing import pack
from excise.storage.display import few, shortened
from excise.storage.expected import expects
from excise.storage.strict_json import checked

if TYPE_CHECKING:
    from excise.codes.enrichment import Enrichment

# A random code is drawn among this many unused ones nearest in frequency.
NEIGHBOURS = 20
# Of so many codes, peers are drawn all at once: one after the other would take hours.
MANY = 10_000


class Step(NamedTuple):
    """What one search chose in one round, and the table that it chose from.

    Args:
        round: of the search, from 1.
        codes: by site, the ids that it chose.
        thresholds: what chose them.
        table: a row a code, as counted in that round.
    """

    round: int
    codes: Mapping[str, Sequence[int]]
    thresholds: Mapping[str, Any]
    table: "Enrichment"


@dataclass(frozen=True)
class Selection:
    """Codes chosen at each site, and why.

    Attributes:
        codes: for each site with at least one code, its ids: a tuple in ascending order, whatever was given.
        thresholds: what chose them (JSON values only): method, top_s, positions, q, effect, count and so on; of several
            rounds, `rounds` has the codes and thresholds of each.
        steps: of `choose(..., tables=True)`, what each search chose in each round, with its table; in no file.
        identity: which model they were chosen on: another one, or it after more training, refuses them. `None` for
            codes given by hand, which are taken as they are. Selections of the same codes are equal, whatever it is.

    Raises:
        ValueError: if the id of a code is no whole number, or negative.

    Example:
        >>> Selection({"encoder.block.2": [7, 3]}, {"q": 0.05}).codes
        {'encoder.block.2': (3, 7)}
    """

    codes: Mapping[str, Sequence[int]]
    thresholds: dict[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = field(default=(), compare=False, repr=False)
    identity: Identity | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        try:
            codes = {site: tuple(sorted(set(map(operator.index, ids)))) for site, ids in self.codes.items()}
        except TypeError as error:
            raise ValueError(f"Code ids are whole numbers, a list of them for each site: {error}.") from error
        for site, ids in codes.items():
            if ids and ids[0] < 0:
                raise ValueError(f"Code {ids[0]} at {site!r} is negative; code ids start at 0.")
        object.__setattr__(self, "codes", {site: ids for site, ids in codes.items() if ids})

    @property
    def num_codes(self) -> int:
        """Number of chosen codes, all sites together."""
        return sum(len(ids) for ids in self.codes.values())

    def __len__(self) -> int:
        return self.num_codes

    def __repr__(self) -> str:
        sites = few([f"{site}: {len(ids)}" for site, ids in self.codes.items()])
        thresholds = shortened(
            ", ".join(f"{name}={shortened(value, 200)}" for name, value in self.thresholds.items()), 800
        )
        found = f"{self.num_codes} codes ({sites})" if self.num_codes else "nothing was selected"
        return f"Selection: {found}; {shortened(thresholds, 800)}" if thresholds else f"Selection: {found}"

    def with_more(self, other: "Selection") -> "Selection":
        """All codes of both; the thresholds are this one's, and the codes and thresholds of each round are noted.

        Raises:
            ValueError: if they are of two models, or the model was trained in between.
        """
        sites = dict.fromkeys([*self.codes, *other.codes])
        codes = {site: (*self.codes.get(site, ()), *other.codes.get(site, ())) for site in sites}
        rounds = [*self.thresholds.get("rounds", [self._round()]), other._round()]
        numbers = [*self.thresholds.get("codes_by_round", [len(self)]), len(other)]
        thresholds = {**self.thresholds, "codes_by_round": numbers, "rounds": rounds}
        steps = (*self.steps, *(step._replace(round=len(rounds)) for step in other.steps))
        return Selection(codes, thresholds, steps, joined(self.identity, other.identity))

    def _round(self) -> dict[str, Any]:
        codes = {site: pack(ids) for site, ids in self.codes.items()}
        return {"codes": codes, "thresholds": dict(self.thresholds)}

    def checked(self, sites: Mapping[str, Bottleneck]) -> "Selection":
        """The selection; a `ValueError` if it is not of the model of these bottlenecks, as it is now, nor by hand."""
        if self.identity is not None:
            again = "Choose again; or, to take the codes as they are, give `Selection(selection.codes)`"
            self.identity.check(sites, "Selection", again)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The selection as JSON values; `from_dict` reads it back."""
        return {
            "codes": {site: list(ids) for site, ids in self.codes.items()},
            "thresholds": dict(self.thresholds),
            "identity": None if self.identity is None else self.identity.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Selection":
        """The selection that `to_dict` wrote. One without identity warns when it is used.

        Raises:
            ValueError: `codes` or `thresholds` is missing.
        """
        missing = {"codes", "thresholds"} - set(checked(data, dict, "A saved selection"))
        if missing:
            raise ValueError(f"A saved selection has codes and thresholds; this one lacks {sorted(missing)}.")
        checked(data["codes"], dict[str, list[int]], "codes")
        checked(data["thresholds"], dict, "thresholds")
        identity = Identity.from_dict(data.get("identity"))
        return cls(data["codes"], dict(data["thresholds"]), identity=identity)


@expects("selection")
def random_like(
    selection: Selection,
    frequency: Mapping[str, np.ndarray],
    live: Mapping[str, np.ndarray],
    seed: int,
    neighbours: int = NEIGHBOURS,
) -> Selection:
    """As many random live codes as were selected, each about as often used: the control for an unlearning.

    For every selected code, from the most used down (those have the fewest peers), one code is drawn at random among
    the unused live ones nearest in frequency. Of more than 10,000 codes all are drawn at once, each near its frequency.

    Args:
        selection: the codes to match; none of them is drawn.
        frequency: for each site, how often each code is used, on general text or the topic's, int64 `(num_codes,)`.
        live: for each site, which codes may be drawn, bool of shape (num_codes,).
        seed: the same seed draws the same codes.
        neighbours: how many nearest ones each is drawn among; fewer for a closer match, where few codes are used so
            often.

    Raises:
        ValueError: a site is missing, shapes differ, `live` is not boolean, or too few live codes are left.

    Example:
        >>> counts, live = np.array([9, 1, 8, 0]), np.array([True, True, True, False])
        >>> len(random_like(Selection({"site": [0]}), {"site": counts}, {"site": live}, seed=0))
        1
    """
    rng = np.random.default_rng(seed)
    drawn = {}
    for site, codes in selection.codes.items():
        if site not in frequency or site not in live:
            raise ValueError(f"Site {site!r} was selected from; frequency and live must both have it.")
        drawn[site] = _draw(site, np.array(codes), np.asarray(frequency[site]), np.asarray(live[site]), rng, neighbours)
    thresholds = {"method": "random", "seed": seed, "like": dict(selection.thresholds)}
    return Selection(drawn, thresholds, identity=selection.identity and selection.identity.without_rows())


def _draw(
    site: str, codes: np.ndarray, frequency: np.ndarray, live: np.ndarray, rng: np.random.Generator, neighbours: int
) -> tuple[int, ...]:
    """One random peer for each of `codes` at one site, without replacement."""
    if live.dtype != bool or live.shape != frequency.shape or live.ndim != 1:
        raise ValueError(
            f"At {site!r} live is {live.dtype} of shape {live.shape} and frequency has shape {frequency.shape}; "
            "expected a boolean and a count for every code."
        )
    if codes.max() >= len(live):
        raise ValueError(f"Code {codes.max()} was selected at {site!r}, which has codes 0 to {len(live) - 1} only.")
    free = live.copy()
    free[codes] = False
    if free.sum() < len(codes):
        raise ValueError(
            f"{len(codes)} random codes are needed at {site!r} and {free.sum()} live codes are not selected; "
            "select fewer codes."
        )
    # Shuffled before the stable sort, so that among codes of equal frequency none is preferred for its id.
    peers = rng.permutation(np.flatnonzero(free))
    peers = peers[np.argsort(frequency[peers], kind="stable")]
    if len(codes) > MANY:
        places = np.searchsorted(frequency[peers], np.sort(frequency[codes]))
        places = np.sort(places + rng.integers(-neighbours, neighbours, len(places)))
        order = np.arange(len(places))
        # Each peer once: who wants one that is taken gets the next, and at the end of the row the ones before it.
        places = np.maximum.accumulate(np.maximum(places, 0) - order) + order
        return tuple(peers[np.minimum(places, len(peers) - len(places) + order)].tolist())
    drawn = []
    for wanted in np.sort(frequency[codes])[::-1]:
        place = np.searchsorted(frequency[peers], wanted)
        first = max(0, place - neighbours)
        window = peers[first : place + neighbours]
        nearest = np.argsort(np.abs(frequency[window] - wanted), kind="stable")[:neighbours]
        choice = first + rng.choice(nearest)
        drawn.append(int(peers[choice]))
        peers = np.delete(peers, choice)
    return tuple(drawn)


SITE = "bottleneck"


def by_activations(
    frequency: Mapping[str, np.ndarray], count: int | None = None, share: float | None = None
) -> Selection:
    """The codes that the forget set selects most often: *unlearning via activations*.

    Args:
        frequency: by site, in how many examples of the forget set each code is selected, int64 `(num_codes,)`; of the
            forget set itself, cached in training, or of a proxy set.
        count: how many codes, the paper's N_a, all sites together. Codes that the forget set never selects are not
            among them: where fewer were ever selected, these are all. Of codes selected as often, those of earlier
            sites and lower numbers come first.
        share: in place of `count`, the share of all firings that the codes make up at least.

    Raises:
        ValueError: if `count` is not from 1 to the number of codes, or `frequency` has no counts or only zeros.

    Example:
        >>> by_activations({"bottleneck": np.array([0, 3, 1, 3])}, 2).codes
        {'bottleneck': (1, 3)}

    Source: *Unlearning via Sparse Representations*, section 4.
    """
    counts = {site: _checked(np.asarray(of_site)) for site, of_site in frequency.items()}
    whole = np.concatenate(list(counts.values()))
    if share is not None:
        count = 1 + int(np.searchsorted(np.cumsum(np.sort(whole)[::-1]), share * whole.sum() - 1e-9 * len(whole)))
    if count is None or not 1 <= count <= len(whole):
        raise ValueError(f"count={count}: expected 1 to {len(whole)}, the number of codes.")
    number = min(count, int(np.count_nonzero(whole)))
    if not number:
        raise ValueError("The forget set is empty: no code was counted. Give at least one example.")
    least = np.partition(whole, -number)[-number]  # sorting a million takes ten times as long
    more, as_many = np.flatnonzero(whole > least), np.flatnonzero(whole == least)
    best = np.sort(np.concatenate([more, as_many[: number - len(more)]]))
    of_share = {} if share is None else {"share": share}
    return Selection(_by_site(counts, best), {"method": "activations", "count": count, **of_share})


def ever_selected(frequency: Mapping[str, np.ndarray], count: int, seed: int) -> Selection:
    """All codes that some examples of the forget set select: *unlearning via examples*.

    Args:
        frequency: by site, in how many of the examples drawn each code is selected, int64 `(num_codes,)`.
        count: how many examples were drawn, the paper's N_e.
        seed: of the draw.

    Source: *Unlearning via Sparse Representations*, section 4.
    """
    codes = {site: np.flatnonzero(counts).tolist() for site, counts in frequency.items()}
    return Selection(codes, {"method": "examples", "count": count, "seed": seed})


def _checked(counts: np.ndarray) -> np.ndarray:
    if counts.ndim != 1 or not np.issubdtype(counts.dtype, np.integer) or counts.min(initial=0) < 0:
        raise ValueError(f"counts are {counts.dtype} of shape {counts.shape}; expected integers, one for each code.")
    return counts


def _by_site(counts: Mapping[str, np.ndarray], places: np.ndarray) -> dict[str, list[int]]:
    """Places in the counts of all sites, one after the other, as codes of each site."""
    codes, start = {}, 0
    for site, of_site in counts.items():
        inside = places[(places >= start) & (places < start + len(of_site))]
        codes[site], start = (inside - start).tolist(), start + len(of_site)
    return codes
