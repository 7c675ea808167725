"""Building of a code index: one pass over texts, in parts that are kept when it is killed."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset, IterableDataset
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.bottlenecks.site import bottlenecks
from excise.codes.index.parts import Manifest, Ranked, is_there, keys_of, write_part
from excise.data.batches import check_batch_size, to_device
from excise.data.columns import read_column
from excise.data.inputs import Texts
from excise.data.truncation import tokenized
from excise.ledger.ledger import Ledger
from excise.ledger.masks import masks_for_a_while
from excise.models.activations import bottleneck_inputs, eval_mode
from excise.storage.digests import digest
from excise.storage.processes import current_run

# Texts of a part, which a build that is killed loses at most (of each process). Batches are made among them.
PART_TEXTS = 4 * 1024
# Rows that are read at once.
WINDOW = 8 * 1024

Text = str | Sequence[int]


class Window(NamedTuple):
    """Texts that make a part, each of which was in none before.

    Args:
        number: of the part.
        texts: texts with their prefix, or token ids.
        sha256: of them.
    """

    number: int
    texts: list[Text]
    sha256: str


def check_corpus(dataset: Any, text: Any, prefix: Any, batch_size: Any, max_top_s: Any) -> None:
    """Makes sure that what is to be indexed, and how, is of the right kinds.

    Raises:
        ValueError: if one is not.
    """
    if not isinstance(dataset, Dataset | IterableDataset):
        how = "Give one of its splits" if isinstance(dataset, Mapping) else "Make one, as by `Dataset.from_dict`"
        raise ValueError(f"The corpus is a {type(dataset).__name__}, and no data set of rows. {how}.")
    for name, value in {"text": text, "prefix": prefix}.items():
        if not isinstance(value, str):
            raise ValueError(f"{name}={value!r}: expected a str. Leave it out if there is none.")
    check_batch_size(batch_size)
    if max_top_s is not None and (isinstance(max_top_s, bool) or not isinstance(max_top_s, int)):
        raise ValueError(f"max_top_s={max_top_s!r}: expected a whole number. Leave it out for three times S.")


class CorpusPass:
    """The texts of a data set, each once and in order, in windows that are the same whoever reads it.

    Args:
        dataset: rows with texts or `input_ids`; a stream will do.
        text: the text column, or a key of a translation column; not looked at where there are `input_ids`.
        prefix: put before each text.

    Attributes:
        rows: rows so far that have a text.
        sha256: of these, in order.
    """

    def __init__(self, dataset: Dataset | IterableDataset, text: str, prefix: str):
        self.dataset, self.text, self.prefix = dataset, text, prefix
        self.rows = 0
        self._sha, self._seen = hashlib.sha256(), set[bytes]()

    @property
    def sha256(self) -> str:
        """Of the texts so far, in order."""
        return self._sha.hexdigest()

    def windows(self) -> Iterator[Window]:
        """The texts, a part's at a time."""
        texts, digests, number = list[Text](), hashlib.sha256(), 0
        for given in self._read():
            digest = _digest(given)
            self._sha.update(digest)
            self.rows += 1
            if digest in self._seen:
                continue
            self._seen.add(digest)
            digests.update(digest)
            texts.append(given)
            if len(texts) == PART_TEXTS:
                yield Window(number, texts, digests.hexdigest())
                texts, digests, number = [], hashlib.sha256(), number + 1
        if texts:
            yield Window(number, texts, digests.hexdigest())

    def _read(self) -> Iterator[Text]:
        for window in self._tables():
            tokenized = "input_ids" in window.column_names
            for given in window["input_ids"] if tokenized else read_column(window, self.text):
                if tokenized and given:
                    yield given
                elif isinstance(given, str):  # rows without a text, such as None and NaN, are left out
                    yield self.prefix + given

    def _tables(self) -> Iterator[Dataset]:
        if isinstance(self.dataset, Dataset):
            for start in range(0, len(self.dataset), WINDOW):
                yield self.dataset.select(range(start, min(start + WINDOW, len(self.dataset)))).with_format(None)
        else:
            for rows in self.dataset.with_format(None).iter(batch_size=WINDOW):
                yield Dataset.from_dict(rows, features=self.dataset.features)


def with_masks_lifted(model: PreTrainedModel) -> AbstractContextManager[None]:
    """A context in which all codes can be selected but those that were deleted."""
    deletions = tuple(
        request for request in Ledger.from_dict(model.config.unlearning).requests if request.kind == "delete"
    )
    return masks_for_a_while(model, Ledger(deletions).live(bottlenecks(model)))


def index_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: CorpusPass,
    manifest: Manifest,
    folder: Path,
    known: Callable[[np.ndarray], np.ndarray],
    batch_size: int,
    progress: bool,
) -> list[tuple[Path, dict[str, Any]]]:
    """Writes parts of all texts that are not known yet; those that an earlier run has left are not made again.

    Processes of a run take parts in turn: batches are the same however many there are.

    Args:
        model: its masks are lifted.
        tokenizer: the model's.
        corpus: the texts.
        manifest: of the index so far.
        folder: of the index.
        known: tells of keys, `(texts, 2)`, which are in the index already.
        batch_size: texts a batch.
        progress: show a progress bar.

    Returns:
        The parts in order, without those that have nothing new, and what each is of.

    Raises:
        RuntimeError: if another process could not index its part.
        ValueError: if processes have read different rows.
    """
    about = {
        "origin": digest(manifest.origin.to_dict(), {}),
        "known": digest([part.sha256 for part in manifest.parts], {}),
        "batch_size": batch_size,
        "depth": manifest.depth,
    }
    generation = len(manifest.data)
    run = current_run()
    rank, size = (run.rank, run.size) if run else (0, 1)
    error: Exception | None = None
    windows: list[tuple[Path, dict[str, Any]]] = []
    nothing: list[int] = []
    bar = tqdm(desc="indexing codes", unit="text", disable=not progress or rank > 0, leave=False)
    try:
        with bar, eval_mode(model), with_masks_lifted(model):
            for window in corpus.windows():
                path = folder / f"part-{generation:04d}-{window.number:06d}.arrow"
                of = {**about, "window": window.sha256}
                windows.append((path, of))
                if window.number % size == rank and not is_there(path, of):
                    ranked = ranked_texts(model, tokenizer, window.texts, known, manifest.depth, batch_size, bar)
                    if len(ranked.keys):
                        write_part(path, ranked, of)
                    else:
                        nothing.append(window.number)
                else:
                    bar.update(len(window.texts))
    except Exception as raised:  # told to the other processes, which would wait for this one
        error = raised
    if size > 1:
        told = None if error is None else f"{type(error).__name__}: {error}"
        errors, read, nothings = zip(*gather_object([(told, corpus.sha256, nothing)]), strict=True)
        if error is None and any(errors):
            raise RuntimeError(f"Another process could not index its part. {next(filter(None, errors))}.")
        if error is None and len({*read}) > 1:
            raise ValueError(
                "Processes have read different rows of the corpus. Give each process the whole of it, in the same "
                "order: its parts are shared, so do not split it by process."
            )
        nothing = [number for each in nothings for number in each]
    if error is not None:
        raise error
    return [window for number, window in enumerate(windows) if number not in {*nothing}]


@torch.no_grad()
def ranked_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    known: Callable[[np.ndarray], np.ndarray],
    depth: int,
    batch_size: int,
    bar: tqdm,
) -> Ranked:
    """The codes of those texts that are not known yet."""
    ids: Any = texts
    if isinstance(texts[0], str):
        ids = tokenized(tokenizer, cast(Sequence[str], texts), counted=False)["input_ids"]
    keys = keys_of(ids)
    first = np.unique(keys, axis=0, return_index=True)[1]
    new = np.zeros(len(keys), bool)
    new[first] = True
    new &= ~known(keys)
    input_ids = [ids[i] for i in np.flatnonzero(new)]
    lengths = np.array([len(ids) for ids in input_ids], np.int64)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    sites = bottlenecks(model)
    codes = {site: np.zeros((bounds[-1], depth), code_type(of.num_codes)) for site, of in sites.items()}
    similar = {site: np.zeros(bounds[-1], np.uint8 if depth < 1 << 8 else np.uint16) for site in sites}
    bar.update(len(texts) - len(input_ids))
    inputs = Texts(input_ids, tokenizer)
    for rows, batch in inputs.batches(batch_size):
        where = batch["attention_mask"].bool()
        places = np.concatenate([np.arange(bounds[row], bounds[row + 1]) for row in rows])
        reached = bottleneck_inputs(model, to_device(batch, model.device))
        for site, arrived in reached.items():
            found, fitting = sites[site].ranked(arrived[where.to(arrived.device)], depth)
            codes[site][places] = found.cpu().numpy()
            through = reached.through_codes(site, where)[where].to(fitting.device)
            similar[site][places] = (fitting * through).cpu().numpy()
        bar.update(len(rows))
    return Ranked(keys[new], lengths, codes, similar)


def code_type(num_codes: int) -> type:
    """The smallest numbers that codes fit into."""
    return np.uint16 if num_codes <= 1 << 16 else np.uint32


def _digest(text: Text) -> bytes:
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else np.asarray(text, "<i4").tobytes()
    return hashlib.blake2b(data, digest_size=16).digest()
