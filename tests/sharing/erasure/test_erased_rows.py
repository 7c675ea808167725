"""What is planted is found, wherever it is; what is clean is called clean."""

import bz2
import gzip
import lzma
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file, save_file

from excise import CodebookCLIPForImageClassification, Selection, Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.sharing.erasure import ErasedRows
from tests.helpers.tiny import codebook_clip, codebook_t5
from tests.helpers.tiny_images import key_value_model

CODES = [1, 4, 7, 30]
MAKE = {
    "t5": lambda **sizes: codebook_t5(layers=(0, 2), **sizes),
    "clip": lambda **sizes: codebook_clip(CodebookCLIPForImageClassification, **sizes),
    "key-value": lambda **sizes: key_value_model(**sizes),
}


class Case:
    """A model with erased codes, saved, and what its rows were."""

    def __init__(self, model, folder):
        self.model, self.folder = model, folder
        self.site, self.bottleneck = next(iter(bottlenecks(model).items()))
        self.tensor = self.bottleneck.code_tensors[-1]
        self.before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self.erased = ErasedRows.of(model, {self.site: CODES})
        self.rows = self.bottleneck.by_code(self.codes.detach())[CODES].clone()
        Unlearner(model, None).delete(Selection({self.site: CODES}), "planted")
        model.save_pretrained(folder)

    @property
    def codes(self) -> torch.Tensor:
        return getattr(self.bottleneck, self.tensor)

    @property
    def key(self) -> str:
        return next(name for name, tensor in self.model.named_parameters() if tensor is self.codes)

    def found(self, erased=None) -> set[str]:
        left = (erased or self.erased).find_in(self.folder)
        for leftover in left:
            not_read = not leftover.site and "before version 1.6" in leftover.how
            assert not_read or (leftover.site == self.site and set(leftover.codes) <= set(CODES))
        return {leftover.file.partition("!")[0] for leftover in left}


@pytest.fixture(params=list(MAKE))
def case(request, tmp_path):
    return Case(MAKE[request.param](), tmp_path)


def test_a_checkpoint_whose_rows_are_erased_is_clean(case):
    assert case.erased.find_in(case.folder) == []
    assert ErasedRows.of(case.model).find_in(case.folder) == []


def test_random_bytes_and_numbers_are_clean(case):
    rng = np.random.default_rng(0)
    (case.folder / "random.bin").write_bytes(rng.bytes(3_000_000))
    torch.save({"a": torch.randn(100, 33), "b": torch.randn(12_345)}, case.folder / "random.pt")
    (case.folder / "archive-like").write_bytes(b"PK\x03\x04" + rng.bytes(1000))
    (case.folder / "gzip-like").write_bytes(b"\x1f\x8b" + rng.bytes(1000))
    (case.folder / "tensors-like").write_bytes(rng.bytes(8) + b"{" + rng.bytes(1000))
    (case.folder / "empty").write_bytes(b"")
    assert case.found() == set()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("offset", [0, 1, 3, 12_345, (1 << 24) - 5])
def test_one_row_is_found_in_any_precision_at_any_place(case, dtype, offset):
    row = case.rows[2].to(dtype).view(torch.uint8).numpy().tobytes()
    (case.folder / "notes.txt").write_bytes(bytes(offset) + row + b"end")
    (left,) = case.erased.find(case.folder / "notes.txt")
    assert (left.file, left.site, left.tensor, left.codes) == ("notes.txt", case.site, case.tensor, (CODES[2],))
    assert str(dtype).removeprefix("torch.") in left.how and str(CODES[2]) in str(left)


def test_a_stale_shard_is_found(case):
    (case.folder / "old").mkdir()
    save_file({case.key: case.before[case.key]}, case.folder / "old" / "model-00001-of-00002.safetensors")
    assert case.found() == {"old/model-00001-of-00002.safetensors"}
    assert case.found(ErasedRows.of(case.model)) == {"old/model-00001-of-00002.safetensors"}


@pytest.mark.parametrize("known", ["rows", "ids alone"])
@pytest.mark.parametrize(
    "form", ["safetensors", "bin", "old bin", "unsafe bin", "old unsafe bin", "transposed", "flat", "bf16", "fp8"]
)
def test_a_copy_that_has_drifted_is_found(case, known, form):
    average = case.before[case.key] * 0.9 + 0.01
    path = case.folder / ("ema.bin" if "bin" in form else "ema.safetensors")
    if form == "bin":
        torch.save({"ema": {"shadow": [average]}}, path)
    elif form == "old bin":
        torch.save([average], path, _use_new_zipfile_serialization=False)
    elif form == "unsafe bin":
        torch.save({"settings": CODES, "object": Case, "ema": average}, path)
    elif form == "old unsafe bin":
        content = {"path": Path("a"), "state": OrderedDict(step=torch.ones(3), half=torch.ones(5).half(), ema=average)}
        torch.save(content, path, _use_new_zipfile_serialization=False)
    elif form == "transposed":
        flat = case.bottleneck.by_code(average)
        save_file({"ema": flat.T.contiguous()}, path)
    elif form == "flat":
        save_file({"ema": average.flatten()}, path)
    elif form == "bf16":
        save_file({"ema": average.to(torch.bfloat16)}, path)
    elif form == "fp8":
        save_file({"ema": average.to(torch.float8_e4m3fn)}, path)
    else:
        save_file({f"ema.{case.key}": average}, path)
    erased = case.erased if known == "rows" else ErasedRows.of(case.model)
    assert case.found(erased) == {path.name}
    if form == "old unsafe bin":  # refused by name: it cannot be read without running code from it
        assert "from before version 1.6" in str(erased.find(path)[-1])
    else:
        assert {code for left in erased.find(path) for code in left.codes} == set(CODES)


@pytest.mark.parametrize("known", ["rows", "ids alone"])
@pytest.mark.parametrize("form", ["npy", "double", "transposed", "fortran", "big-endian", "npz", "packed npz"])
def test_a_drifted_array_is_found(case, known, form):
    average = (case.before[case.key] * 0.9 + 0.01).numpy()
    flat = case.bottleneck.by_code(torch.from_numpy(average)).numpy()
    path = case.folder / ("ema.npz" if "npz" in form else "ema.npy")
    if "npz" in form:
        (np.savez_compressed if "packed" in form else np.savez)(path, step=np.ones(3), ema=average)
    else:
        arrays = {
            "npy": average,
            "double": average.astype(np.float64),
            "transposed": np.ascontiguousarray(flat.T),
            "fortran": np.asfortranarray(flat),
            "big-endian": average.astype(">f4"),
        }
        np.save(path, arrays[form])
    erased = case.erased if known == "rows" else ErasedRows.of(case.model)
    assert case.found(erased) == {path.name}
    assert {code for left in erased.find(path) for code in left.codes} == set(CODES)


def test_what_cannot_be_read_is_told(case):
    rng = np.random.default_rng(0)
    np.save(case.folder / "objects.npy", np.array([{}, None]), allow_pickle=True)
    (case.folder / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00" + bytes(range(100)))
    with zipfile.ZipFile(case.folder / "broken.npz", "w") as file:
        file.writestr("ema.npy", b"\x93NUMPY\x01\x00" + bytes(range(100)))
    (case.folder / "broken.bz2").write_bytes(b"BZh9" + bytes(range(100)))
    (case.folder / "broken.xz").write_bytes(lzma.compress(bytes(1000))[:40])
    (case.folder / "broken.pt").write_bytes(b"\x80\x02" + bytes(range(100)))
    (case.folder / "truncated.gz").write_bytes(gzip.compress(rng.bytes(100_000))[:50_000])
    (case.folder / "parquet-like").write_bytes(b"PAR1" + rng.bytes(1000))
    left = case.erased.find_in(case.folder)
    assert all(not leftover.site and "could not be read" in str(leftover) for leftover in left)
    assert {leftover.file.partition("!")[0] for leftover in left} == {
        "objects.npy",
        *(f"broken.{kind}" for kind in ("npy", "npz", "bz2", "xz", "pt")),
        "truncated.gz",
        "parquet-like",
    }


def test_reading_an_old_torch_file_runs_nothing_of_it(case):
    marker = case.folder / "run"
    content = {"ema": case.before[case.key] * 0.9, "object": Touching(marker)}
    torch.save(content, case.folder / "old.pt", _use_new_zipfile_serialization=False)
    assert case.found() == {"old.pt"}
    assert not marker.exists()


class Touching:
    """What makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_what_an_optimizer_remembers_is_found_until_it_is_cleared(tmp_path):
    model, site = codebook_t5(), "encoder.block.2"
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    erased = ErasedRows.of(model, {site: CODES})
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    how = " ".join(left.how for left in erased.find(tmp_path / "optimizer.pt"))
    assert ".exp_avg'" in how and ".exp_avg_sq'" in how
    Unlearner(model, None).delete(Selection({site: CODES}), "topic", optimizer)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    assert erased.find(tmp_path / "optimizer.pt") == []


def test_one_number_for_each_code_is_found(case):
    counts = torch.ones(case.bottleneck.num_codes)
    save_file({"cluster_size": counts}, case.folder / "ema.safetensors")
    assert case.found() == {"ema.safetensors"}
    counts[CODES] = 0
    save_file({"cluster_size": counts}, case.folder / "ema.safetensors")
    assert case.found() == set()


def test_what_is_compressed_is_found(case):
    data = case.rows.numpy().tobytes()
    with gzip.open(case.folder / "rows.gz", "wb") as file:
        file.write(b"start" + data)
    with zipfile.ZipFile(case.folder / "rows.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inner/rows.gz", gzip.compress(data))
    (case.folder / "rows.bz2").write_bytes(bz2.compress(data))
    (case.folder / "rows.xz").write_bytes(lzma.compress(data))
    np.savez_compressed(case.folder / "rows.npz", rows=case.rows.numpy())
    rows = pyarrow.array(case.rows.tolist(), pyarrow.list_(pyarrow.float32()))
    table = pyarrow.table({"row": rows})
    pyarrow.parquet.write_table(table, case.folder / "rows.parquet", compression="zstd")
    assert case.found() == {"rows.gz", "rows.bz2", "rows.xz", "rows.zip", "rows.npz", "rows.parquet"}


def test_a_row_that_another_code_has_too_is_no_leftover(tmp_path):
    model = codebook_t5()
    codebook = bottlenecks(model)["encoder.block.2"].codebook
    with torch.no_grad():
        codebook[1] = codebook[2]
        codebook[4] = codebook[5] * (1 + 2**-20)  # another in fp32, the same in less
        codebook[7] = 0.1
        codebook[8] = 0.1
        codebook[9] = 0
    erased = ErasedRows.of(model, {"encoder.block.2": [1, 4, 7, 9, 10]})
    assert len(erased) == 2
    Unlearner(model, None).delete(Selection({"encoder.block.2": [1, 4, 7, 9, 10]}), "topic")
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    assert erased.find_in(tmp_path) == []


def test_rows_at_odd_places_between_live_rows_are_no_leftover(tmp_path):
    # Values that were seldom trained repeat a few numbers: the end of one row and the start of the next are a third.
    model = key_value_model(num_codebooks=1, num_pairs=8)
    values = model.bottleneck.values
    with torch.no_grad():
        values[0, :, :] = torch.tensor([[1.5, 2.5, 3.5, 4.5], [2.5, 3.5, 4.5, 1.5]] * 4)
    erased = ErasedRows.of(model, {"bottleneck": [1, 3, 5, 7]})
    Unlearner(model, None).delete(Selection({"bottleneck": [1, 3, 5, 7]}), "topic")
    save_file({"values": values.detach().clone()}, tmp_path / "model.safetensors")
    assert erased.find_in(tmp_path) == []


def test_two_searches_are_one(case, tmp_path):
    (case.folder / "first").write_bytes(case.rows[0].numpy().tobytes())
    other = case.bottleneck.by_code(case.codes.detach())[9].clone()
    (case.folder / "second").write_bytes(other.numpy().tobytes())
    both = case.erased | ErasedRows.of(case.model, {case.site: [9]})
    assert {left.file: left.codes for left in both.find_in(case.folder) if left.file != "model.safetensors"} == {
        "first": (CODES[0],),
        "second": (9,),
    }
    assert len(both) == len(case.erased) + len(case.bottleneck.code_tensors)


def test_codes_that_there_are_not_are_refused(case):
    with pytest.raises(ValueError, match="has codes 0 to"):
        ErasedRows.of(case.model, {case.site: [10**6]})
    with pytest.raises(ValueError, match="bottlenecks at"):
        ErasedRows.of(case.model, {"elsewhere": [1]})
    with pytest.raises(ValueError, match="no bottleneck"):
        ErasedRows.of(torch.nn.Linear(2, 2))


def test_a_live_tensor_of_the_same_shape_is_no_leftover(tmp_path):
    # As many codes as the model is wide, so that the codebook has the shape of a weight beside it.
    model = codebook_t5(num_codes=16, code_dim=16)
    erased = ErasedRows.of(model, {"encoder.block.2": CODES[:2]})
    Unlearner(model, None).delete(Selection({"encoder.block.2": CODES[:2]}), "topic")
    model.save_pretrained(tmp_path)
    assert erased.find_in(tmp_path) == []
    weights = load_file(tmp_path / "model.safetensors")
    (decoder,) = (weights[name] for name in weights if name.endswith("block.2.layer.0.bottleneck.decoder.weight"))
    save_file({"average": decoder}, tmp_path / "ema.safetensors")
    assert {left.file for left in erased.find_in(tmp_path)} == {"ema.safetensors"}
