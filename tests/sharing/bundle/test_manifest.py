"""A bundle that was changed is noticed."""

import json

import pytest

from excise import Unlearner
from excise.sharing.bundle import check_bundle
from tests.sharing.bundle.test_bundle import tree


@pytest.fixture
def bundle(t5_case, tmp_path):
    t5_case.unlearner.save_bundle(tmp_path / "out")
    return tmp_path / "out"


def refused(bundle, match) -> None:
    for check in (check_bundle, Unlearner.from_pretrained):
        with pytest.raises(ValueError, match=match):
            check(bundle)


def test_a_bundle_as_it_was_written_passes_wherever_it_lies(bundle, tmp_path):
    manifest = check_bundle(bundle)
    assert manifest["mode"] == "delete" and manifest["base_checkpoint"] is None
    assert manifest["files"].keys() == tree(bundle).keys() - {"bundle.json"}
    bundle.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / ".gitattributes").write_text("*.safetensors filter=lfs")
    (tmp_path / "elsewhere" / ".cache" / "huggingface").mkdir(parents=True)
    (tmp_path / "elsewhere" / ".cache" / "huggingface" / "x.lock").write_text("")
    assert check_bundle(tmp_path / "elsewhere") == manifest
    assert Unlearner.from_pretrained(tmp_path / "elsewhere").ledger.requests[1].kind == "delete"


@pytest.mark.parametrize("name", ["README.md", "model.safetensors", "config.json", "report/report.json", "ledger.json"])
def test_a_file_that_was_changed_is_named(bundle, name):
    data = bytearray((bundle / name).read_bytes())
    data[-1] ^= 1
    (bundle / name).write_bytes(data)
    refused(bundle, f"{name} was changed")


def test_a_file_that_is_missing_or_was_added_is_named(bundle):
    (bundle / "optimizer.pt").write_bytes(b"moments")
    refused(bundle, r"optimizer\.pt is not part of it")
    (bundle / "optimizer.pt").unlink()
    (bundle / "report" / "report.json").unlink()
    refused(bundle, r"report/report\.json is missing")


@pytest.mark.parametrize("key", ["mode", "masks"])
def test_a_changed_mode_or_mask_digest_in_the_manifest_is_noticed(bundle, key):
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest[key] = "0" * 64 if key == "masks" else "mask"
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    refused(bundle, "mode or the digest of its masks")


def test_a_folder_without_a_manifest_or_with_a_newer_one_is_refused(bundle, tmp_path):
    with pytest.raises(ValueError, match=r"no bundle: it has no bundle\.json"):
        check_bundle(tmp_path)
    manifest = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(manifest | {"version": 2}))
    refused(bundle, "version 2; this excise reads 1")
    (bundle / "bundle.json").write_text("[]")
    refused(bundle, "no manifest")
    (bundle / "bundle.json").write_text("{")
    refused(bundle, "JSON")
