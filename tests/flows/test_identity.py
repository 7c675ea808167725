"""Selections, counts and records are used on the model that they were made on, as it was then, and on no other."""

import copy
import json
import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from excise import PairCounts, Record, Search, Selection, Unlearner, initialize_codes, initialize_keys
from excise.bottlenecks.identity import Identity, codes_id, joined
from excise.bottlenecks.site import bottlenecks
from excise.codes import TopicCounts
from excise.codes.counts import CodeCounts
from excise.codes.enrichment import Enrichment
from excise.codes.selection import SITE as PAIRS_SITE
from excise.codes.selection import random_like
from excise.evaluation.frontiers import frontier
from excise.evaluation.texts import evaluate
from tests.helpers import tiny
from tests.helpers.tiny_images import processor

SITE = "encoder.block.1"
EASY = Search(q=1.0, multiple=1)
OTHER, TRAINED = "made of codes with the id .* but the model's have the id", "before the model was trained further"


def initialized(model, tokenizer, topic, **options):
    initialize_codes(model, topic.retain, tokenizer, steps=options.pop("steps", 0), progress=False, **options)
    return model


@pytest.fixture(scope="module")
def one(make_model, tokenizer, topic):
    """A model whose codes were put where data is; to be copied."""
    return initialized(make_model(num_codes=64), tokenizer, topic)


@pytest.fixture(scope="module")
def another(make_model, tokenizer, topic):
    """The same to the last bit, made in another run."""
    return initialized(make_model(num_codes=64), tokenizer, topic)


@pytest.fixture
def unlearner(one, tokenizer):
    return Unlearner(copy.deepcopy(one), tokenizer)


@pytest.fixture
def stranger(another, tokenizer):
    return Unlearner(copy.deepcopy(another), tokenizer)


@pytest.fixture
def chosen(unlearner, topic):
    return unlearner.choose(topic, EASY, progress=False)


def train(model, names="bottleneck", learning_rate=1e-3):
    """One step of training of the parameters that have a name."""
    batch = {"input_ids": torch.tensor([[3, 4, 5, 1]]), "labels": torch.tensor([[5, 1]])}
    parameters = [parameter for name, parameter in model.named_parameters() if names in name]
    model(**batch).loss.backward()
    torch.optim.SGD(parameters, learning_rate).step()
    model.zero_grad()


# ---- the id


def test_an_id_is_drawn_with_the_codes_and_by_no_chance_that_a_seed_decides(make_model, tokenizer, topic):
    models, states = [make_model() for _ in range(2)], []
    assert [codes_id(bottlenecks(model)) for model in models] == [None, None]
    for model in models:
        torch.manual_seed(3)
        random.seed(3)
        initialized(model, tokenizer, topic, steps=2)
        states.append((torch.rand(3).tolist(), random.random(), bottlenecks(model)[SITE].codebook.tolist()))
    assert states[0] == states[1]
    names = [model.config.bottleneck.codes_id for model in models]
    assert names == [codes_id(bottlenecks(model)) for model in models] and len(set(names)) == 2
    initialized(models[0], tokenizer, topic)
    assert codes_id(bottlenecks(models[0])) not in names


def test_an_initialisation_that_fails_draws_none(one, tokenizer, topic, monkeypatch):
    model = copy.deepcopy(one)
    monkeypatch.setattr("excise.training.initialize._train_alone", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        initialized(model, tokenizer, topic, steps=1)
    assert codes_id(bottlenecks(model)) == codes_id(bottlenecks(one))


def test_all_settings_of_a_model_with_two_towers_and_two_sites_have_it(tokenizer):
    model = tiny.codebook_clip(layers=(1, 2))
    initialize_codes(model, tiny.images(6), tiny.image_processor(), steps=0, progress=False)
    names = {bottleneck.config.codes_id for bottleneck in bottlenecks(model).values()}
    assert names == {model.config.vision_config.bottleneck.codes_id} and None not in names


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_saved_model_loads_as_itself_in_every_precision(unlearner, chosen, dtype, tmp_path):
    unlearner.model.save_pretrained(tmp_path)
    loaded = Unlearner(AutoModelForSeq2SeqLM.from_pretrained(tmp_path, dtype=dtype), None)
    loaded.mask(chosen, "teacher")
    # What is chosen in half precision can be taken back to the whole.
    Unlearner(AutoModelForSeq2SeqLM.from_pretrained(tmp_path), None).delete(
        replace(chosen, identity=Identity.of(loaded.sites, chosen.codes)), "teacher"
    )


def test_a_bundle_and_its_remote_code_know_it(unlearner, chosen, tmp_path):
    request = unlearner.mask(chosen, "teacher")
    record = unlearner.save_bundle(tmp_path / "bundle", mode="mask")
    config = json.loads((tmp_path / "bundle" / "config.json").read_text())
    assert config["bottleneck"]["codes_id"] == record.state["model"]["identity"]["codes_id"] is not None
    assert "codes_id" in (tmp_path / "bundle" / "modeling_excise.py").read_text()
    loaded = Unlearner.from_pretrained(tmp_path / "bundle")
    loaded.undo(request.id)
    assert loaded.mask(chosen, "teacher").codes == chosen.codes
    loaded.save_bundle(tmp_path / "again", Record.load(tmp_path / "bundle" / "report"))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_an_adapter_has_the_id_of_the_model_that_it_was_saved_of(make_model, tokenizer, topic, tmp_path):
    from peft import LoraConfig, get_peft_model

    make_model().save_pretrained(tmp_path / "base")  # before there is an id
    base = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "base")
    lora = LoraConfig(task_type="SEQ_2_SEQ_LM", r=2, target_modules=["q"], modules_to_save=["bottleneck"])
    model = get_peft_model(initialized(base, tokenizer, topic), lora)
    unlearner = Unlearner(model, tokenizer)
    chosen = unlearner.choose(topic, EASY, progress=False)
    unlearner.save_pretrained(tmp_path / "adapter")
    loaded = Unlearner.from_pretrained(tmp_path / "adapter")
    assert codes_id(loaded.sites) == codes_id(unlearner.sites) == loaded.model.config.bottleneck.codes_id
    loaded.mask(chosen, topic)


# ---- what leaves the identity as it is


def test_another_deletion_does_not_change_it_not_even_of_codes_that_both_have(unlearner, topic):
    chosen = unlearner.choose(topic, EASY, progress=False)
    codes = chosen.codes[SITE]
    assert len(codes) > 8
    first, second = (
        replace(chosen, codes={SITE: part}, identity=Identity.of(unlearner.sites, {SITE: part}))
        for part in (codes[:6], codes[3:])
    )
    unlearner.delete(first, "first")
    unlearner.undo(unlearner.mask(second, "second"))
    assert unlearner.delete(second, "second").codes == {SITE: codes[3:]}
    assert unlearner.ledger.removed(SITE, kinds=("delete",)) == list(codes)
    unlearner.delete(second, "second again")  # nothing is left to compare but the model


def test_of_codes_that_are_left_after_a_deletion_a_change_is_seen(unlearner, chosen):
    codes = chosen.codes[SITE]
    unlearner.delete(Selection({SITE: codes[:2]}), "first")
    with torch.no_grad():
        unlearner.sites[SITE].codebook[codes[3]] *= 1.01
    with pytest.raises(ValueError, match=f"rows of 1 of {len(codes)} codes of {SITE} have other numbers"):
        unlearner.mask(chosen, "second")


def test_masks_trials_and_a_least_similarity_do_not_change_it(unlearner, chosen):
    before = Identity.of(unlearner.sites, chosen.codes)
    request = unlearner.mask(chosen, "teacher")
    unlearner.sites[SITE].min_similarity.fill_(0.5)
    with unlearner.without_masks():
        assert Identity.of(unlearner.sites, chosen.codes) == before
    unlearner.undo(request)
    assert Identity.of(unlearner.sites, chosen.codes) == before


# ---- what does not


@pytest.mark.parametrize("names", ["bottleneck", "codebook", "bottleneck.encoder"])
def test_training_changes_it_and_the_message_says_what_to_do(unlearner, chosen, topic, names, tmp_path):
    counts = unlearner.count_topic(topic, max_top_s=6, progress=False)
    count, record = unlearner.count(topic, EASY, progress=False), Record.of(unlearner.model)
    train(unlearner.model, names, learning_rate=0.1)
    with pytest.raises(ValueError, match=TRAINED) as raised:
        unlearner.mask(chosen, "teacher")
    assert "Choose again; or, to take the codes as they are, give `Selection(selection.codes)`" in str(raised.value)
    assert not unlearner.ledger.requests
    unlearner.mask(Selection(chosen.codes), "as they are")
    if names != "codebook":  # all that counts know of are the tensors that codes share
        with pytest.raises(ValueError, match=TRAINED):
            unlearner.choose(topic, EASY, counts=counts, progress=False)
        with pytest.raises(ValueError, match=TRAINED):
            count.select()
        with pytest.raises(ValueError, match=TRAINED):
            unlearner.save_bundle(tmp_path / "bundle", record)


USES = {
    "mask": lambda unlearner, topic, made: unlearner.mask(made["selection"], topic),
    "delete": lambda unlearner, topic, made: unlearner.delete(made["selection"], topic),
    "forget": lambda unlearner, topic, made: unlearner.forget(made["selection"], name="teacher"),
    "trial": lambda unlearner, topic, made: unlearner.trial(made["selection"]),
    "choose": lambda unlearner, topic, made: unlearner.choose(topic, EASY, counts=made["counts"], progress=False),
    "a saved selection": lambda unlearner, topic, made: unlearner.mask(
        Selection.from_dict(json.loads(json.dumps(made["selection"].to_dict()))), topic
    ),
    "random codes": lambda unlearner, topic, made: unlearner.mask(made["random"], topic),
    "codes of a table": lambda unlearner, topic, made: unlearner.mask(made["counts"].enrich(4).select(q=1.0), topic),
    "codes of a saved table": lambda unlearner, topic, made: unlearner.mask(made["table"].select(q=1.0), topic),
    "saved counts": lambda unlearner, topic, made: unlearner.forget(topic, EASY, counts=made["loaded"], progress=False),
    "evaluate": lambda unlearner, topic, made: evaluate(
        unlearner, topic, selection=made["selection"], words=["professeur"], progress=False
    ),
    "counts of the retain set": lambda unlearner, topic, made: evaluate(
        unlearner, topic, retain=made["loaded"].retain, words=["professeur"], progress=False
    ),
    "a bundle's record": lambda unlearner, topic, made: unlearner.save_bundle(
        made["folder"] / "bundle", made["record"], mode="mask"
    ),
}


@pytest.fixture(scope="module")
def made(one, tokenizer, topic, tmp_path_factory):
    """All that carries an identity, of one model."""
    unlearner, folder = Unlearner(copy.deepcopy(one), tokenizer), tmp_path_factory.mktemp("made")
    selection = unlearner.choose(topic, EASY, progress=False)
    counts = unlearner.count_topic(topic, retain=True, max_top_s=6, progress=False)
    counts.save(folder / "counts")
    counts.enrich(4).save(folder / "table.parquet")
    use = {SITE: np.ones(64, np.int64)}
    return {
        "selection": selection,
        "random": random_like(replace(selection, codes={SITE: selection.codes[SITE][:3]}), use, live(64), 0),
        "counts": counts,
        "loaded": TopicCounts.load(folder / "counts"),
        "table": Enrichment.load(folder / "table.parquet"),
        "record": Record.of(unlearner.model),
        "folder": folder,
    }


def live(number):
    return {SITE: np.ones(number, bool)}


@pytest.mark.parametrize("use", USES)
def test_what_was_made_on_another_model_of_the_same_shape_is_refused(unlearner, stranger, topic, made, use):
    masks = bottlenecks(stranger.model)[SITE].live.clone()
    with pytest.raises(ValueError, match=OTHER) as raised:
        USES[use](stranger, topic, made)
    assert codes_id(unlearner.sites) in str(raised.value) and codes_id(stranger.sites) in str(raised.value)
    assert not stranger.ledger.requests and torch.equal(bottlenecks(stranger.model)[SITE].live, masks)


@pytest.mark.parametrize("use", [use for use in USES if use not in ("evaluate", "counts of the retain set")])
def test_on_its_own_model_all_of_it_works(unlearner, topic, made, use):
    USES[use](unlearner, topic, made)


def test_the_command_refuses_codes_and_counts_of_another_model(
    unlearner, stranger, topic, made, tokenizer, tmp_path, capsys
):
    from excise.cli import main

    stranger.save_pretrained(tmp_path / "model")
    topic.save(tmp_path / "topic")
    (tmp_path / "codes.json").write_text(json.dumps(made["selection"].to_dict()))
    places = [str(tmp_path / "model"), str(tmp_path / "topic"), "--quiet", "--out"]
    for verb, *options in (
        ["evaluate", str(tmp_path / "out.json"), "--codes", str(tmp_path / "codes.json"), "--word", "professeur"],
        ["unlearn", str(tmp_path / "out"), "--counts", str(made["folder"] / "counts")],
        ["delete", str(tmp_path / "out"), "--counts", str(made["folder"] / "counts")],
    ):
        sizes = [] if verb == "evaluate" else ["--top-s", "3"]
        assert main([verb, *places, *options, *sizes]) == 1
        assert "made of codes with the id" in capsys.readouterr().err
        assert not (tmp_path / "out").exists() and not (tmp_path / "out.json").exists()


# ---- key-value pairs


@pytest.fixture
def siblings(model, encodings):
    """Two models of the same keys, made apart."""
    copies = [copy.deepcopy(model) for _ in range(2)]
    for sibling in copies:
        initialize_keys(sibling, encodings["train"], epochs=1, batch_size=100, progress=False)
    return copies


def test_pairs_of_a_model_with_the_same_keys_are_refused_and_training_of_values_is_none_of_theirs(
    siblings, pairs, encodings, tmp_path
):
    from excise import select_pairs

    first, second = (Unlearner(sibling, processor()) for sibling in siblings)
    assert first.sites[PAIRS_SITE].keys_id == second.sites[PAIRS_SITE].keys_id
    own = select_pairs(siblings[0], encodings["train"], progress=False, cache_dir=tmp_path)
    counts = PairCounts.count(own, siblings[0].bottleneck)
    counts.save(tmp_path / "counts")
    loaded = PairCounts.load(tmp_path / "counts")
    search = Search("activations", count=20)
    selection = first.choose(loaded.topic("green"), search)
    with pytest.raises(ValueError, match=OTHER):
        second.mask(selection, "green")
    with pytest.raises(ValueError, match=OTHER):
        second.forget(loaded.topic("green"), search)
    with pytest.raises(ValueError, match=OTHER):
        frontier(second, encodings["test"], 1, {20: selection}, progress=False)
    with pytest.raises(ValueError, match="of two models"):
        counts + PairCounts.count(own, siblings[1].bottleneck)
    with torch.no_grad():
        siblings[0].bottleneck.values.add_(1.0)
    assert first.forget(loaded.topic("green"), search).codes == first.delete(selection, "green").codes


def test_counts_of_pairs_of_an_older_file_warn(siblings, encodings, tmp_path):
    from excise import select_pairs

    own = select_pairs(siblings[0], encodings["test"], progress=False, cache_dir=tmp_path)
    old = replace(PairCounts.count(own, siblings[0].bottleneck), codes_id=None)
    unlearner = Unlearner(siblings[0], processor())
    with pytest.warns(UserWarning, match="saved without the identity") as seen:
        unlearner.forget(old.topic(1), Search("activations", count=5))
    assert len(seen) == 1


# ---- without


def test_a_saved_selection_without_identity_warns_once_and_one_by_hand_is_silent(unlearner, topic, chosen):
    old = {key: value for key, value in chosen.to_dict().items() if key != "identity"}
    for verb in (unlearner.mask, unlearner.delete):
        with pytest.warns(UserWarning, match="Selection: saved without the identity of a model") as seen:
            verb(Selection.from_dict(old), topic)
        assert len(seen) == 1
    with pytest.warns(UserWarning, match="saved without") as seen, unlearner.trial(Selection.from_dict(old)):
        pass
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unlearner.mask(Selection(chosen.codes), topic)


def test_saved_counts_without_identity_warn_once(unlearner, topic, tmp_path):
    counts = unlearner.count_topic(topic, retain=True, max_top_s=6, progress=False)
    counts.save(tmp_path / "counts")
    about = json.loads((tmp_path / "counts" / "profile.json").read_text())
    del about["identity"]
    (tmp_path / "counts" / "profile.json").write_text(json.dumps(about))
    with pytest.warns(UserWarning, match="Counts: saved without the identity") as seen:
        unlearner.forget(topic, EASY, counts=TopicCounts.load(tmp_path / "counts"), progress=False)
    assert len(seen) == 1


def test_of_a_model_without_an_id_the_numbers_are_compared(make_model, tokenizer, topic):
    first, same, other = (Unlearner(make_model(seed=seed), tokenizer) for seed in (0, 0, 1))
    selection = first.choose(topic, EASY, progress=False)
    assert selection.identity.codes_id is None
    same.mask(selection, topic)
    with pytest.raises(ValueError, match="trained further, or is of another model"):
        other.mask(selection, topic)
    initialized(first.model, tokenizer, topic)
    with pytest.raises(ValueError, match="codes with no id, but the model's have the id"):
        first.mask(selection, topic)


# ---- compaction


def test_numbered_anew_the_codes_have_another_id_and_the_same_for_the_same_codes(unlearner, topic, chosen):
    before = codes_id(unlearner.sites)
    rest = [code for code in range(64) if code not in chosen.codes[SITE]]
    unlearner.delete(Selection({SITE: rest[:5]}), "something else")
    twin = copy.deepcopy(unlearner.model)
    unlearner.compact()
    Unlearner(twin, None).compact()
    assert codes_id(unlearner.sites) == codes_id(bottlenecks(twin)) == unlearner.model.config.bottleneck.codes_id
    assert codes_id(unlearner.sites) != before
    with pytest.raises(ValueError, match=r"numbered anew \(`compact`\) since") as raised:
        unlearner.mask(chosen, topic)
    assert before in str(raised.value)
    unlearner.mask(unlearner.choose(topic, EASY, progress=False), topic)


# ---- the values


def test_an_identity_survives_json_and_is_no_part_of_what_makes_selections_equal(chosen, stranger):
    again = Selection.from_dict(json.loads(json.dumps(chosen.to_dict())))
    assert again.identity == chosen.identity and again.identity.rows.keys() == chosen.codes.keys()
    assert Selection(chosen.codes, chosen.thresholds) == chosen
    assert repr(Selection(chosen.codes, chosen.thresholds)) == repr(chosen)
    for wrong in ([1], {"codes_id": 1}, {"shared": {SITE: 1}}, {"rows": {SITE: "!"}}, {"rows": {SITE: "AAAA"}}):
        with pytest.raises(ValueError, match=r"^An identity"):
            Selection.from_dict(chosen.to_dict() | {"identity": wrong})
    with pytest.raises(ValueError, match="do not add up"):
        chosen.with_more(replace(chosen, identity=Identity.of(stranger.sites)))
    assert joined(chosen.identity, None) == chosen.identity
    assert joined(chosen.identity, Identity()) == Identity()


def test_rounds_and_counts_of_parts_are_of_the_same_model(unlearner, topic, tmp_path):
    both = unlearner.choose(topic, Search(q=1.0, multiple=1, rounds=2), progress=False)
    both.identity.check(unlearner.sites, "both", "")
    retain = unlearner.count_topic(topic, retain=True, max_top_s=6, progress=False).retain[SITE]
    (retain + retain).save(tmp_path / "sum")
    assert CodeCounts.load(tmp_path / "sum").identity == retain.identity == Identity.of(unlearner.sites)
