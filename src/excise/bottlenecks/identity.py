"""Identity of codes: which model a selection, counts or a record are of, and whether it was trained since."""

import base64
import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from accelerate.utils import align_module_device, broadcast_object_list
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.site import bottleneck_copies, bottlenecks
from excise.storage.digests import digest
from excise.storage.strict_json import checked

# A model loaded in half precision is the same model: there is a digest of its numbers as each of these has them.
ROUNDED = (torch.bfloat16, torch.float16)
# Tensors of a bottleneck that change without any training.
NOT_TRAINED = ("live", "min_similarity")
# How a code and the digests of its row are packed.
ROW = np.dtype([("code", "<i4"), ("digests", "<u4", len(ROUNDED))])


@dataclass(frozen=True)
class Identity:
    """The codes of a model, told from those of other models and from the same codes before or after a training.

    Masks, undoing and deletions leave it as it is. Training that leaves a bottleneck alone, such as of the layers below
    a frozen one, is not seen.

    Attributes:
        codes_id: drawn when the codes were initialised; `None` for codes that never were, or were by an older excise.
        shared: by site, the digests of what training changes and all codes share, such as the encoder: one for each
            precision. Empty where nothing is known, as in files of an older excise.
        rows: by site, some codes with the digests of their rows, packed.
    """

    codes_id: str | None = None
    shared: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, sites: Mapping[str, Bottleneck], codes: Mapping[str, Sequence[int]] | None = None) -> "Identity":
        """The identity of a model's codes as they are now.

        Args:
            sites: its bottlenecks.
            codes: by site, those whose rows are to be known again.
        """
        rows = {site: _packed(ids, _row_digests(sites[site], ids)) for site, ids in (codes or {}).items()}
        return cls(codes_id(sites), {site: _shared_digests(module) for site, module in sites.items()}, rows)

    def check(self, sites: Mapping[str, Bottleneck], what: str, again: str) -> None:
        """Makes sure that something is of a model as it is now; what nothing is known of is warned of.

        The rows of codes that were deleted since cannot be compared, and are not.

        Args:
            sites: the model's bottlenecks.
            what: what is of the identity, such as "selection".
            again: what to do where it is of another, a sentence without its full stop.

        Raises:
            ValueError: if it is of other codes, or the model was trained since.
        """
        if not self.shared:
            warn_of_no_identity(what, again)
            return
        if self.shared.keys() - sites.keys():
            raise ValueError(f"{what}: made at {sorted(self.shared)}, but the model has {sorted(sites)}. {again}.")
        check_codes_id(self.codes_id, sites, what, again)
        changed = [
            f"What all codes of {site} share"
            for site, digests in self.shared.items()
            if not any(map(str.__eq__, digests, _shared_digests(sites[site])))
        ]
        for site, packed in self.rows.items():
            rows = np.frombuffer(base64.b64decode(packed), ROW)
            there = rows[(rows["code"] >= 0) & (rows["code"] < sites[site].num_codes)]
            left = there[~_erased(sites[site], there["code"])]
            same = (left["digests"] == _row_digests(sites[site], left["code"])).any(1)
            if number := len(rows) - len(there) + int((~same).sum()):
                changed.append(f"The rows of {number:,} of {len(rows):,} codes of {site}")
        if changed:
            other = "" if self.codes_id else ", or is of another model"
            raise ValueError(
                f"{what}: made before the model was trained further{other}. {' and '.join(changed)} have other numbers "
                f"now. {again}."
            )

    def without_rows(self) -> "Identity":
        """The identity of the model alone."""
        return replace(self, rows={})

    def to_dict(self) -> dict[str, Any]:
        """The identity as JSON values; `from_dict` reads it back."""
        rows = {"rows": dict(self.rows)} if self.rows else {}
        return {"codes_id": self.codes_id, "shared": {site: list(pair) for site, pair in self.shared.items()}} | rows

    @classmethod
    def from_dict(cls, state: Mapping[str, Any] | None) -> "Identity":
        """What `to_dict` gave; of `None`, an identity of which nothing is known.

        Raises:
            ValueError: if it is something else.
        """
        kinds = {"codes_id": str | None, "shared": dict[str, list[str]], "rows": dict[str, str]}
        known = checked({} if state is None else state, dict, "An identity")
        for name, kind in kinds.items():
            checked(known.get(name, None if name == "codes_id" else {}), kind, f"An identity's {name}")
        rows = dict(known.get("rows", {}))
        try:
            sizes = [len(base64.b64decode(packed, validate=True)) for packed in rows.values()]
        except ValueError as error:
            raise ValueError(f"An identity's rows cannot be read ({error}).") from error
        if any(size % ROW.itemsize for size in sizes):
            raise ValueError("An identity's rows are cut short.")
        shared = {site: tuple(digests) for site, digests in known.get("shared", {}).items()}
        return cls(known.get("codes_id"), shared, rows)


def joined(first: Identity | None, second: Identity | None) -> Identity | None:
    """The identity of the codes of both; nothing is known of it where nothing is of one.

    Raises:
        ValueError: if they are of other models.
    """
    if first is None or second is None:
        return first or second
    if not (first.shared and second.shared):
        return Identity()
    if first.without_rows() != second.without_rows():
        raise ValueError(
            f"One is of codes with {_named(first.codes_id)}, the other of codes with {_named(second.codes_id)}, or the "
            "model was trained in between: they do not add up."
        )
    rows = {}
    for site in {**first.rows, **second.rows}:
        parts = [base64.b64decode(identity.rows.get(site, "")) for identity in (first, second)]
        rows[site] = base64.b64encode(b"".join(parts)).decode()
    return replace(first, rows=rows)


def check_codes_id(name: str | None, sites: Mapping[str, Bottleneck], what: str, again: str) -> None:
    """Refuses what is of codes with another id than a model's; the arguments are as in `Identity.check`."""
    if name != (own := codes_id(sites)):
        raise ValueError(
            f"{what}: made of codes with {_named(name)}, but the model's have {_named(own)}. It is another model, or "
            "its codes were put where data is (`initialize_codes`, `initialize_keys`) or numbered anew (`compact`) "
            f"since. {again}."
        )


def warn_of_no_identity(what: str, again: str) -> None:
    """Warns of what was saved without identity; the arguments are as in `Identity.check`."""
    warnings.warn(
        f"{what}: saved without the identity of a model, as by an older excise, so that whether it is of this one is "
        f"not known. To be sure: {again}.",
        stacklevel=4,
    )


def codes_id(sites: Mapping[str, Bottleneck]) -> str | None:
    """What was drawn when the codes of a model were initialised; `None` if nothing was."""
    return next((getattr(bottleneck.config, "codes_id", None) for bottleneck in sites.values()), None)


def draw_codes_id(model: PreTrainedModel) -> None:
    """Names the codes of a model, which are new, by chance: all processes by the same name.

    It is not torch's or NumPy's chance: two runs of one seed compute the same.
    """
    drawn = [uuid4().hex]
    broadcast_object_list(drawn)
    set_codes_id(model, drawn[0])


def set_codes_id(model: PreTrainedModel, name: str | None) -> None:
    """Names the codes of a model, in all settings that are saved."""
    for settings in bottleneck_settings(model):
        settings.codes_id = name


def copy_codes_id(config: PreTrainedConfig, model: PreTrainedModel) -> None:
    """Gives the codes of a model the id that another configuration of it has, as that of an adapter, if it has one."""
    kinds = tuple({type(settings) for settings in bottleneck_settings(model)})
    for name in (getattr(settings, "codes_id", None) for settings in _settings_in(config, kinds)):
        if name is not None:
            set_codes_id(model, name)


def bottleneck_settings(model: PreTrainedModel) -> list[PreTrainedConfig]:
    """The settings of a model's bottlenecks: each one's own, and the model's, which may be the same object or not."""
    copies = [bottleneck.config for of_site in bottleneck_copies(model).values() for bottleneck in of_site]
    kinds = tuple({type(config) for config in copies})
    return list({id(config): config for config in (*copies, *_settings_in(model.config, kinds))}.values())


def _settings_in(config: PreTrainedConfig, kinds: tuple[type[PreTrainedConfig], ...]) -> list[PreTrainedConfig]:
    """The settings of bottlenecks anywhere in a model's configuration."""
    found = [value for value in vars(config).values() if isinstance(value, kinds)]
    for name in config.sub_configs:
        inner = getattr(config, name, None)
        if inner is not None and not isinstance(inner, kinds):
            found += _settings_in(inner, kinds)
    return found


def _shared_digests(bottleneck: Bottleneck) -> tuple[str, ...]:
    """Of all tensors that no code has rows in, but for what changes without training."""
    with align_module_device(bottleneck):  # brings back what a device map has put on disk
        every = (*bottleneck.named_parameters(), *bottleneck.named_buffers())
        tensors = {name: t.detach() for name, t in every if name not in (*bottleneck.code_tensors, *NOT_TRAINED)}
        return tuple(digest([], {name: t.to(dtype) for name, t in tensors.items()})[:16] for dtype in ROUNDED)


@torch.no_grad()
def _row_digests(bottleneck: Bottleneck, codes: Sequence[int] | np.ndarray) -> np.ndarray:
    """A number of 32 bits for each code and precision, `(codes, precisions)`."""
    found = np.zeros((len(codes), len(ROUNDED)), np.uint32)
    for part in range(0, len(codes), 4_096):  # a million keys have short rows, a thousand codes long ones
        rows = _rows(bottleneck, codes[part : part + 4_096])
        # Multiplied by numbers that look random, and added: of two rows that differ, one in 2^32 has the same sum.
        factors = np.frombuffer(hashlib.shake_256(b"excise").digest(8 * rows.shape[1]), "<u8")
        for i, dtype in enumerate(ROUNDED):
            bits = rows.to(dtype).view(torch.int16).numpy().view(np.uint16).astype(np.uint64)
            found[part : part + 4_096, i] = (bits @ factors) >> np.uint64(32)
    return found


def _rows(bottleneck: Bottleneck, codes: Sequence[int] | np.ndarray) -> Tensor:
    """The rows of what decides whether codes are selected, `(codes, width)`."""
    index = torch.as_tensor(np.asarray(codes, np.int64))
    with align_module_device(bottleneck):
        tensors = [getattr(bottleneck, name) for name in bottleneck.selecting_tensors or bottleneck.code_tensors]
        return torch.cat([bottleneck.by_code(t)[index.to(t.device)].flatten(1).float().cpu() for t in tensors], 1)


def _erased(bottleneck: Bottleneck, codes: np.ndarray) -> np.ndarray:
    """Which codes were deleted: these do not live, and their rows are zero."""
    gone = ~bottleneck.live.cpu().numpy()[codes]
    gone[gone] = ~_rows(bottleneck, codes[gone]).any(1).numpy()
    return gone


def _packed(codes: Sequence[int], digests: np.ndarray) -> str:
    rows = np.empty(len(codes), ROW)
    rows["code"], rows["digests"] = codes, digests
    return base64.b64encode(rows.tobytes()).decode()


def _named(name: str | None) -> str:
    return f"the id {name}" if name else "no id"


def weights_digest(
    model: nn.Module, removed: Mapping[str, Iterable[int]], erased: Mapping[str, Iterable[int]] | None = None
) -> str | None:
    """SHA-256 of what a model computes with: all its tensors, but for masks and the rows of what is removed.

    Masks, deletions and compaction of just this leave it as it is; any training, of whatever part, does not.
    Numbers are rounded to bfloat16, so that a model loaded in that precision has the same.

    Args:
        model: a model with bottlenecks.
        removed: by site, codes that are removed.
        erased: by embedding table, tokens whose rows are erased, or would be.

    Returns:
        The digest; `None` where a device map has put tensors on disk.
    """
    kept = {}
    for site, bottleneck in bottlenecks(model).items():
        kept[bottleneck] = torch.ones(bottleneck.num_codes, dtype=torch.bool)
        kept[bottleneck][torch.tensor(sorted(removed.get(site, ())), dtype=torch.long)] = False
    owners = {f"{name}.": module for name, module in model.named_modules() if module in kept}
    state, digests = model.state_dict(), {}
    stays = {}  # of a table, by where it lies, as it may go by several names
    for name, tokens in (erased or {}).items():
        stays[state[name].data_ptr()] = torch.ones(len(state[name]), dtype=torch.bool)
        stays[state[name].data_ptr()][torch.tensor(sorted(tokens), dtype=torch.long)] = False
    for name, tensor in state.items():
        owner, part = next(((m, name.removeprefix(p)) for p, m in owners.items() if name.startswith(p)), (None, ""))
        if tensor.is_meta:
            return None
        if part == "live":
            continue
        rounded = tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
        if owner is not None and part in owner.code_tensors:
            rounded = owner.by_code(rounded)[kept[owner].to(tensor.device)]
        elif (rows := stays.get(tensor.data_ptr())) is not None:
            rounded = rounded[rows.to(tensor.device)]
        digests[name] = digest([], {name: rounded})
    return digest(digests, {})
