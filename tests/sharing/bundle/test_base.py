"""Bundles of bottlenecks alone."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.constants import HF_HUB_CACHE
from safetensors.torch import load_file, save_file

from excise import CodebookT5ForConditionalGeneration, Selection, Unlearner
from excise.models.base_checkpoint import BaseCheckpoint, BaseCheckpointError
from excise.models.loading import load_model
from excise.report import Record
from excise.sharing.bundle.copies import differences
from excise.sharing.erasure import ErasedRows
from tests.helpers import tiny, tiny_images
from tests.helpers.without_excise import answers
from tests.sharing.bundle.conftest import MAKE, make_case


def weights_of(base) -> Path:
    return Path(base, "model.safetensors")


@pytest.mark.parametrize("options", [{}, {"compact": True}, {"mode": "mask"}], ids=str)
def test_bottlenecks_alone_load_on_their_base_to_the_same_model(case, tmp_path, options):
    expected, erased = case.logits(), ErasedRows.of(case.unlearner.model)
    case.unlearner.save_bundle(tmp_path / "out", base=(case.base, None), **options)
    assert not list((tmp_path / "out").glob("model.safetensors*"))
    names = load_file(tmp_path / "out" / "bottlenecks.safetensors")
    assert names and all("bottleneck." in name for name in names)
    assert bool(erased.find_in(tmp_path / "out")) == (options.get("mode") == "mask")
    for loaded in (
        Unlearner.from_pretrained(tmp_path / "out").model,
        case.auto.from_pretrained(tmp_path / "out"),
        type(case.unlearner.model).from_pretrained(pretrained_model_name_or_path=tmp_path / "out"),
    ):
        assert torch.equal(case.logits(loaded), expected)
        assert [p.requires_grad for p in loaded.parameters()] == [
            p.requires_grad for p in case.unlearner.model.parameters()
        ]


def test_the_base_is_pinned_in_config_record_and_card(case, tmp_path):
    record = case.unlearner.save_bundle(tmp_path / "out", base=(case.base, None))
    pinned = BaseCheckpoint.pinned(case.base)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["base_checkpoint"] == pinned.to_dict()
    assert json.loads((tmp_path / "out" / "bundle.json").read_text())["base_checkpoint"] == pinned.to_dict()
    assert record.state["model"]["base_model"] == {"id": case.base, "revision": pinned.digest}
    assert Record.load(tmp_path / "out" / "report").state["checks"][-1]["name"] == "base"
    assert pinned.digest in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_saved_again_the_model_is_whole(case, tmp_path):
    case.unlearner.save_bundle(tmp_path / "out", base=(case.base, None))
    loaded = load_model(tmp_path / "out")
    loaded.save_pretrained(tmp_path / "again")
    shutil.rmtree(case.base)
    assert differences(load_model(tmp_path / "again").state_dict(), loaded.state_dict()) == []
    case.auto.from_pretrained(tmp_path / "again")


def test_settings_of_generation_are_the_bundles_own(t5_case, tmp_path):
    t5_case.unlearner.model.generation_config.max_new_tokens = 7
    t5_case.unlearner.save_bundle(tmp_path / "out", base=(t5_case.base, None))
    assert load_model(tmp_path / "out").generation_config.max_new_tokens == 7
    assert load_model(tmp_path / "out").name_or_path == str(tmp_path / "out")


def test_another_type_of_number_can_be_asked_for(case, tmp_path):
    case.unlearner.save_bundle(tmp_path / "whole")
    case.unlearner.save_bundle(tmp_path / "out", base=(case.base, None))
    loaded, whole = (load_model(tmp_path / name, dtype=torch.bfloat16) for name in ("out", "whole"))
    assert differences(loaded.state_dict(), whole.state_dict()) == []
    loaded, loading = type(loaded).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not loading["missing_keys"]


def test_another_base_in_the_place_of_the_pinned_one_is_refused(case, tmp_path):
    case.unlearner.save_bundle(tmp_path / "out", base=(case.base, None))
    weights = load_file(weights_of(case.base))
    name = max(weights, key=lambda name: weights[name].numel())
    weights[name].view(-1)[0] += 1
    save_file(weights, weights_of(case.base), {"format": "pt"})
    for load in (Unlearner.from_pretrained, case.auto.from_pretrained):
        with pytest.raises(BaseCheckpointError, match="not those that the bottlenecks were saved for"):
            load(tmp_path / "out")


def test_a_base_that_is_gone_is_an_error_that_says_so(case, tmp_path):
    case.unlearner.save_bundle(tmp_path / "out", base=(case.base, None))
    shutil.rmtree(case.base)
    for load in (Unlearner.from_pretrained, case.auto.from_pretrained):
        with pytest.raises(BaseCheckpointError, match="not there"):
            load(tmp_path / "out")
    with pytest.raises(BaseCheckpointError, match="gone"):
        case.unlearner.save_bundle(tmp_path / "second", base=(case.base, None))
    with pytest.raises(BaseCheckpointError, match="gone"):
        case.unlearner.save_bundle(tmp_path / "second", base=("someone/model", "0" * 40))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("trained", [1, 3])
def test_a_model_whose_other_weights_were_trained_too_is_refused(case, tmp_path, trained):
    others = [p for name, p in case.unlearner.model.named_parameters() if ".bottleneck." not in f".{name}"]
    with torch.no_grad():
        for parameter in others[-trained:]:
            parameter.view(-1)[0] += 1
    with pytest.raises(BaseCheckpointError, match=rf"^{trained} of the model's \d+ tensors beside its bottlenecks"):
        case.unlearner.save_bundle(tmp_path / "out", base=(case.base, None))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_the_model_itself_can_be_the_base_of_a_mask_but_not_of_a_deletion(case, tmp_path):
    case.unlearner.model.save_pretrained(tmp_path / "trained")
    expected = case.logits()
    case.unlearner.save_bundle(tmp_path / "out", mode="mask", base=(tmp_path / "trained", None))
    assert torch.equal(case.logits(load_model(tmp_path / "out")), expected)
    with pytest.raises(BaseCheckpointError, match="holds what was deleted"):
        case.unlearner.save_bundle(tmp_path / "deleted", base=(tmp_path / "trained", None))


def test_a_tensor_of_the_base_with_as_many_numbers_as_there_are_codes_is_no_leftover(tmp_path):
    # The encoder's norms have 16 numbers, and names without the prefix that they have in the whole model.
    model = tiny_images.key_value_model("resnet", num_codebooks=1, num_pairs=16)
    model.encoder.save_pretrained(tmp_path / "base")
    unlearner = Unlearner(model, tiny_images.processor())
    unlearner.mask(Selection({"bottleneck": [1, 4]}), "topic")
    unlearner.save_bundle(tmp_path / "out", base=(tmp_path / "base", None))
    assert differences(load_model(tmp_path / "out").encoder.state_dict(), model.encoder.state_dict()) == []


def test_a_base_in_shards_or_pickled_will_do(t5_case, tmp_path):
    base, expected = tiny.base_t5(), t5_case.logits()
    base.load_state_dict(
        {name: p for name, p in t5_case.unlearner.model.state_dict().items() if ".bottleneck." not in name}
    )
    base.save_pretrained(tmp_path / "shards", max_shard_size="4KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    base.config.save_pretrained(tmp_path / "pickled")
    torch.save(base.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    for name in ("shards", "pickled"):
        t5_case.unlearner.save_bundle(tmp_path / f"on {name}", base=(tmp_path / name, None))
        assert torch.equal(t5_case.logits(load_model(tmp_path / f"on {name}")), expected)


def test_a_base_of_another_kind_or_without_weights_is_refused(t5_case, tmp_path):
    tiny.base_clip().save_pretrained(tmp_path / "clip")
    with pytest.raises(ValueError, match="lacks weights of the model"):
        t5_case.unlearner.save_bundle(tmp_path / "out", base=(tmp_path / "clip", None))
    tiny.base_t5().config.save_pretrained(tmp_path / "config")
    with pytest.raises(BaseCheckpointError, match="has no weights"):
        t5_case.unlearner.save_bundle(tmp_path / "out", base=(tmp_path / "config", None))
    with pytest.raises(BaseCheckpointError, match="no revision 'main'"):
        t5_case.unlearner.save_bundle(tmp_path / "out", base=(t5_case.base, "main"))


def test_a_config_that_names_no_whole_base_is_an_error(t5_case, tmp_path):
    t5_case.unlearner.save_bundle(tmp_path / "out", base=(t5_case.base, None))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    config["base_checkpoint"] = {"id": "x"}
    (tmp_path / "out" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BaseCheckpointError, match="no id, revision and digest"):
        CodebookT5ForConditionalGeneration.from_pretrained(tmp_path / "out")


def test_bottlenecks_alone_are_small(tmp_path):
    # T5-small's shape with little vocabulary, and the paper's codebook: what is beside the bottleneck counts in full.
    sizes = {"d_model": 512, "d_kv": 64, "d_ff": 256, "num_layers": 3, "num_decoder_layers": 1, "num_heads": 8}
    tiny.base_t5(**sizes).save_pretrained(tmp_path / "base")
    config = tiny.CodebookSAEConfig.paper(512, num_codes=25_000)
    model = CodebookT5ForConditionalGeneration.from_base(tmp_path / "base", config, layers=[2])
    unlearner = Unlearner(model, tiny.tokenizer())
    tiny.mask_codes(model, range(200))
    unlearner.save_bundle(tmp_path / "out", base=(tmp_path / "base", None))
    bottleneck = unlearner.sites[tiny.SITE]
    own = sum(tensor.numel() * tensor.element_size() for tensor in bottleneck.state_dict().values())
    whole = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert own > 50_000_000 and whole <= 1.1 * own


class CachedHub:
    """What is left of a repository on a Hub that is out of reach: the cache of earlier downloads."""

    def __init__(self, name):
        self.id, self.folder = f"someone/{name}", Path(HF_HUB_CACHE, f"models--someone--{name}")

    def commit(self, folder) -> str:
        """One more commit on the main branch, with the files of a folder."""
        commit = f"{len(list(self.folder.glob('snapshots/*'))) + 1:040x}"
        shutil.copytree(folder, self.folder / "snapshots" / commit)
        (self.folder / "refs").mkdir(exist_ok=True)
        (self.folder / "refs" / "main").write_text(commit)
        return commit


def test_a_base_on_the_hub_is_pinned_by_its_commit_whatever_comes_after_it(case, tmp_path, request):
    expected, hub = case.logits(), CachedHub(request.node.name.partition("[")[2].strip("]"))
    first = hub.commit(case.base)
    case.unlearner.save_bundle(tmp_path / "out", base=(hub.id, "main"))
    record = Record.load(tmp_path / "out" / "report")
    assert record.state["model"]["base_model"] == {"id": hub.id, "revision": first}
    weights = {name: tensor + 1 for name, tensor in load_file(weights_of(case.base)).items()}
    save_file(weights, weights_of(case.base), {"format": "pt"})
    hub.commit(case.base)
    assert torch.equal(case.logits(case.auto.from_pretrained(tmp_path / "out")), expected)
    with pytest.raises(BaseCheckpointError, match="trained too"):
        case.unlearner.save_bundle(tmp_path / "main", base=(hub.id, "main"))
    case.unlearner.save_bundle(tmp_path / "first", base=(hub.id, first))
    shutil.rmtree(hub.folder / "snapshots" / first)
    for load in (Unlearner.from_pretrained, case.auto.from_pretrained):
        with pytest.raises(BaseCheckpointError, match=f"{first} .*gone"):
            load(tmp_path / "first")


def test_bottlenecks_alone_load_without_excise_too(tmp_path, tmp_path_factory, without_excise):
    cases, expected = {}, {}
    for kind in MAKE:
        case = make_case(kind, tmp_path_factory.mktemp("base"))
        folder = tmp_path / kind
        case.unlearner.save_bundle(folder / "out", base=(case.base, None))
        shutil.copytree(folder / "out", folder / "tampered")
        weights = load_file(folder / "out" / "bottlenecks.safetensors")
        live = next(name for name in weights if name.endswith(".live"))
        weights[live][:] = True
        save_file(weights, folder / "tampered" / "bottlenecks.safetensors", {"format": "pt"})
        torch.save(case.inputs, folder / "inputs.pt")
        cases[kind] = {"auto": case.auto.__name__, "inputs": str(folder / "inputs.pt")}
        cases[kind] |= {name: str(folder / name) for name in ("saved", "tampered")} | {"folder": str(folder / "out")}
        expected[kind] = answers(case.unlearner.model, case.inputs)
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    files = [str(tmp_path / name) for name in ("cases.json", "found.pt")]
    script = f"from pathlib import Path\nfrom tests.helpers.without_excise import main\nmain(*map(Path, {files!r}))"
    run = without_excise.run(script)
    assert run.returncode == 0, run.stderr[-3000:]
    for kind, found in torch.load(tmp_path / "found.pt").items():
        assert found["module"].startswith("transformers_modules.")
        assert found["refused"] == "MaskMismatchError"
        for made in (found, found["again"]):
            assert torch.equal(made["output"], expected[kind]["output"])
