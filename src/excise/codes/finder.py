"""Finder of a topic's codes: count, test, select."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.bottlenecks.base import Bottleneck
from excise.bottlenecks.identity import Identity
from excise.bottlenecks.key_value.bottleneck import KeyValueBottleneck
from excise.bottlenecks.site import bottlenecks
from excise.codes.counting import MAX_TOP_S, count_apart, count_codes, count_pairs
from excise.codes.enrichment import Enrichment, Method
from excise.codes.pair_counts import ClassCounts
from excise.codes.passes import checked_index, folder_in
from excise.codes.search import Counts, Search, SearchCounts, Topic, preset_for, searches_of
from excise.codes.selection import SITE, Selection
from excise.codes.topic_counts import TopicCounts, check_searches, count_examples
from excise.data.forget_sets import ForgetSets
from excise.data.inputs import Positions, Processor, image_processor_of, tokenizer_of
from excise.ledger.ledger import Ledger, check_enough_live
from excise.ledger.masks import masks_for_a_while
from excise.models.key_value import KeyValueForImageClassification
from excise.models.key_value.encodings import ENCODINGS, encode_images
from excise.models.key_value.pairs import PAIRS, check_pairs, select_pairs
from excise.storage.display import few
from excise.storage.expected import expects

if TYPE_CHECKING:
    from datasets import Dataset

    from excise.codes.index import CodeIndex


class CodeFinder:
    """Finds the codes of topics in a model with bottlenecks, and changes nothing.

    Args:
        model: a model with bottlenecks. Its masks are in force.
        processor: the model's tokenizer, image processor, or processor of both.
        index: of a corpus of texts, built with this model: what is in it is counted without running the model.

    Raises:
        ValueError: if the index is of another model or tokenizer, or of this one before more training.
    """

    def __init__(self, model: PreTrainedModel, processor: Processor, index: "CodeIndex | None" = None):
        self.model, self.processor, self.index = model, processor, checked_index(index)
        if index is not None:
            index.check(model, processor)

    def __repr__(self) -> str:
        sites = [f"{site}: {int(m.live.sum()):,} of {m.num_codes:,} codes live" for site, m in self.sites.items()]
        topics = [request.topic for request in self.ledger.requests if not request.undone]
        name = f"{type(self).__name__}: {type(self.model).__name__}"
        return f"{name}, bottlenecks at {few(sites)}; asked to forget: {few(topics) or 'nothing'}"

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that the processor is or has.

        Raises:
            ValueError: if it has none.
        """
        return tokenizer_of(self.processor)

    @property
    def sites(self) -> dict[str, Bottleneck]:
        """The bottlenecks in use, by site."""
        return bottlenecks(self.model)

    @property
    def top_s(self) -> int:
        """The model's S; the largest, if its sites differ."""
        return max(bottleneck.top_s for bottleneck in self.sites.values())

    @property
    def ledger(self) -> Ledger:
        """All requests so far."""
        return Ledger.from_dict(self.model.config.unlearning)

    def preset_top_s(self, preset: str | Search | Sequence[Search] = "default", topic: Topic | None = None) -> int:
        """The largest S' that a search of a preset, which may depend on the topic, asks for in this model."""
        searches = searches_of(preset if topic is None else preset_for(topic, preset))
        return max(search.top_s(self.top_s) for search in searches)

    def pairs(
        self, dataset: "Dataset", *, cache_dir: str | os.PathLike | None = None, progress: bool = True
    ) -> "Dataset":
        """The key-value pairs that the examples of a data set select.

        Args:
            dataset: images, or what `encode_images` or `select_pairs` made of them.
            cache_dir: where encodings and pairs are kept, until you remove them: as in `encode_images`.
            progress: show a progress bar.

        Raises:
            ValueError: if the model has no key-value bottleneck, the data set is empty, or it holds encodings or pairs
                of another model.
        """
        if SITE not in self.sites:
            raise ValueError(f"{type(self.model).__name__} has no key-value bottleneck, and so no pairs to select.")
        model = cast(KeyValueForImageClassification, self.model)  # by the name of its site
        if PAIRS in dataset.column_names:
            check_pairs(dataset, cast(KeyValueBottleneck, self.sites[SITE]))
            return dataset
        if ENCODINGS not in dataset.column_names:
            processor = image_processor_of(self.processor)
            if processor is None:
                raise ValueError(f"A {type(self.processor).__name__} is no image processor: give the encoder's.")
            dataset = encode_images(model, dataset, processor, cache_dir=cache_dir, progress=progress)
        return select_pairs(model, dataset, cache_dir=cache_dir, progress=progress)

    @expects(topic="sets", max_top_s="number", batch_size="number")
    def count_topic(
        self,
        topic: ForgetSets,
        *,
        positions: Positions | None = None,
        retain: bool = False,
        max_top_s: int = MAX_TOP_S,
        batch_size: int = 32,
        checkpoint: str | os.PathLike | None = None,
        progress: bool = True,
    ) -> TopicCounts:
        """Counts the codes of a topic's target and control, for every S' up to `max_top_s` at once.

        Args:
            topic: sets as `topic_sets` or `class_sets` make them; `heldout` and `heldout_retain` are not looked at.
            positions: count targets and controls at the topic word's own tokens (`"topic"`) or at `"all"`; the former
                if not given, for words, and the latter for classes of images. Of images, the `"class_token"` alone can
                be counted: where the bottleneck is in CLIP's last layer, only that goes on.
            retain: count the retain set too, at all tokens, which takes several times as long. Needed to select by
                `max_retain_ratio`.
            max_top_s: the largest S'.
            batch_size: pairs a batch; it changes nothing but time and memory.
            checkpoint: a folder to keep counts in, every minute, from which a run that was killed goes on.
            progress: show progress bars.
        """
        options: dict[str, Any] = {"max_top_s": max_top_s, "batch_size": batch_size, "index": self.index}
        positions = positions or topic.positions
        count = count_pairs if topic.paired else count_apart
        options |= {"progress": progress, "checkpoint": folder_in(checkpoint, "pairs")}
        pairs = count(self.model, self.processor, topic.target, topic.control, positions=positions, **options)
        options["checkpoint"] = folder_in(checkpoint, "retain")
        counted = count_codes(self.model, self.processor, topic.retain, **options) if retain else {}
        return TopicCounts(topic.name, pairs, counted, positions, topic.digest(), Identity.of(self.sites))

    def enrich(
        self,
        topic: ForgetSets,
        *,
        top_s: int | None = None,
        method: Method = "mcnemar",
        positions: Positions | None = None,
        **options: Any,
    ) -> Enrichment:
        """Counts a topic's codes and tests each code for enrichment at one S'.

        Args:
            topic: sets as `topic_sets` or `class_sets` make them.
            top_s: S'; three times the model's S if not given.
            method: `"mcnemar"` (exact, paired), `"fisher"`, `"chi2"` or `"paper"`. A class has no pairs: `"fisher"`.
            positions: as in `count_topic`.
            **options: `retain` and the others of `count_topic`.
        """
        top_s = 3 * self.top_s if top_s is None else top_s
        return self.count_topic(topic, positions=positions, max_top_s=top_s, **options).enrich(top_s, method)

    @expects(max_top_s="?number", batch_size="number")
    def count(
        self,
        topic: Topic,
        preset: str | Search | Sequence[Search] = "default",
        *,
        max_top_s: int | None = None,
        batch_size: int = 32,
        checkpoint: str | os.PathLike | None = None,
        progress: bool = True,
        counts: TopicCounts | None = None,
    ) -> SearchCounts:
        """Counts what the searches of a preset need, once for all of them and for every S'.

        Args:
            topic: as in `choose`.
            preset: `"default"` (for classes, `"class"`), another of `PRESETS`, or searches of your own.
            max_top_s: the largest S'; the largest that a search asks for if not given.
            batch_size: examples a batch.
            checkpoint: as in `count_topic`.
            progress: show progress bars.
            counts: of the same sets, from `count_topic` with this model as it is; nothing is counted then.

        Raises:
            ValueError: if counts are another model's, or of before more training, or lack what a search asks for.
        """
        preset = preset_for(topic, preset)
        searches = searches_of(preset)
        name = preset if isinstance(preset, str) else ""
        check_searches(searches, topic, counts is not None, self.processor)
        made = self.top_s, self.sites, Identity.of(self.sites)
        if isinstance(topic, ClassCounts):
            topic.check(self.sites)
            return SearchCounts(name, searches, (topic,) * len(searches), *made)
        options: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
        largest = max_top_s or self.preset_top_s(searches)
        retain = any(search.max_retain_ratio is not None for search in searches)
        if counts is not None:
            for positions in {search.positions or topic.positions: None for search in searches}:
                counts.check(topic, self.sites, positions, largest, retain)
            return SearchCounts(name, searches, (counts,) * len(searches), *made)
        if retain and isinstance(topic, ForgetSets):
            options["checkpoint"] = folder_in(checkpoint, "retain")
            parts = self.model, self.processor, topic.retain
            retained = count_codes(*parts, max_top_s=largest, **options, index=self.index)
        by_need: dict[Any, Counts] = {}
        for search in searches:
            if (key := search.counted) in by_need:
                continue
            options["checkpoint"] = folder_in(checkpoint, f"search-{len(by_need) + 1}")
            if search.by_frequency or not isinstance(topic, ForgetSets):
                options["max_top_s"] = max_top_s or self.top_s
                by_need[key] = count_examples(self.model, self.processor, topic, search, **options, index=self.index)
            else:
                options["max_top_s"] = largest
                of_topic = self.count_topic(topic, positions=search.positions, **options)
                by_need[key] = replace(of_topic, retain=retained) if retain else of_topic
        return SearchCounts(name, searches, tuple(by_need[search.counted] for search in searches), *made)

    @expects(top_s="?number")
    def choose(
        self,
        topic: Topic | Selection,
        preset: str | Search | Sequence[Search] = "default",
        *,
        top_s: int | None = None,
        tables: bool = False,
        **options: Any,
    ) -> Selection:
        """A topic's codes, by the searches of a preset, each in as many rounds as it asks for.

        Args:
            topic: sets as `topic_sets` or `class_sets` make them; a class known by counts, `PairCounts.topic(...)`;
                examples alone, as a `Dataset` (of a key-value model, images, encodings or pairs) or a stream, which
                only searches by `"activations"` and `"examples"` take; or a selection, which is the choice already.
            preset: `"default"` (for classes `"class"`, or `"pairs"` of a key-value model where that finds nothing),
                another of `PRESETS`, or searches of your own.
            top_s: S' of all searches; each one's own multiple of S if not given.
            tables: keep the tables that codes were chosen from, of each round, for a `Record`.
            **options: the other arguments of `count`.

        Raises:
            ValueError: if there is no such preset, the topic does not have what a search needs, a round would leave
                fewer live codes than S', or a selection is of another model or of this one before more training.
        """
        if isinstance(topic, Selection):
            return topic.checked(self.sites)
        asked, preset = preset, preset_for(topic, preset)
        searches = searches_of(preset)
        rounds = max(search.rounds for search in searches)
        if rounds > 1 and options.get("counts") is not None:
            raise ValueError(f"rounds={rounds}: each counts anew, under a mask of its own. Leave `counts` out.")
        selection = self.count(topic, preset, max_top_s=top_s, **options).select(top_s, tables=tables)
        if asked == "default" and not len(selection) and SITE in self.sites and not self.ledger.in_force(topic):
            return self.choose(topic, "pairs", top_s=top_s, **options | {"counts": None})
        for done in range(1, rounds):
            more = [search for search in searches if search.rounds > done]
            with self.trial(selection):
                folder = folder_in(options.get("checkpoint"), f"round-{done + 1}")
                counts = self.count(topic, more, max_top_s=top_s, **options | {"checkpoint": folder})
                selection = selection.with_more(counts.select(top_s, tables=tables))
        return selection

    def without_masks(self) -> AbstractContextManager[None]:
        """A context in which the model is as it was before its masks; deleted codes stay deleted."""
        deletions = tuple(request for request in self.ledger.requests if request.kind == "delete")
        return masks_for_a_while(self.model, Ledger(deletions).live(self.sites))

    def trial(
        self, topic: Topic | Selection, preset: str | Search | Sequence[Search] = "default", **options: Any
    ) -> AbstractContextManager[None]:
        """A context in which more codes are masked, without an entry in the ledger.

        Within `without_masks` they are the only ones.

        Args:
            topic: as in `choose`: a selection, or what is to be chosen on.
            preset: as in `choose`.
            **options: as in `choose`.

        Raises:
            ValueError: as `mask`, but that nothing may be selected.
        """
        selection = self.choose(topic, preset, **options)
        masks = Ledger().add("mask", "trial", selection.codes).live(self.sites)
        masks = {site: mask & self.sites[site].live.cpu() for site, mask in masks.items()}
        check_enough_live(masks, self.sites)
        return masks_for_a_while(self.model, masks)
