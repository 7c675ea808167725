"""Index of the codes of a corpus: built once, looked up by every topic."""

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, IterableDataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from excise.bottlenecks.site import bottlenecks
from excise.codes.index.indexing import CorpusPass, check_corpus, index_texts, with_masks_lifted
from excise.codes.index.origin import ANEW, Origin, fingerprint, text_tokenizer, without_adapter
from excise.codes.index.parts import MANIFEST, Manifest, PartFile, Ranked, commit, is_unfinished
from excise.codes.index.ranks import IndexedRanks, ranges
from excise.data.inputs import Processor, Texts
from excise.storage.files import check_free


class CodeIndex:
    """The codes that each text of a corpus uses, at which token and at which rank: counts are read, and not made.

    One pass over a corpus stores them in a folder; a topic's target and retain set, and whatever else is in the corpus,
    are then counted from there, the same integers as without. Texts that are not in it, such as most controls, are run
    through the model. Masks do not make an index stale: removed codes are taken out of the ranks. Training does, and
    another tokenizer; then it is refused.

    The folder holds no texts, but digests of them, by which a text can be guessed: do not publish that of private data.
    It is for texts; images are always run.

    Example:
        index = CodeIndex.build(model, tokenizer, pairs, "codes-of-pairs", text="en")
        unlearner = Unlearner(model, tokenizer, index=index)
        unlearner.forget(topic_sets(pairs, "New York", text="en"))
    """

    def __init__(self, folder: str | os.PathLike, manifest: Manifest):
        self.folder, self._manifest = Path(folder), manifest
        self._parts = [PartFile(self.folder / part.name, part) for part in manifest.parts]
        keys, batches = [np.zeros((0, 2), np.uint64)], []
        for file in self._parts:
            for number, of_batch in enumerate(file.keys()):
                keys.append(of_batch)
                batches.append((file, number))
        self._batches = batches
        self._bounds = np.cumsum([len(of) for of in keys])
        self._keys = np.concatenate(keys)
        # The first of equal keys comes first.
        self._order = np.argsort(self._keys[:, 0], kind="stable")
        self._sorted = self._keys[self._order, 0]
        self._checked: tuple[Any, ...] | None = None

    def __len__(self) -> int:
        """The number of texts, each once."""
        return len(self._keys)

    def __repr__(self) -> str:
        size = sum(part.bytes for part in self._manifest.parts)
        return (
            f"CodeIndex: {len(self):,} texts in {str(self.folder)!r}, for S′ up to {self.max_top_s:,}; "
            f"{size / 1e6:,.1f} MB, {size / max(1, len(self)):,.0f} bytes a text"
        )

    @property
    def max_top_s(self) -> int:
        """The largest S' that it tells of."""
        return self._manifest.max_top_s

    @classmethod
    def build(
        cls,
        model: PreTrainedModel,
        processor: Processor,
        dataset: Dataset | IterableDataset,
        folder: str | os.PathLike,
        *,
        text: str = "text",
        prefix: str = "",
        max_top_s: int | None = None,
        batch_size: int = 32,
        progress: bool = True,
    ) -> "CodeIndex":
        """Runs a model over the texts of a corpus, as far as its last bottleneck, and stores the codes.

        What is in the folder already is not run again: an index grows with its corpus, and a build that was killed or
        interrupted goes on. The processes of a run (`torchrun`) share the work; what they write is what one would. All
        have to call it, and `add`, with the whole corpus: each waits for the others.

        Args:
            model: a model of texts with bottlenecks. Masks in force are lifted meanwhile.
            processor: the model's tokenizer.
            dataset: the corpus; a stream will do. Rows without a text are left out.
            folder: a new or empty one, or that of an index of this model.
            text: the text column, or a key of a translation column, as `"en"`; not looked at where there are
                `input_ids`.
            prefix: put before each text: what is indexed is what the model is given.
            max_top_s: the largest S'; three times the model's S if not given. The preset `"paper"` asks for 104.
            batch_size: texts a batch; as in counting, by default.
            progress: show a progress bar.

        Raises:
            ValueError: if an argument is of the wrong kind, the model is none of texts or has several codebooks at a
                site, no row has a text, or the folder holds an index of something else, or of this model before codes
                were deleted.
            FileExistsError: if the folder holds something else.
        """
        check_corpus(dataset, text, prefix, batch_size, max_top_s)
        tokenizer, model = text_tokenizer(processor), without_adapter(model)
        for site, bottleneck in bottlenecks(model).items():
            if bottleneck.num_groups > 1:
                raise ValueError(
                    f"A CodeIndex is of bottlenecks with one codebook, and that at {site} has {bottleneck.num_groups}."
                )
        path = Path(folder)
        if not (path / MANIFEST).is_file() and not is_unfinished(path):
            check_free(path)
        index = cls._begun(model, tokenizer, path, max_top_s)
        corpus = CorpusPass(dataset, text, prefix)
        path.mkdir(parents=True, exist_ok=True)
        try:
            parts = index_texts(model, tokenizer, corpus, index._manifest, path, index.holds, batch_size, progress)
            if not corpus.rows:
                raise ValueError(f"No row has a text in {text!r}, so there is nothing to index. Give at least one.")
            commit(path, index._manifest, parts, {"rows": corpus.rows, "sha256": corpus.sha256})
        finally:
            with suppress(OSError):
                path.rmdir()  # where nothing is in it
        return cls.load(path)

    @classmethod
    def _begun(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path, max_top_s: int | None
    ) -> "CodeIndex":
        """The index to add to; an empty one where there is none."""
        if (path / MANIFEST).is_file():
            index = cls.load(path)
            index.check(model, tokenizer)
            index._manifest.origin.check_grows(model)
            if max_top_s not in (None, index.max_top_s):
                raise ValueError(
                    f"max_top_s={max_top_s}: the index in {path} is for S' up to {index.max_top_s}. Leave it out to "
                    "add to that, or build another in another folder."
                )
            return index
        sites = bottlenecks(model)
        with with_masks_lifted(model):
            live = min(int(bottleneck.in_force.sum()) for bottleneck in sites.values())
        most = min(3 * max(of.top_s for of in sites.values()), live) if max_top_s is None else max_top_s
        if not 1 <= most <= live:
            raise ValueError(f"max_top_s={most}: the model has {live} live codes. Give a number from 1 to that.")
        # A few more, which take the places of codes that will be removed.
        return cls(path, Manifest(Origin.of(model, tokenizer), most, min(most + max(2, most // 12), live)))

    def add(
        self,
        model: PreTrainedModel,
        processor: Processor,
        dataset: Dataset | IterableDataset,
        *,
        text: str = "text",
        prefix: str = "",
        batch_size: int = 32,
        progress: bool = True,
    ) -> "CodeIndex":
        """The index with the texts of more data, of which only those are run that are new; arguments as in `build`."""
        options: dict[str, Any] = {"text": text, "prefix": prefix, "batch_size": batch_size, "progress": progress}
        return self.build(model, processor, dataset, self.folder, **options)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "CodeIndex":
        """Opens the index in a folder. It is read where it lies, as far as it is asked for.

        Raises:
            ValueError: if the folder holds none, or a file is missing or not as it was written.
        """
        return cls(folder, Manifest.load(Path(folder)))

    def check(self, model: PreTrainedModel, processor: Processor) -> None:
        """Makes sure that the index is of a model as it is now, and of its tokenizer.

        Raises:
            ValueError: if the model was trained since, or either is another. The message tells what differs.
        """
        tokenizer, model = text_tokenizer(processor), without_adapter(model)
        if (now := fingerprint(model, tokenizer)) != self._checked:
            self._manifest.origin.check(model, tokenizer)
            self._checked = now

    def holds(self, keys: np.ndarray) -> np.ndarray:
        """Which texts are in it, by their keys, bool `(texts,)`."""
        return self._rows(keys) >= 0

    def ranks(
        self, model: PreTrainedModel, inputs: Texts, top_s: int | None = None, passed_on: bool = False
    ) -> IndexedRanks:
        """The codes of those texts that need not be run, under the masks in force now.

        Args:
            model: the model that the index is of.
            inputs: the texts.
            top_s: how many codes of each token; as many as it is passed on as if not given.
            passed_on: as in `IndexedRanks`.

        Raises:
            ValueError: as `check`.
        """
        self.check(model, inputs.tokenizer)
        read, depth = self._read, self._manifest.depth
        live = max(int(bottleneck.in_force.sum()) for bottleneck in bottlenecks(model).values())
        if top_s is not None and depth < min(top_s, live):
            warnings.warn(
                f"The code index goes to S' = {self.max_top_s}, and {top_s} is asked for: all texts are run through "
                f"the model. Ask for less, or build an index with max_top_s={top_s}.",
                stacklevel=2,
            )
            read = self._read_nothing
        of_sites = {site: min(top_s or of.top_s, int(of.in_force.sum())) for site, of in bottlenecks(model).items()}
        return IndexedRanks(read, model, inputs, of_sites, passed_on)

    def _rows(self, keys: np.ndarray) -> np.ndarray:
        """The row of each key, -1 for none."""
        if not len(self._keys):
            return np.full(len(keys), -1)
        places = np.searchsorted(self._sorted, keys[:, 0]).clip(max=len(self._keys) - 1)
        rows = self._order[places]
        return np.where((self._keys[rows] == keys).all(1), rows, -1)

    def _fits(self, batch: Ranked) -> bool:
        """Whether a record batch can be of this index."""
        settings, depth = self._manifest.origin.settings, self._manifest.depth
        return batch.codes.keys() == settings.keys() and all(
            codes.shape == (batch.lengths.sum(), depth)
            and len(batch.similar[site]) == len(codes)
            and (not len(codes) or 0 <= codes.min() <= codes.max() < settings[site]["num_codes"])
            for site, codes in batch.codes.items()
        )

    def _read_nothing(self, keys: np.ndarray) -> tuple[Ranked, np.ndarray]:
        return self._read(keys[:0])[0], np.full(len(keys), -1)

    def _read(self, keys: np.ndarray) -> tuple[Ranked, np.ndarray]:
        """The codes of the texts that are there, and for each key its place among them, -1 for none."""
        rows = self._rows(keys)
        wanted = np.unique(rows[rows >= 0])
        origin, depth = self._manifest.origin, self._manifest.depth
        lengths = [np.zeros(0, np.int64)]
        codes = {site: [np.zeros((0, depth), np.uint16)] for site in origin.settings}
        similar = {site: [np.zeros(0, np.uint8)] for site in origin.settings}
        batches = np.searchsorted(self._bounds, wanted, side="right") - 1
        for number in np.unique(batches):
            file, of_part = self._batches[number]
            batch = file.batch(of_part)
            inside = wanted[batches == number] - self._bounds[number]
            if not self._fits(batch) or len(batch.lengths) <= inside.max():
                raise ValueError(f"{file.path} is of another index. {ANEW}.")
            tokens = ranges((np.cumsum(batch.lengths) - batch.lengths)[inside], batch.lengths[inside])
            lengths.append(batch.lengths[inside])
            for site, of_site in batch.codes.items():
                codes[site].append(of_site[tokens])
                similar[site].append(batch.similar[site][tokens])
        joined = {site: np.concatenate(of) for site, of in codes.items()}
        ranked = Ranked(
            self._keys[wanted], np.concatenate(lengths), joined, {s: np.concatenate(of) for s, of in similar.items()}
        )
        return ranked, np.where(rows >= 0, np.searchsorted(wanted, rows), -1)
