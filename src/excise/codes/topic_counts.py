"""Counts of a topic's sets, by which its codes are chosen."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import BaseImageProcessor, PreTrainedModel

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import Identity
from excise.codes.counting import count_codes
from excise.codes.counts import CodeCounts, PairedCounts
from excise.codes.enrichment import Enrichment, Method, enrich_counts
from excise.codes.pair_counts import ClassCounts
from excise.data.forget_sets import ForgetSets
from excise.data.images import without_labels
from excise.data.inputs import Positions, Processor, image_processor_of
from excise.data.reading import is_stream, refuse_stream
from excise.storage.display import few, printable, shortened
from excise.storage.files import new_folder
from excise.storage.processes import by_main_process
from excise.storage.strict_json import checked, read

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    from excise.codes.search import Search

# Its name is of version 0.1.
COUNTS = "profile.json"
KINDS = {"topic": str, "sites": list[str], "positions": str, "data": dict[str, str]}
ANEW = "Count anew, as with `Unlearner.count_topic`"


@dataclass(frozen=True, repr=False)
class TopicCounts:
    """Which codes a topic uses, at each site and for every S'.

    Attributes:
        topic: whose codes were counted, in words.
        pairs: by site, counts over targets and their controls.
        retain: by site, counts over the retain set; empty where it was not counted.
        positions: `"topic"`, `"class_token"` or `"all"`, the tokens counted in targets and controls.
        data: digests of the sets counted.
        identity: of the model whose codes were counted: another one refuses the counts. `None` for counts by hand.
    """

    topic: str
    pairs: Mapping[str, PairedCounts]
    retain: Mapping[str, CodeCounts]
    positions: Positions
    data: Mapping[str, str]
    identity: Identity | None = None

    def __repr__(self) -> str:
        pairs = next(iter(self.pairs.values()))
        return (
            f"TopicCounts: {shortened(self.topic)!r} at {few(list(self.pairs))}; {pairs.target.num_examples:,} targets "
            f"and {pairs.control.num_examples:,} controls at {self.positions} positions, for S′ up to "
            f"{self.max_top_s:,}; retain set {'counted' if self.retain else 'not counted'}"
        )

    @property
    def max_top_s(self) -> int:
        """The largest S' that there are counts for."""
        return next(iter(self.pairs.values())).target.max_top_s

    def frequency(self, top_s: int) -> dict[str, np.ndarray]:
        """By site, in how many targets each code is used, int64 `(num_codes,)`, at one S'."""
        return {site: pairs.target.example_counts(top_s).numpy() for site, pairs in self.pairs.items()}

    def enrich(self, top_s: int, method: Method = "mcnemar") -> Enrichment:
        """One row per code: frequencies, ratio, p and q, at one S'."""
        tables = {site: pairs.table(top_s, self.retain.get(site)) for site, pairs in self.pairs.items()}
        return enrich_counts(tables, method, top_s=top_s, positions=self.positions, identity=self.identity)

    def check(
        self, topic: ForgetSets, sites: Mapping[str, Bottleneck], positions: str, top_s: int, retain: bool
    ) -> None:
        """Makes sure that a search can use these counts in place of new ones.

        Args:
            topic: what is searched for.
            sites: the model's bottlenecks.
            positions: that the search counts at.
            top_s: its S'.
            retain: whether it needs the retain set counted.

        Raises:
            ValueError: if they are of other sets, another model or other positions, or do not go far enough; or the
                model was trained since.
        """
        own = {site: bottleneck.num_codes for site, bottleneck in sites.items()}
        codes = {site: pairs.target.examples.shape[1] for site, pairs in self.pairs.items()}
        wrong = {
            f"of other sets than {topic.name!r} has": dict(self.data) != topic.digest(),
            f"of the codes {codes}, and the model has {own}": codes != own,
            f"at positions={self.positions!r}, and the search asks for {positions!r}": self.positions != positions,
            f"for S' up to {self.max_top_s}, and the search asks for {top_s}": self.max_top_s < top_s,
            "without the retain set, which the search asks for": retain and not self.retain,
        }
        if found := [reason for reason, holds in wrong.items() if holds]:
            raise ValueError(f"These counts are {'; '.join(found)}. {ANEW}.")
        if self.identity is not None:
            self.identity.check(sites, "Counts", ANEW)

    @by_main_process("folder")
    def save(self, folder: str | os.PathLike) -> None:
        """Writes the counts of each site and what they are of into a new or empty folder.

        Raises:
            FileExistsError: if the folder holds something.
        """
        sites = list(self.pairs)
        identity = None if self.identity is None else self.identity.to_dict()
        about: dict[str, Any] = {
            "topic": self.topic,
            "sites": sites,
            "positions": self.positions,
            "data": dict(self.data),
        }
        about |= {"identity": identity}
        with new_folder(folder) as partial:
            for i, site in enumerate(sites):
                self.pairs[site].save(partial / f"pairs-{i}.safetensors")
                if site in self.retain:
                    self.retain[site].save(partial / f"retain-{i}.safetensors")
            (partial / COUNTS).write_text(json.dumps(about, indent=2))

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "TopicCounts":
        """The counts that `save` wrote.

        Raises:
            ValueError: if the folder holds none.
        """
        folder = Path(folder)
        if not (folder / COUNTS).is_file():
            raise ValueError(
                f"{folder} holds no counts of a topic ({COUNTS} is missing). Make some with `TopicCounts.save`."
            )
        about = checked(read(folder / COUNTS), dict, COUNTS)
        identity = Identity.from_dict(about.pop("identity", None))
        for key, kind in KINDS.items():
            checked(about.get(key), kind, f"{key} in {COUNTS}")
        if others := about.keys() - KINDS.keys():
            unknown = printable(few(sorted(others)))
            raise ValueError(f"{folder} holds counts with {unknown}, which this excise does not know. Update it.")
        sites = list(enumerate(about.pop("sites")))
        return cls(
            pairs={site: PairedCounts.load(folder / f"pairs-{i}.safetensors") for i, site in sites},
            retain={
                site: CodeCounts.load(path)
                for i, site in sites
                if (path := folder / f"retain-{i}.safetensors").is_file()
            },
            **about,
            identity=identity,
        )


@dataclass(frozen=True, repr=False)
class TargetCounts:
    """Which codes examples use, at each site and for every S', where nothing is held against them.

    Attributes:
        topic: whose codes were counted, in words.
        target: by site, counts over the examples.
    """

    topic: str
    target: Mapping[str, CodeCounts]

    def __repr__(self) -> str:
        counts = next(iter(self.target.values()))
        return f"TargetCounts: {shortened(self.topic)!r} at {few(list(self.target))}; {counts}"

    @property
    def max_top_s(self) -> int:
        """The largest S' that there are counts for."""
        return next(iter(self.target.values())).max_top_s

    def frequency(self, top_s: int) -> dict[str, np.ndarray]:
        """By site, in how many examples each code is used, int64 `(num_codes,)`, at one S'."""
        return {site: counts.example_counts(top_s).numpy() for site, counts in self.target.items()}

    def enrich(self, top_s: int, method: Method) -> Enrichment:
        """Refused: there is no control.

        Raises:
            ValueError: always; it says what to do.
        """
        raise ValueError(
            f"method={method!r} holds examples against a control, and there is none. Give topic_sets or class_sets, or "
            'Search("activations", count=...) or Search("examples", count=...).'
        )


def count_examples(
    model: PreTrainedModel,
    processor: Processor,
    topic: "ForgetSets | Dataset | IterableDataset",
    search: "Search",
    **options: Any,
) -> TargetCounts:
    """Counts the examples that a search by frequency looks at: those of sets that are to be forgotten, or all.

    Args:
        model: whose codes are counted.
        processor: its tokenizer or image processor.
        topic: sets, or examples alone.
        search: by `"activations"` or `"examples"`, which draws some.
        **options: the other arguments of `count_codes`.

    Raises:
        ValueError: if there are no examples, or fewer than are to be drawn, or these are to be drawn from a stream.
    """
    examples: Any = topic.target if isinstance(topic, ForgetSets) else topic
    positions = topic.positions if isinstance(topic, ForgetSets) else "all"
    if search.method == "examples":
        examples = draw_examples(examples, search.needed_count, search.seed)
    elif not is_stream(examples) and len(examples) == 0:
        raise ValueError("The forget set is empty; give at least one example.")
    if not is_stream(examples):
        examples = without_labels(examples)
    counted = count_codes(model, processor, examples, positions=search.positions or positions, **options)
    return TargetCounts(getattr(topic, "name", ""), counted)


def draw_examples(forget: "Dataset", count: int, seed: int) -> "Dataset":
    """Examples drawn at random, in an order of their own; drawn from again, the same ones.

    Raises:
        ValueError: if `count` is not from 1 to the number of examples.
    """
    refuse_stream(forget)
    if len(forget) == 0:
        raise ValueError("The forget set is empty; give at least one example.")
    if not 1 <= count <= len(forget):
        raise ValueError(f"count={count}: expected 1 to {len(forget)}, the number of examples in the forget set.")
    return forget.select(np.random.default_rng(seed).permutation(len(forget))[:count])


def check_kind(topic: object, processor: Processor) -> None:
    """Refuses sets of words for a model of images, and sets of a class for one of texts.

    Raises:
        ValueError: if they are such.
    """
    kind = getattr(topic, "kind", None)
    takes_texts = not isinstance(processor, BaseImageProcessor)
    takes_images = image_processor_of(processor) is not None
    if kind == "words" and not takes_texts and processor is not None:
        raise ValueError(
            f"{getattr(topic, 'name', '')!r} is a topic of words, and the model takes images: give sets of a class, as "
            "`class_sets(images, name)` or `excise classes` makes them."
        )
    if kind == "classes" and not takes_images and processor is not None:
        raise ValueError(
            f"{getattr(topic, 'name', '')!r} is a class of images, and the model takes texts: give sets of words, as "
            "`topic_sets(...)` or `excise topic` makes them."
        )


def check_searches(searches: Sequence["Search"], topic: object, counted: bool = False, processor: Any = None) -> None:
    """Refuses what counts that were made before are not enough for.

    Args:
        searches: what is to be found.
        topic: what is searched for.
        counted: whether the counts of its sets are there already.
        processor: the model's, if it is to be what the topic needs.

    Raises:
        ValueError: if searches need more than the counts of a class, or of sets, tell; or the topic is no sets, and
            there are counts of some.
    """
    check_kind(topic, processor)
    if counted and not isinstance(topic, ForgetSets):
        raise ValueError(f"`counts` are of sets, and a {type(topic).__name__} is none. Leave them out.")
    for search in searches:
        if counted and search.method == "examples":
            raise ValueError(f"{search} counts the examples that it draws; `counts` are of all. Leave them out.")
        if not isinstance(topic, ClassCounts):
            continue
        if search.method == "examples" or search.rounds > 1 or search.max_retain_ratio is not None:
            raise ValueError(
                f"{search} asks for more than counts tell: of these, search by 'activations' or a test, in one "
                "round and without max_retain_ratio; or give images, encodings or pairs."
            )
