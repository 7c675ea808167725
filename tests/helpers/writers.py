"""Everything that writes, and how what it wrote is read back. Made of tiny models; not a test itself."""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from scipy.sparse import csr_array
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments

from excise import (
    BottleneckCallback,
    CodebookT5ForConditionalGeneration,
    TopicSets,
    Unlearner,
    encode_images,
    initialize_keys,
)
from excise.cli.forgetting import _save as save_selection
from excise.cli.inspect import _save as save_sheet
from excise.cli.inspect import contact_sheet
from excise.codes.counts import CodeCounts, PairedCounts
from excise.codes.enrichment import Enrichment
from excise.codes.pair_counts import PairCounts
from excise.codes.selection import Selection
from excise.codes.topic_counts import TopicCounts
from excise.models import write_remote_code
from excise.models.loading import load_model
from excise.models.remote_code import CODE_NAME, REQUIREMENTS_NAME
from excise.report import Record, write_report
from excise.report.frontier import Frontier
from excise.report.plots import plot_frontier, plot_sweep, plot_volcano
from excise.report.results import Evaluation
from excise.report.sweep import Sweep
from excise.sharing.bundle import check_bundle
from excise.training import last_whole_checkpoint
from tests.helpers import tiny, tiny_images
from tests.helpers.evidence import class_frontier, enrichment_of, text_evaluation
from tests.sharing.bundle.conftest import make_case


@dataclass(frozen=True)
class Writer:
    """Something that writes to one place.

    Args:
        write: writes the old version, 0, or the new one, 1, to a path.
        read: reads what is at a path, as a value that tells versions apart; it raises if that is not whole.
        name: of the file or folder.
        replaces: whether it writes over what is there; else it refuses.
        values: what `read` gives of each version, where that is known beforehand.
        beside: what there is first, by a function of the path.
    """

    write: Callable[[Path, int], Any]
    read: Callable[[Path], Any]
    name: str = "out"
    replaces: bool = False
    values: Mapping[int, Any] = field(default_factory=dict)
    beside: Callable[[Path], Any] | None = None


def digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of tensors, those of equal value and name being the same."""
    sha = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha.update(name.encode() + tensor.detach().float().numpy().tobytes())
    return sha.hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def writers(folder: Path) -> dict[str, Writer]:
    """All by name; what they are made of is written to a folder."""
    return models(folder) | evidence() | counts() | trainings(folder)


def models(folder: Path) -> dict[str, Writer]:
    """Checkpoints, adapters, bundles and the code in them."""
    torch.manual_seed(0)
    unlearner = make_case("t5", folder / "base").unlearner
    compacted = Unlearner(copy.deepcopy(unlearner.model), unlearner.processor)
    base = folder / "with bottleneck"
    tiny.codebook_t5().save_pretrained(base)
    lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q", "v"], modules_to_save=["bottleneck"])
    adapted = Unlearner(
        get_peft_model(CodebookT5ForConditionalGeneration.from_pretrained(base), lora).eval(), tiny.tokenizer()
    )
    adapted.mask(Selection({tiny.SITE: [2]}), "cat")

    def loaded(path: Path) -> str:
        again = Unlearner.from_pretrained(path)
        assert again.ledger.requests
        return digest(again.whole.state_dict())

    def bundle(path: Path) -> str:
        check_bundle(path)
        Record.load(path / "report")
        return loaded(path)

    def compact_and_save(path: Path, _: int) -> None:
        compacted.compact()
        compacted.save_pretrained(path)

    def code(path: Path) -> str:
        config = json.loads((path / "config.json").read_text())
        if "auto_map" not in config:
            loaded(path)
            return "none"
        compile((path / CODE_NAME).read_text(), CODE_NAME, "exec")
        assert (path / REQUIREMENTS_NAME).read_text().endswith("\n")
        load_model(path)
        return "code"

    return {
        "checkpoint": Writer(lambda path, _: unlearner.save_pretrained(path), loaded),
        "compacted": Writer(compact_and_save, loaded),
        "adapter": Writer(lambda path, _: adapted.save_pretrained(path), loaded),
        "bundle": Writer(lambda path, _: unlearner.save_bundle(path), bundle),
        "remote code": Writer(
            lambda path, _: write_remote_code(unlearner.model, path),
            code,
            replaces=True,
            values={0: "none", 1: "code"},
            beside=unlearner.save_pretrained,
        ),
    }


def evidence() -> dict[str, Writer]:
    """Records, pages, figures and what they are made of."""
    model = tiny.codebook_t5()
    tiny.mask_codes(model)
    records = [
        Record.of(
            model,
            evaluations=[text_evaluation()],
            frontiers=[class_frontier()],
            enrichments={"tiny topic": enrichment_of(site=tiny.SITE)},
            settings={"seed": version},
        )
        for version in (0, 1)
    ]
    evaluations = [Evaluation.from_dict(text_evaluation(name)) for name in ("teacher", "doctor")]
    frontiers = [Frontier.from_dict(class_frontier(name)) for name in ("red", "blue")]
    chosen = Selection({tiny.SITE: [1, 2]}, {"method": "mcnemar", "positions": "topic", "q": 0.05})
    sweeps = [
        Sweep(of.topic, of.topic, dict.fromkeys((4, 8), of), dict.fromkeys((4, 8), chosen), {4: 0.1, 8: 0.2}, 1.0)
        for of in evaluations
    ]
    tables = [enrichment_of(32), enrichment_of(33)]
    images = [[image] for image in tiny.images(2)["image"]]

    def page(path: Path) -> tuple[int, list[str]]:
        assert "</html>" in (path / "index.html").read_text(encoding="utf-8")
        return Record.load(path).state["settings"]["seed"], sorted(path.name for path in path.iterdir())

    def svg(path: Path) -> str:
        text = path.read_text(encoding="utf-8")
        assert text.rstrip().endswith("</svg>")
        return text

    def png(path: Path) -> str:
        data = path.read_bytes()
        assert data.endswith(b"IEND\xaeB`\x82")
        return hashlib.sha256(data).hexdigest()

    entry = records[0].state["enrichments"][0]
    return {
        "record": Writer(
            lambda path, v: records[v].save(path), lambda path: Record.load(path).state["settings"]["seed"]
        ),
        "report": Writer(lambda path, v: write_report(records[v], path), page),
        "evaluation": Writer(
            lambda path, v: evaluations[v].save(path), lambda path: Evaluation.load(path).topic, "a.json", True
        ),
        "frontier": Writer(
            lambda path, v: frontiers[v].save(path), lambda path: Frontier.load(path).topic, "a.json", True
        ),
        "sweep": Writer(lambda path, v: sweeps[v].save(path), lambda path: Sweep.load(path).topic, "a.json", True),
        "enrichment": Writer(
            lambda path, v: tables[v].save(path), lambda path: len(Enrichment.load(path)), "a.parquet", True
        ),
        "volcano": Writer(lambda path, v: plot_volcano(entry, tables[v], path), svg, "a.svg", True),
        "frontier figure": Writer(lambda path, v: plot_frontier(frontiers[v], path), svg, "a.svg", True),
        "sweep figure": Writer(lambda path, v: plot_sweep(sweeps[v], path), svg, "a.svg", True),
        "selection": Writer(
            lambda path, v: save_selection(Selection({"site": [v, 7]}), str(path)),
            lambda path: Selection.from_dict(json.loads(path.read_text())).codes["site"][0],
            "codes.json",
            True,
        ),
        "sheet": Writer(lambda path, v: save_sheet(contact_sheet(images[v], [""]), str(path)), png, "a.png", True),
    }


def counts() -> dict[str, Writer]:
    """Counts of codes and pairs, and the sets that they are of."""
    ones = torch.ones(4, 40, dtype=torch.int64)
    of_codes = [CodeCounts(ones * version, 9) for version in (1, 2)]
    paired = [PairedCounts(of, CodeCounts(of.examples + 1, 9), of.examples + 2) for of in of_codes]
    of_topics = [TopicCounts(f"{v}", {tiny.SITE: paired[v]}, {tiny.SITE: of_codes[v]}, "topic", {}) for v in (0, 1)]
    of_pairs = [PairCounts(csr_array(np.eye(4, dtype=np.int64) * v), np.ones(4, np.int64), "keys", 1) for v in (1, 2)]
    rows = Dataset.from_dict({"text": ["the cat sat"] * 3, "spans": [[[4, 7]]] * 3})
    five = dict.fromkeys(("target", "control", "retain", "heldout", "heldout_retain"), rows)
    sets = [TopicSets(("cat",), ("cat",), "en", None, seed, **five) for seed in (0, 1)]
    return {
        "code counts": Writer(
            lambda path, v: of_codes[v].save(path),
            lambda path: int(CodeCounts.load(path).examples[0, 0]),
            "a.safetensors",
            True,
        ),
        "paired counts": Writer(
            lambda path, v: paired[v].save(path),
            lambda path: int(PairedCounts.load(path).target.examples[0, 0]),
            "a.safetensors",
            True,
        ),
        "topic counts": Writer(lambda path, v: of_topics[v].save(path), lambda path: TopicCounts.load(path).topic),
        "pair counts": Writer(
            lambda path, v: of_pairs[v].save(path),
            lambda path: int(PairCounts.load(path).table.max()),
            "a.safetensors",
            True,
        ),
        "topic sets": Writer(lambda path, v: sets[v].save(path), lambda path: TopicSets.load(path).seed),
    }


def trainings(folder: Path) -> dict[str, Writer]:
    """What is written in the middle of long work, to go on from: encodings, keys, checkpoints of a training."""
    classifier = tiny_images.key_value_model(num_pairs=16)
    images = tiny_images.images(24)
    how = {"shard_size": 6, "progress": False}
    encodings = encode_images(classifier, images, tiny_images.processor(), cache_dir=folder / "encodings", **how)
    expected = np.array(encodings["encodings"]).tobytes()

    def encode(path: Path, _: int) -> None:
        encode_images(classifier, images, tiny_images.processor(), cache_dir=path, **how)

    def encoded(path: Path) -> bool:
        # What is there of it is used, and the rest made.
        again = encode_images(classifier, images, tiny_images.processor(), cache_dir=path, **how)
        return np.array(again["encodings"]).tobytes() == expected

    def keys(path: Path, _: int) -> str:
        model = copy.deepcopy(classifier)
        initialize_keys(model, encodings, epochs=3, batch_size=12, checkpoint=path, progress=False)
        return digest({"keys": model.bottleneck.keys})

    return {
        "encodings": Writer(encode, encoded, replaces=True, values={0: True, 1: True}),
        "keys": Writer(keys, lambda path: keys(path, 0), "keys.safetensors", replaces=True),
        "training": Writer(train, lambda path: trained(path) in range(5), replaces=True, values={0: True, 1: True}),
    }


def train(folder: Path, _: int, **settings: Any) -> Seq2SeqTrainer:
    """A short training that goes on from its last whole checkpoint."""
    torch.manual_seed(0)
    model, words = tiny.codebook_t5(), tiny.tokenizer()
    tiny.mask_codes(model)
    defaults = {
        "output_dir": str(folder),
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "steps",
        "save_steps": 1,
        "save_total_limit": 2,
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "dataloader_pin_memory": False,
    }
    trainer = Seq2SeqTrainer(
        model,
        Seq2SeqTrainingArguments(**defaults | settings),
        train_dataset=tiny.copying(16),
        data_collator=DataCollatorForSeq2Seq(words, model),
        processing_class=words,
        callbacks=[BottleneckCallback()],
    )
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(folder))
    return trainer


def trained(folder: Path) -> int:
    """The step of the last whole checkpoint, which loads; 0 if there is none."""
    last = last_whole_checkpoint(folder)
    if last is None:
        return 0
    state = json.loads(Path(last, "trainer_state.json").read_text())
    assert Unlearner(load_model(last), None).ledger.requests
    for name in ("optimizer.pt", "scheduler.pt"):
        torch.load(Path(last, name), weights_only=True)
    return state["global_step"]
