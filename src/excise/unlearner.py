"""Forget a topic: find its codes, mask or delete them, undo, save."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoConfig, PreTrainedModel

from excise.bottlenecks.site import uncompiled
from excise.codes.finder import CodeFinder
from excise.codes.pair_counts import PairCounts
from excise.codes.search import Search
from excise.codes.selection import SITE, Selection, by_activations, by_examples, draw_examples
from excise.data.forget_sets import ForgetSets
from excise.data.images import images_alone
from excise.data.inputs import Processor
from excise.ledger.compaction import compact
from excise.ledger.ledger import Request, check_masks
from excise.ledger.masks import enforce
from excise.ledger.optimizers import check_clearable, clear_optimizer_rows
from excise.models.loading import load_model, load_processor
from excise.models.push_guard import guard_push
from excise.report import Record
from excise.sharing.bundle import check_bundle, write_bundle
from excise.sharing.bundle.checks import check_written
from excise.sharing.bundle.manifest import MANIFEST
from excise.sharing.erasure import ErasedRows
from excise.sharing.hub import PushInfo, download, publish
from excise.storage.files import new_folder


class Unlearner(CodeFinder):
    """Makes a model with bottlenecks forget, and keeps the ledger of it in the model's config.

    A *mask* stops codes from being selected and can be undone; a *deletion* also erases them and cannot. Whatever
    fails leaves model and ledger as they were.

    Args:
        model: a model with bottlenecks, or a `PeftModel` around one; of a compiled one, the model that was compiled is
            taken, which has the same weights.
        processor: the model's tokenizer, image processor, or processor of both.

    Raises:
        ValueError: if the model has no bottleneck, or its masks are not those of its ledger.

    Example:
        unlearner = Unlearner(model, tokenizer)  # or an image processor
        request = unlearner.forget(topic)
        unlearner.undo(request)
    """

    def __init__(self, model: PreTrainedModel, processor: Processor):
        self.whole = model = uncompiled(model)
        super().__init__(model.get_base_model() if hasattr(model, "get_base_model") else model, processor)
        sites = self.sites  # raises where there are none
        if any(tensor.is_meta for bottleneck in sites.values() for tensor in bottleneck.state_dict().values()):
            raise ValueError("A device map has put bottlenecks on disk, where nothing can be erased. Load without it.")
        check_masks(self.model.config.unlearning, sites)
        guard_push(self.whole)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, **kwargs) -> "Unlearner":
        """Goes on with what was saved, bundles too: model, processor and ledger, each of its own class.

        A LoRA adapter is put on its base model again. Its masks are enforced on the base's own bottleneck too, so that
        switching the adapter off does not lift them.

        Args:
            folder: folder or Hub id; of an adapter, the folder.
            **kwargs: passed on to the model's `from_pretrained`.

        Raises:
            ValueError: if the masks are not those of the ledger, or a bundle is not as it was written.
        """
        if Path(folder, MANIFEST).is_file():
            check_bundle(folder)
        processor = load_processor(folder)
        if not Path(folder, "adapter_config.json").is_file():
            return cls(load_model(folder, **kwargs), processor)
        from peft import PeftConfig, PeftModel

        name = PeftConfig.from_pretrained(folder).base_model_name_or_path
        base = load_model(name, **kwargs)
        model = PeftModel.from_pretrained(base, folder)
        base.config.unlearning = AutoConfig.from_pretrained(folder).unlearning
        unlearner = cls(model, processor)
        enforce(unlearner.model, unlearner.ledger)
        return unlearner

    def forget(self, topic: ForgetSets, preset: str | Search | Sequence[Search] = "default", **options: Any) -> Request:
        """Chooses a topic's codes and masks them; arguments as in `choose`, errors as in `mask`."""
        return self.mask(self.choose(topic, preset, **options), topic)

    def mask(self, selection: Selection, topic: ForgetSets | str) -> Request:
        """Stops the selected codes from being used, until the request is undone.

        Args:
            selection: the codes, from `Enrichment.select`.
            topic: what is forgotten: the sets that the codes were chosen on, or words for the ledger.

        Raises:
            ValueError: if nothing is selected, a site or code does not exist, or fewer live codes than S would stay.
        """
        name, data = _described(topic)
        return self._request("mask", selection.codes, name, selection.thresholds, data)

    def mask_by_activations(self, forget: Dataset | PairCounts, count: int, topic: str) -> Request:
        """Masks the pairs that a class selects most often (Unlearning via Sparse Representations, section 4).

        Args:
            forget: images of the class, or of a proxy set; what `encode_images` or `select_pairs` made of them; or,
                without any data, the counts that were kept in training. Of images, encodings and pairs stay in the
                cache of `datasets`; where they must not, make them with `pairs(images, cache_dir=...)`.
            count: number of pairs N_a.
            topic: what is forgotten, in words; given counts, the name of the class in the model's config.

        Raises:
            ValueError: as `mask` and `by_activations`, or if pairs or counts are another model's, or there is no such
                class.
        """
        if isinstance(forget, Dataset):
            counts = PairCounts.count(self.pairs(images_alone(forget)), self.sites[SITE])
            return self.mask(by_activations(counts.of_all(), count), topic)
        if forget.keys != self.sites[SITE].keys_id:
            raise ValueError("These counts are of pairs that were selected with other keys than the model's.")
        classes = self.model.config.label2id or {}
        if topic not in classes:
            raise ValueError(f"There is no class {topic!r}; the model's are {list(classes)}.")
        return self.mask(by_activations(forget.of_class(classes[topic]), count), topic)

    def mask_by_examples(self, forget: Dataset, count: int, topic: str, seed: int = 0) -> Request:
        """Masks all pairs that some examples of a class select (Unlearning via Sparse Representations, section 4).

        Args:
            forget: images of the class, or what `encode_images` or `select_pairs` made of them.
            count: number of examples N_e.
            topic: what is forgotten, in words.
            seed: of the examples drawn.

        Raises:
            ValueError: as `mask` and `by_examples`, or if the pairs are another model's.
        """
        return self.mask(by_examples(self.pairs(images_alone(draw_examples(forget, count, seed))), count, seed), topic)

    def delete(
        self, selection: Selection, topic: ForgetSets | str, optimizer: torch.optim.Optimizer | None = None
    ) -> Request:
        """Masks the selected codes and erases their rows from the codebook. This cannot be undone.

        Args:
            selection: the codes, from `Enrichment.select`.
            topic: what is forgotten: the sets that the codes were chosen on, or words for the ledger.
            optimizer: one that goes on training the model. What it remembers of the rows is erased too; it would bring
                them back at its next step.

        Raises:
            ValueError: as `mask`, or if the optimizer is another model's or keeps its memory in a form that cannot be
                erased by rows.
        """
        name, data = _described(topic)
        return self._delete(selection.codes, name, selection.thresholds, data, optimizer)

    def delete_request(self, request: Request | int, optimizer: torch.optim.Optimizer | None = None) -> Request:
        """Deletes for good the codes that a request has masked, with its topic, thresholds and data digests.

        Args:
            request: the request or its id.
            optimizer: as in `delete`.

        Raises:
            ValueError: if there is no such request, it is a deletion, or it was undone.
        """
        masked = self.ledger.mask_in_force(request.id if isinstance(request, Request) else request)
        thresholds = masked.thresholds | {"deletes_request": masked.id}
        return self._delete(masked.codes, masked.topic, thresholds, masked.data, optimizer)

    def _delete(self, codes, topic, thresholds, data, optimizer) -> Request:
        if optimizer is not None:
            for bottleneck in self.sites.values():
                check_clearable(optimizer, bottleneck)
        request = self._request("delete", codes, topic, thresholds, data)
        if optimizer is not None:
            for site, bottleneck in self.sites.items():
                clear_optimizer_rows(optimizer, bottleneck, torch.tensor(request.codes.get(site, ())).long())
        return request

    def undo(self, request: Request | int) -> Request:
        """Takes a mask back, whatever came after it. A code that another request has removed stays removed.

        Args:
            request: the request or its id.

        Raises:
            ValueError: if there is no such request, it is a deletion, or it was undone already.
        """
        number = request.id if isinstance(request, Request) else request
        enforce(self.model, ledger := self.ledger.undo(number))
        return ledger.requests[number - 1]

    def compact(self) -> dict[str, torch.Tensor]:
        """Takes deleted codes out of the model, which computes the same and is smaller.

        Returns:
            By site, the new number of each old code, -1 for those that are gone.
        """
        return compact(self.model)

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Saves model and processor into a new or empty folder, and reads back that deleted rows are erased.

        An older save in the same folder could keep what was deleted, so there must be none. The folder appears only
        when all is written and checked.

        Raises:
            FileExistsError: if the folder holds something.
            ValueError: if a deleted code is found in what was written, or a mask is not.
        """
        check_masks(self.model.config.unlearning, self.sites)
        with new_folder(folder) as partial:
            self.whole.save_pretrained(partial)
            if self.whole is not self.model:
                self.model.config.save_pretrained(partial)  # the ledger: adapters have no model config of their own
            self.processor.save_pretrained(partial)
            check_written(partial, ErasedRows.of(self.model, kinds=("delete",)), self.ledger, self.sites)

    def save_bundle(self, folder: str | os.PathLike, record: Record | None = None, **options: Any) -> Record:
        """Writes what is shared of the model, with its card and report, and reads back that nothing deleted is in it.

        Masks are deletions in what is written; with `mode="mask"`, for private use, they can be undone by whoever has
        it. The model itself stays as it is.

        Args:
            folder: a new or empty folder. It appears only when all is written and checked.
            record: the evidence, from `excise.report.Record.of`; without one, what the model itself tells.
            **options: the other arguments of `excise.sharing.write_bundle`; errors as there.

        Returns:
            The record that was written.
        """
        return write_bundle(folder, self.whole, self.processor, record=record, **options)

    def push_to_hub(self, repo_id: str, record: Record | None = None, **options: Any) -> PushInfo:
        """Publishes the model with its card and report; nothing that was deleted is in it.

        Masks are deletions in what is published; the model itself stays as it is. A deletion goes to a new repository,
        since an old revision is an un-deletion. What is there already in just that state is left alone. With
        `mode="mask"` the requests stay as they are, and `from_hub` goes on from there: for private use.

        Args:
            repo_id: name of a model repository, which is made if it is not there.
            record: the evidence, from `Record.of`; without one, what the model itself tells.
            **options: the other arguments of `excise.sharing.publish`, such as `mode`, `purge_history`, `private`,
                `token` and `revision`; errors as there.

        Returns:
            The commit; where the history was purged, its `audit` tells what was looked at.
        """
        return publish(self.whole, self.processor, repo_id, record, **options)

    @classmethod
    def from_hub(
        cls, repo_id: str, revision: str | None = None, token: str | bool | None = None, **kwargs: Any
    ) -> "Unlearner":
        """Goes on from what was published: with `mode="mask"`, requests can be undone and further ones made.

        All files are of one commit, and as they were written.

        Args:
            repo_id: name of a model repository.
            revision: branch, tag or commit.
            token: as in huggingface_hub.
            **kwargs: passed on to the model's `from_pretrained`.

        Raises:
            ValueError: if the masks are not those of the ledger, or the bundle is not as it was written.
        """
        return cls.from_pretrained(download(repo_id, revision, token), token=token, **kwargs)

    def _request(self, kind: str, codes, topic: str, thresholds, data) -> Request:
        if not any(codes.values()):
            raise ValueError(f"Nothing is selected, so there is nothing to {kind}. Thresholds: {thresholds}.")
        enforce(self.model, ledger := self.ledger.add(kind, topic, codes, thresholds=dict(thresholds), data=dict(data)))
        return ledger.requests[-1]


def _described(topic: ForgetSets | str) -> tuple[str, dict[str, str]]:
    """What the ledger says of a topic: its name, and digests of the sets if there are any."""
    return (topic, {}) if isinstance(topic, str) else (topic.name, topic.digest())
