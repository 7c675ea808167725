"""Arguments of a wrong kind: what was given, what is expected, and what to do about it."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from inspect import signature
from numbers import Integral
from typing import Any, ParamSpec, TypeVar

from excise.storage.display import shortened

Called = ParamSpec("Called")
Returned = TypeVar("Returned")


def is_a(value: object, *names: str) -> bool:
    """Whether a value is of one of some classes, given as `package:name`, none of which is imported for it.

    Example:
        >>> is_a(True, "builtins:int"), is_a("3", "builtins:int", "datasets:Dataset")
        (True, False)
    """
    classes = {f"{cls.__module__.partition('.')[0]}:{cls.__name__}" for cls in type(value).__mro__}
    return not classes.isdisjoint(names)


def described(value: object) -> str:
    """A value as a message names it: what it is, and of which type.

    Example:
        >>> described("Tom"), described(None), described([1])
        ("'Tom' (a str)", 'None', 'a list')
    """
    if value is None or isinstance(value, bool):
        return str(value)
    name = type(value).__name__
    article = "an" if name[0] in "AEIOUaeio" else "a"
    if isinstance(value, str | int | float | os.PathLike):
        text = repr(os.fspath(value)) if isinstance(value, os.PathLike) else repr(value)
        return f"{shortened(text)} ({article} {name})"
    return f"{article} {name}"


@dataclass(frozen=True)
class Kind:
    """A kind of argument.

    Attributes:
        expected: what it is, and where one has it from.
        fits: whether a value is one.
        hints: by the class of what is given instead, as `is_a` names it, what to do.
    """

    expected: str
    fits: Callable[[Any], bool]
    hints: Mapping[str, str] = field(default_factory=dict)

    def check(self, value: object, name: str) -> None:
        """Refuses a value that is not of this kind.

        Args:
            value: the argument.
            name: what the argument is called.

        Raises:
            ValueError: if it is not.
        """
        if self.fits(value):
            return
        message = f"`{name}` is {described(value)}; expected {self.expected}.{self.hint(value)}"
        raise ValueError(message)

    def hint(self, value: object) -> str:
        """What to do with a value that is given instead, a sentence after a space; nothing where that is not known."""
        return next((f" {hint}" for given, hint in self.hints.items() if is_a(value, given)), "")


def is_path(value: object) -> bool:
    """Whether something is a path, which is not empty."""
    return isinstance(value, str | os.PathLike) and bool(os.fspath(value))


def is_whole(value: object, least: int | None = None) -> bool:
    """Whether something is a whole number, of Python or of NumPy, that is not smaller than `least`; `True` is none."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return whole and (least is None or int(value) >= least)  # type: ignore[call-overload]


def _whole(least: int | None = None) -> Kind:
    hints = {"builtins:str": "Give it without quotation marks.", "builtins:float": "Give it without a fraction."}
    expected = "a whole number" if least is None else f"a whole number, at least {least}"
    return Kind(expected, lambda value: is_whole(value, least), hints)


def _one_of(*names: str) -> Callable[[Any], bool]:
    return lambda value: is_a(value, *names)


def _all_are(name: str, of_mapping: bool = False) -> Callable[[Any], bool]:
    kind = Mapping if of_mapping else list | tuple

    def fits(value: Any) -> bool:
        members = value.values() if of_mapping and isinstance(value, Mapping) else value
        return isinstance(value, kind) and all(is_a(one, name) for one in members)

    return fits


def _is_results(value: Any) -> bool:
    return isinstance(value, Iterable) or is_a(value, "excise:Frontier", "excise:Evaluation")


def _is_model_or_config(value: Any) -> bool:
    return _has_forward(value) or is_a(value, "transformers:PreTrainedConfig")


def _is_texts(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _has_forward(value: Any) -> bool:
    return "torch" in sys.modules and isinstance(value, sys.modules["torch"].nn.Module)


LOAD_FIRST = "Load it first, as by `CodebookT5ForConditionalGeneration.from_pretrained(...)`; from a path, "
LOAD_FIRST += "`Unlearner.from_pretrained(...)` makes all of it."
READ_FIRST = "Read it first: `excise.data.load_rows(...)`."
ONE_SPLIT = 'Take one of its splits, such as `["train"]`.'
MAKE_SETS = 'Make sets of a data set first: `topic_sets(dataset, "Tom", text=..., reference=...)`.'
MAKE_CLASS_SETS = 'Make sets of a data set first: `class_sets(dataset, "cat")`.'
ROW_CLASSES = ("datasets:Dataset", "datasets:IterableDataset")
NO_ROWS = {
    "builtins:str": READ_FIRST,
    "pathlib:PurePath": READ_FIRST,
    "datasets:DatasetDict": ONE_SPLIT,
    "datasets:IterableDatasetDict": ONE_SPLIT,
    "builtins:list": "Make one of it: `Dataset.from_list(rows)`; of texts, `Dataset.from_dict({'text': texts})`.",
    "builtins:dict": "Make one of it: `Dataset.from_dict(columns)`.",
    "pandas:DataFrame": "Make one of it: `Dataset.from_pandas(frame)`.",
    "torch:Dataset": "Make one of it: `Dataset.from_generator(...)`.",
    "excise:ForgetSets": "Give one of its sets: `sets.target`, `sets.retain` and so on.",
}
NO_SETS = {
    "builtins:str": MAKE_SETS,
    "builtins:list": MAKE_SETS,
    "datasets:Dataset": MAKE_SETS,
    "builtins:dict": MAKE_SETS,
}

# By the names that arguments have.
ARGUMENTS: Mapping[str, Kind] = {
    "model": Kind(
        "a model",
        _has_forward,
        {
            "builtins:str": LOAD_FIRST,
            "pathlib:PurePath": LOAD_FIRST,
            "transformers:Pipeline": "Give its model: `pipe.model`.",
        }
        | {"excise:CodeFinder": "Give its model: `unlearner.model`."},
    ),
    "finder": Kind(
        "an Unlearner, as `Unlearner(model, processor)`",
        _one_of("excise:CodeFinder"),
        {"torch:Module": "Make one of the model: `Unlearner(model, tokenizer)`."}
        | dict.fromkeys(("builtins:str", "pathlib:PurePath"), "Make one of it: `Unlearner.from_pretrained(...)`."),
    ),
    "processor": Kind(
        "the model's tokenizer, image processor or processor of both",
        lambda value: callable(value) and not _has_forward(value) and not isinstance(value, type),
        {"builtins:str": "Load it first: `AutoTokenizer.from_pretrained(...)` or `AutoImageProcessor`."}
        | {"transformers:Pipeline": "Give its tokenizer: `pipe.tokenizer`."},
    ),
    "dataset": Kind(
        "rows: a Dataset or an IterableDataset of the library datasets",
        _one_of(*ROW_CLASSES),
        NO_ROWS,
    ),
    "rows": Kind(
        "rows: a Dataset, of the library datasets or of torch", _one_of(*ROW_CLASSES, "torch:Dataset"), NO_ROWS
    ),
    "topic": Kind(
        "sets of a topic, as `topic_sets` makes them",
        _one_of("excise:TopicSets"),
        NO_SETS | {"excise:QuestionSets": "Of questions there is `evaluate_questions(model, tokenizer, sets)`."},
    ),
    "sets": Kind("sets, as `topic_sets` or `class_sets` make them", _one_of("excise:ForgetSets"), NO_SETS),
    "class_topic": Kind(
        "sets of a class, as `class_sets` makes them",
        _one_of("excise:ClassSets"),
        dict.fromkeys(NO_SETS, MAKE_CLASS_SETS),
    ),
    "record": Kind("a Record, as `Record.of(model, ...)` makes it", _one_of("excise:Record")),
    "selection": Kind("a Selection, as `unlearner.choose(...)` makes it", _one_of("excise:Selection")),
    "folder": Kind("a folder: its path, as text or Path", is_path),
    "repo_id": Kind('a repository on the Hub, as "me/model"', lambda value: isinstance(value, str) and bool(value)),
    "function": Kind("a function", callable),
    "model_or_function": Kind("a model, or a function that makes one", callable),
    "args": Kind("TrainingArguments", _one_of("transformers:TrainingArguments")),
    "sweep": Kind("a Sweep, as `sweep(unlearner, topic)` makes it", _one_of("excise:Sweep")),
    "attacks": Kind("an AttackReport, as `unlearner.attack(topic)` makes it", _one_of("excise:AttackReport")),
    "evaluations": Kind("evaluations by S', as a Sweep has them", _all_are("excise:Evaluation", of_mapping=True)),
    "results": Kind("frontiers or evaluations, one or several", _is_results),
    "attack_results": Kind("results of attacks, such as `report.results`", _all_are("excise:AttackResult")),
    "attack_sets": Kind(
        "AttackSets, as `AttackSets(topic, processor)` makes them", _one_of("excise:AttackSets"), NO_SETS
    ),
    "texts": Kind("texts: a list", _is_texts),
    "seed": _whole(0),
    "whole": _whole(),
    "number": _whole(1),
    "model_or_config": Kind("a model, or its config", _is_model_or_config),
}


def expects(
    *names: str, **kinds: str | Callable[[Any], object]
) -> Callable[[Callable[Called, Returned]], Callable[Called, Returned]]:
    """A decorator of a function at a face: arguments of a wrong kind are refused before it runs.

    Args:
        *names: of arguments that are named as their kind is in `ARGUMENTS`.
        **kinds: of others, by name. After a `?` an argument may be `None`. In place of a kind there may be a function
            that raises an error of its own.

    Raises:
        ValueError: when the function is called, if an argument is of another kind.

    Example:
        >>> @expects("folder")
        ... def listing(folder):
        ...     return sorted(os.listdir(folder))
        >>> listing(3)
        Traceback (most recent call last):
        ValueError: `folder` is 3 (an int); expected a folder: its path, as text or Path.
    """
    wanted = {name: name for name in names} | kinds

    def decorate(function: Callable[Called, Returned]) -> Callable[Called, Returned]:
        parameters = signature(function)
        if unknown := wanted.keys() - parameters.parameters.keys():
            raise ValueError(f"{function.__name__} has no arguments {sorted(unknown)} that could be checked.")

        @wraps(function)
        def checked(*args: Called.args, **kwargs: Called.kwargs) -> Returned:
            # What is missing is said after what is wrong.
            for name, value in parameters.bind_partial(*args, **kwargs).arguments.items():
                kind = wanted.get(name)
                if callable(kind):
                    kind(value)
                elif kind is not None and not (kind.startswith("?") and value is None):
                    ARGUMENTS[kind.removeprefix("?")].check(value, name)
            return function(*args, **kwargs)

        return checked

    return decorate
