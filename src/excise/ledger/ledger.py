"""Ledger of requests to forget. It is saved in the model's config and decides what its masks must be."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor

from excise.bottlenecks.base import Bottleneck
from excise.ledger.packing import pack, unpack
from excise.ledger.request import Request
from excise.storage.display import HtmlTable, pandas_module, shortened
from excise.storage.expected import described
from excise.storage.strict_json import checked, checked_fields

VERSION = 4  # 2: long lists of codes are packed; 3: requests may be private; 4: they may erase embedding rows
# Codes that all requests of a ledger may name; it is read whole.
MOST_CODES = 1 << 24
# Requests that a printed ledger shows, the last ones.
PRINTED = 10


@dataclass(frozen=True, repr=False)
class Ledger(HtmlTable):
    """All requests to a model, in order. Each change gives a new ledger."""

    requests: tuple[Request, ...] = ()

    def __repr__(self) -> str:
        lines = [f"Ledger: {len(self.requests_in_force()):,} of {len(self.requests):,} requests in force"]
        lines += ["..."] if len(self.requests) > PRINTED else []
        lines += [
            f"{r.id:>4} {r.kind:<6} {r.num_codes:>9,} codes  {shortened(r.topic, 40)!r}, {r.created}, {r._standing}"
            for r in self.requests[-PRINTED:]
        ]
        return "\n".join(lines)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each request: what it was, how many codes it removed, and when."""
        columns = ["id", "kind", "topic", "codes", "created", "undone"]
        rows = [(r.id, r.kind, r.topic, r.num_codes, r.created, r.undone) for r in self.requests]
        return pandas_module().DataFrame(rows, columns=columns)

    @property
    def is_private(self) -> bool:
        """Whether the words of some request are nobody's to read, undone ones too."""
        return any(request.private for request in self.requests)

    def requests_in_force(self, kinds: tuple[str, ...] = ("mask", "delete")) -> list[Request]:
        """The requests of these kinds that were not undone."""
        return [request for request in self.requests if not request.undone and request.kind in kinds]

    def add(self, kind: str, topic: str, codes: Mapping[str, Iterable[int]], **details: Any) -> "Ledger":
        """A ledger with one more request."""
        removed = {site: tuple(sorted(map(int, ids))) for site, ids in codes.items()}
        request = Request(len(self.requests) + 1, kind, topic, removed, created=_now(), **details)
        return Ledger((*self.requests, request))

    def undo(self, request_id: int) -> "Ledger":
        """A ledger in which a mask is no longer in force.

        Raises:
            ValueError: if there is no such request, it is a deletion, undone already, or others deleted all its codes.
        """
        request = self.mask_in_force(request_id)
        left, others = self._others(request, ("delete",))
        if others and not left:
            raise ValueError(f"No code of request {request_id} ({request.topic}) can come back: {others}.")
        undone = replace(request, undone=_now())
        return Ledger(tuple(undone if other is request else other for other in self.requests))

    def held_by(self, request: Request, kinds: tuple[str, ...] = ("mask", "delete")) -> dict[int, int]:
        """How many of a request's codes other requests in force, of these kinds, remove too: by the id of each."""
        own = {site: set(codes) for site, codes in request.codes.items()}
        others = (r for r in self.requests_in_force(kinds) if r.id != request.id)
        held = {r.id: sum(len(own.get(site, set()).intersection(ids)) for site, ids in r.codes.items()) for r in others}
        return {number: count for number, count in held.items() if count}

    def outcome(self, request: Request) -> str:
        """How many codes an undoing brought back, or a deletion erased, and which requests hold the others."""
        deletes = request.kind == "delete"
        free, others = self._others(request)
        what = "were erased now" if deletes else "came back" if request.undone else "are masked by this request alone"
        text = f"{free:,} of {request.num_codes + request.taken_out:,} codes {what}{f': {others}' if others else ''}."
        masks = self.held_by(request, ("mask",)) if deletes else {}
        never = [f" Undoing request {number} will not bring back {n:,} of its codes." for number, n in masks.items()]
        return text + "".join(never)

    def log_outcome(self, request_id: int) -> Request:
        """The request; what came of an undoing or a deletion goes to the log, a warning if others hold some codes."""
        request = self.requests[request_id - 1]
        if request.undone or request.kind == "delete":
            level = logging.WARNING if self._others(request)[1] else logging.INFO
            logging.getLogger(__name__).log(level, "Request %d: %s", request.id, self.outcome(request))
        return request

    def _others(self, request: Request, kinds: tuple[str, ...] = ()) -> tuple[int, str]:
        """How many of a request's codes no other request removes, and in words what others do with the rest."""
        kinds = kinds or (("delete",) if request.kind == "delete" else ("mask", "delete"))
        held, out = self.held_by(request, kinds), request.taken_out
        words = [f"{out:,} of them deleted and taken out of the model"] if out else []
        for id, count in held.items():
            what = "them" if count == request.num_codes + out else f"{count:,} of them"
            masks = self.requests[id - 1].kind == "mask"
            words.append(f"request {id} {f'masks {what} too' if masks else f'deleted {what} for good'}")
        others = [self.requests[id - 1].codes for id in held]
        left = (set(ids).difference(*(other.get(site, ()) for other in others)) for site, ids in request.codes.items())
        return sum(map(len, left)), ", ".join(words)

    def as_deletions(self) -> "Ledger":
        """A ledger in which every mask in force is a deletion, with its own id and time."""
        return Ledger(tuple(r if r.undone else replace(r, kind="delete") for r in self.requests))

    def in_force(self, topic: Any) -> bool:
        """Whether a request that was not undone is of a topic of the same name."""
        return any(one.topic == getattr(topic, "name", None) for one in self.requests_in_force())

    def mask_in_force(self, request_id: int) -> Request:
        """The request of that id.

        Raises:
            ValueError: if there is no such request, it is a deletion, or it was undone already.
        """
        known = {request.id: request for request in self.requests}
        if not isinstance(request_id, SupportsIndex):
            raise ValueError(f"{described(request_id)} is no request; expected a Request, or its id, a whole number.")
        if request_id not in known:
            raise ValueError(f"There is no request {request_id}; the ledger has {sorted(known) or 'none'}.")
        request = known[request_id]
        if request.kind == "delete":
            raise ValueError(f"Request {request_id} ({request.topic}) deleted its codes; a deletion cannot be undone.")
        if request.undone:
            raise ValueError(f"Request {request_id} ({request.topic}) was undone already, at {request.undone}.")
        return request

    def removed(self, site: str, kinds: tuple[str, ...] = ("mask", "delete")) -> list[int]:
        """The codes of a site that requests in force have removed."""
        return sorted(set().union(*(request.codes.get(site, ()) for request in self.requests_in_force(kinds))))

    def erased_rows(self) -> dict[str, list[int]]:
        """By embedding table, the tokens whose rows deletions have erased."""
        return self.rows_of(("delete",))

    def rows_of(self, kinds: tuple[str, ...]) -> dict[str, list[int]]:
        """By embedding table, the tokens whose rows go with what requests in force, of these kinds, make forgotten."""
        of_kinds = self.requests_in_force(kinds)
        names = dict.fromkeys(name for request in of_kinds for name in request.rows)
        return {name: sorted(set().union(*(r.rows.get(name, ()) for r in of_kinds))) for name in names}

    def live(self, sites: Mapping[str, Bottleneck]) -> dict[str, Tensor]:
        """The mask that each site must have, `(num_codes,)`, False where a code is removed.

        Raises:
            ValueError: if a request names a site or a code that there is not, or leaves a site fewer live codes than
                it selects for an input.
        """
        named = {site for request in self.requests for site in request.codes}
        if others := [shortened(site) for site in sorted(named - sites.keys())[:5]]:
            raise ValueError(f"The model has bottlenecks at {sorted(sites)}, but codes of {others} are named.")
        masks = {}
        for site, bottleneck in sites.items():
            removed, num_codes = np.array(self.removed(site), np.int64), bottleneck.num_codes
            if len(removed) and not 0 <= removed[0] <= removed[-1] < num_codes:
                raise ValueError(f"{site} has codes 0 to {num_codes - 1}; {removed[0]} to {removed[-1]} are named.")
            masks[site] = torch.ones(num_codes, dtype=torch.bool, device="cpu")  # wherever a model is made
            masks[site][torch.from_numpy(removed)] = False
        check_enough_live(masks, sites)
        return masks

    def to_dict(self, masks: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """JSON for the model's config, with the digest of its masks; `None` where nothing was ever asked for."""
        if not self.requests:
            return None
        requests = [
            vars(r)
            | {"codes": {site: pack(ids) for site, ids in r.codes.items()}}
            | {"rows": {name: pack(ids) for name, ids in r.rows.items()}}
            for r in self.requests
        ]
        # As it was before there were such requests, for who reads no newer ones.
        version = 4 if any(r.rows for r in self.requests) else 3 if self.is_private else 2
        newer = {"private": 3, "rows": 4}
        requests = [{k: value for k, value in r.items() if newer.get(k, 0) <= version} for r in requests]
        state = {"version": version, "requests": requests, "digest": mask_digest(masks)}
        try:
            json.dumps(state, ensure_ascii=False).encode()
        except TypeError as error:
            raise ValueError(f"The ledger is saved as JSON, and cannot hold these thresholds: {error}.") from error
        except UnicodeEncodeError as error:
            text = error.object[max(0, error.start - 12) : error.end]
            raise ValueError(
                f"Topic, thresholds and data of the ledger are saved as UTF-8, which cannot say {text!r}: it ends in "
                "half of a surrogate pair. Give the whole character."
            ) from error
        return state

    @classmethod
    def from_dict(cls, state: Mapping[str, Any] | None) -> "Ledger":
        """Reads a ledger from a model's config.

        Raises:
            ValueError: if a newer excise wrote it, or it is no ledger.
        """
        if state is None:
            return cls()
        try:
            version = checked(checked(state, dict, "it").get("version", 0), int, "version")
            if version <= VERSION:
                return cls(_requests(state.get("requests")))
        except ValueError as error:
            raise ValueError(f"The model's config holds no readable ledger under `unlearning`: {error}") from error
        raise ValueError(f"The ledger has version {shortened(version)}; this excise reads {VERSION}. Update it.")


def _requests(rows: Any) -> tuple[Request, ...]:
    """Requests of JSON.

    Raises:
        ValueError: if they are none, or name more codes than fit in memory.
    """
    requests, total = [], 0
    for row in checked(rows, list[dict], "requests"):
        codes = checked(row.get("codes"), dict[str, list | str], "codes")
        codes = {site: unpack(ids) for site, ids in codes.items()}
        tables = checked(row.get("rows", {}), dict[str, list | str], "rows")
        tables = {name: unpack(ids) for name, ids in tables.items()}
        total += sum(map(len, (*codes.values(), *tables.values())))
        if total > MOST_CODES:
            raise ValueError(f"Its requests name more than {MOST_CODES:,} codes.")
        known = checked_fields({**row, "codes": {}, "rows": {}}, Request)
        requests.append(Request(**known | {"codes": codes, "rows": tables}))
    return tuple(requests)


def check_enough_live(masks: Mapping[str, Tensor], sites: Mapping[str, Bottleneck]) -> None:
    """Refuses masks that leave a site fewer live codes than it selects for an input."""
    for site, mask in masks.items():
        if why := sites[site].too_few(mask):
            raise ValueError(f"At {site} {why}. Select fewer codes, or undo an earlier request.")


def mask_digest(live: Mapping[str, Tensor]) -> str:
    """SHA-256 of masks: of each site's name and removed codes."""
    sha = hashlib.sha256()
    for site, mask in sorted(live.items()):
        sha.update(json.dumps([site, len(mask)]).encode() + np.packbits(mask.numpy()).tobytes())
    return sha.hexdigest()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
