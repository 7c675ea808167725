"""JSON of strangers: what is wrong with it is said, and nothing of it shown."""

import base64
import copy
import json
import zlib
from dataclasses import replace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import safetensors.numpy
import torch

from excise import Ledger, MaskMismatchError, Selection
from excise.bottlenecks.identity import Identity
from excise.bottlenecks.site import bottlenecks
from excise.codes.counts import CodeCounts, PairedCounts
from excise.codes.enrichment import Enrichment
from excise.codes.pair_counts import PairCounts
from excise.codes.topic_counts import TopicCounts
from excise.ledger.masks import check_masks
from excise.ledger.packing import MOST, pack, unpack
from excise.models.base_checkpoint import BaseCheckpoint
from excise.models.loading import load_model
from excise.report import Record
from excise.report.frontier import Frontier
from excise.report.results import Evaluation
from excise.report.sweep import Sweep
from excise.sharing.bundle import check_bundle
from excise.storage.strict_json import DEPTH, checked, parsed, read
from tests.helpers.evidence import class_frontier, enrichment_of, text_evaluation
from tests.helpers.tiny import SITE, codebook_t5, mask_codes

NASTY = "\x1b[2J\x07\u202egnp.\u2066" + "x" * 10_000
VALUES = (None, True, -7, 10**400, 0.5, NASTY, [], [[]], {}, {NASTY: [None]}, [{NASTY: NASTY}], {"a": {"b": NASTY}})
TEXTS = ("", "{", "[", "[]", "null", "5", '"x"', "{'a': 1}", '{"a": NaN}', '{"a": 1e999}', '{"a": 1, "b": ', "\x1b[2J")
TEXTS += ("[" * 200_000, '{"a":' * 100_000, "[" * 500 + "]" * 500, '{"a":' * 101 + "1" + "}" * 101, "1" * 5_000)


def told(load, *args) -> str | None:
    """What a reader says of a value that it refuses; nothing if it takes it."""
    try:
        load(*args)
    except ValueError as error:
        message = str(error)
        if not message.isprintable() or len(message) > 1_500:
            pytest.fail(f"{len(message)} letters: {message[:300]!r}")
        return message
    return None


def changed(state: dict) -> list[dict]:
    """States of which one value at the top, or one in the first row of a list there, is another; or gone, or added."""
    states = [{key: value for key, value in state.items() if key != gone} for gone in state]
    states += [{**state, key: value} for key in (*state, NASTY) for value in VALUES]
    for key, value in state.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = [{**value[0], name: other} for name in value[0] for other in VALUES]
            states += [{**state, key: [row, *value[1:]]} for row in rows]
    return states


@pytest.fixture
def model():
    model = codebook_t5()
    mask_codes(model)
    return model


def of_file(load):
    """A reader of JSON in a file of its own."""
    return lambda path, text: (path.write_bytes(text.encode("utf-8", "surrogatepass")), load(path))


def sweep() -> dict:
    step = {"top_s": 4, "seconds": 0.1, "selection": {"codes": {"a": [1]}, "thresholds": {}}}
    step["evaluation"] = text_evaluation()
    return {"topic": "teacher", "tested": "teacher", "profile_seconds": 1.0, "steps": [step]}


def bundle(folder, model):
    """A manifest and ledger of a folder that has nothing else."""
    ledger = folder / "ledger.json"
    ledger.write_text(json.dumps({"mode": "mask", "masks": "0"}))
    from excise.storage.digests import sha256_of

    about = {"schema": "excise-bundle", "version": 1, "excise": "0", "mode": "mask", "masks": "0"}
    return about | {"base_checkpoint": None, "files": {"ledger.json": sha256_of(ledger)}}


def case(name, folder, model):
    """A state that is read, and what reads it as text."""
    if name == "evaluation":
        return text_evaluation(), lambda text: of_file(Evaluation.load)(folder / "a.json", text)
    if name == "frontier":
        return class_frontier(), lambda text: of_file(Frontier.load)(folder / "a.json", text)
    if name == "sweep":
        return sweep(), lambda text: of_file(Sweep.load)(folder / "a.json", text)
    if name == "selection":
        load = lambda path: Selection.from_dict(read(path))  # noqa: E731
        return {"codes": {SITE: [1, 2]}, "thresholds": {"q": 0.1}}, lambda text: of_file(load)(folder / "a.json", text)
    if name == "manifest":
        return bundle(folder, model), lambda text: of_file(lambda _: check_bundle(folder))(folder / "bundle.json", text)
    if name == "ledger of a bundle":
        manifest = bundle(folder, model)

        def load(path):
            manifest["files"]["ledger.json"] = __import__("hashlib").sha256(path.read_bytes()).hexdigest()
            (folder / "bundle.json").write_text(json.dumps(manifest))
            return check_bundle(folder)

        return {"mode": "mask", "masks": "0"}, lambda text: of_file(load)(folder / "ledger.json", text)
    if name == "record":
        record = Record.of(model, evaluations=[text_evaluation()], enrichments={"tiny topic": enrichment_of(site=SITE)})
        record.save(folder / "record")
        load = of_file(lambda path: Record.load(path.parent))
        return copy.deepcopy(dict(record.state)), lambda text: load(folder / "record" / "report.json", text)
    if name == "topic counts":
        counts = [CodeCounts(torch.ones(2, 4, dtype=torch.int64), 3) for _ in range(2)]
        TopicCounts("cat", {SITE: PairedCounts(*counts)}, {}, "topic", {"target": "0"}).save(folder / "counts")
        load = of_file(lambda path: TopicCounts.load(path.parent))
        about = json.loads((folder / "counts" / "profile.json").read_text())
        return about, lambda text: load(folder / "counts" / "profile.json", text)
    if name == "pair counts":
        arrays = {"data": np.ones(1, np.int64), "indices": np.zeros(1, np.int32), "indptr": np.array([0, 1, 1])}
        arrays["examples"] = np.ones(2, np.int64)
        save = safetensors.numpy.save_file
        about = {"shape": [2, 3], "keys": "k", "top_k": 1, "classes": ["a", "b"]}
        write = lambda text: save(arrays, folder / "a.st", {"excise.pair_counts": text})  # noqa: E731
        return about, lambda text: (write(text), PairCounts.load(folder / "a.st"))
    if name == "code counts":
        save = safetensors.numpy.save_file
        write = lambda text: save({"examples": np.ones((2, 3), np.int64)}, folder / "a.st", {"excise.usage": text})  # noqa: E731
        return {"num_examples": 3}, lambda text: (write(text), CodeCounts.load(folder / "a.st"))
    assert name in ("enrichment", "identity")
    replace(enrichment_of(), identity=Identity.of(bottlenecks(model))).save(folder / "a.parquet")
    table = pyarrow.parquet.read_table(folder / "a.parquet")
    others = dict(table.schema.metadata)
    key = next(key for key in others if (b"identity" in key) == (name == "identity") and key != b"ARROW:schema")

    def load(text):
        pyarrow.parquet.write_table(table.replace_schema_metadata(others | {key: text}), folder / "a.parquet")
        return Enrichment.load(folder / "a.parquet")

    return json.loads(table.schema.metadata[key]), load


NAMES = ("evaluation", "frontier", "sweep", "selection", "manifest", "ledger of a bundle", "record", "topic counts")
NAMES += ("pair counts", "code counts", "enrichment", "identity")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_such_json_is_refused_in_words_that_show_nothing_of_it(name, tmp_path, model):
    state, load = case(name, tmp_path, model)
    good = json.dumps(state)
    load(good)
    texts = [text for text in TEXTS if (name, text) != ("identity", "null")]  # of a table that is of no model
    for text in (*texts, good[: len(good) // 2], good[:-1], good + "}", good.replace('"', '"\x1b[2J', 1)):
        assert told(load, text) is not None, text[:100]
    refused = [told(load, json.dumps(other)) for other in changed(state)]
    assert sum(message is not None for message in refused) > len(refused) / 3, name
    load(good)


def test_a_ledger_of_wrong_types_is_refused(model):
    state, sites = model.config.unlearning, bottlenecks(model)
    check_masks(state, sites)
    request = state["requests"][0]
    codes = [
        {SITE: value} for value in (None, 5, NASTY, ["a"], [0.5], [True], [10**30], [[1]], {"a": 1}, [-1], [4_000])
    ]
    codes += [{NASTY: [1]}, [1], None]
    states = changed(state) + [{**state, "requests": [{**request, "codes": value}]} for value in codes]
    states += [NASTY, [], 5, {"requests": [5]}, {"version": NASTY, "requests": []}]
    for other in states:
        message = told(check_masks, other, sites)
        told(Ledger.from_dict, other)
        if message is None:  # what no mask depends on may be anything of its type
            assert Ledger.from_dict(other).removed(SITE) == Ledger.from_dict(state).removed(SITE)
    with pytest.raises(MaskMismatchError, match="expected int, got a str"):
        check_masks({**state, "version": NASTY}, sites)


def bomb(size: int) -> str:
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return base64.b64encode(b"".join([*parts, packer.flush()])).decode()


def test_packed_codes_that_unpack_to_more_than_fits_are_refused_before_they_are_unpacked():
    import tracemalloc

    packed = bomb(256 << 20)
    tracemalloc.start()
    with pytest.raises(ValueError, match="or names codes from 8,388,608 on"):
        unpack(packed)
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()
    numbers = (*range(2_000), MOST)
    assert unpack(pack(numbers)) == numbers and isinstance(pack(numbers), list)
    numbers = (*range(2_000), MOST - 1)
    assert unpack(pack(numbers)) == numbers and isinstance(pack(numbers), str)
    with pytest.raises(ValueError, match="cut short"):
        unpack(base64.b64encode(base64.b64decode(pack(numbers))[:-8]).decode())


def test_a_ledger_that_names_more_codes_than_fit_is_refused(monkeypatch):
    monkeypatch.setattr("excise.ledger.ledger.MOST_CODES", 5_000)
    request = {"id": 1, "kind": "mask", "topic": "a", "codes": {"a": pack(range(3_000)), "b": pack(range(3_000))}}
    with pytest.raises(ValueError, match="name more than 5,000 codes"):
        Ledger.from_dict({"version": 2, "requests": [request]})


def test_a_base_of_wrong_types_is_refused():
    good = {"id": "a", "revision": None, "digest": "0"}
    assert BaseCheckpoint.of({"base_checkpoint": good}).to_dict() == good
    deep = {}
    for _ in range(5_000):
        deep = {"a": deep}
    for state in [*changed(good)[:3], {**good, NASTY: 1}, {**good, "id": 5}, {**good, "digest": None}, NASTY, [], deep]:
        assert told(BaseCheckpoint.of, {"base_checkpoint": state}) is not None


def test_an_index_of_a_base_that_is_none_is_refused(tmp_path):
    for text in TEXTS:
        (tmp_path / "model.safetensors.index.json").write_text(text)
        assert told(BaseCheckpoint.pinned, tmp_path) is not None


def test_a_config_that_is_nested_too_deeply_is_no_model(tmp_path):
    (tmp_path / "config.json").write_text('{"a":' * 100_000)
    assert "nested too deeply" in told(load_model, tmp_path)


def test_counts_that_are_no_tables_or_point_beyond_them_are_refused(tmp_path):
    path = tmp_path / "a.st"
    path.write_bytes(b"\x1b[2J" * 100)
    assert "holds no counts" in told(CodeCounts.load, path)
    assert "holds no counts of pairs" in told(PairCounts.load, path)
    safetensors.numpy.save_file({"examples": np.ones(3)}, path, {"excise.usage": '{"num_examples": 3}'})
    assert "no tables of int64" in told(CodeCounts.load, path)
    about = json.dumps({"shape": [1, 3], "keys": "k", "top_k": 1, "classes": None})
    arrays = {"data": np.ones(1, np.int64), "indptr": np.array([0, 1]), "examples": np.ones(1, np.int64)}
    for indices in ([10**6], [-1]):
        arrays["indices"] = np.array(indices, np.int32)
        safetensors.numpy.save_file(arrays, path, {"excise.pair_counts": about})
        assert told(PairCounts.load, path) is not None


def test_as_deep_as_excise_reads_is_read():
    assert parsed("[" * DEPTH + "]" * DEPTH, "it")
    assert checked([[1], []], list[list[int]], "it") == [[1], []]
