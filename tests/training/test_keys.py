import json

import numpy as np
import pytest
import torch

import excise.training.keys
from excise import encode_images, initialize_keys
from tests.helpers.keys_in_processes import keys_of
from tests.helpers.tiny_images import images, key_value_model, processor
from tests.helpers.two_processes import launched


@pytest.fixture
def model():
    return key_value_model(num_pairs=16)


@pytest.fixture
def encodings(model, tmp_path):
    return encode_images(model, images(60), processor(), cache_dir=tmp_path, progress=False)


def heads(model, encodings):
    return model.bottleneck.heads(encodings.with_format("torch")["encodings"][:])


def test_keys_come_nearer_to_the_data_with_every_epoch_and_all_are_used(model, encodings):
    errors = [initialize_keys(model, encodings, epochs=n, batch_size=20, progress=False) for n in (1, 4)]
    assert 0 < errors[1] < errors[0] < 1
    used = model.bottleneck.select_by_heads(heads(model, encodings)).unique()
    assert len(used) > 0.8 * model.bottleneck.num_codes


def test_without_decay_a_key_is_the_mean_of_the_heads_that_it_was_nearest_to(model, encodings):
    everything = heads(model, encodings)
    initialize_keys(model, encodings, epochs=1, batch_size=60, decay=0.0, min_use=0.0, seed=3, progress=False)
    generator = torch.Generator().manual_seed(3)
    start = everything[torch.randperm(60, generator=generator)[:16]].transpose(0, 1)
    for codebook, keys in enumerate(start):
        nearest = torch.cdist(everything[:, codebook], keys).argmin(1)
        expected = torch.stack([everything[nearest == m, codebook].mean(0) for m in range(16)])
        torch.testing.assert_close(model.bottleneck.keys[codebook], expected)


def test_a_key_that_nothing_uses_starts_again_where_data_is(model, encodings, monkeypatch):
    state = excise.training.keys._State(torch.full((6, 16, 4), 1e3), torch.full((6, 16), 1.0))
    state.keys[:, 0] = 0
    batch = heads(model, encodings)
    for _ in range(60):
        excise.training.keys._step(state, batch, 0.9, 0.1, torch.Generator().manual_seed(0))
    assert state.keys.abs().max() < 1e2


def test_the_same_seed_gives_the_same_keys_and_labels_do_not_matter(model, encodings):
    found = []
    for seed, data in ((0, encodings), (0, encodings.remove_columns("labels")), (1, encodings)):
        initialize_keys(model, data, epochs=2, seed=seed, progress=False)
        found.append(model.bottleneck.keys.clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_run_that_was_killed_goes_on_from_its_last_epoch_to_the_same_keys(model, encodings, tmp_path, monkeypatch):
    how = {"epochs": 4, "batch_size": 20, "progress": False}
    whole = initialize_keys(model, encodings, **how)
    expected, path = model.bottleneck.keys.clone(), tmp_path / "keys.safetensors"
    before, name = model.bottleneck.keys.fill_(7.0).clone(), model.config.bottleneck.keys_id
    step, calls = excise.training.keys._step, []

    def killed(*args):
        calls.append(1)
        if len(calls) == 8:  # in the middle of the third epoch
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(excise.training.keys, "_step", killed)
        initialize_keys(model, encodings, checkpoint=path, **how)
    assert torch.equal(model.bottleneck.keys, before) and model.config.bottleneck.keys_id == name
    monkeypatch.setattr(excise.training.keys, "_step", lambda *args: calls.append(1) or step(*args))
    assert initialize_keys(model, encodings, checkpoint=path, **how) == whole
    assert len(calls) == 8 + 6
    assert torch.equal(model.bottleneck.keys, expected)
    initialize_keys(model, encodings, checkpoint=path, **how)
    assert len(calls) == 8 + 6


def test_a_checkpoint_of_another_run_is_refused(model, encodings, tmp_path):
    path = tmp_path / "keys.safetensors"
    initialize_keys(model, encodings, epochs=1, checkpoint=path, progress=False)
    for other in ({"seed": 1}, {"decay": 0.5}, {"batch_size": 7}):
        with pytest.raises(ValueError, match="is of another run"):
            initialize_keys(model, encodings, epochs=2, checkpoint=path, progress=False, **other)
    with pytest.raises(ValueError, match="is of another run"):
        initialize_keys(model, encodings.select(range(30)), epochs=2, checkpoint=path, progress=False)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"decay": 1.0}, {"min_use": -0.1}, {"batch_size": 0}])
def test_settings_out_of_range_and_other_data_are_refused(model, encodings, wrong):
    with pytest.raises(ValueError, match="expected at least 1 epoch"):
        initialize_keys(model, encodings, **wrong)
    with pytest.raises(ValueError, match="Expected what `encode_images` returns"):
        initialize_keys(model, images(5))
    with pytest.raises(ValueError, match="of another encoder than the model's"):
        initialize_keys(key_value_model(seed=5), encodings)


def test_a_model_that_has_forgotten_keeps_its_keys(model, encodings):
    from excise import Selection, Unlearner

    Unlearner(model, None).mask(Selection({"bottleneck": [1]}), "red")
    with pytest.raises(ValueError, match="bring back"):
        initialize_keys(model, encodings)


def test_two_processes_make_the_same_keys_as_one(tmp_path):
    result = launched("keys_in_processes", tmp_path / "two")
    assert result.returncode == 0, result.stderr[-3000:]
    found = [json.loads((tmp_path / "two" / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [each["world"] for each in found] == [2, 2]
    alone = keys_of(tmp_path / "one")
    assert found[0]["keys"] == found[1]["keys"] == alone["keys"]
    assert found[0]["codes_id"] == found[1]["codes_id"] != alone["codes_id"]
    assert found[0]["codes_id"] and alone["codes_id"]
    assert found[0]["error"] == pytest.approx(alone["error"], rel=1e-9)
    assert found[0]["encoded"] + found[1]["encoded"] == alone["encoded"] == 60


def test_with_components_heads_are_projections_of_whitened_principal_components(model, encodings):
    from sklearn.decomposition import PCA

    initialize_keys(model, encodings, epochs=1, components=3, seed=7, progress=False)
    whitened = PCA(3, whiten=True).fit_transform(encodings.with_format("numpy")["encodings"][:])
    found = heads(model, encodings).flatten(1)
    found = (found - found.mean(0)).numpy()
    # Every head is a linear image of the components, by directions of variance 1/3 in each.
    directions, residual, *_ = np.linalg.lstsq(whitened, found, rcond=None)
    assert residual.sum() < 1e-4 * np.square(found).sum()
    np.testing.assert_allclose(directions.var(), 1 / 3, rtol=0.5)
    assert np.linalg.matrix_rank(found, tol=1e-4 * np.linalg.norm(found, 2)) == 3
    with pytest.raises(ValueError, match="components=17: expected 1 to 16"):
        initialize_keys(model, encodings, components=17)


def test_keys_of_other_epochs_have_another_name_and_a_longer_run_is_not_taken_for_a_shorter(model, encodings, tmp_path):
    names, path = [], tmp_path / "keys.safetensors"
    for epochs in (1, 3):
        initialize_keys(model, encodings, epochs=epochs, checkpoint=path, progress=False)
        names.append(model.bottleneck.keys_id)
    assert names[0] != names[1]
    before = model.bottleneck.keys.clone()
    with pytest.raises(ValueError, match="keys of 3 epochs, more than the 2 asked for"):
        initialize_keys(model, encodings, epochs=2, checkpoint=path, progress=False)
    assert torch.equal(model.bottleneck.keys, before)
