"""Unlearner: finds a topic's codes, masks or deletes them, undoes, saves and shares."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from excise.bottlenecks.site import check_erasable, unwrapped
from excise.codes.asked import Asked, asked_for, put_in_force
from excise.codes.finder import CodeFinder
from excise.codes.search import Search, Topic
from excise.codes.selection import Selection
from excise.data.inputs import Processor
from excise.deletion.depth import distilled_weights, rows_to_erase
from excise.ledger.compaction import compact
from excise.ledger.masks import enforce, uphold_masks
from excise.ledger.optimizers import clear_optimizers, clearable_optimizers
from excise.ledger.request import Request, Rows
from excise.models.loading import load_processor, load_saved, tell_of_a_gpu
from excise.models.push_guard import guard_push
from excise.report.private import public_thresholds
from excise.report.record import Record
from excise.sharing.bundle import check_bundle, write_bundle, write_checkpoint
from excise.sharing.bundle.manifest import is_bundle
from excise.sharing.hub import PushInfo, download, publish

if TYPE_CHECKING:
    from peft import PeftModel

    from excise.codes.index import CodeIndex
    from excise.data.classes import ClassSets
    from excise.data.questions import QuestionSets
    from excise.data.topics import TopicSets
    from excise.report.attacks import AttackReport


class Unlearner(CodeFinder):
    """Makes a model with bottlenecks forget, and keeps the ledger of it in the model's config.

    A *mask* stops codes from being selected and can be undone; a *deletion* also erases them and cannot. Whatever
    fails leaves model and ledger as they were.

    Args:
        model: a model with bottlenecks, or a `PeftModel` around one; of a compiled one, the model that was compiled is
            taken, which has the same weights.
        processor: the model's tokenizer, image processor, or processor of both.
        index: as in `CodeFinder`.

    Raises:
        ValueError: if the model has no bottleneck, its masks are not those of its ledger, an adapter adds to codes, or
            the index is none of this model.

    Example:
        unlearner = Unlearner(model, tokenizer)  # or an image processor
        request = unlearner.forget(topic)
        unlearner.undo(request)
    """

    def __init__(self, model: "PreTrainedModel | PeftModel", processor: Processor, index: "CodeIndex | None" = None):
        self.whole = whole = unwrapped(model)
        base: Any = getattr(whole, "get_base_model", lambda: whole)()
        super().__init__(base, processor, index)
        check_erasable(whole)  # raises where there are none
        uphold_masks(self.model)
        guard_push(self.whole)
        tell_of_a_gpu(base)
        # By label, what a private topic's words and data are: told nowhere else, and looked for in what is shared.
        self.private_topics: dict[str, tuple[Any, ...]] = {}

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, **kwargs: Any) -> "Unlearner":
        """Goes on with what was saved, bundles too: model, processor and ledger, each of its own class.

        Args:
            folder: folder or Hub id; of an adapter, the folder.
            **kwargs: passed on to the model's `from_pretrained`; without a `device_map`, a GPU is used if there is one.

        Raises:
            ValueError: if the masks are not those of the ledger, or a bundle is not as it was written.
        """
        if is_bundle(folder):
            check_bundle(folder)
        return cls(load_saved(folder, **kwargs), load_processor(folder))

    def forget(
        self,
        topic: Topic | Selection,
        preset: str | Search | Sequence[Search] = "default",
        *,
        name: str | None = None,
        **options: Any,
    ) -> Request:
        """Chooses a topic's codes and masks them; arguments as in `choose` and `mask`, errors as in `mask`."""
        return self.mask(topic, name, preset, **options)

    def mask(
        self,
        topic: Topic | Selection,
        name: str | Topic | None = None,
        preset: str | Search | Sequence[Search] = "default",
        **options: Any,
    ) -> Request:
        """Stops codes from being used, until the request is undone.

        Args:
            topic: what is forgotten, as in `choose`: sets, a class known by counts, examples, or a selection.
            name: what the ledger calls it, in words; or, of a selection, what it was chosen on. The topic's own if not
                given; selections and data sets have none.
            preset: as in `choose`.
            **options: as in `choose`; `depth`, `"codes"` or `"rows"`: whether embedding rows of the topic's own pieces
                go too where the mask becomes a deletion; they do if the topic is given by sets and is not private; and
                `private`, `True` or a `DigestKey`, where nobody is to read the topic's words: the ledger, and all that
                is published, then has only `label`, or the request's number, and digests by that key. One that is drawn
                is in `private_topics[label][0].key` alone. A class goes by the label in the model's config, too, and
                also after `undo`.

        Raises:
            ValueError: as `choose`, or if nothing is selected or named, the label is none, a site or code does not
                exist, or fewer live codes than S would stay.
        """
        return self._request("mask", *self._chosen(topic, name, preset, options))

    def delete(
        self,
        topic: Topic | Selection,
        name: str | Topic | None = None,
        optimizer: Optimizer | None = None,
        preset: str | Search | Sequence[Search] = "default",
        **options: Any,
    ) -> Request:
        """Masks codes and erases their rows, and those of the topic's own words in the embeddings. It cannot be undone.

        Codes alone hide a topic from who uses the model as it is meant, and are left out with the bottleneck. With its
        embedding rows gone, too, the file holds about as little of a word as a model that never saw it.

        Args:
            topic: as in `mask`.
            name: as in `mask`.
            optimizer: one that will train the model and has not yet made a step in this process. Of the others it is
                known; what they remember of the rows is erased too.
            preset: as in `choose`.
            **options: as in `mask`; and `depth="distilled"`, by which the model then learns from itself after noise, in
                minutes to hours, with `distillation`, arguments of `excise.deletion.distil`, such as `retain`.

        Raises:
            ValueError: as `mask`, or if an optimizer is another model's or keeps its memory in a form that cannot be
                erased by rows, embeddings are shared with another model in memory, or a distillation ends above budget.
        """
        taught, deep = options.pop("distillation", {}), options.get("depth") == "distilled"
        chosen, asked, rows = self._chosen(topic, name, preset, options | ({"depth": None} if deep else {}))
        if not deep:
            return self._delete(chosen, asked, rows, optimizer)
        sets = name if isinstance(topic, Selection) else topic
        state, said = distilled_weights(self.model, self.processor, chosen.codes, rows, sets, taught)
        request = self._delete(replace(chosen, thresholds={**chosen.thresholds, **said}), asked, rows, optimizer)
        self.model.load_state_dict(state)
        return request

    def delete_request(self, request: Request | int, optimizer: Optimizer | None = None) -> Request:
        """Deletes for good the codes that a request has masked, with its topic, thresholds and data digests.

        Args:
            request: the request or its id.
            optimizer: as in `delete`.

        Raises:
            ValueError: if there is no such request, it is a deletion, or it was undone.
        """
        masked = self.ledger.mask_in_force(request.id if isinstance(request, Request) else request)
        how = {k: v for k, v in masked.thresholds.items() if k != "taken_out"} | {"deletes_request": masked.id}
        asked = Asked(masked.topic, masked.data, masked.private)
        return self._delete(Selection(masked.codes, how), asked, masked.rows, optimizer)

    def _delete(self, selection: Selection, asked: Asked, rows: Rows, optimizer: Optimizer | None) -> Request:
        optimizers = clearable_optimizers(self.sites, optimizer, self.model if rows else None)
        request = self._request("delete", selection, asked, rows)
        clear_optimizers(optimizers, self.sites, request.codes)
        return request

    def undo(self, request: Request | int) -> Request:
        """Takes a mask back, whatever came after it. A code that another request removes stays removed; the log tells.

        Args:
            request: the request or its id.

        Raises:
            ValueError: if there is no such request, it is a deletion, undone already, or all its codes were deleted.
        """
        number = request.id if isinstance(request, Request) else request
        enforce(self.model, ledger := self.ledger.undo(number))
        return ledger.log_outcome(number)

    def attack(self, topic: "TopicSets | ClassSets | QuestionSets", **options: Any) -> "AttackReport":
        """Tries to get a topic back, as somebody could who has the file, with a verdict on each attack and on all.

        If the topic is masked, or not forgotten, a copy is attacked in which it is deleted. The model stays as it is.

        Args:
            topic: sets with references, of a class, or of questions.
            **options: of `attack_deletion`, errors as there: `original` and `never_saw`, models to hold it against;
                `attacks`, `"quick"`, `"all"` or names; `depth`, `words`, `checkpoint`, `seed`, `holdout` and others.
        """
        from excise.attacks.attacked import attack_deletion

        return attack_deletion(self, topic, lambda model: type(self)(model, self.processor, self.index), **options)

    def compact(self) -> dict[str, Tensor]:
        """Takes deleted codes out, and gives by site the new number of each old code, -1 for those that are gone."""
        return compact(self.model)

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Saves model and processor into a new or empty folder, and reads back that deleted rows are erased.

        An older save in the same folder could keep what was deleted, so there must be none. The folder appears only
        when all is written and checked. Of several processes the main one writes, and the others wait.

        Raises:
            FileExistsError: if the folder holds something.
            ValueError: if a deleted code is found in what was written, or a mask or a weight is not.
        """
        unwrapped(self.whole)  # refuses what was spread over processes since
        uphold_masks(self.model)
        write_checkpoint(folder, self.whole, self.model, self.processor)

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
        options["private_topics"] = (*self.private_topics.values(), options.get("private_topics", ()))
        return write_bundle(folder, cast(PreTrainedModel, self.whole), self.processor, record=record, **options)

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
        options["private_topics"] = (*self.private_topics.values(), options.get("private_topics", ()))
        return publish(cast(PreTrainedModel, self.whole), self.processor, repo_id, record, **options)

    @classmethod
    def from_hub(
        cls, repo_id: str, revision: str | None = None, token: str | bool | None = None, **kwargs: Any
    ) -> "Unlearner":
        """Goes on from what was published: with `mode="mask"`, requests can be undone and further ones made.

        Args:
            repo_id: name of a model repository.
            revision: branch, tag or commit.
            token: as in huggingface_hub.
            **kwargs: passed on to the model's `from_pretrained`.

        Raises:
            ValueError: if the masks are not those of the ledger, or the bundle is not as it was written.
        """
        return cls.from_pretrained(download(repo_id, revision, token), token=token, **kwargs)

    def _chosen(self, topic: Topic | Selection, name: Any, preset: Any, options: Any) -> tuple[Selection, Asked, Rows]:
        """The codes of a topic, what the ledger says of it, and its embedding rows."""
        label, private = options.pop("label", None), options.pop("private", False)
        depth = options.pop("depth", None)
        asked = asked_for(topic, name, label, private, number=len(self.ledger.requests) + 1)
        if asked.known:
            # Of several topics under one label, the last one's comes first.
            self.private_topics[asked.name] = (asked.known, topic, name, *self.private_topics.get(asked.name, ()))
        sets = name if isinstance(topic, Selection) else topic
        rows, said = rows_to_erase(self.model, self.processor, sets, depth, asked.private)
        chosen = self.choose(topic, preset, **options)
        return replace(chosen, thresholds={**chosen.thresholds, **said}), asked, rows

    def _request(self, kind: str, selection: Selection, asked: Asked, rows: Rows) -> Request:
        thresholds = dict(selection.thresholds)
        told = public_thresholds(thresholds) if asked.private else thresholds
        return put_in_force(self.model, kind, selection.codes, asked, thresholds=told, rows=dict(rows))
