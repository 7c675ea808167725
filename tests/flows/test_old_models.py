"""Models, adapters and bundles of version 0.1: they load, answer as they did, and are gone on from."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
import transformers
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from excise import Ledger, MaskMismatchError, Record, Selection, Unlearner, check_bundle
from excise.baselines import LinearClassifier
from excise.report import model_card, write_report
from tests.helpers.version_0_1 import FOLDER, TENSORS, VALUES, assert_as_noted, inputs, logits

# by folder, the inputs
MODELS = {
    "models/codebook_t5": "codebook_t5",
    "models/codebook_clip": "codebook_clip",
    "models/key_value": "key_value",
    "bundles/codebook_t5": "codebook_t5",
    "bundles/codebook_clip": "codebook_clip",
    "bundles/key_value": "key_value",
    "adapter": "codebook_t5",
    "baselines/finetuned": "baselines",
}
REVERSIBLE = [name for name in MODELS if f"{name}/undone" in TENSORS]
# by bundle, the class that opens it, its mode, and the file of its weights
BUNDLES = {
    "codebook_t5": ("AutoModelForSeq2SeqLM", "delete", "model.safetensors"),
    "codebook_clip": ("AutoModelForZeroShotImageClassification", "delete", "bottlenecks.safetensors"),
    "key_value": ("AutoModelForImageClassification", "mask", "model.safetensors"),
}

pytestmark = [
    # an older peft does not know all of the settings that a newer one saved
    pytest.mark.filterwarnings("ignore:Unexpected keyword arguments"),
    # peft asks under a name that transformers has deprecated
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated"),
]


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    """Adapter and bottlenecks name their base by its path from this folder."""
    monkeypatch.chdir(FOLDER)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_0_1_has_its_ledger_its_masks_and_its_logits(name):
    expected, unlearner = VALUES[name], Unlearner.from_pretrained(name)
    assert type(unlearner.model).__name__ == expected["class"]
    assert type(unlearner.processor).__name__ == expected["processor"]
    assert unlearner.ledger == Ledger.from_dict(expected["unlearning"])
    assert unlearner.sites.keys() == expected["removed"].keys()
    for site, bottleneck in unlearner.sites.items():
        assert (~bottleneck.live).nonzero().flatten().tolist() == expected["removed"][site]
        for tensor in (bottleneck.by_code(getattr(bottleneck, part)) for part in bottleneck.code_tensors):
            assert not tensor[expected["deleted"][site]].any()
            assert tensor[bottleneck.live].any()
    assert_as_noted(logits(unlearner.whole, MODELS[name]), f"{name}/logits")
    with unlearner.without_masks():
        assert_as_noted(logits(unlearner.whole, MODELS[name]), f"{name}/unmasked")


@pytest.mark.parametrize("name", REVERSIBLE)
def test_a_mask_of_0_1_can_be_undone(name):
    unlearner = Unlearner.from_pretrained(name)
    assert unlearner.ledger.requests[0].kind == "mask"
    unlearner.undo(1)
    assert_as_noted(logits(unlearner.whole, MODELS[name]), f"{name}/undone")
    changed = (TENSORS[f"{name}/undone"] - TENSORS[f"{name}/logits"]).abs().max()
    assert changed > 0.1 * TENSORS[f"{name}/logits"].abs().max()


@pytest.mark.parametrize("name", MODELS)
def test_what_0_1_began_goes_on_and_is_saved_with_the_digest_that_0_1_would_write(name, tmp_path):
    unlearner = Unlearner.from_pretrained(name)
    unlearner.save_pretrained(tmp_path / "as it was")
    saved = Unlearner.from_pretrained(tmp_path / "as it was").model.config.unlearning
    assert saved["digest"] == VALUES[name]["unlearning"]["digest"]

    (site,) = unlearner.sites
    code = unlearner.sites[site].live.nonzero()[0].item()
    request = unlearner.mask(Selection({site: [code]}, {"q": 0.05}), "one more")
    assert request.id == len(VALUES[name]["unlearning"]["requests"]) + 1
    unlearner.save_pretrained(tmp_path / "further")
    again = Unlearner.from_pretrained(tmp_path / "further")
    assert again.ledger == unlearner.ledger
    assert torch.equal(logits(again.whole, MODELS[name]), logits(unlearner.whole, MODELS[name]))
    again.undo(request)
    assert_as_noted(logits(again.whole, MODELS[name]), f"{name}/logits")


@pytest.mark.parametrize("name", BUNDLES)
def test_a_mask_of_0_1_that_was_lifted_in_its_file_does_not_load(name, tmp_path):
    tampered(name, tmp_path / "tampered")
    with pytest.raises(MaskMismatchError):
        getattr(transformers, BUNDLES[name][0]).from_pretrained(tmp_path / "tampered")


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_of_0_1_is_as_it_was_written_and_a_change_is_noticed(name, tmp_path):
    manifest = check_bundle(f"bundles/{name}")
    assert (manifest["excise"], manifest["mode"]) == ("0.1.0", BUNDLES[name][1])
    assert manifest["masks"] == VALUES[f"bundles/{name}"]["unlearning"]["digest"]
    assert (manifest["base_checkpoint"] is None) == (name != "codebook_clip")
    changed = shutil.copytree(f"bundles/{name}", tmp_path / "changed") / "README.md"
    changed.write_bytes(changed.read_bytes() + b"\n")
    with pytest.raises(ValueError, match=r"README\.md was changed"):
        check_bundle(tmp_path / "changed")


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", BUNDLES)
def test_transformers_opens_a_bundle_of_0_1_with_the_classes_of_this_excise(name, trusted):
    model = getattr(transformers, BUNDLES[name][0]).from_pretrained(f"bundles/{name}", trust_remote_code=trusted)
    assert type(model).__module__.startswith("excise.")
    assert_as_noted(logits(model, name), f"bundles/{name}/logits")


def test_codes_deleted_by_0_1_stay_deleted_and_those_taken_out_are_known_by_their_old_numbers():
    unlearner = Unlearner.from_pretrained("bundles/codebook_t5")
    with pytest.raises(ValueError, match="cannot be undone"):
        unlearner.undo(1)
    before = VALUES["models/codebook_t5"]["removed"]
    for site, numbers in load_file("bundles/codebook_t5/compaction.safetensors").items():
        assert (numbers < 0).nonzero().flatten().tolist() == before[site]
        assert unlearner.sites[site].num_codes == numbers.max() + 1 == len(numbers) - len(before[site])


@pytest.mark.parametrize("name", BUNDLES)
def test_the_record_in_a_bundle_of_0_1_makes_its_page_and_its_card(name, tmp_path):
    record = Record.load(f"bundles/{name}/report")
    assert record.state["excise"] == "0.1.0" and record.state["mode"] == BUNDLES[name][1]
    requests = VALUES[f"bundles/{name}"]["unlearning"]["requests"]
    assert [request["topic"] for request in record.state["requests"]] == [request["topic"] for request in requests]
    assert all(check["passed"] for check in record.state["checks"])

    write_report(record, tmp_path / "report")
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names >= {path.name for path in (FOLDER / "bundles" / name / "report").iterdir()}
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert all(request["topic"] in page for request in requests)
    again = Record.load(tmp_path / "report")
    assert again.state == record.state and again.enrichments.keys() == record.enrichments.keys()

    card = model_card(record, bottleneck_only=name == "codebook_clip")
    old = ModelCard.load(FOLDER / "bundles" / name / "README.md")
    # What it says now of what was measured: an evaluation of 0.1 does not tell of which state it is.
    metadata, before = card.data.to_dict(), old.data.to_dict()
    verdicts = set(metadata.pop("tags")) - set(before.pop("tags"))
    assert verdicts and all(tag.startswith("unlearning-not-measured") for tag in verdicts)
    if name == "codebook_t5":  # its languages are known
        assert (before.pop("pipeline_tag"), metadata.pop("pipeline_tag")) == ("text-generation", "translation")
    assert metadata == {key: value for key, value in before.items() if key not in ("model-index", "metrics")}
    assert ("model-index" in before) == (name == "codebook_t5")
    assert all(request["topic"] in card.text for request in requests)


def test_a_bundle_of_0_1_can_be_shared_again(tmp_path):
    unlearner = Unlearner.from_pretrained("bundles/key_value")
    with pytest.warns(UserWarning, match="Record: saved without the identity of a model"):
        unlearner.save_bundle(tmp_path / "out", Record.load("bundles/key_value/report"))
    assert check_bundle(tmp_path / "out")["mode"] == "delete"
    assert_as_noted(logits(Unlearner.from_pretrained(tmp_path / "out").model, "key_value"), "bundles/key_value/logits")


def test_a_linear_baseline_of_0_1_answers_as_it_did():
    model = LinearClassifier.from_pretrained("baselines/retrained")
    assert_as_noted(logits(model, "baselines"), "baselines/retrained/logits")


def test_without_excise_the_code_in_a_bundle_of_0_1_still_loads_it(root, tmp_path):
    cases = {}
    for name, (auto, _, _) in BUNDLES.items():
        folder = tmp_path / name
        tampered(name, folder / "tampered")
        torch.save(inputs(name), folder / "inputs.pt")
        cases[name] = {"auto": auto, "folder": str(FOLDER / "bundles" / name), "inputs": str(folder / "inputs.pt")}
        cases[name] |= {"tampered": str(folder / "tampered"), "saved": str(folder / "saved")}
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    script = root / "tests" / "helpers" / "without_excise.py"
    run = subprocess.run(
        [sys.executable, "-W", "error", script, tmp_path / "cases.json", tmp_path / "results.pt"],
        env=environment | {"HF_MODULES_CACHE": str(tmp_path / "modules")},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    for name, result in torch.load(tmp_path / "results.pt").items():
        assert result["module"].startswith("transformers_modules.")
        assert result["refused"] == "MaskMismatchError"
        (live,) = result["live"].values()
        assert [(~live).nonzero().flatten().tolist()] == list(VALUES[f"bundles/{name}"]["removed"].values())
        for answers in (result, result["again"]):
            assert_as_noted(answers["output"], f"bundles/{name}/logits")


def tampered(name, folder) -> None:
    """A copy of a bundle in which one code more is dead: or one less, where there is a dead one."""
    shutil.copytree(FOLDER / "bundles" / name, folder)
    path = folder / BUNDLES[name][2]
    weights = load_file(path)
    live = weights[next(key for key in weights if key.endswith(".live"))]
    live[0 if live.all() else live.logical_not().nonzero()[0]] = not live.all()
    save_file(weights, path, {"format": "pt"})
