"""Data sets as people bring them: each is read right, or refused by the name of what is wrong with it."""

import bz2
import gzip
import json
import lzma
import os
import shutil
import time

import pandas
import PIL.Image
import pyarrow
import pyarrow.parquet as pq
import pytest
from datasets import (
    Dataset,
    DatasetDict,
)
from huggingface_hub.errors import RepositoryNotFoundError

from excise.data import load_rows, read_column
from excise.data.text_files import table_dialect
from excise.evaluation import generate_texts

EN = ["Hi.", "Il paraît, dit-il.", 'Say "no".']
FR = ["Salut.", "Où ?", "Dis « non »."]
FRAME = pandas.DataFrame({"en": EN, "fr": FR})
ROWS = FRAME.to_dict("records")
NESTED = [{"translation": row} for row in ROWS]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV, TSV = FRAME.to_csv(index=False), FRAME.to_csv(index=False, sep="\t")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """Whoever asks the Hub fails the test."""

    def asked(*args, **options):
        pytest.fail(f"The Hub was asked: {args} {options}")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", asked)
    monkeypatch.setattr("huggingface_hub.HfApi.repo_info", asked)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text(content, encoding="utf-8", newline=""):
    return lambda path: path.write_text(content, encoding=encoding, newline=newline)


def packed(pack, content=LINES):
    return lambda path: path.write_bytes(pack(content.encode()))


def parquet(frame=FRAME):
    return lambda path: frame.to_parquet(path)


def arrow(path):
    with pyarrow.ipc.new_stream(path, (table := pyarrow.Table.from_pandas(FRAME)).schema) as writer:
        writer.write(table)


def beside(write, *others):
    """A file, and others of the same kind with a text of their own that must not be read."""

    def both(path):
        write(path)
        for other in others:
            FRAME.assign(en="another file's").to_parquet(path.parent / other)

    return both


FILES = {
    "Parquet": ("pairs.parquet", parquet()),
    "Parquet in capitals": ("pairs.PARQUET", parquet()),
    "Arrow": ("pairs.arrow", arrow),
    "CSV": ("pairs.csv", text(CSV)),
    "CSV of Excel: a byte order mark, and line ends of Windows": (
        "pairs.CSV",
        text(CSV.replace("\n", "\r\n"), "utf-8-sig"),
    ),
    "CSV with semicolons": ("pairs.csv", text(FRAME.to_csv(index=False, sep=";"))),
    "CSV with tabs": ("pairs.csv", text(TSV)),
    "CSV with bars": ("pairs.csv", text(FRAME.to_csv(index=False, sep="|"))),
    "CSV in UTF-16": ("pairs.csv", text(CSV, "utf-16")),
    "CSV with an index": ("pairs.csv", text(FRAME.to_csv())),
    "CSV with quotes escaped, as Spark writes it": (
        "pairs.csv",
        text(FRAME.to_csv(index=False, doublequote=False, escapechar="\\")),
    ),
    "CSV with quotes escaped and all in quotes": (
        "pairs.csv",
        text(FRAME.to_csv(index=False, quoting=1, doublequote=False, escapechar="\\")),
    ),
    "CSV with all in quotes": ("pairs.csv", text(FRAME.to_csv(index=False, quoting=1))),
    "CSV with spaces in its header": ("pairs.csv", text(CSV.replace("en,fr", "en, fr"))),
    "CSV with semicolons, all in quotes": ("pairs.csv", text(FRAME.to_csv(index=False, sep=";", quoting=1))),
    "TSV": ("pairs.tsv", text(TSV)),
    "text with tabs, all in quotes": ("pairs.txt", text(FRAME.to_csv(index=False, sep="\t", quoting=1))),
    "TSV with all in quotes": ("pairs.tsv", text(FRAME.to_csv(index=False, sep="\t", quoting=1))),
    "TSV with quotes that are letters": (
        "pairs.tsv",
        text("en\tfr\n" + "".join(f"{a}\t{b}\n" for a, b in zip(EN, FR, strict=True))),
    ),
    "text with tabs and a header": ("pairs.txt", text(TSV)),
    "JSON lines": ("pairs.jsonl", text(LINES)),
    "JSON lines called .json": ("pairs.json", text(LINES)),
    "JSON lines with a mark and empty lines": ("pairs.jsonl", text("\n" + LINES.replace("\n", "\n\n"), "utf-8-sig")),
    "JSON lines called .ndjson": ("pairs.ndjson", text(LINES)),
    "JSON lines in UTF-16": ("pairs.jsonl", text(LINES, "utf-16")),
    "JSON of a list": ("pairs.json", text(json.dumps(ROWS))),
    "JSON of a list, indented": ("pairs.json", text(json.dumps(ROWS, indent=2))),
    "JSON of data in an object": ("pairs.json", text(json.dumps({"version": 1, "data": ROWS}, indent=1))),
    "JSON of columns": ("pairs.json", text(json.dumps({"en": EN, "fr": FR}))),
    "JSON lines, gzipped": ("pairs.jsonl.gz", packed(gzip.compress)),
    "CSV, gzipped": ("pairs.csv.gz", packed(gzip.compress, CSV)),
    "CSV with semicolons, gzipped": ("pairs.csv.gz", packed(gzip.compress, FRAME.to_csv(index=False, sep=";"))),
    "JSON lines, bzip2": ("pairs.jsonl.bz2", packed(bz2.compress)),
    "TSV, xz": ("pairs.tsv.xz", packed(lzma.compress, TSV)),
    "brackets in the name": ("pairs[1].parquet", beside(parquet(), "pairs1.parquet")),
    "a question mark in the name": ("q?.parquet", beside(parquet(), "qa.parquet", "qb.parquet")),
    "a star in the name": ("*.parquet", beside(parquet(), "a.parquet")),
    "braces in the name": ("{a,b}.parquet", beside(parquet(), "a.parquet")),
    "two colons in the name": ("x::y.csv", text(CSV)),
    "a space, a hash and a percent sign in the name": ("my pairs #1 %20.csv", text(CSV)),
    "brackets in the name, gzipped": ("[a].csv.gz", packed(gzip.compress, CSV)),
    "brackets in the folder's name": ("[corpus] v1/pairs.csv", text(CSV)),
    "a folder that is called as an address begins": ("hf:/datasets/pairs.csv", text(CSV)),
    "a hidden folder": (".data/.pairs.csv", text(CSV)),
    "a name in another script": ("пары/пара é.csv", text(CSV)),
    "a name that would be a Hub id": ("owner/pairs.tsv", text(TSV)),
}


def written(path, write):
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    return path


def pairs_of(data, *args, **options):
    rows = load_rows(data, *args, **options)
    return read_column(rows, "en"), read_column(rows, "fr")


@pytest.mark.parametrize(("name", "write"), FILES.values(), ids=FILES)
def test_a_file_is_read(here, name, write):
    path = written(here / name, write)
    assert pairs_of(name) == (EN, FR)
    assert pairs_of(path) == (EN, FR)


LINKED = {
    "a path of the home folder": ("~/pairs.csv", lambda path: None),
    "a path with dots": ("./sub/../pairs.csv", lambda path: (path.parent / "sub").mkdir()),
    "a link": ("link.csv", lambda path: (path.parent / "link.csv").symlink_to(path)),
}


@pytest.mark.parametrize(("name", "more"), LINKED.values(), ids=LINKED)
def test_a_file_is_read_by_another_path(here, monkeypatch, name, more):
    monkeypatch.setenv("HOME", str(here))
    more(written(here / "pairs.csv", text(CSV)))
    assert pairs_of(name) == (EN, FR)


VALUES = {
    "a text file of lines": ("a.txt", text("One.\n\nThree.\n"), "text", ["One.", "", "Three."]),
    "a text file whose first line with tabs is a sentence": (
        "fra.txt",
        text('Go.\tVa !\tCC-BY\n"Hi.\tSalut.\tCC\n'),
        "1",
        ["Va !", "Salut."],
    ),
    "two files of lines that go together": (
        "corpus.fr",
        lambda path: [text("Salut.\nVa.\n")(path), text("Hi.\nGo.\n")(path.with_suffix(".en"))],
        "en",
        ["Hi.", "Go."],
    ),
    "three files of lines that go together": (
        "corpus.fr",
        lambda path: [text(f"{word}\n")(path.with_suffix(f".{word}")) for word in ("fr", "en", "de")],
        "de",
        ["de"],
    ),
    "two files of lines that go together, gzipped": (
        "corpus.en.gz",
        lambda path: [packed(gzip.compress, f"{word}\n")(path.with_name(f"corpus.{word}.gz")) for word in ("fr", "en")],
        "fr",
        ["fr"],
    ),
    "files of lines of which one is gzipped, of a country's language": (
        "Tatoeba.en-pt.en",
        lambda path: [
            text("Hi.\n")(path),
            packed(gzip.compress, "Oi.\n")(path.with_name("Tatoeba.en-pt.pt_br.gz")),
            text("x\n")(path.with_name("Tatoeba.en-pt.ids")),
        ],
        "pt_br",
        ["Oi."],
    ),
    "a file of lines beside a program": (
        "corpus.en",
        lambda path: [
            text("Hi.\n")(path),
            text("Salut.\n")(path.with_suffix(".fr")),
            text("a\nb\n")(path.with_suffix(".sh")),
        ],
        "fr",
        ["Salut."],
    ),
    "JSON lines with null later": ("a.jsonl", text('{"en": "a"}\nnull\n'), "en", ["a", None]),
    "a list of texts and null in JSON": ("a.json", text('[null, "a"]'), "text", [None, "a"]),
    "JSON of one row with several references": ("a.json", text('{"en": "a", "fr": ["b", "c"]}'), "fr", ["b"]),
    "JSON lines of one row of lists": (
        "a.jsonl",
        text('{"id": 1, "en": ["a", "b"], "fr": ["c", "d"]}\n'),
        "fr",
        ["c"],
    ),
    "references of which the first is missing": (
        "a.jsonl",
        text('{"en": [null, "a"]}\n{"en": ["", "b", "c"]}\n{"en": []}\n'),
        "en",
        ["a", "b", None],
    ),
    "lines of a text in quotes": (
        "a.csv",
        text('en,fr\n"Two\nlines, and ""quotes""",x\n'),
        "en",
        ['Two\nlines, and "quotes"'],
    ),
    "words that pandas takes for missing": (
        "a.csv",
        text("en,fr\nNone,x\nNA,x\nnull,x\n,x\n"),
        "en",
        ["None", "NA", "null", None],
    ),
    "a quotation mark that opens in one row of a TSV and closes in another": (
        "a.tsv",
        text('en\tfr\n"A.\tB.\nC "\tD.\n'),
        "en",
        ['"A.', 'C "'],
    ),
    "a TSV in which somebody speaks and goes on": (
        "a.tsv",
        text('en\tfr\n"No," he said.\tx\nHe said "Yes".\ty\n"A" or "B"?\tz\n'),
        "en",
        ['"No," he said.', 'He said "Yes".', '"A" or "B"?'],
    ),
    "a text with tabs in which somebody speaks and goes on": (
        "a.txt",
        text('en\tfr\n"Go!" she cried.\t« Va ! » cria-t-elle.\n'),
        "en",
        ['"Go!" she cried.'],
    ),
    "a CSV with an escaped quotation mark that is no quoting, and a path": (
        "a.csv",
        text('en,fr\nC:\\new,x\n5\\" wide,y\n'),
        "en",
        ["C:\\new", '5\\" wide'],
    ),
    "a path in a CSV": ("a.csv", text('en,fr\n"C:\\new, or not",x\n'), "en", ["C:\\new, or not"]),
    "escaped quotation marks and doubled backslashes": (
        "a.csv",
        text('en,fr\n"C:\\\\new, he said \\"no\\"",x'),
        "en",
        ['C:\\new, he said "no"'],
    ),
    "a TSV with escaped quotation marks and line breaks in quotes": (
        "a.tsv",
        text('en\tfr\n"One \\"a\\"\nTwo"\tx\n'),
        "en",
        ['One "a"\nTwo'],
    ),
    "numbers among texts of a CSV": ("a.csv", text("en,fr\n1984,x\nHi.,y\n"), "en", ["1984", "Hi."]),
    "Latin-1 that is said": ("a.csv", text("en,fr\nÉté.,x\n", "latin-1"), "en", ["Été."]),
    "a CSV of ten thousand rows and more without a text, before one with": (
        "a.csv",
        text("en,fr\n" + ",x\n" * 10_001 + "Hi.,x\n"),
        "en",
        [None] * 10_001 + ["Hi."],
    ),
    "a CSV of ten thousand numbers and more, before a text": (
        "a.csv",
        text("en,fr\n" + "12,x\n" * 10_001 + "Hi.,x\n"),
        "en",
        ["12"] * 10_001 + ["Hi."],
    ),
    "a list of texts in JSON": ("a.json", text('["Hi.", "Go."]'), "text", ["Hi.", "Go."]),
    "line ends of old Macs": ("a.csv", text("en,fr\ra,b\rc,d\r"), "en", ["a", "c"]),
    "JSON lines with a new key later": ("a.jsonl", text('{"en": "a"}\n{"en": "b", "de": "c"}\n'), "de", [None, "c"]),
    "Parquet of categories": (
        "a.parquet",
        parquet(pandas.DataFrame({"en": pandas.Categorical(["a", "b", "a"])})),
        "en",
        ["a", "b", "a"],
    ),
    "Parquet of bytes": (
        "a.parquet",
        lambda path: pq.write_table(pyarrow.table({"en": ["é".encode(), None]}), path),
        "en",
        ["é", None],
    ),
    "Parquet of large texts": (
        "a.parquet",
        lambda path: pq.write_table(pyarrow.table({"en": pyarrow.array(["a"], pyarrow.large_string())}), path),
        "en",
        ["a"],
    ),
    "Parquet of languages by row that lost their name": (
        "a.parquet",
        lambda path: pq.write_table(
            pyarrow.Table.from_pylist(
                [{"translation": {"language": ["fr", "en"], "translation": ["Salut.", "Hi."]}}, {"translation": None}]
            ),
            path,
        ),
        "en",
        ["Hi.", None],
    ),
    "JSON lines of pairs": (
        "a.jsonl",
        text('{"translation": {"en": "a", "fr": null}}\n{"translation": null}\n'),
        "en",
        ["a", None],
    ),
    "JSON of one row": ("a.json", text('{"translation": {"en": "a", "fr": "b"}}'), "en", ["a"]),
    "JSON in one line, indented over several": (
        "a.json",
        text('{\n "en": ["a", "b"],\n "fr": ["c", "d"]\n}'),
        "en",
        ["a", "b"],
    ),
}


@pytest.mark.filterwarnings("ignore:.*has several texts")
@pytest.mark.parametrize(("name", "write", "column", "values"), VALUES.values(), ids=VALUES)
def test_the_values_of_a_file_are_its_own(here, name, write, column, values, request):
    written(here / name, write)
    encoding = "latin-1" if "Latin-1" in request.node.name else None
    assert read_column(load_rows(name, encoding=encoding), column) == values


@pytest.mark.parametrize("beside", [{"version": 1}, {"meta": {"by": "me"}, "n": None}])
def test_columns_of_json_with_something_beside_them_are_columns_and_it_is_told(here, beside):
    written(here / "a.json", text(json.dumps(beside | {"en": EN, "fr": FR})))
    with pytest.warns(UserWarning, match=rf"read as the columns en, fr, and {next(iter(beside))!r}.* left out"):
        assert pairs_of("a.json") == (EN, FR)


INSIDE = {
    "a tab in each row": ["a\tb", "c\td"],
    "a tab in some": ["a\tb", "c"],
    "line breaks": ["a\nb\n", "\r\nc"],
    "quotes": ['"a"', 'say "b"\t'],
    "commas and semicolons": ["a, b; c", "d, e; f"],
    "backslashes": ["C:\\new\\", "\\t"],
}


@pytest.mark.parametrize("header", ["en", "e\tn", "e, n", "the\nen"])
@pytest.mark.parametrize(("ending", "separator"), [("tsv", "\t"), ("csv", ","), ("csv", ";"), ("csv", "\t")])
@pytest.mark.parametrize("quoting", [1, 2], ids=["all", "all but numbers"])
def test_what_stands_in_quotes_is_a_text_whatever_is_in_it(here, header, ending, separator, quoting):
    values = [text for texts in INSIDE.values() for text in texts]
    for inside in (*INSIDE.values(), values):
        frame = pandas.DataFrame({header: inside, "n": range(len(inside))})
        path = written(here / f"a.{ending}", text(frame.to_csv(index=False, sep=separator, quoting=quoting)))
        dialect = table_dialect(path, "utf-8", path.suffix)
        rows = pandas.read_csv(path, **dialect.options | {"header": 0})
        assert dialect.names == [header, "n"] and rows[header].to_list() == inside
    assert load_rows(path)[:] == {header: values, "n": [*range(len(values))]}


def test_texts_that_are_utf_8_and_read_otherwise_as_asked_are_told(here):
    written(here / "pairs.csv", text(CSV))
    with pytest.warns(UserWarning, match="is UTF-8 from its first to its last letter, and is read in latin-1 as asked"):
        assert load_rows("pairs.csv", encoding="latin-1")["fr"][1] == "OÃ¹ ?"


@pytest.mark.parametrize("where", ["pairs.csv", "folder"])
def test_an_encoding_goes_for_a_file_and_a_folder_and_parquet_has_its_own(here, where):
    written(here / "pairs.csv", text(CSV, "cp1252"))
    for split in ("train", "test"):
        written(here / f"folder/{split}.csv", text(CSV, "cp1252"))
        written(here / f"mixed/{split}.parquet", parquet())
    assert load_rows(where, encoding="cp1252")["en"][:] == EN
    assert load_rows("mixed", split="test", encoding="cp1252")["fr"][:] == FR


REFUSED = {
    "an empty file": ("a.csv", text(""), "is empty"),
    "an empty Parquet file": ("a.parquet", text(""), "is empty"),
    "empty lines alone": ("a.txt", text("\n\n"), "has empty lines alone"),
    "a header alone": ("a.csv", text("en,fr\n"), "has no rows"),
    "Parquet without rows": ("a.parquet", parquet(FRAME[:0]), "has no rows"),
    "a workbook": ("a.xlsx", text("x"), "a.xlsx is of a kind that is not read, .xlsx. Save its sheet as CSV"),
    "an archive": (
        "a.zip",
        lambda path: shutil.make_archive(
            str(path.with_suffix("")), "zip", written(path.parent / "d/in.csv", text(CSV)).parent
        ),
        "Unpack it.* holds in.csv",
    ),
    "an archive of zstd": ("a.jsonl.zst", text("x"), "a.jsonl.zst is of a kind that is not read, .zst"),
    "a pickle": ("a.pkl", text("x"), r"as `pandas.DataFrame.to_parquet` does"),
    "a translation memory": ("a.tmx", text("x"), "not read, .tmx"),
    "no ending": ("pairs", text(CSV), "pairs has no ending, so that its kind is not known"),
    "an ending that says nothing": ("pairs.data1", text(CSV), r"ends in '\.data1', so that its kind"),
    "one file of lines alone": ("corpus.en", text("Hi.\n"), r"ends in '\.en'"),
    "files of lines of another length": (
        "corpus.fr",
        lambda path: [text("a\nb\n")(path), text("a\n")(path.with_suffix(".en"))],
        "corpus.en has 1 lines and corpus.fr 2",
    ),
    "Latin-1": (
        "a.csv",
        text("en,fr\na,b\nÉté.,x\n", "latin-1"),
        r"not in utf-8: byte 0xc9 in line 3 .*`encoding='cp1252'`",
    ),
    "UTF-16 without a mark": ("a.csv", text(CSV, "utf-16-le"), r"utf-16-le"),
    "UTF-8 that was cut off": (
        "a.txt",
        lambda path: path.write_bytes("é".encode()[:1]),
        "ends in the middle of a letter",
    ),
    "JSON lines that were cut off": (
        "a.jsonl",
        text(LINES[:-9]),
        "a.jsonl cannot be read as json: line 3 is no JSON, Unterminated string",
    ),
    "a list of JSON that was cut off": (
        "a.json",
        text(json.dumps(ROWS)[:-9]),
        "cannot be read as json: Unterminated string",
    ),
    "an object of JSON that was cut off": (
        "a.json",
        text(json.dumps({"data": ROWS}, ensure_ascii=False)[:-9]),
        "cannot be read as json: Unterminated string",
    ),
    "gzip that was cut off": (
        "a.csv.gz",
        lambda path: path.write_bytes(gzip.compress(CSV.encode())[:-9]),
        "cannot be unpacked: Compressed file ended before",
    ),
    "gzip that is none": ("a.csv.gz", text(CSV), "cannot be unpacked: Not a gzipped file"),
    "Parquet that was cut off": (
        "a.parquet",
        lambda path: [parquet()(path), path.write_bytes(path.read_bytes()[:-9])],
        "cannot be read as parquet: Parquet magic bytes not found",
    ),
    "Parquet that is called CSV": ("a.csv", parquet(), "a.csv is a Parquet file, whatever its name says"),
    "CSV that is called Parquet": ("a.parquet", text(CSV), "cannot be read as parquet: Parquet magic bytes not found"),
    "a web page that is called CSV": ("a.csv", text("<!DOCTYPE html><p>Not found"), "is a web page"),
    "a pointer of Git LFS": ("a.parquet", text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "a column twice in CSV": ("a.csv", text("en,fr,en\na,b,c\n"), "more than one column 'en'"),
    "a column twice in Parquet": (
        "a.parquet",
        lambda path: pq.write_table(pyarrow.table([["a"], ["b"]], names=["en", "en"]), path),
        "more than one column 'en'",
    ),
    "a key twice in JSON lines": ("a.jsonl", text('{"en": "a", "en": "b"}\n'), "specified twice"),
    "commas in texts without quotes": (
        "a.csv",
        text("en,fr\nHi, you,Salut\n"),
        "Line 2 has 3 fields where the first has 2",
    ),
    "a line break in a text without quotes": ("a.tsv", text("en\tfr\nHi\nyou\tSalut\n"), "Line 2 has 1 fields"),
    "a quotation mark that is not closed": ("a.csv", text('en,fr\n"Hi,Salut\nGo,Va\n'), "Line 2 .*quotation marks"),
    "a CSV in which somebody speaks and goes on": (
        "a.csv",
        text('en,fr\n"No" he said.,x\n'),
        "Line 2 cannot be read, .*double those inside",
    ),
    "a CSV in which somebody speaks and goes on, and another is escaped": (
        "a.csv",
        text('en,fr\n"No" he said.,x\n"Say \\"no\\"",y\n'),
        "Line 2 cannot be read, .*double those inside",
    ),
    "a path among escaped quotation marks": (
        "a.csv",
        text('en,fr\n"C:\\new",x\n"Say \\"no\\"",y\n'),
        "Line 2 has a backslash before 'n', and others stand before quotation marks",
    ),
    "null before JSON lines": ("a.jsonl", text('null\n{"en": "a"}\n'), "has null for its first row"),
    "null alone": ("a.json", text("null"), "has null for its first row"),
    "null before the rows of a list": ("a.json", text('[\n null,\n {"en": "a"}]'), "has null for its first row"),
    "a language twice": (
        "corpus.fr",
        lambda path: [
            text("a\n")(path),
            text("a\n")(path.with_suffix(".en")),
            packed(gzip.compress, "a\n")(path.with_name("corpus.en.gz")),
        ],
        "several files of the language 'en'",
    ),
    "a table of pandas in JSON": ("a.json", text(FRAME.to_json()), r"orient='records'"),
    "a table of pandas in JSON, split": ("a.json", text(FRAME.to_json(orient="split")), r"orient='records'"),
    "several lists in JSON": (
        "a.json",
        text(json.dumps({"train": ROWS, "test": ROWS})),
        "several lists of rows, train, test",
    ),
    "an empty list of JSON": ("a.json", text("[]\n"), "has no rows"),
    "half a pair of surrogates in JSON lines": ("a.jsonl", text('{"en": "\\ud83d"}\n{"en": "a"}\n'), "surrogate"),
    "JSON lines with commas between": ("a.jsonl", text('{"en": "a"},\n{"en": "b"},\n'), "Extra data: line 1 column 12"),
    "JSON lines of Python": ("a.jsonl", text("{'en': 'a'}\n{'en': 'b'}\n"), "property name enclosed in double quotes"),
    "Parquet of maps": (
        "a.parquet",
        lambda path: pq.write_table(
            pyarrow.table(
                {"translation": pyarrow.array([[("en", "a")]], pyarrow.map_(pyarrow.string(), pyarrow.string()))}
            ),
            path,
        ),
        "map<string, string",
    ),
    "an image": ("a.PNG", text("x"), "Give the folder of images"),
    "a link to nothing": (
        "a.csv",
        lambda path: path.symlink_to("gone.csv"),
        r"is a link to gone\.csv, which is not there",
    ),
    "a pipe": ("a.csv", lambda path: os.mkfifo(path), "neither a file nor a folder"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "write", "says"), REFUSED.values(), ids=REFUSED)
def test_a_file_is_refused_by_what_is_wrong_with_it(here, name, write, says):
    written(here / name, write)
    with pytest.raises(ValueError, match=says) as refused:
        load_rows(name)
    assert name in str(refused.value)
    assert "An error occurred while" not in str(refused.value)


MISSING = {
    "a misspelt name": ("pair.csv", r"There is no file pair.csv. Did you mean pairs.csv"),
    "another ending": ("pairs.tsv", r"Did you mean pairs.csv"),
    "nothing near": ("zzzz.parquet", r"no file zzzz.parquet. The folder .* holds pairs.csv"),
    "a folder that is not there": ("nowhere/at/all", "as there is no folder nowhere"),
    "a path of the home folder": ("~/corpus", "There is no file ~/corpus"),
    "a path with a dot": ("./corpus", "There is no file ./corpus"),
    "an absolute path": ("/nowhere/corpus", "There is no file /nowhere/corpus"),
    "an address": ("https://host/pairs.csv", "is an address"),
    "an address of a data set of the Hub": ("hf://datasets/a/b.parquet", "is an address"),
    "a pattern": ("*.csv", r"There is no file \*.csv. "),
    "no name": ("", "The name of the data set is empty"),
    "a number": (7, "Expected a data set, got int 7"),
    "nothing": (None, "Expected a data set, got NoneType"),
    "a list of texts": (["Hi."], "Expected a data set, got list"),
    "no rows": ([], "Expected a data set, got list"),
}


@pytest.mark.parametrize(("name", "says"), MISSING.values(), ids=MISSING)
def test_what_is_not_there_is_not_asked_of_the_hub(here, name, says):
    written(here / "pairs.csv", text(CSV))
    with pytest.raises(ValueError, match=says):
        load_rows(name)


MISTYPED = {
    "a letter changed, of a file": ("pairz", r"pairz here \(did you mean pairs.csv\?\), excise carries"),
    "an ending left out": ("pairs", r"pairs here \(did you mean pairs.csv or pairs.tsv\?\)"),
    "the name of a folder with a letter lost": ("image", r"\(did you mean images\?\)"),
    "the packaged pairs without what stands before them": ("demo", r"\(did you mean excise:demo\?\)"),
    "the packaged pairs with a hyphen": ("excise-demo", r"\(did you mean excise:demo\?\)"),
    "a file's name after an owner's": ("me/pairs", r"\(did you mean pairs.csv or pairs.tsv\?\)"),
    "what is near to nothing": ("opus_books", "There is no file or folder opus_books here, excise carries excise:demo"),
}


@pytest.mark.parametrize(("name", "says"), MISTYPED.values(), ids=MISTYPED)
def test_a_mistyped_name_is_told_in_a_sentence_with_near_ones_and_the_hub_is_not_waited_for(here, name, says):
    for other in ("pairs.csv", "pairs.tsv", "images/1.csv"):
        written(here / other, text(CSV))
    began = time.monotonic()
    with pytest.raises(ValueError, match=says) as caught:
        load_rows(name)
    assert str(caught.value).endswith(f"alone, and the Hub, which may have a data set {name}, cannot be reached.")
    assert time.monotonic() - began < 10


def test_a_folder_of_the_name_that_was_read_elsewhere_is_no_data_set_of_the_hub(here, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", here / "cache")
    (here / "cache/images/default-01ca05473f1b339f").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"There is no file or folder images here, .* cannot be reached"):
        load_rows("images")


@pytest.mark.parametrize("answer", ["unknown", "silent"])
def test_the_hub_is_asked_once_for_a_name_that_is_no_path(here, answer, monkeypatch):
    asked = []

    def dataset_info(api, name, timeout=None):
        asked.append(name)
        raise TimeoutError if answer == "silent" else RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
    monkeypatch.setattr("excise.data.paths.hub_is_out_of_reach", lambda: False)
    says = {"unknown": "the Hub has no data set pairz that you may read", "silent": "data set pairz, cannot be reached"}
    with pytest.raises(ValueError, match=says[answer]):
        load_rows("pairz")
    assert asked == ["pairz"]


def shards(folder):
    for number, row in enumerate(ROWS):
        pandas.DataFrame([row]).to_parquet(folder / f"part-{number:05}.snappy.parquet")
    (folder / "_SUCCESS").write_text("")
    (folder / "README.txt").write_text("notes")


def saved(folder):
    Dataset.from_list(NESTED).save_to_disk(folder)


def saved_splits(folder):
    DatasetDict({"train": Dataset.from_list(NESTED), "test": Dataset.from_list(NESTED[:1])}).save_to_disk(folder)


def named_splits(folder):
    text(CSV)(folder / "train.csv")
    text(FRAME[:1].to_csv(index=False, sep="\t"))(folder / "test.tsv")


FOLDERS = {
    "shards of Parquet": ("shards", shards),
    "a folder that is called as a file": ("pairs.parquet", shards),
    "brackets in its name": ("[corpus] v1", shards),
    "what was saved": ("saved", saved),
    "what was saved, with brackets in its name": ("[saved]*", saved),
    "splits that were saved": ("saved", saved_splits),
    "files that are called by their split, of different kinds": ("data", named_splits),
    "a name that would be a Hub id": ("owner/data", named_splits),
}


def test_a_folder_of_images_is_read_whatever_is_in_its_name(here):
    for number, name in enumerate(["cat", "dog"]):
        (here / "[pets]*" / name).mkdir(parents=True)
        PIL.Image.new("RGB", (8, 8), (number, 0, 0)).save(here / "[pets]*" / name / "a.png")
    rows = load_rows("[pets]*")
    assert rows.features["label"].names == ["cat", "dog"]
    assert [image.getpixel((0, 0))[0] for image in rows["image"]] == rows["label"][:] == [0, 1]


def test_a_list_of_texts_is_generated_from_and_nothing_else(make_model, tokenizer):
    with pytest.raises(ValueError, match=r"`texts` is 'the cat' .*expected texts: a list"):
        generate_texts(make_model(), tokenizer, "the cat")
    with pytest.raises(ValueError, match="Row 1 of the texts is None"):
        generate_texts(make_model(), tokenizer, ["the cat", None])


@pytest.mark.parametrize(("name", "write"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_is_read(here, name, write):
    (here / name).mkdir(parents=True)
    write(here / name)
    assert pairs_of(name) == (EN, FR)
    if write in (saved_splits, named_splits):
        assert pairs_of(name, split="test") == (EN[:1], FR[:1])


NO_FOLDERS = {
    "an empty one": (lambda folder: None, "holds no data; it is empty"),
    "one that is called as a data set of the Hub": (
        lambda folder: (folder / "checkpoint").mkdir(),
        "holds no data, but checkpoint",
    ),
    "files of several kinds": (
        lambda folder: [text(CSV)(folder / "a.csv"), text(LINES)(folder / "a.jsonl")],
        "several kinds for the split 'train': a.csv .*a.jsonl",
    ),
    "files with other columns": (
        lambda folder: [text(CSV)(folder / "a.csv"), text("de\nx\n")(folder / "b.csv")],
        r"b.csv has the columns \['de'\], and a.csv",
    ),
}


@pytest.mark.parametrize(("write", "says"), NO_FOLDERS.values(), ids=NO_FOLDERS)
def test_a_folder_is_refused_by_what_is_in_it(here, write, says):
    (here / "opus_books").mkdir()
    write(here / "opus_books")
    with pytest.raises(ValueError, match=says):
        load_rows("opus_books")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "[a].csv.gz", "a::b.parquet"])
def test_a_file_that_was_changed_in_place_is_read_anew(here, name):
    for word in ("one", "two"):  # as long as one another
        frame = FRAME.assign(en=word)
        frame.to_parquet(name) if name.endswith("parquet") else frame.to_csv(name, index=False)
        assert load_rows(name)["en"][0] == word


def test_a_split_is_taken_as_datasets_writes_it(here):
    written(here / "a.csv", text(CSV))
    assert load_rows("a.csv", split="test[1:]")["en"][:] == EN[1:]
    splits = DatasetDict({"train": Dataset.from_list(ROWS), "test": Dataset.from_list(ROWS[:1])})
    assert load_rows(splits, split="train[:2]+test")["en"][:] == [*EN[:2], EN[0]]
    with pytest.raises(ValueError, match="no split 'dev'; it has train, test"):
        load_rows(splits, split="dev")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "folder"])
def test_a_file_that_was_changed_within_its_size_and_time_is_read_anew(tmp_path, ending):
    name = "train.csv" if ending == "folder" else f"a.{ending}"
    path = tmp_path / name
    for word in ("cat", "dog", "cow"):
        path.write_text(f"en,fr\n{word},b\n" if name.endswith("csv") else json.dumps({"en": word, "fr": "b"}) + "\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        rows = load_rows(tmp_path if ending == "folder" else path)
        assert rows["en"][:] == [word]


@pytest.mark.parametrize("name", ["excise:demos", "excise:Demo", "excise:"])
def test_packaged_data_under_a_wrong_name_is_told_from_what_there_is(name):
    with pytest.raises(ValueError, match=f"There is no {name}. Of data that excise carries there is excise:demo"):
        load_rows(name)
