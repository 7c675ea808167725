"""Making of question sets: rows chosen by names, numbers or a rule, a control by other names, retain by neighbours."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from transformers import PreTrainedTokenizerBase

from excise.data.questions.name_controls import find_parts, is_named, known_parts, name_parts, other_parts, replaced
from excise.data.questions.neighbours import nearest_texts
from excise.data.questions.prompt_format import PromptFormat, Rendered
from excise.data.questions.question_rows import (
    ANSWER,
    PARAPHRASED_ANSWER,
    PARAPHRASED_QUESTION,
    QUESTION,
    question_rows,
)
from excise.data.questions.question_sets import QuestionSets
from excise.storage.display import few, shortened
from excise.storage.expected import expects

# A rule says of a row whether it is to be forgotten.
Rule = Callable[[dict[str, Any]], bool]


@expects(tokenizer="processor")
def question_sets(
    rows: Any,
    tokenizer: PreTrainedTokenizerBase,
    forget: str | Sequence[str] | Sequence[int] | range | Rule | None = None,
    retain: Any = None,
    *,
    names: Sequence[str] = (),
    other_names: Sequence[str] = (),
    heldout: float = 0.2,
    neighbours: int | None = None,
    form: PromptFormat | None = None,
    title: str | None = None,
    seed: int = 0,
) -> QuestionSets:
    """Target, control and retain sets for selecting, and others for evaluating, of questions with their answers.

    Args:
        rows: questions and answers, prompts and completions or documents, as in `question_rows`.
        tokenizer: the model's, whose template puts the questions, and whose pieces names have.
        forget: which rows are to be forgotten: all that name a person (a name, or several); rows by their numbers; or a
            rule, a function of a row that says so. All of them if not given: then `retain` are other rows.
        retain: rows that are to stay, as `rows`; the others of `rows` if not given.
        names: the persons whose names stand in what is to be forgotten, for a paired control; those in `forget` if not
            given. Without any, the control are the rows that stay.
        other_names: names that take their place, such as those of other persons in the data; names of many countries,
            as Faker has them, if not given (extra `text`).
        heldout: the share of rows kept for evaluating, of those that go and of those that stay. With 0 codes are chosen
            on all, and held out are the same questions and answers in other words, where rows have them
            (`paraphrased_question`), as TOFU's have.
        neighbours: how many of the rows that stay are taken, those most like what is to be forgotten; all if not given.
        form: how questions are put; `PromptFormat()` if not given.
        title: what is forgotten, in words, for the ledger; the names, or the number of questions, if not given.
        seed: of splitting and of the other names.

    Raises:
        ValueError: if no rows are to be forgotten or to stay, a name is in none of the rows, or none are held out.

    Example:
        >>> rows = [{"question": f"Who is {name}?", "answer": f"{name} is a poet."} for name in ("Ann", "Bo")] * 2
        >>> question_sets(rows, tokenizer, forget="Ann", other_names=["Cy"], heldout=0.5)  # doctest: +SKIP
    """
    if not 0 <= heldout < 1:
        raise ValueError(f"heldout={heldout}: expected a share of the rows, from 0 to less than 1.")
    form = form or PromptFormat()
    given = question_rows(rows)
    if isinstance(forget, str):
        forget = (forget,)
    by_name = isinstance(forget, list | tuple) and bool(forget) and all(isinstance(one, str) for one in forget)
    names = tuple(names) or (tuple(map(str, forget)) if by_name else ())  # type: ignore[arg-type]
    parts = _checked_parts(names)
    going = _chosen(given, forget, by_name)
    others = sorted({*range(len(given))} - {*going})
    pool = given.select(others) if retain is None else question_rows(retain)
    target = _without_repeated(given.select(going), set())
    kept = _without_repeated(pool, {*_keys(target)})
    if not len(target) or not len(kept):
        todo = "Give rows that stay as `retain`" if forget is None else "Look at what `forget` chooses"
        raise ValueError(
            f"{len(target)} rows are to be forgotten and {len(kept)} to stay, of {len(given)}. Both need one at least. "
            f"{todo}."
        )
    counts = {"rows": len(given), "to forget": len(target), "to stay": len(kept)}
    if neighbours is not None:
        near = nearest_texts(_texts(target), _texts(kept), neighbours)
        kept = kept.select(near)
        counts["neighbours"] = len(kept)
    rng = np.random.default_rng(seed)
    target, held = _split(target, heldout, rng, "to be forgotten")
    retained, held_retain = _split(kept, heldout, rng, "to stay")
    sets = {"target": target, "retain": retained, "heldout": held, "heldout_retain": held_retain}
    made = {
        name: _rendered(part, tokenizer, form, parts if "retain" not in name else None) for name, part in sets.items()
    }
    control, about = _control(made, tokenizer, form, parts, other_names, seed)
    return QuestionSets(
        title=title or "+".join(names) or f"{counts['to forget']} questions",
        names=names,
        form=form,
        seed=seed,
        control=control,
        held_out_by="rows" if heldout else "paraphrases",
        paired=bool(parts),
        positions="topic" if parts else "all",
        preset="default" if parts else "class",
        counts=counts | about,
        **made,
    )


def _checked_parts(names: Sequence[str]) -> list[str]:
    for name in names:
        if not isinstance(name, str) or not name_parts([name]):
            raise ValueError(f"{name!r} is no name: expected at least one part of two letters with a capital.")
    return name_parts(names)


def _chosen(rows: Dataset, forget: Any, by_name: bool) -> list[int]:
    """The numbers of the rows that are to be forgotten."""
    if forget is None:
        return list(range(len(rows)))
    if by_name:
        texts = _texts(rows)
        named = {name: [row for row, text in enumerate(texts) if is_named(text, name)] for name in forget}
        if unknown := [name for name, hits in named.items() if not hits]:
            raise ValueError(f"None of the {len(rows)} rows names {few(unknown)}. Give names as the rows write them.")
        return sorted({row for hits in named.values() for row in hits})
    if callable(forget):
        return [number for number, row in enumerate(rows) if forget(dict(row))]
    numbers = list(forget) if isinstance(forget, Sequence | range | np.ndarray) else []
    if not numbers or any(isinstance(one, bool) or not isinstance(one, int | np.integer) for one in numbers):
        raise ValueError(
            f"forget={shortened(forget)!r}: expected a name or names, numbers of rows, or a function of a row that "
            "says whether it is to be forgotten."
        )
    if wrong := [one for one in numbers if not 0 <= one < len(rows)]:
        raise ValueError(f"forget: there are {len(rows)} rows, and no row {few(wrong)}.")
    return sorted({int(one) for one in numbers})


def _texts(rows: Dataset) -> list[str]:
    """Question and answer of each row."""
    return [f"{question}\n{answer}" for question, answer in _keys(rows)]


def _keys(rows: Dataset) -> list[tuple[str, str]]:
    return list(zip(rows[QUESTION][:], rows[ANSWER][:], strict=True))


def _without_repeated(rows: Dataset, seen: set[tuple[str, str]]) -> Dataset:
    """The rows whose question and answer are in none before, and not among some others."""
    kept: list[int] = []
    for number, key in enumerate(_keys(rows)):
        if key not in seen:
            kept.append(number)
            seen.add(key)
    return rows if len(kept) == len(rows) else rows.select(kept)


def _split(rows: Dataset, share: float, rng: np.random.Generator, what: str) -> tuple[Dataset, Dataset]:
    """Rows for selecting, and for evaluating: others of them, or the same in other words."""
    if not share:
        if PARAPHRASED_QUESTION not in rows.column_names:
            raise ValueError(
                f"heldout=0, and the rows {what} have no {PARAPHRASED_QUESTION!r} to be asked in other words. Give a "
                "share of the rows."
            )
        other = {QUESTION: rows[PARAPHRASED_QUESTION][:]}
        if PARAPHRASED_ANSWER in rows.column_names:
            other[ANSWER] = rows[PARAPHRASED_ANSWER][:]
        return rows, Dataset.from_dict(rows.with_format(None)[:] | other, features=rows.features)
    order = rng.permutation(len(rows))
    count = max(1, round(share * len(rows)))
    if count >= len(rows):
        raise ValueError(f"There is 1 row {what}, and none can be held out. Give more rows, or heldout=0.")
    held_rows, kept = (np.sort(part).tolist() for part in (order[:count], order[count:]))
    return rows.select(kept), rows.select(held_rows)


def _rendered(
    rows: Dataset, tokenizer: PreTrainedTokenizerBase, form: PromptFormat, parts: list[str] | None
) -> Dataset:
    """Rows with `text`, `spans`, `prompt` and `reference`."""
    made = [as_read(tokenizer, form.rendered(tokenizer, *key)) for key in _keys(rows)]
    spans = [_spans(one, parts) for one in made]
    columns = {"text": [one.text for one in made], "spans": spans, "prompt": [one.before for one in made]}
    columns["reference"] = [one.answer for one in made]
    own = rows.remove_columns([name for name in columns if name in rows.column_names]).with_format(None)
    return Dataset.from_dict({**own[:], **columns}, features=_features(own))


def _features(own: Dataset) -> Features:
    """Of own columns as they were, and of those that are made; spans may be empty in all rows."""
    text = dict.fromkeys(("text", "prompt", "reference"), Value("string"))
    return Features({**own.features, **text, "spans": List(List(Value("int64")))})


def _spans(one: Rendered, parts: list[str] | None) -> list[list[int]]:
    """Where names stand, or the answer where there are none; nowhere in what is to stay."""
    if parts is None:
        return []
    if parts:
        return [list(span) for span in find_parts(one.text, parts)]
    return [[len(one.before), len(one.before) + len(one.answer)]]


def as_read(tokenizer: Any, rendered: Rendered) -> Rendered:
    """A text without the token that the tokenizer sets before each text by itself, which chat templates write, too."""
    first = tokenizer.bos_token
    if first and rendered.before.startswith(first):
        ids = tokenizer("a")["input_ids"]
        if ids and ids[0] == tokenizer.bos_token_id:
            return rendered._replace(before=rendered.before.removeprefix(first))
    return rendered


def _control(
    sets: dict[str, Dataset],
    tokenizer: PreTrainedTokenizerBase,
    form: PromptFormat,
    parts: list[str],
    other_names: Sequence[str],
    seed: int,
) -> tuple[Dataset, dict[str, int]]:
    """What the target is held against, and numbers about it."""
    target, retain = sets["target"], sets["retain"]
    if not parts:
        spans = [_spans(as_read(tokenizer, form.rendered(tokenizer, *key)), parts) for key in _keys(retain)]
        return Dataset.from_dict(retain.with_format(None)[:] | {"spans": spans}, features=retain.features), {}
    without = sum(not spans for spans in target["spans"][:])
    if without == len(target):
        raise ValueError(f"None of the {len(target)} rows to be forgotten has a name of {few(parts)} in it.")
    candidates = name_parts(other_names) if other_names else known_parts()
    standing = [part for part in parts if any(find_parts(text, [part]) for text in target["text"])]
    others, unequal = other_parts(tokenizer, standing, candidates, _texts(target), seed)
    texts = [replaced(text, others) for text in target["text"][:]]
    columns = {"text": [one.text for one in texts], "spans": [[list(span) for span in one.new_spans] for one in texts]}
    columns |= {
        name: [replaced(text, others).text for text in target[name][:]]
        for name in ("prompt", "reference", QUESTION, ANSWER)
    }
    changed = target.with_format(None)[:] | columns
    control = Dataset.from_dict(changed, features=target.features)
    lengths = zip(*(tokenizer(part["text"][:])["input_ids"] for part in (target, control)), strict=True)
    differ = sum(len(own) != len(other) for own, other in lengths)
    about = {"without a name": without, "names of other lengths": len(unequal), "controls of other lengths": differ}
    return control, about
