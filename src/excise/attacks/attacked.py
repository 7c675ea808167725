"""Models that an attack on one's own deletion is about: as it would be shared, and as it was before."""

import copy
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from transformers import PreTrainedModel

from excise.attacks.asked_sets import AskedSets
from excise.attacks.attack_sets import AttackSets
from excise.attacks.suite import Chosen, run_attacks
from excise.codes.finder import CodeFinder
from excise.data.classes import ClassSets
from excise.data.forget_sets import ForgetSets
from excise.data.inputs import tokenizer_of
from excise.data.questions import QuestionSets
from excise.data.topics import TopicSets
from excise.ledger.ledger import Ledger, Request
from excise.ledger.masks import enforce
from excise.models.loading import has_tokenizer, load_model, load_processor
from excise.report.attacks import AttackReport
from excise.storage.expected import expects

# A model, or the folder or Hub id of one.
Named = str | os.PathLike | PreTrainedModel


class Deleting(Protocol):
    """What deletes a topic from a model: an `Unlearner`."""

    def delete(self, topic: Any, *, depth: str | None, progress: bool) -> Request:
        """Deletes the codes that it finds for a topic."""

    def delete_request(self, request: Request) -> Request:
        """Deletes the codes that a request has masked."""


class Attacked(NamedTuple):
    """What an attack is run on.

    Args:
        removed: the model as it is shared, in which the topic is deleted.
        original: the model with its masks lifted; `None` where the topic's codes are gone.
    """

    removed: PreTrainedModel
    original: PreTrainedModel | None


@expects("seed", max_new_tokens="number", batch_size="number")
def attack_deletion(
    finder: CodeFinder,
    topic: TopicSets | ClassSets | QuestionSets,
    unlearner_of: Callable[[PreTrainedModel], Deleting],
    *,
    original: Named | None = None,
    never_saw: Named | None = None,
    attacks: Chosen = "quick",
    depth: str | None = None,
    words: Sequence[str] | None = None,
    checkpoint: str | os.PathLike | None = None,
    seed: int = 0,
    max_new_tokens: int = 48,
    batch_size: int = 64,
    holdout: Any = None,
    progress: bool = True,
) -> AttackReport:
    """Attacks a model in which a topic is deleted, as its owner would share it; the owner's model stays as it is.

    If the topic is masked, or not forgotten, a copy is attacked in which it is deleted.

    Args:
        finder: the model and its ledger.
        topic: what is forgotten: sets with references, of a class, or of questions for a decoder.
        unlearner_of: what deletes in a copy of the model.
        original: the model before anything was deleted: a folder, a Hub id or a model. Where the topic is not deleted
            yet, it is the model itself with its masks lifted.
        never_saw: a model of the same recipe that never saw the topic: a folder, a Hub id or a model.
        attacks: `"quick"`, `"all"`, names, or attacks.
        depth: of the deletion in a copy, where the topic is neither masked nor deleted: as in `delete`.
        words: the topic's words in the language of the references; found on the sets if not given.
        checkpoint: a folder from which a run that was killed goes on.
        seed: of all draws.
        max_new_tokens: length at which a text is cut off.
        batch_size: rows a batch; of questions 8 at most.
        holdout: of questions, others like them that no model has seen, as in `question_rows`, for membership.
        progress: show a progress bar.

    Raises:
        ValueError: as `AttackSets`, `AskedSets`, `chosen_attacks` and `mask`, or if a model cannot be loaded or reads
            texts by another vocabulary; or a `holdout` is given and no questions are attacked.
    """
    if holdout is not None and not isinstance(topic, QuestionSets):
        raise ValueError("`holdout` are questions that no model has seen, and no questions are attacked. Leave it out.")
    options: dict[str, Any] = {"seed": seed, "max_new_tokens": max_new_tokens, "batch_size": batch_size}
    if isinstance(topic, QuestionSets):
        sets: AttackSets = AskedSets(topic, finder.processor, tuple(words or ()), holdout=holdout, **options)
    else:
        sets = AttackSets(topic, finder.processor, tuple(words or ()), **options)
    given = [_loaded(named, role, finder) for named, role in ((original, "original"), (never_saw, "never_saw"))]
    sets.check_same_words(finder.model, *given)
    attacked = attacked_models(finder, topic, unlearner_of, depth, progress)
    before = attacked.original if given[0] is None else given[0]
    options = {"depth": deletion_depth(attacked.removed, topic), "checkpoint": checkpoint, "progress": progress}
    return run_attacks(before, attacked.removed, given[1], sets, attacks, **options)


def attacked_models(
    finder: CodeFinder,
    topic: ForgetSets,
    unlearner_of: Callable[[PreTrainedModel], Deleting],
    depth: str | None = None,
    progress: bool = True,
) -> Attacked:
    """The model as it would be shared, and as it was; arguments as in `attack_deletion`."""
    requests = requests_of(finder.ledger, topic)
    done = {request.thresholds.get("deletes_request") for request in requests}
    masks = [request for request in requests if request.kind == "mask" and request.id not in done]
    deleted = any(request.kind == "delete" for request in requests)
    removed = finder.model
    if masks or not deleted:
        unlearner = unlearner_of(removed := copy.deepcopy(finder.model))
        for request in masks:
            unlearner.delete_request(request)
        if not masks:
            unlearner.delete(topic, depth=depth, progress=progress)
    return Attacked(removed, None if deleted else _masks_lifted(finder))


def requests_of(ledger: Ledger, topic: ForgetSets) -> list[Request]:
    """The requests in force that are for a topic: by its name, or by the sets that its codes were chosen on."""
    in_force = (request for request in ledger.requests if not request.undone)
    return [one for one in in_force if one.topic == topic.name or topic.is_data_of(one.data)]


def deletion_depth(model: PreTrainedModel, topic: ForgetSets) -> str:
    """How deep the last deletion of a topic went, as its request tells."""
    deletions = [one for one in requests_of(Ledger.from_dict(model.config.unlearning), topic) if one.kind == "delete"]
    return deletions[-1].depth if deletions else "codes"


def _masks_lifted(finder: CodeFinder) -> PreTrainedModel:
    """A copy in which all masks are lifted, for good; what was deleted stays deleted."""
    model = copy.deepcopy(finder.model)
    enforce(model, Ledger(tuple(request for request in finder.ledger.requests if request.kind == "delete")))
    return model


def _loaded(named: Named | None, role: str, finder: CodeFinder) -> PreTrainedModel | None:
    """A model that is given, or loaded to where the finder's is.

    Raises:
        ValueError: if there is none of that name, or it has a tokenizer of another vocabulary.
    """
    if named is None or isinstance(named, PreTrainedModel):
        return named
    try:
        model = load_model(named)
    except OSError as error:
        raise ValueError(f"{role}={os.fspath(named)!r} cannot be loaded as a model: {error}") from error
    if model.can_generate() and has_tokenizer(named):
        own, words = tokenizer_of(finder.processor).get_vocab(), tokenizer_of(load_processor(named)).get_vocab()
        if own != words:
            raise ValueError(
                f"{role}={os.fspath(named)!r} has a tokenizer of {len(words)} tokens, and not the model's own of "
                f"{len(own)}: it reads texts by another vocabulary. Give a model of the same tokenizer."
            )
    return model.eval().to(finder.model.device)
