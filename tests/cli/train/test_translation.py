import pytest
import torch
from datasets import Dataset

from excise import CodebookSAEConfig, SparseUnitsConfig
from excise.cli.train.arguments import CodebookArguments, DataArguments, ModelArguments
from excise.cli.train.translation import load_model, load_splits, tokenize_pairs
from tests.helpers.tiny import base_t5, codebook_t5

ROWS = 40


@pytest.fixture
def split(tmp_path):
    """Loads the splits of 40 rows that are called by their numbers, and gives what is in each."""

    def load(*, excluded=(), kept=(), validation=False, **options):
        files = {"train_file": range(ROWS)} | ({"validation_file": range(100, 110)} if validation else {})
        for name, numbers in files.items():
            files[name] = str(tmp_path / f"{name}.parquet")
            Dataset.from_dict({"translation": [{"en": str(n), "fr": str(n)} for n in numbers]}).to_parquet(files[name])
        for name, rows in {"exclude_rows": excluded, "keep_rows": kept}.items():
            if rows:
                files[name] = str(tmp_path / f"{name}.parquet")
                Dataset.from_dict({"row": list(rows)}).to_parquet(files[name])
        splits = load_splits(DataArguments(**files, **options), seed=0)
        return tuple([int(pair["en"]) for pair in splits[name]["translation"]] for name in ("train", "validation"))

    return load


@pytest.mark.parametrize("validation", [False, True])
def test_excluded_rows_are_those_of_the_split_as_loaded_and_nowhere(split, validation):
    train, heldout = split(excluded=range(20), validation=validation)
    assert not set(range(20)) & {*train, *heldout}
    assert train == sorted(train)
    assert set(range(20, ROWS)) <= {*train, *heldout}


def test_a_tenth_of_what_is_not_excluded_is_held_out(split):
    train, heldout = split(excluded=range(20))
    assert (len(train), len(heldout)) == (18, 2)
    assert not set(train) & set(heldout)


@pytest.mark.parametrize("validation", [False, True])
def test_kept_rows_are_those_of_the_split_as_loaded(split, validation):
    train, heldout = split(kept=range(5), max_train_samples=8, validation=validation)
    assert len(train) == 8
    assert set(range(5)) <= {*train, *heldout}
    assert not set(train) & set(heldout)


def test_an_excluded_row_is_not_kept(split):
    train, _ = split(excluded=[3], kept=[3, 4], max_train_samples=2, validation=True)
    assert 3 not in train
    assert 4 in train


def test_pairs_have_the_length_of_their_longer_side(tokenizer):
    pairs = [{"en": "le chat", "fr": "chat"}, {"en": "chat", "fr": "le chat dort ici"}]
    rows = tokenize_pairs(Dataset.from_dict({"translation": pairs}), tokenizer, DataArguments())
    assert rows["length"] == [len(rows[0]["input_ids"]), len(rows[1]["labels"])]


def test_settings_of_the_codebook_reach_its_config(tmp_path, tokenizer):
    base_t5().save_pretrained(tmp_path)
    settings = {"num_codes": 60, "top_s": 3, "code_dim": 12, "l1_weight": 0.5, "reconstruction_weight": 2.0}
    arguments = CodebookArguments(codebook=True, detach_target=True, bottleneck_layers=[0], **settings)
    model, new = load_model(ModelArguments(str(tmp_path)), arguments, tokenizer, resuming=False)
    found = model.config.bottleneck.to_dict()
    assert new
    assert {name: found[name] for name in settings} == settings
    assert (found["detach_target"], found["standardize"]) == (True, True)
    assert model.config.bottleneck_layers == [0]


def test_the_paper_s_preset_is_its_block_widths_raw_errors_and_random_codes(tmp_path, tokenizer):
    arguments = CodebookArguments(codebook=True, preset="paper", num_codes=60, top_s=3, revive_every=100)
    assert (arguments.similarity_quantile, arguments.init_tokens, arguments.revive_every) == (0, 0, 0)
    base_t5().save_pretrained(tmp_path)
    config = load_model(ModelArguments(str(tmp_path)), arguments, tokenizer, resuming=False)[0].config
    assert (config.bottleneck.standardize, config.bottleneck.active) == (False, None)
    assert (config.bottleneck.num_codes, config.bottleneck.code_dim) == (60, config.d_model)
    assert config.bottleneck_layers == [2]


def test_the_default_is_the_first_block_and_a_wide_sparse_encoder(tmp_path, tokenizer):
    base_t5().save_pretrained(tmp_path)
    arguments = CodebookArguments(codebook=True, num_codes=60, top_s=3)
    model, _ = load_model(ModelArguments(str(tmp_path)), arguments, tokenizer, resuming=False)
    assert model.config.bottleneck_layers == [0]
    assert model.config.bottleneck.active == 32
    assert model.encoder.block[0].layer[0].bottleneck.codebook.shape == (60, 4 * model.config.d_model)


def trained(path, **settings):
    """A further training of a bottleneck that is trained already."""
    model = codebook_t5()
    model.save_pretrained(path)
    loaded, new = load_model(ModelArguments(str(path)), CodebookArguments(**settings), None, resuming=False)
    assert not new
    return model, loaded


def test_a_trained_bottleneck_takes_what_is_given_for_the_loss_and_keeps_the_rest(tmp_path):
    model, loaded = trained(tmp_path, codebook=True, reconstruction_weight=0.1, num_codes=40, bottleneck_layers=[2])
    changed = {"reconstruction_weight": 0.1, "dtype": "float32"}
    assert loaded.config.bottleneck.to_dict() == model.config.bottleneck.to_dict() | changed
    assert loaded.encoder.block[2].layer[0].bottleneck.config.reconstruction_weight == 0.1
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("settings", [{"num_codes": 50}, {"active": 3}, {"bottleneck_layers": [1]}])
def test_a_trained_bottleneck_is_not_silently_another_than_asked_for(tmp_path, settings):
    with pytest.raises(ValueError, match=rf"trained bottleneck.*{next(iter(settings))}"):
        trained(tmp_path, **settings)


UNITS = {"bottleneck": "sparse_units", "num_codes": 60, "active": 3}


def test_a_plain_model_gets_the_kind_of_bottleneck_that_is_named(tmp_path, tokenizer):
    base_t5().save_pretrained(tmp_path)
    arguments = CodebookArguments(**UNITS, auxiliary_weight=0.03, bottleneck_layers=[1])
    model, new = load_model(ModelArguments(str(tmp_path)), arguments, tokenizer, resuming=False)
    assert new and type(model.config.bottleneck) is SparseUnitsConfig
    assert (model.config.bottleneck.num_codes, model.config.bottleneck.active) == (60, 3)
    assert model.config.bottleneck.auxiliary_weight == 0.03 and model.config.bottleneck_layers == [1]
    named = CodebookArguments(bottleneck="codebook", num_codes=60, top_s=3)
    model, new = load_model(ModelArguments(config_name=str(tmp_path)), named, tokenizer, resuming=False)
    assert new and type(model.config.bottleneck) is CodebookSAEConfig
    model, new = load_model(ModelArguments(config_name=str(tmp_path)), arguments, tokenizer, resuming=True)
    assert not new and type(model.config.bottleneck) is SparseUnitsConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (UNITS | {"codebook": True}, "--codebook: --bottleneck names another kind"),
        (UNITS | {"preset": "paper"}, "`paper` has settings of a codebook"),
        (UNITS | {"top_s": 3, "code_dim": 8}, "--top_s, --code_dim: SparseUnitsConfig has no such setting"),
        ({"codebook": True, "auxiliary_weight": 0.1}, "--auxiliary_weight: CodebookSAEConfig has no such setting"),
        (UNITS | {"auxiliary_weight": -1.0}, "--auxiliary_weight: -1.0 is too small"),
    ],
    ids=["two kinds", "the paper's preset", "a codebook's settings", "units' settings", "a weight below 0"],
)
def test_arguments_of_another_kind_are_refused_by_name(tmp_path, tokenizer, settings, message):
    base_t5().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_model(ModelArguments(str(tmp_path)), CodebookArguments(**settings), tokenizer, resuming=False)


def test_trained_units_take_what_is_given_for_the_loss_and_are_no_codebook(tmp_path, tokenizer):
    base_t5().save_pretrained(tmp_path / "base")
    arguments = CodebookArguments(**UNITS)
    model, _ = load_model(ModelArguments(str(tmp_path / "base")), arguments, tokenizer, resuming=False)
    model.save_pretrained(tmp_path / "units")
    again = CodebookArguments(**UNITS, l1_weight=0.5)
    loaded, new = load_model(ModelArguments(str(tmp_path / "units")), again, tokenizer, resuming=False)
    assert not new and loaded.config.bottleneck.l1_weight == 0.5
    for other in ({"bottleneck": "codebook"}, {"active": 4}):
        with pytest.raises(ValueError, match="has a trained bottleneck"):
            load_model(ModelArguments(str(tmp_path / "units")), CodebookArguments(**other), tokenizer, resuming=False)
