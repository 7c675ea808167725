"""Find a topic's codes: count, test, select."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.bottlenecks import Bottleneck, KeyValueBottleneck
from excise.bottlenecks.site import bottlenecks
from excise.codes.enrichment import Enrichment, Method
from excise.codes.search import Search, SearchCounts, preset_for, searches_of
from excise.codes.selection import SITE, Selection
from excise.codes.topic_counts import MAX_TOP_S, TopicCounts, count_apart, count_codes, count_pairs
from excise.data.forget_sets import ForgetSets
from excise.data.inputs import Positions, Processor, tokenizer_of
from excise.ledger.ledger import Ledger, check_enough_live
from excise.ledger.masks import set_masks
from excise.models.key_value.encodings import ENCODINGS, encode_images
from excise.models.key_value.pairs import PAIRS, check_pairs, select_pairs


class CodeFinder:
    """Finds the codes of topics in a model with bottlenecks, and changes nothing.

    Args:
        model: a model with bottlenecks. Its masks are in force.
        processor: the model's tokenizer, image processor, or processor of both.
    """

    def __init__(self, model: PreTrainedModel, processor: Processor):
        self.model = model
        self.processor = processor

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
        self.check_codebooks()
        return max(bottleneck.config.top_s for bottleneck in self.sites.values())

    @property
    def ledger(self) -> Ledger:
        """All requests so far."""
        return Ledger.from_dict(self.model.config.unlearning)

    def preset_top_s(self, preset: str | Search | Sequence[Search] = "default", topic: ForgetSets | None = None) -> int:
        """The largest S' that a search of a preset, which may depend on the topic, asks for in this model."""
        return self.top_s * max(search.multiple for search in searches_of(preset_for(topic, preset)))

    def check_codebooks(self) -> None:
        """Makes sure that the model's codes are shared by tokens.

        Raises:
            ValueError: if a bottleneck is a key-value one.
        """
        if any(isinstance(bottleneck, KeyValueBottleneck) for bottleneck in self.sites.values()):
            raise ValueError(
                "A key-value bottleneck has pairs, not codes that are shared by tokens. Use `mask_by_activations` or "
                "`mask_by_examples`, or mask what `PairCounts.enrich(...)` selects."
            )

    def pairs(self, dataset: Dataset, *, cache_dir: str | os.PathLike | None = None, progress: bool = True) -> Dataset:
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
            raise ValueError(
                f"{type(self.model).__name__} has no key-value bottleneck, so there are no pairs to select."
            )
        if PAIRS in dataset.column_names:
            check_pairs(dataset, self.sites[SITE])
            return dataset
        if ENCODINGS not in dataset.column_names:
            dataset = encode_images(self.model, dataset, self.processor, cache_dir=cache_dir, progress=progress)
        return select_pairs(self.model, dataset, cache_dir=cache_dir, progress=progress)

    def count_topic(
        self,
        topic: ForgetSets,
        *,
        positions: Positions | None = None,
        retain: bool = False,
        max_top_s: int = MAX_TOP_S,
        batch_size: int = 32,
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
            progress: show progress bars.
        """
        self.check_codebooks()
        options = {"max_top_s": max_top_s, "batch_size": batch_size, "progress": progress}
        positions, count = positions or topic.positions, count_pairs if topic.paired else count_apart
        pairs = count(self.model, self.processor, topic.target, topic.control, positions=positions, **options)
        counted = count_codes(self.model, self.processor, topic.retain, **options) if retain else {}
        return TopicCounts(topic.name, pairs, counted, positions, topic.digest())

    def enrich(
        self,
        topic: ForgetSets,
        *,
        top_s: int | None = None,
        method: Method = "mcnemar",
        positions: Positions | None = None,
        retain: bool = False,
        progress: bool = True,
    ) -> Enrichment:
        """Counts a topic's codes and tests each code for enrichment at one S'.

        Args:
            topic: sets as `topic_sets` or `class_sets` make them.
            top_s: S'; three times the model's S if not given.
            method: `"mcnemar"` (exact, paired), `"fisher"`, `"chi2"` or `"paper"`. A class has no pairs: `"fisher"`.
            positions: as in `count_topic`.
            retain: as in `count_topic`.
            progress: show progress bars.
        """
        top_s = top_s or 3 * self.top_s
        options = {"positions": positions, "retain": retain, "max_top_s": top_s, "progress": progress}
        return self.count_topic(topic, **options).enrich(top_s, method)

    def count(
        self,
        topic: ForgetSets,
        preset: str | Search | Sequence[Search] = "default",
        *,
        max_top_s: int | None = None,
        batch_size: int = 32,
        progress: bool = True,
    ) -> SearchCounts:
        """Counts what the searches of a preset need, once for all of them and for every S'.

        Args:
            topic: sets as `topic_sets` or `class_sets` make them.
            preset: `"default"` (for classes, `"class"`), `"paper"`, or searches of your own.
            max_top_s: the largest S'; the largest that a search asks for if not given.
            batch_size: as in `count_topic`.
            progress: show progress bars.
        """
        preset = preset_for(topic, preset)
        searches = searches_of(preset)
        max_top_s = max_top_s or self.preset_top_s(searches)
        options = {"max_top_s": max_top_s, "batch_size": batch_size, "progress": progress}
        retain = any(search.max_retain_ratio is not None for search in searches)
        counted = count_codes(self.model, self.processor, topic.retain, **options) if retain else {}
        by_positions = {
            positions: replace(self.count_topic(topic, positions=positions, **options), retain=counted)
            for positions in dict.fromkeys(search.positions for search in searches)
        }
        name = preset if isinstance(preset, str) else ""
        return SearchCounts(name, searches, tuple(by_positions[search.positions] for search in searches), self.top_s)

    def choose(
        self,
        topic: ForgetSets,
        preset: str | Search | Sequence[Search] = "default",
        *,
        top_s: int | None = None,
        **options: Any,
    ) -> Selection:
        """A topic's codes, by the searches of a preset, each in as many rounds as it asks for.

        Args:
            topic: sets as `topic_sets` or `class_sets` make them.
            preset: `"default"` (for classes, `"class"`), another of `PRESETS`, or searches of your own.
            top_s: S' of all searches; each one's own multiple of S if not given.
            **options: the other arguments of `count`.

        Raises:
            ValueError: if there is no such preset, or a round would leave fewer live codes than S'.
        """
        preset = preset_for(topic, preset)
        searches = searches_of(preset)
        selection = self.count(topic, preset, max_top_s=top_s, **options).select(top_s)
        for done in range(1, max(search.rounds for search in searches)):
            more = [search for search in searches if search.rounds > done]
            with self.trial(selection):
                selection = selection.with_more(self.count(topic, more, max_top_s=top_s, **options).select(top_s))
        return selection

    def without_masks(self) -> AbstractContextManager[None]:
        """A context in which the model is as it was before its masks; deleted codes stay deleted."""
        deletions = tuple(request for request in self.ledger.requests if request.kind == "delete")
        return self._for_a_while(Ledger(deletions).live(self.sites))

    def trial(self, selection: Selection) -> AbstractContextManager[None]:
        """A context in which more codes are masked, without an entry in the ledger.

        Within `without_masks` they are the only ones.

        Raises:
            ValueError: as `mask`, but that nothing may be selected.
        """
        masks = Ledger().add("mask", "trial", selection.codes).live(self.sites)
        masks = {site: mask & self.sites[site].live.cpu() for site, mask in masks.items()}
        check_enough_live(masks, self.sites)
        return self._for_a_while(masks)

    @contextmanager
    def _for_a_while(self, masks: Mapping[str, torch.Tensor]) -> Iterator[None]:
        before = {site: bottleneck.live.clone() for site, bottleneck in self.sites.items()}
        set_masks(self.model, masks)
        try:
            yield
        finally:
            set_masks(self.model, before)
