"""Rows as people bring them, in memory or in files: texts, pairs, tokens, gaps, and all verbs that take them."""

import copy
import gzip
import json

import numpy as np
import pandas
import pyarrow
import pytest
import torch
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    IterableDatasetDict,
    Translation,
    concatenate_datasets,
)
from datasets import TranslationVariableLanguages as VariableLanguages

from excise import initialize_codes, topic_sets
from excise.baselines.text_training import text_rows
from excise.bottlenecks.site import bottlenecks
from excise.cli import main
from excise.cli.train.arguments import DataArguments
from excise.cli.train.translation import load_splits, tokenize_pairs
from excise.data import load_rows, read_column, text_pairs
from excise.data.batches import tokenize
from excise.deletion.retained import Retained
from tests.situations.test_reading import CSV, EN, FR, FRAME, NESTED, ROWS, TSV, text, written


def pairs_of(data):
    rows = load_rows(data)
    return read_column(rows, "en"), read_column(rows, "fr")


def permuted(rows):
    return Dataset.from_list([ROWS[i] for i in (2, 0, 1)]).select([1, 2, 0])


MEMORY = {
    "a data set": Dataset.from_list(ROWS),
    "pairs in a column": Dataset.from_list(NESTED),
    "pairs of the type for translations": Dataset.from_list(
        NESTED, features=Features({"translation": Translation(["en", "fr"])})
    ),
    "pairs with their languages by row": Dataset.from_list(
        NESTED, features=Features({"translation": VariableLanguages(languages=["en", "fr"])})
    ),
    "pairs with languages that are not listed": [
        {"translation": {"language": [*row], "translation": [*row.values()]}} for row in ROWS
    ],
    "pairs that were flattened": Dataset.from_list(NESTED).flatten(),
    "a DataFrame": FRAME,
    "a DataFrame with an index of its own": FRAME.set_index(pandas.Index([5, 3, 9])),
    "a table of Arrow": pyarrow.Table.from_pandas(FRAME),
    "a list of rows": ROWS,
    "a list of nested rows": NESTED,
    "columns": {"en": EN, "fr": FR},
    "columns of NumPy": {"en": np.array(EN), "fr": np.array(FR, dtype=object)},
    "splits": DatasetDict({"train": Dataset.from_list(ROWS), "test": Dataset.from_list(ROWS[:1])}),
    "a format of pandas": Dataset.from_list(ROWS).with_format("pandas"),
    "a format of NumPy, some columns": Dataset.from_list(ROWS).with_format("numpy", columns=["fr"]),
    "a format of Arrow": Dataset.from_list(ROWS).with_format("arrow"),
    "a transform": Dataset.from_list(ROWS).with_transform(lambda rows: {"en": ["other"] * len(rows["en"])}),
    "rows in another order": permuted(ROWS),
    "rows that were filtered": Dataset.from_list([*ROWS, {"en": "no", "fr": "no"}]).filter(
        lambda row: row["en"] != "no"
    ),
    "shards put together": concatenate_datasets([Dataset.from_list([*ROWS]).shard(3, i) for i in range(3)]),
}


@pytest.mark.parametrize("data", MEMORY.values(), ids=MEMORY)
def test_rows_in_memory_are_read(data):
    assert pairs_of(data) == (EN, FR)


def test_a_stream_is_handed_on():
    stream = Dataset.from_list(ROWS).to_iterable_dataset()
    assert isinstance(load_rows(stream), IterableDataset)
    splits = IterableDatasetDict({"train": stream, "test": stream})
    assert load_rows(splits, split="test") is stream
    with pytest.raises(ValueError, match=r"split='train\[:1\]' cannot be taken"):
        load_rows(splits, split="train[:1]")
    with pytest.raises(ValueError, match=r"pick one split of it, as `data\['train'\]`; it has train, test"):
        read_column(splits, "en")
    with pytest.raises(ValueError, match="is a stream"):
        read_column(stream, "en")


SINGLE = {
    "a row of texts": ({"en": "Hi.", "fr": "Salut."}, {"en": ["Hi."], "fr": ["Salut."]}),
    "a row with a gap": ({"en": "Hi.", "fr": None}, {"en": ["Hi."], "fr": [None]}),
    "a nested row": ({"translation": {"en": "Hi."}}, {"translation": [{"en": "Hi."}]}),
    "columns that are tuples": ({"en": ("Hi.", "Go.")}, {"en": ["Hi.", "Go."]}),
    "columns of pandas": ({"en": pandas.Series(["Hi.", float("nan")])}, {"en": ["Hi.", None]}),
}


@pytest.mark.parametrize(("data", "rows"), SINGLE.values(), ids=SINGLE)
def test_a_dictionary_of_texts_is_a_row_and_one_of_columns_all_rows(data, rows):
    assert load_rows(data)[:] == rows


def test_a_dictionary_of_a_text_and_a_column_is_refused():
    with pytest.raises(ValueError, match=r"'en' is one value and 'fr' a column of them. Give rows"):
        load_rows({"en": "Hi.", "fr": ["Salut."]})


GAPS = {
    "NaN in nested rows": [{"translation": {"en": float("nan"), "fr": "x"}}, {"translation": {"en": "a", "fr": "x"}}],
    "NaN for a nested row": [{"translation": float("nan")}, {"translation": {"en": "a"}}],
    "NaN in nested rows of pandas": pandas.DataFrame({"translation": [{"en": float("nan")}, {"en": "a"}]}),
    "NaN among several texts": [{"en": [float("nan")]}, {"en": [float("nan"), "a"]}],
    "None": [None, "a"],
    "nothing, and space alone": ["", " \t\u00a0", "a"],
    "NaN of pandas": pandas.DataFrame({"en": [float("nan"), "a"]}),
    "NaN in a list": [{"en": float("nan")}, {"en": "a"}],
    "a row without the key": [{"fr": "x"}, {"en": "a"}],
    "NA of pandas": pandas.DataFrame({"en": pandas.array([pandas.NA, "a"], dtype="string")}),
}


@pytest.mark.parametrize("data", GAPS.values(), ids=GAPS)
def test_rows_without_a_text_are_left_out(data):
    rows = load_rows({"en": data} if isinstance(data, list) and not isinstance(data[-1], dict) else data)
    assert text_pairs(rows, "en", "en")["source"][:] == ["a"]


NO_TEXTS = {
    "numbers": ({"en": [1, 2]}, "None of the 2 rows has a text in 'en', whose values are of type int64, as 1"),
    "classes": (
        Dataset.from_dict({"en": [0, 1]}, features=Features({"en": ClassLabel(names=["a", "b"])})),
        "of type int64",
    ),
    "numbers among texts": ([{"en": "a"}, {"en": 3}], "no table"),
    "bytes that are no text": ({"en": [b"\xff"]}, "bytes that are no text in UTF-8"),
    "pictures of texts": ({"en": [{"bytes": b"", "path": ""}]}, r"no text column 'en'; .*en\[bytes\]"),
    "a dictionary": (NESTED, None),
}


@pytest.mark.parametrize(("data", "says"), NO_TEXTS.values(), ids=NO_TEXTS)
def test_what_is_no_text_is_refused_by_its_name(data, says):
    column = "en" if says else "translation"
    with pytest.raises(ValueError, match=says or r"no text column 'translation'; .*translation\[en\]"):
        read_column(data, column)


def test_numbers_among_texts_of_json_are_refused(tmp_path):
    path = written(tmp_path / "a.jsonl", text('{"en": "a"}\n{"en": 3}\n'))
    with pytest.raises(ValueError, match="'en', whose values are of several kinds"):
        read_column(path, "en")


COLUMNS = {
    "capitals": ({"EN": EN}, "en", "Did you mean 'EN'"),
    "a misspelling": ({"english": EN}, "englsh", "Did you mean 'english'"),
    "two that have the key": ([{"a": {"en": "x"}, "b": {"en": "y"}}], "en", "key of several columns"),
    "another language": (NESTED, "de", r"has: translation\[en\], translation\[fr\]"),
}


@pytest.mark.parametrize(("data", "column", "says"), COLUMNS.values(), ids=COLUMNS)
def test_a_column_that_is_not_there_is_refused_with_those_near_it(data, column, says):
    with pytest.raises(ValueError, match=says):
        read_column(data, column)


@pytest.mark.parametrize("column", ["translation.en", "translation[en]", "en"])
def test_a_language_is_named_in_any_way(column):
    assert read_column(NESTED, column) == EN


def test_of_several_references_the_first_is_used_and_that_is_said():
    rows = [{"en": "a", "fr": ["b", "c"]}, {"en": "d", "fr": ["e"]}, {"en": "f", "fr": []}, {"en": "g", "fr": None}]
    with pytest.warns(UserWarning, match="'fr' has several texts in 1 of 4 rows. The first of each is used"):
        assert read_column(rows, "fr") == ["b", "e", None, None]
    several = [{"translation": {"en": "a", "fr": ["b", "c"]}}]
    features = Features({"translation": VariableLanguages(languages=["en", "fr"])})
    with pytest.warns(UserWarning, match="several texts"):
        assert read_column(Dataset.from_list(several, features=features), "fr") == ["b"]


def test_pairs_are_those_of_rows_with_both_texts():
    rows = [*ROWS, {"en": "a", "fr": None}, {"en": " ", "fr": "b"}, {"en": None, "fr": "c"}]
    assert text_pairs(rows, "en", "fr")[:] == {"source": EN, "target": FR}
    with pytest.raises(ValueError, match="None of the 1 rows has a text in both 'en' and 'fr'"):
        text_pairs([{"en": "a", "fr": ""}], "en", "fr")


PADDED = {
    "a mask": {"input_ids": [[5, 6, 0, 0], [7, 8, 9, 0]], "attention_mask": [[1, 1, 0, 0], [1, 1, 1, 0]]},
    "no mask": {"input_ids": [[5, 6, 0, 0], [7, 8, 9, 0]]},
    "padding at the left": {"input_ids": [[0, 0, 5, 6], [0, 7, 8, 9]], "attention_mask": [[0, 0, 1, 1], [0, 1, 1, 1]]},
    "padding at the left and no mask": {"input_ids": [[0, 0, 5, 6], [0, 7, 8, 9]]},
    "a mask of truths": {
        "input_ids": [[5, 6, 4, 4], [7, 8, 9, 4]],
        "attention_mask": [[True, True, False, False], [True, True, True, False]],
    },
    "rows of their own length": {"input_ids": [[5, 6], [7, 8, 9]], "attention_mask": [[1, 1], [1, 1, 1]]},
}


@pytest.mark.parametrize("columns", PADDED.values(), ids=PADDED)
@pytest.mark.parametrize("kind", [None, "numpy", "torch", "pandas"])
def test_padding_of_tokenised_rows_is_no_token(tokenizer, columns, kind):
    rows = Dataset.from_dict(columns).with_format(kind)
    assert tokenize(rows, tokenizer) == [[5, 6], [7, 8, 9]]


def test_where_padding_ends_a_sentence_too_its_first_token_is_that_end(tokenizer):
    rows = Dataset.from_dict({"input_ids": [[5, 6, 1, 1, 1], [7, 8, 9, 6, 1]]})
    ended = copy.deepcopy(tokenizer)
    ended.pad_token = ended.eos_token
    assert tokenize(rows, ended) == [[5, 6, 1], [7, 8, 9, 6, 1]]


NO_TOKENS = {
    "padding alone": ({"input_ids": [[5], [0, 0]]}, "Row 1 of `input_ids` is padding alone"),
    "no tokens": ({"input_ids": [[5], []]}, "Row 1 of `input_ids` is empty"),
    "no row": ({"input_ids": [[5], None]}, "Row 1 has `input_ids` None"),
    "fractions": ({"input_ids": [[5.0]]}, r"Row 0 has `input_ids` \[5\.0\]"),
    "a mask of another length": (
        {"input_ids": [[5, 6]], "attention_mask": [[1]]},
        "2 `input_ids` and an `attention_mask` of 1",
    ),
    "no text": ({"text": ["a", None]}, "Row 1 of the data set has no text in 'text'"),
    "another column": (
        {"words": ["a"]},
        r"no `input_ids`; its columns are \['words'\]. There is no text column 'text'; this data set has: words",
    ),
}


@pytest.mark.parametrize(("columns", "says"), NO_TOKENS.values(), ids=NO_TOKENS)
def test_rows_that_are_no_tokens_are_refused_by_their_number(tokenizer, columns, says):
    with pytest.raises(ValueError, match=says):
        tokenize(Dataset.from_dict(columns), tokenizer)


WORDS = ["the teacher reads a book .", "a cat sees the dog .", "the dog likes a house .", "the doctor reads ."]
INITIALISED = {
    "rows padded by the tokenizer": lambda tokenizer: Dataset.from_dict(
        dict(tokenizer(WORDS, padding="max_length", max_length=30))
    ),
    "rows padded, and their mask removed": lambda tokenizer: Dataset.from_dict(
        {"input_ids": tokenizer(WORDS, padding="max_length", max_length=30)["input_ids"]}
    ),
    "pairs": lambda tokenizer: [{"translation": {"text": text, "fr": "x"}} for text in WORDS],
    "texts, and rows without": lambda tokenizer: Dataset.from_dict({"text": WORDS}).with_format("pandas"),
    "a list": lambda tokenizer: [{"text": text} for text in WORDS],
    "a stream of pairs": lambda tokenizer: Dataset.from_list(
        [{"translation": {"text": text}} for text in WORDS]
    ).to_iterable_dataset(),
}


@pytest.mark.parametrize("make", INITIALISED.values(), ids=INITIALISED)
def test_codes_are_initialised_on_the_same_tokens_however_they_come(make_model, tokenizer, make):
    means = []
    for rows in (Dataset.from_dict({"text": WORDS}), make(tokenizer)):
        model = make_model()
        initialize_codes(model, rows, tokenizer, max_tokens=1_000, steps=0, progress=False)
        means.append(next(iter(bottlenecks(model).values())).mean)
    assert torch.allclose(*means, atol=1e-6)


def test_rows_without_a_text_take_no_part_in_the_codes(make_model, tokenizer):
    means = []
    for words in (WORDS, [None, *WORDS, "", " "]):
        model = make_model()
        initialize_codes(model, {"text": words}, tokenizer, max_tokens=1_000, steps=0, progress=False)
        means.append(next(iter(bottlenecks(model).values())).mean)
    assert torch.allclose(*means, atol=1e-6)
    with pytest.raises(ValueError, match="None of 1 rows has a text in 'text'"):
        initialize_codes(make_model(), {"text": [""]}, tokenizer, progress=False)


def mixed(folder):
    text(TSV)(folder / "train.tsv")
    text("".join(json.dumps(row) + "\n" for row in NESTED[:2]))(folder / "dev.jsonl")
    return {"train_file": str(folder / "train.tsv"), "validation_file": str(folder / "dev.jsonl")}


def both_flat(folder):
    text(CSV)(folder / "train[1].csv")
    FRAME[:2].to_parquet(folder / "dev.PARQUET")
    return {"train_file": str(folder / "train[1].csv"), "validation_file": str(folder / "dev.PARQUET")}


def splits_saved(folder):
    splits = {"train": Dataset.from_list(ROWS), "validation": Dataset.from_list(ROWS[:2])}
    DatasetDict(splits).save_to_disk(folder / "saved")
    return {"dataset_name": str(folder / "saved")}


@pytest.mark.parametrize("write", [mixed, both_flat, splits_saved])
def test_a_training_takes_pairs_of_any_form(tokenizer, tmp_path, write):
    arguments = DataArguments(**write(tmp_path))
    splits = load_splits(arguments, seed=0)
    for name, size in {"train": 3, "validation": 2}.items():
        rows = tokenize_pairs(splits[name], tokenizer, arguments)
        assert rows["input_ids"][:] == tokenizer(EN[:size])["input_ids"]
        assert rows["labels"][:] == tokenizer(FR[:size])["input_ids"]


def test_a_training_leaves_out_rows_without_a_text(tokenizer):
    rows = Dataset.from_list([*ROWS, {"en": None, "fr": "x"}, {"en": "x", "fr": " "}, {"en": "", "fr": "x"}])
    assert len(tokenize_pairs(rows, tokenizer, DataArguments())) == 3
    with pytest.raises(ValueError, match="None of 1 rows has a text in both 'en' and 'fr'"):
        tokenize_pairs(Dataset.from_list([{"en": "a", "fr": ""}]), tokenizer, DataArguments())


def command(capsys, *argv):
    """What a verb prints: its JSON, or the line of its error."""
    status = main([*map(str, argv), "--json", "--quiet"])
    captured = capsys.readouterr()
    return captured.err.splitlines()[-1] if status else json.loads(captured.out)


def test_the_columns_of_a_training_are_looked_at_before_its_model_is_loaded(capsys, tmp_path):
    argv = ["train", "--train_file", written(tmp_path / "a.csv", text(CSV)), "--output_dir", tmp_path / "out"]
    argv += ["--do_train", "--model_name_or_path", tmp_path / "none"]
    assert "no text column 'de'" in command(capsys, *argv, "--target", "de")
    FRAME.assign(fr=[1, 2, 3]).to_csv(tmp_path / "a.csv", index=False)
    assert "in 'fr', whose values are of type int64" in command(capsys, *argv)


SENTENCES = [
    {"en": f"My {word} has {n} hats.", "fr": f"Mon {word} a {n} chapeaux."}
    for word in ("teacher", "uncle")
    for n in range(99)
]
MADE = {
    "a list of rows": lambda folder: SENTENCES,
    "a DataFrame": lambda folder: pandas.DataFrame(SENTENCES),
    "pairs": lambda folder: Dataset.from_list([{"translation": row} for row in SENTENCES]),
    "rows with gaps": lambda folder: Dataset.from_list(
        [{"en": None, "fr": "x"}, *SENTENCES, {"en": "A teacher.", "fr": None}]
    ),
    "a transform": lambda folder: Dataset.from_list(SENTENCES).with_transform(
        lambda rows: {"en": ["x"] * len(rows["en"])}
    ),
    "a path": lambda folder: written(
        folder / "a[1].tsv", text(pandas.DataFrame(SENTENCES).to_csv(index=False, sep="\t"))
    ),
    "the name of a path": lambda folder: str(written(folder / "a.json", text(json.dumps({"data": SENTENCES})))),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_topic_is_the_same_however_its_data_comes(tmp_path, make):
    options = {"text": "en", "reference": "fr", "replacement": "doctor", "progress": False}
    topic = topic_sets(make(tmp_path), "teacher", **options)
    expected = topic_sets(Dataset.from_list(SENTENCES), "teacher", **options)
    assert topic.heldout[:] == expected.heldout[:] and topic.target[:] == expected.target[:]
    gaps = topic.counts.get("rows left out (without a text)", 0)
    assert gaps == (2 if make is MADE["rows with gaps"] else 0)


def test_a_topic_is_made_of_files_of_different_kinds_by_the_command(capsys, tmp_path):
    frame = pandas.DataFrame(SENTENCES)
    frame[::2].to_csv(tmp_path / "pairs [v1].csv", index=False, sep=";", encoding="utf-16")
    with gzip.open(tmp_path / "test?.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"translation": row}) + "\n" for row in SENTENCES[1::2])
    argv = ["topic", "--dataset", tmp_path / "pairs [v1].csv", "--evaluation-dataset", tmp_path / "test?.jsonl.gz"]
    argv += ["--word", "teacher", "--text", "en", "--reference", "fr", "--replacement", "doctor"]
    data = command(capsys, *argv, "--out", tmp_path / "out")
    assert data["rows"] == {"target": 50, "control": 50, "retain": 49, "heldout": 49, "heldout_retain": 50}


PADDED_PAIRS = {"input_ids": [[5, 6, 1, 0, 0]], "attention_mask": [[1, 1, 1, 0, 0]], "labels": [[7, 1, 0, 0, 0]]}


def test_padding_is_neither_learnt_by_a_baseline_nor_taught_by_a_distillation(tokenizer, make_model):
    rows = Dataset.from_dict(PADDED_PAIRS)
    assert text_rows(rows, tokenizer, "retain") == [
        {"input_ids": [5, 6, 1], "attention_mask": [1, 1, 1], "labels": [7, 1]}
    ]
    retained = Retained(rows, rows, tokenizer)
    batch = retained.batch([rows[0], rows.with_format("torch")[0]])
    assert batch["input_ids"].tolist() == [[5, 6, 1]] * 2 and batch["labels"].tolist() == [[7, 1]] * 2
