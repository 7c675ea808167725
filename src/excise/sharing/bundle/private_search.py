"""Search for private words and texts in the files of a bundle, however they are written there.

A word is looked for as a whole one, and from five letters on inside others too; a text by any six words of it in a row.
Both in any case and normal form, behind tags and escapes of HTML, JSON, URLs and Python, in names of files, in base64,
in what is compressed, and in the metadata of images, tensors and Parquet tables.

Not looked for: words in a tokenizer's vocabulary and in code, which are the same for any topic; texts of fewer than
four words, which say nothing; and in numbers, words of fewer than six letters, which chance writes there. A word that
stands in report and card whatever the topic is, as "code" does, counts where it was given: in labels, data and base.
"""

import base64
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import PIL.Image

from excise.codes.pair_counts import ClassCounts
from excise.data.forget_sets import SET_NAMES, ForgetSets, PrivateLabel, as_written, folded, whole_words
from excise.data.reading import is_dataset
from excise.report.card import model_card
from excise.report.markdown import unescaped
from excise.report.page import write_report
from excise.report.private import evidence, given, redacted, without_given
from excise.report.record import FILE, Record
from excise.sharing.erasure.streams import streams
from excise.storage.hub_repository import own_files

if TYPE_CHECKING:
    from datasets import Dataset

IN_A_ROW, FEWEST, INSIDE, BY_CHANCE = 6, 4, 5, 6
LONGEST = 40  # longer runs of letters are no words
PIECE = 1 << 24  # bytes that are read at a time
REPORT, CARD = "report", "README.md"
VOCABULARY = {"tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json", "special_tokens_map.json"}
VOCABULARY |= {"spiece.model", "sentencepiece.bpe.model", "source.spm", "target.spm", "requirements.txt"}
# Of names of files, what is of any topic.
NAMES = (
    "README.md bundle ledger config generation model of index tokenizer special tokens map vocab spiece merges chat "
)
NAMES += "template processor modeling_excise.py requirements.txt report schema frontier volcano enrichment compaction "
NAMES += "bottlenecks html svg png parquet json safetensors"
# Keys of a tokenizer's settings that hold its vocabulary.
TOKENS = re.compile(r"added_tokens.*|(extra|additional)_special_tokens|\w+_token")


class Hit(NamedTuple):
    """A `"word"` or a `"text"` by its number, from 0: what it is must not be told."""

    kind: str
    number: int


class PrivateSearch:
    """Private words and texts that are looked for in what leaves.

    Args:
        *private: private topics and what was chosen on; records, of which the full evidence; words.

    Attributes:
        sizes: how many of each kind there are.
        labels: what private topics are called.
    """

    def __init__(self, *private: Any):
        words: dict[str, None] = {}
        texts: dict[str, None] = {}
        flat = list(flattened(private))
        labels = [one if isinstance(one, PrivateLabel) else getattr(one, "private", None) for one in flat]
        self.labels = [label for label in labels if isinstance(label, PrivateLabel)]
        for own_words, own_texts in map(_collected, flat):
            words |= dict.fromkeys(own_words)
            texts |= dict.fromkeys(own_texts)
        self.sizes = {"word": len(words), "text": len(texts)}
        self._words, self._signed = dict[tuple[str, ...], Hit](), dict[re.Pattern[str], Hit]()
        for i, word in enumerate(words):
            if written := as_written(word):
                self._signed[written] = Hit("word", i)
            elif tokens := whole_words(word):
                self._words[tuple(tokens)] = Hit("word", i)
        self._texts: dict[tuple[str, ...], Hit] = {}
        for i, tokens in enumerate(map(whole_words, texts)):
            length = min(len(tokens), IN_A_ROW)
            if length >= FEWEST:
                for start in range(len(tokens) - length + 1):
                    self._texts.setdefault(tuple(tokens[start : start + length]), Hit("text", i))

    def __bool__(self) -> bool:
        return bool(self._words or self._texts or self._signed)

    def in_text(self, text: str, shortest: int = 1) -> set[Hit]:
        """The hits in a text; words of one token with fewer letters than `shortest` are not looked for."""
        hits: set[Hit] = set()
        for variant in unescaped(text):
            tokens = whole_words(variant)
            for known in (self._words, self._texts):
                for length in {len(key) for key in known}:
                    rows = zip(*(tokens[i:] for i in range(length)), strict=False)
                    hits |= {known[row] for row in rows if row in known and len("".join(row)) >= shortest}
            if self._signed and shortest < BY_CHANCE:  # such a word is short
                hits |= {hit for written, hit in self._signed.items() if written.search(folded(variant))}
            longer = {token for token in tokens if INSIDE < len(token) <= LONGEST}
            for (word, *rest), hit in self._words.items():
                if not rest and len(word) >= max(INSIDE, shortest) and any(word in token for token in longer):
                    hits.add(hit)
        return hits

    def in_file(self, path: Path, name: str) -> set[Hit]:
        """The hits in a file of this path in its bundle; without words, where any topic's are in it."""
        hits: set[Hit] = set()
        with open(path, "rb") as file:
            for text, shortest in _texts(file, name):
                hits |= self.in_text(text, shortest)
        for stream in streams(path, lambda *_: None):  # what cannot be unpacked was read as it is
            if stream.is_new and stream.name != path.name:
                hits |= self.in_text(stream.name.removeprefix(path.name))
                for text, shortest in _texts(
                    io.BytesIO(b"".join(iter(partial(stream.content.read, PIECE), b""))), stream.name
                ):
                    hits |= self.in_text(text, shortest)
        same_for_all = Path(name).name in VOCABULARY or path.suffix == ".py"
        return {hit for hit in hits if hit.kind == "text"} if same_for_all else hits

    def check(self, folder: str | os.PathLike) -> None:
        """Makes sure that nothing private is in the files of a bundle, or in their names.

        Raises:
            ValueError: if something is; it names the file, and no word.
        """
        if not self:
            return
        files = own_files(Path(folder))
        hits = {name: self.in_file(path, name) for name, path in files.items()}
        of_report = [name for name in files if name == CARD or name.startswith(f"{REPORT}/")]
        if any(hits[name] for name in of_report):
            usual = self._usual(Path(folder))
            hits |= {name: hits[name] - usual for name in of_report}
        if (report := f"{REPORT}/{FILE}") in files:
            state = json.loads(files[report].read_text(encoding="utf-8"))
            hits[report] |= set().union(*map(self.in_text, given(state)))
        usual = self.in_text(NAMES)
        names = [(f"the name of a file (*{Path(name).suffix})", self.in_text(name) - usual) for name in files]
        self._refuse([*names, *hits.items()])

    def check_names(self, **names: str | None) -> None:
        """The same for what a push names: repository, branch and commit."""
        self._refuse([(where, self.in_text(name or "")) for where, name in names.items()])

    def _refuse(self, found: Iterable[tuple[str, set[Hit]]]) -> None:
        every = ((where, *hit) for where, hits in found for hit in sorted(hits))
        lines = [f"{where}: a private {kind} ({i + 1} of {self.sizes[kind]})" for where, kind, i in every]
        if lines:
            more = f" and {len(lines) - 5} more" if len(lines) > 5 else ""
            raise ValueError(
                f"What would leave holds something private: {'; '.join(lines[:5])}{more}. Nothing is kept of it. Look "
                "at what you have given: labels, data, names of classes, files, models and repositories."
            )

    def _usual(self, folder: Path) -> set[Hit]:
        """What stands in report and card of any topic: in those of this record without texts and what was given."""
        record = Record.load(folder / REPORT)
        twin = Record(without_given(redacted(record.state)), record.enrichments)
        with TemporaryDirectory() as place:
            write_report(twin, Path(place, REPORT), full=True)
            for alone in (False, True) if twin.state["model"]["base_model"] else (False,):
                model_card(twin, bottleneck_only=alone).save(Path(place, f"{alone}.md"))
            return set().union(*(self.in_file(path, name) for name, path in own_files(Path(place)).items()))


def flattened(private: Iterable[Any]) -> Iterator[Any]:
    """Each private thing by itself; one that is given alone, such as a word, stays whole."""
    for one in private:
        if isinstance(one, tuple | list | set | frozenset | Iterator):
            yield from flattened(one)
        else:
            yield one


def _collected(one: Any) -> tuple[list[str], list[str]]:
    """The private words of something, and its texts."""
    words: list[str] = []
    texts: list[str] = []
    if isinstance(one, str):
        words.append(one)
    elif isinstance(one, PrivateLabel):
        words += one.words
    elif isinstance(one, ClassCounts):
        words += one.private.words if one.private else [one.name]
    elif isinstance(one, ForgetSets):
        words += one.own_words
        texts += [text for name in SET_NAMES for text in _strings(getattr(one, name))]
    elif is_dataset(one):
        texts += _strings(one)
    elif isinstance(one, Record):
        words, texts = evidence(one.state)
    return words, texts


def _strings(rows: "Dataset") -> list[str]:
    columns = [name for name, feature in rows.features.items() if getattr(feature, "dtype", None) == "string"]
    return [text for name in columns for text in rows.with_format(None)[name] if text]


# Text in what is no text: so many letters of ASCII or UTF-8 in a row.
RUNS = re.compile(rb"(?:[\x20-\x7e]|[\xc2-\xf4][\x80-\xbf]{1,3}){8,}")
ASCII = re.compile(rb"[\x20-\x7e]{8,}")  # of many numbers, as this is faster
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")


def _texts(stream: BinaryIO, name: str) -> Iterator[tuple[str, int]]:
    """Texts of a stream, each with the fewest letters of a word that chance does not write there."""
    stream.seek(0)
    data = stream.read(PIECE)
    if name.endswith(".safetensors"):
        yield "\n".join(_values(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]))), 1
    if data[:4] == b"PAR1":
        yield from ((text, 1) for text in _table_texts(stream))
    if data[:4] in (b"\x89PNG", b"RIFF", b"GIF8") or data[:2] in (b"\xff\xd8", b"II", b"MM"):
        yield from ((text, 1) for text in _image_texts(stream))
    stream.seek(0)
    whole = stream.read() if len(data) < PIECE else None
    try:
        text = None if whole is None else whole.decode("utf-16" if whole[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:
        stream.seek(8 + int.from_bytes(data[:8], "little") if name.endswith(".safetensors") else 0)
        runs = ASCII if whole is None or name.endswith(".safetensors") else RUNS
        while data := stream.read(PIECE):
            yield "\n".join(run.decode("utf-8", "ignore") for run in runs.findall(data)), BY_CHANCE
    elif name.endswith(".json") and not name.startswith(f"{REPORT}/") and text[:1] == "{":
        yield "\n".join(_values(json.loads(text))), 1
    else:
        yield BASE64.sub(lambda run: " " if _is_base64(run[0]) else run[0], text), 1
        for run in BASE64.findall(text):
            yield from _decoded(run)


def _is_base64(run: str) -> bool:
    return 4 * sum(letter.isupper() or letter.isdigit() for letter in run) > len(run) > 60


def _decoded(run: str) -> Iterator[tuple[str, int]]:
    try:
        data = base64.b64decode(run.rstrip("=") + "===", b"-_" if set("-_") & set(run) else None)
        yield data.decode("utf-8"), 1
    except UnicodeDecodeError:
        yield "\n".join(found.decode("utf-8", "ignore") for found in RUNS.findall(data)), BY_CHANCE
    except ValueError:  # it is none
        return


def _values(value: Any, key: str = "") -> Iterator[str]:
    """The strings of a JSON value; of keys, which are code's, those that name classes."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if key == "label2id":
                yield name
            if not TOKENS.fullmatch(name):
                yield from _values(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _values(item, key)
    elif isinstance(value, str):
        yield value


def _image_texts(stream: BinaryIO) -> Iterator[str]:
    stream.seek(0)
    try:
        with PIL.Image.open(stream) as image:
            image.load()  # what stands after the pixels is read with them
            yield from (f"{key}: {value}" for key, value in {**image.info, **image.getexif()}.items())
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return


def _table_texts(stream: BinaryIO) -> Iterator[str]:
    from pyarrow import ArrowException, parquet, types

    stream.seek(0)
    try:
        table = parquet.read_table(stream)
    except (ArrowException, OSError):
        return
    yield from (f"{key!r} {value!r}" for key, value in (table.schema.metadata or {}).items())
    for column in table.columns:
        if not (types.is_integer(column.type) or types.is_floating(column.type) or types.is_boolean(column.type)):
            texts = column.unique() if types.is_string(column.type) else column
            yield json.dumps(texts.to_pylist(), default=str, ensure_ascii=False)
