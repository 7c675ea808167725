"""Origin of a code index: the model and the tokenizer that its rows are of, and what makes it stale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.bottlenecks.identity import Identity
from excise.bottlenecks.site import bottlenecks, unwrapped
from excise.data.batches import tokenizer_digest
from excise.data.inputs import Processor, image_processor_of, tokenizer_of
from excise.ledger.embeddings import vocabulary_tables
from excise.ledger.ledger import Ledger
from excise.models.activations import circumstances, deciding_modules, deciding_tensors
from excise.storage.digests import digest, sums
from excise.storage.strict_json import checked

if TYPE_CHECKING:
    from peft import PeftModel

WHAT = "Code index"
ANEW = "Build an index anew, in another folder: `CodeIndex.build`, or `excise index`"
# Changed circumstances that a message tells of.
SHOWN = 4
KINDS = {
    "weights": str,
    "tokenizer": str,
    "settings": dict[str, dict[str, Any]],
    "deleted": dict[str, list[int]],
}


@dataclass(frozen=True)
class Origin:
    """A model and a tokenizer, told from others and from the same before or after a training.

    Masks, undoing and deletions leave a model the same: an index is of all codes that were not deleted.

    Attributes:
        identity: of the codes, with their rows.
        weights: digest of the tensors that decide what arrives at the bottlenecks, to the last bit.
        tokenizer: digest of the tokenizer, and of the length that it cuts texts to.
        settings: by site, what a look-up depends on besides.
        deleted: by site, the codes that were deleted already.
        circumstances: as `excise.models.activations.circumstances`, of what comes before the bottlenecks; `None` in an
            index that was made before they were looked at.
        beside_embeddings: as `weights`, without the embedding tables, some rows of which may be erased since; `None` in
            an index that was made before deletions did that.
    """

    identity: Identity
    weights: str
    tokenizer: str
    settings: Mapping[str, Mapping[str, Any]]
    deleted: Mapping[str, Sequence[int]]
    circumstances: Mapping[str, Mapping[str, Any]] | None = None
    beside_embeddings: str | None = None

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> "Origin":
        """A model and a tokenizer as they are now."""
        sites, modules = bottlenecks(model), deciding_modules(model)
        ledger = Ledger.from_dict(model.config.unlearning)
        return cls(
            Identity.of(sites, {site: range(module.num_codes) for site, module in sites.items()}),
            digest([], deciding_tensors(model, modules)),
            tokenizer_digest(tokenizer),
            _settings(model),
            {site: list(ledger.removed(site, kinds=("delete",))) for site in sites},
            circumstances(model, modules),
            digest([], _beside_embeddings(model, modules)),
        )

    def check(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Makes sure that a model and a tokenizer are still these.

        Raises:
            ValueError: if they are not. The message tells what differs and what to do.
        """
        sites = bottlenecks(model)
        if self.settings.keys() != sites.keys():
            raise ValueError(f"{WHAT}: made at {sorted(self.settings)}, but the model has {sorted(sites)}. {ANEW}.")
        self.identity.check(sites, WHAT, ANEW)
        modules = deciding_modules(model)
        differs = self._changed(circumstances(model, modules))
        ledger = Ledger.from_dict(model.config.unlearning)
        if ledger.erased_rows() and self.beside_embeddings:
            changed = self.beside_embeddings != digest([], _beside_embeddings(model, modules))
        else:
            changed = self.weights != digest([], deciding_tensors(model, modules))
        if changed:
            differs.append("the weights before its bottlenecks have other numbers, or another precision, now")
        if self.tokenizer != tokenizer_digest(tokenizer):
            differs.append(
                "the tokenizer is another one, or cuts texts to another length "
                f"(model_max_length={tokenizer.model_max_length} now)"
            )
        for site, now in _settings(model).items():
            for name, value in now.items():
                if (then := self.settings[site].get(name)) != value:
                    differs.append(f"{name} of {site} was {then} and is {value}")
        for site, codes in self.deleted.items():
            if back := {*codes} - {*ledger.removed(site, kinds=("delete",))}:
                differs.append(f"{len(back)} codes of {site} are there that were deleted when it was made")
        if differs:
            raise ValueError(
                f"{WHAT}: made with another model or tokenizer, or before a change: {'; '.join(differs)}. {ANEW}."
            )

    def _changed(self, now: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """What is different in circumstances, in words."""
        if (then := self.circumstances) is None:
            return []
        names = [("state", name) for name in sorted({*then["state"], *now["state"]})]
        # A number that only one of them has is due to another version of a library.
        names += [("numbers", name) for name in sorted({*then["numbers"]} & {*now["numbers"]})]
        changes = [
            f"{name}: {then[kind].get(name, 'none')} when it was made, {now[kind].get(name, 'none')} now"
            for kind, name in names
            if then[kind].get(name) != now[kind].get(name)
        ]
        return changes[:SHOWN] + ([f"{len(changes) - SHOWN} more of these"] if len(changes) > SHOWN else [])

    def check_grows(self, model: PreTrainedModel) -> None:
        """Makes sure that a model has all codes that the index is of, as what is added has to tell of each.

        Raises:
            ValueError: if some were deleted since.
        """
        ledger = Ledger.from_dict(model.config.unlearning)
        for site, codes in self.deleted.items():
            if gone := {*ledger.removed(site, kinds=("delete",))} - {*codes}:
                raise ValueError(
                    f"{WHAT}: {len(gone)} codes of {site} were deleted from the model since the index was made, and "
                    "texts added now would be without them. Add with the model as it was before the deletion. Or: "
                    f"{ANEW[0].lower()}{ANEW[1:]}."
                )

    def to_dict(self) -> dict[str, Any]:
        """The origin as JSON values; `from_dict` reads it back."""
        return {
            "identity": self.identity.to_dict(),
            "weights": self.weights,
            "tokenizer": self.tokenizer,
            "settings": {site: dict(values) for site, values in self.settings.items()},
            "deleted": {site: list(codes) for site, codes in self.deleted.items()},
            **({} if self.circumstances is None else {"circumstances": self.circumstances}),
            **({} if self.beside_embeddings is None else {"beside_embeddings": self.beside_embeddings}),
        }

    @classmethod
    def from_dict(cls, state: Any) -> "Origin":
        """What `to_dict` gave.

        Raises:
            ValueError: if it is something else.
        """
        known = checked(state, dict[str, Any], "A code index's origin")
        parts = {name: checked(known.get(name), kind, f"An origin's {name}") for name, kind in KINDS.items()}
        if not (identity := Identity.from_dict(known.get("identity"))).shared:
            raise ValueError("A code index's origin has no identity of a model.")
        around = checked(known.get("circumstances"), dict[str, dict[str, Any]] | None, "An origin's circumstances")
        if around is not None and not {"state", "numbers"} <= around.keys():
            raise ValueError(f"An origin's circumstances are not those of a code index. {ANEW}.")
        beside = checked(known.get("beside_embeddings"), str | None, "An origin's beside_embeddings")
        return cls(identity, **parts, circumstances=around, beside_embeddings=beside)


def _beside_embeddings(model: PreTrainedModel, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    tables = {id(table) for table in vocabulary_tables(model).values()}
    return {name: of for name, of in deciding_tensors(model, modules).items() if id(of) not in tables}


def without_adapter(model: "PreTrainedModel | PeftModel") -> PreTrainedModel:
    """The model that an index is of: inside a PEFT model the one with the same weights, adapters included.

    Raises:
        ValueError: if the adapter is a prompt, which is put before every text.
    """
    whole: Any = unwrapped(model)
    base = getattr(whole, "get_base_model", None)
    if base and getattr(getattr(whole, "active_peft_config", None), "is_prompt_learning", False):
        raise ValueError(f"{WHAT}: the adapter is a learned prompt, of which no index tells. Leave the index out.")
    return base() if base else whole


def text_tokenizer(processor: Processor) -> PreTrainedTokenizerBase:
    """The tokenizer of a model of texts.

    Raises:
        ValueError: if the model is one of images, which no index is of.
    """
    if image_processor_of(processor) is not None:
        raise ValueError(
            f"A CodeIndex is of texts, and a {type(processor).__name__} makes inputs of images. Leave the index out: "
            "images are counted by running the model."
        )
    return tokenizer_of(processor)


def fingerprint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[Any, ...]:
    """What changes with whatever `Origin.check` looks at, and takes a tenth of the time: sums of the tensors' bits."""
    sites, modules = bottlenecks(model), deciding_modules(model)
    tensors = deciding_tensors(model, modules)
    tensors |= {f"{site}: {name}": getattr(of, name) for site, of in sites.items() for name in of.code_tensors}
    about = (len(tokenizer), tokenizer.model_max_length, tokenizer.padding_side, id(tokenizer))
    return (sums(tensors), repr(_settings(model)), repr(circumstances(model, modules)), id(model), about)


def _settings(model: PreTrainedModel) -> dict[str, dict[str, Any]]:
    return {
        site: {
            "num_codes": module.num_codes,
            "top_s": module.top_s,
            "active": getattr(module.config, "active", None),
            "min_similarity": float(getattr(module, "min_similarity", -1.0)),
            **module.rule,
        }
        for site, module in bottlenecks(model).items()
    }
