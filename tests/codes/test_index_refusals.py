"""What a code index refuses by name: wrong arguments, other computations, deletions it does not know of."""

import json
import os
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict

from excise import Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.codes import CodeFinder, CodeIndex, Selection
from excise.codes.counting import count_codes

ROWS = Dataset.from_dict({"text": ["the cat", "a dog reads", "the teacher sees the book", "the house ."]})


@pytest.fixture
def model(make_model):
    return make_model(num_codes=40, layers=(0, 2))


@pytest.fixture
def index(model, tokenizer, tmp_path):
    return CodeIndex.build(model, tokenizer, ROWS, tmp_path / "i", max_top_s=6, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"batch_size": size}, "batch_size=.*expected a whole number") for size in (-1, 0, 2.5, None, True)),
        *(({"max_top_s": most}, "max_top_s=.*expected a whole number") for most in ("6", 2.5, True)),
        ({"prefix": None}, "prefix=None: expected a str"),
        *(({"dataset": rows}, "The corpus is a") for rows in (["a"], "a", DatasetDict(train=ROWS))),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused_by_name(model, tokenizer, index, tmp_path, options, message):
    given = {"dataset": ROWS, "progress": False} | options
    with pytest.raises(ValueError, match=message):
        CodeIndex.build(model, tokenizer, folder=tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()
    if "max_top_s" not in options:
        with pytest.raises(ValueError, match=message):
            index.add(model, tokenizer, **given)
    if "batch_size" in options:
        with pytest.raises(ValueError, match=message):
            count_codes(model, tokenizer, ROWS, max_top_s=2, **options)


def test_a_path_in_place_of_an_index_is_told_how_to_load_it(model, tokenizer, index):
    for call in (
        lambda: Unlearner(model, tokenizer, index=str(index.folder)),
        lambda: CodeFinder(model, tokenizer, index=index.folder),
        lambda: count_codes(model, tokenizer, ROWS, max_top_s=2, index=str(index.folder)),
    ):
        with pytest.raises(ValueError, match=r"index=.*expected a CodeIndex\..*give `CodeIndex.load\(path\)`"):
            call()


def test_a_model_with_deletions_that_the_index_does_not_know_of_adds_nothing(make_model, tokenizer, tmp_path):
    unlearner = Unlearner(make_model(num_codes=40), tokenizer)
    index = CodeIndex.build(unlearner.model, tokenizer, ROWS, tmp_path / "i", max_top_s=6, progress=False)
    unlearner.delete(Selection({next(iter(unlearner.sites)): [1, 2]}, {}), name="some")
    more = Dataset.from_dict({"text": ["the doctor likes the dog"]})
    for add in (index.add, lambda *args, **options: CodeIndex.build(*args, index.folder, **options)):
        with pytest.raises(ValueError, match=r"2 codes of \S+ were deleted .* Add with the model as it was"):
            add(unlearner.model, tokenizer, more, progress=False)
    assert len(CodeIndex.load(index.folder)) == len(ROWS)
    of_less = CodeIndex.build(unlearner.model, tokenizer, ROWS, tmp_path / "of less", max_top_s=6, progress=False)
    assert len(of_less.add(unlearner.model, tokenizer, more, progress=False)) == len(ROWS) + 1


def test_swapped_rows_between_two_counts_are_seen(model, tokenizer, index):
    def count():
        count_codes(model, tokenizer, ROWS, max_top_s=2, progress=False, index=index)

    count()
    for tensor in (next(iter(bottlenecks(model).values())).codebook, model.get_input_embeddings().weight):
        kept = tensor.detach().clone()
        tensor.data[[1, 5]] = kept[[5, 1]]
        with pytest.raises(ValueError, match="Build an index anew"):
            count()
        tensor.data.copy_(kept)
        count()


@contextmanager
def hooked(model):
    hook = model.encoder.block[0].register_forward_hook(lambda module, given, out: None)
    yield
    hook.remove()


@contextmanager
def another_epsilon(model):
    norm = model.encoder.block[0].layer[0].layer_norm
    before, norm.variance_epsilon = norm.variance_epsilon, 0.1
    yield
    norm.variance_epsilon = before


@contextmanager
def autocast(model):
    with torch.autocast("cpu", torch.bfloat16):
        yield


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (hooked, r"forward hooks of encoder\.block\.0: none when it was made, 1 now"),
        (another_epsilon, r"variance_epsilon of encoder\S+: 1e-06 when it was made, 0\.1 now"),
        (autocast, r"autocast on cpu: none when it was made, torch\.bfloat16 now"),
    ],
)
def test_what_changes_activations_and_no_tensor_is_refused_by_name(model, tokenizer, index, tmp_path, changed, message):
    def count(of=index):
        count_codes(model, tokenizer, ROWS, max_top_s=2, progress=False, index=of)

    count()
    with changed(model), pytest.raises(ValueError, match=message):
        count()
    count()
    with changed(model):
        other = CodeIndex.build(model, tokenizer, ROWS, tmp_path / "other", max_top_s=6, progress=False)
        count(other)
    with pytest.raises(ValueError, match="when it was made"):
        count(other)
    hook = model.decoder.block[0].register_forward_hook(lambda module, given, out: None)
    count()  # what comes after the bottlenecks does not matter
    hook.remove()


def test_an_index_that_knows_no_circumstances_still_loads(model, tokenizer, index):
    path = index.folder / "code_index.json"
    state = json.loads(path.read_text())
    del state["origin"]["circumstances"]
    path.write_text(json.dumps(state))
    count_codes(model, tokenizer, ROWS, max_top_s=2, progress=False, index=CodeIndex.load(index.folder))
    state["origin"]["circumstances"] = {"state": {}}
    path.write_text(json.dumps(state))
    with pytest.raises(ValueError, match="circumstances"):
        CodeIndex.load(index.folder)


def test_a_read_only_index_with_nothing_to_add_is_left_as_it_is(model, tokenizer, index, monkeypatch):
    from excise.codes.index import indexing, parts

    def refused(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(indexing, "write_part", refused)
    monkeypatch.setattr(parts, "new_file", refused)
    for rows in (ROWS, ROWS.select(range(2))):
        assert len(index.add(model, tokenizer, rows, progress=False)) == len(ROWS)
    with pytest.raises(PermissionError):
        index.add(model, tokenizer, Dataset.from_dict({"text": ["the doctor ."]}), progress=False)


def test_processes_that_read_other_rows_are_told(model, tokenizer, tmp_path, monkeypatch):
    from excise.codes.index import indexing
    from excise.storage.processes import Run

    monkeypatch.setattr(indexing, "current_run", lambda: Run(None, 0, 2))
    monkeypatch.setattr(indexing, "gather_object", lambda told: [*told, (None, "other rows", [])])
    with pytest.raises(ValueError, match=r"have read different rows of the corpus.*do not split it by process"):
        CodeIndex.build(model, tokenizer, ROWS, tmp_path / "split", progress=False)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are not told here")
def test_few_parts_of_many_are_open_at_once(model, tokenizer, tmp_path, monkeypatch):
    from excise.codes.index import indexing, parts

    monkeypatch.setattr(parts, "OPEN", 3)
    monkeypatch.setattr(indexing, "PART_TEXTS", 1)
    rows = Dataset.from_dict({"text": [" ".join(["the cat"] * length) for length in range(1, 13)]})
    index = CodeIndex.build(model, tokenizer, rows, tmp_path / "i", max_top_s=6, progress=False)
    assert len(index._parts) == 12
    plain = count_codes(model, tokenizer, rows, max_top_s=4, progress=False)
    indexed = count_codes(model, tokenizer, rows, max_top_s=4, progress=False, index=index)
    assert all(torch.equal(plain[site].examples, indexed[site].examples) for site in plain)
    files = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert sum(str(index.folder) in file for file in files) <= 3


def test_codes_that_no_model_has_are_refused(model, tokenizer, index):
    batch = index._parts[0].batch(0)
    assert index._fits(batch)
    for code in (-1, 40):
        for site, codes in batch.codes.items():
            wrong = codes.astype(np.int32)
            wrong[0, 0] = code
            assert not index._fits(batch._replace(codes={**batch.codes, site: wrong}))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_a_model_with_an_adapter_builds_and_counts_by_the_same_index(model, tokenizer, tmp_path):
    import peft

    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q", "v"], r=2, init_lora_weights=False))
    index = CodeIndex.build(adapted, tokenizer, ROWS, tmp_path / "i", max_top_s=6, progress=False)
    plain = count_codes(adapted, tokenizer, ROWS, max_top_s=3, progress=False)
    for counted in (adapted, adapted.get_base_model()):
        indexed = count_codes(counted, tokenizer, ROWS, max_top_s=3, progress=False, index=index)
        assert all(torch.equal(plain[site].examples, indexed[site].examples) for site in plain)
    for module in adapted.modules():
        if isinstance(getattr(module, "scaling", None), dict):
            module.scaling["default"] *= 2
    with pytest.raises(ValueError, match=r"scaling of encoder\S+ \(default\): 4\.0 when it was made, 8\.0 now"):
        count_codes(adapted, tokenizer, ROWS, max_top_s=3, progress=False, index=index)
