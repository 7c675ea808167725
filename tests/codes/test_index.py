"""A code index: counts that are read from it are those of the model, whatever is masked, and never of another model."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from excise import Unlearner
from excise.bottlenecks.site import bottlenecks
from excise.codes import CodeFinder, CodeIndex, Search, Selection, code_tokens, token_meanings
from excise.codes.counting import count_codes, count_pairs, count_used
from excise.codes.index import indexing
from excise.codes.index.ranks import among_live
from tests.helpers.two_processes import launched

WORDS = "the a teacher doctor cat dog reads sees likes book house .".split()


def texts_of(number: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(number)]


def same(first: dict, second: dict) -> bool:
    """Whether counts are the same integers."""
    names = ("target", "control") if hasattr(next(iter(first.values())), "target") else ()
    return first.keys() == second.keys() and all(
        all(
            torch.equal(getattr(a, n).examples, getattr(b, n).examples)
            and getattr(a, n).num_examples == getattr(b, n).num_examples
            for n in names
        )
        and (torch.equal(a.both, b.both) if names else torch.equal(a.examples, b.examples))
        for a, b in ((first[site], second[site]) for site in first)
    )


@pytest.fixture(scope="module")
def corpus(topic):
    return Dataset.from_dict({"text": [*topic.target["text"], *topic.retain["text"], *texts_of(60)]})


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(num_codes=40, layers=(0, 2))


@pytest.fixture(scope="module")
def index(model, tokenizer, corpus, tmp_path_factory):
    return CodeIndex.build(model, tokenizer, corpus, tmp_path_factory.mktemp("index"), max_top_s=6, progress=False)


@pytest.fixture
def runs(monkeypatch):
    """How many texts the model is run on while counting."""
    from excise.codes import counting

    seen = []
    run = counting.bottleneck_inputs

    def watched(model, batch, *args, **kwargs):
        seen.append(len(batch["input_ids"]))
        return run(model, batch, *args, **kwargs)

    monkeypatch.setattr(counting, "bottleneck_inputs", watched)
    return seen


def masked(model, codes):
    site = next(iter(bottlenecks(model)))
    return CodeFinder(model, None).trial(Selection({site: codes} if not isinstance(codes, dict) else codes, {}))


@pytest.mark.parametrize("positions", ["topic", "all"])
@pytest.mark.parametrize("max_top_s", [1, 3, 6])
def test_counts_of_a_topic_are_those_of_the_model_at_every_s(
    model, tokenizer, topic, index, runs, positions, max_top_s
):
    options = {"positions": positions, "max_top_s": max_top_s, "progress": False}
    plain = count_pairs(model, tokenizer, topic.target, topic.control, **options)
    runs.clear()
    indexed = count_pairs(model, tokenizer, topic.target, topic.control, **options, index=index)
    assert same(plain, indexed)
    assert sum(runs) == len(topic.control)  # replaced sentences are not in the corpus


def test_nothing_is_run_where_all_is_in_the_corpus(model, tokenizer, topic, index, runs):
    for count in (count_codes, count_used):
        options = {"max_top_s": 6} if count is count_codes else {}
        plain = count(model, tokenizer, topic.retain, **options, progress=False)
        runs.clear()
        assert same(plain, count(model, tokenizer, topic.retain, **options, progress=False, index=index))
        assert not runs


@settings(max_examples=12)
@given(st.data())
def test_whatever_is_masked_counts_are_those_of_the_model(model, tokenizer, topic, index, data):
    codes = {
        site: data.draw(st.lists(st.integers(0, 39), max_size=12, unique=True), label=site)
        for site in bottlenecks(model)
    }
    max_top_s = data.draw(st.integers(1, 8), label="S'")
    with masked(model, codes):
        for rows, positions in ((topic.target, "topic"), (topic.retain, "all")):
            options = {"max_top_s": max_top_s, "progress": False, "positions": positions}
            plain = count_codes(model, tokenizer, rows, **options)
            assert same(plain, count_codes(model, tokenizer, rows, **options, index=index))
        plain = count_used(model, tokenizer, topic.retain, progress=False)
        assert same(plain, count_used(model, tokenizer, topic.retain, progress=False, index=index))


def test_a_mask_runs_again_only_the_texts_whose_ranks_do_not_suffice(
    make_model, tokenizer, topic, corpus, runs, tmp_path
):
    model = make_model(num_codes=40)
    index = CodeIndex.build(model, tokenizer, corpus, tmp_path / "i", max_top_s=6, progress=False)
    ((_site, counts),) = count_codes(model, tokenizer, topic.retain, max_top_s=6, progress=False).items()
    often = counts.example_counts(1).argsort(descending=True)[:3].tolist()
    with masked(model, often):
        for top_s, least in ((2, True), (7, False)):
            runs.clear()
            indexed = count_codes(model, tokenizer, topic.retain, max_top_s=top_s, progress=False, index=index)
            ran = sum(runs)
            assert same(count_codes(model, tokenizer, topic.retain, max_top_s=top_s, progress=False), indexed)
            assert ran < len(topic.retain) if least else ran > 0


def test_least_similarity_is_part_of_what_is_stored(make_model, tokenizer, topic, corpus, tmp_path):
    model = make_model(num_codes=40)
    ((site, bottleneck),) = bottlenecks(model).items()
    bottleneck.min_similarity.fill_(0.55)
    index = CodeIndex.build(model, tokenizer, corpus, tmp_path / "i", max_top_s=6, progress=False)
    for codes in ([], [1, 2, 3, 5, 8, 13, 21, 34]):
        with masked(model, codes):
            plain = count_codes(model, tokenizer, topic.retain, max_top_s=6, progress=False)
            assert same(plain, count_codes(model, tokenizer, topic.retain, max_top_s=6, progress=False, index=index))
            plain = count_used(model, tokenizer, topic.retain, progress=False)
            assert same(plain, count_used(model, tokenizer, topic.retain, progress=False, index=index))
    assert plain[site].examples.sum() > 0
    bottleneck.min_similarity.fill_(0.5)
    with pytest.raises(ValueError, match=r"min_similarity of encoder\S* was 0.55\d* and is 0.5\. Build an index anew"):
        index.check(model, tokenizer)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.booleans())
def test_taking_codes_out_of_a_long_list_is_taking_them_out_of_a_short_one(seed, top_s, passed_on):
    rng = np.random.default_rng(seed)
    codes = np.array([rng.permutation(12) for _ in range(8)])
    similar, live = rng.integers(0, 13, 8), rng.random(12) > rng.random()
    depth = int(rng.integers(1, 13))
    left, enough = among_live(codes[:, :depth], ~live[codes][:, :depth], similar.clip(max=depth), top_s, passed_on)
    for row, token in enumerate(codes):
        ok = [code for place, code in enumerate(token) if live[code] and (passed_on or place < similar[row])]
        first = next((place for place, code in enumerate(token) if live[code]), 12)
        if passed_on and first >= similar[row]:
            ok = []
        if enough[row]:
            assert left[row].tolist() == (ok + [-1] * top_s)[:top_s] or live.sum() < top_s
        else:
            assert live[token[:depth]].sum() < top_s


def test_requests_find_the_same_codes_one_after_the_other(make_model, tokenizer, topic, corpus, tmp_path):
    plain, indexed = (Unlearner(make_model(num_codes=40), tokenizer) for _ in range(2))
    indexed.index = CodeIndex.build(indexed.model, tokenizer, corpus, tmp_path / "i", progress=False)
    searches = [Search(count=4, q=1.0), Search("activations", count=2), Search(count=2, q=1.0, rounds=2)]
    for number, search in enumerate(searches):
        requests = [one.forget(topic, search, name=str(number), progress=False) for one in (plain, indexed)]
        assert requests[0].codes == requests[1].codes
    plain.undo(1), indexed.undo(1)
    for one in (plain, indexed):
        one.delete_request(2)
    again = [one.choose(topic, searches[0], progress=False).codes for one in (plain, indexed)]
    assert again[0] == again[1]


def test_a_model_that_was_trained_since_is_refused(make_model, tokenizer, corpus, tmp_path):
    model = make_model()
    index = CodeIndex.build(model, tokenizer, corpus, tmp_path / "i", progress=False)
    unlearner = Unlearner(model, tokenizer, index=index)
    ((_, bottleneck),) = bottlenecks(model).items()
    for tensor, message in (
        (
            model.encoder.block[0].layer[0].SelfAttention.q.weight,
            "the weights before its bottlenecks have other numbers",
        ),
        (bottleneck.encoder.weight, "made before the model was trained further"),
        (bottleneck.codebook, "rows of 32 of 32 codes"),
    ):
        kept = tensor.data.clone()
        tensor.data.mul_(1.01)
        with pytest.raises(ValueError, match=f"Code index: .*{message}.*Build an index anew, in another folder"):
            unlearner.count(Dataset.from_dict({"text": ["the cat"]}), Search("activations", count=1), progress=False)
        tensor.data.copy_(kept)
        index.check(model, tokenizer)
    model.decoder.block[0].layer[0].SelfAttention.q.weight.data.mul_(2)  # it comes after
    index.check(model, tokenizer)


def test_another_model_or_tokenizer_is_refused(make_model, tokenizer, corpus, index, model, tmp_path):
    import copy

    with pytest.raises(ValueError, match="the tokenizer is another one, or cuts texts to another length"):
        shorter = copy.deepcopy(tokenizer)
        shorter.model_max_length = 5
        index.check(model, shorter)
    with pytest.raises(ValueError, match="but the model has"):
        Unlearner(make_model(), tokenizer, index=index)
    with pytest.raises(ValueError, match="Code index: made"):
        Unlearner(make_model(num_codes=40, layers=(0, 2), seed=1), tokenizer, index=index)
    assert same_files(index.folder, lambda: index.check(model, tokenizer))


def same_files(folder, call) -> bool:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    call()
    return before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_index_grows_with_its_corpus_and_runs_what_is_new(model, tokenizer, tmp_path, monkeypatch):
    ran = []
    run = indexing.bottleneck_inputs
    monkeypatch.setattr(indexing, "bottleneck_inputs", lambda m, b: (ran.append(len(b["input_ids"])), run(m, b))[1])
    texts = texts_of(30)
    first, unique = Dataset.from_dict({"text": texts[:20] * 2}), list(dict.fromkeys(texts))
    index = CodeIndex.build(model, tokenizer, first, tmp_path / "i", max_top_s=4, progress=False)
    assert len(index) == sum(ran) == len(set(texts[:20]))
    assert same_files(index.folder, lambda: index.add(model, tokenizer, first, progress=False))
    grown = CodeIndex.build(model, tokenizer, Dataset.from_dict({"text": texts}), tmp_path / "i", progress=False)
    assert len(grown) == sum(ran) == len(unique) and grown.max_top_s == 4
    rows = Dataset.from_dict({"text": texts})
    plain = count_codes(model, tokenizer, rows, max_top_s=4, progress=False)
    assert same(plain, count_codes(model, tokenizer, rows, max_top_s=4, progress=False, index=grown))
    with pytest.raises(ValueError, match=r"max_top_s=9: the index in .* is for S' up to 4"):
        CodeIndex.build(model, tokenizer, first, tmp_path / "i", max_top_s=9)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_a_build_that_was_stopped_goes_on_and_makes_the_same_files(model, tokenizer, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(indexing, "PART_TEXTS", 8)
    rows = Dataset.from_dict({"text": list(dict.fromkeys(texts_of(40)))[:30]})
    whole = CodeIndex.build(model, tokenizer, rows, tmp_path / "whole", progress=False)
    write, done = indexing.write_part, []

    def full(path, *args):
        if len(done) == 2:
            path.with_name(f".{path.stem}-0.arrow").write_bytes(b"half")
            raise stop(28, "No space left on device")
        done.append(path.name)
        write(path, *args)

    monkeypatch.setattr(indexing, "write_part", full)
    with pytest.raises(stop):
        CodeIndex.build(model, tokenizer, rows, tmp_path / "i", progress=False)
    with pytest.raises(ValueError, match=r"not finished\. Build it again: it goes on from there"):
        CodeIndex.load(tmp_path / "i")
    (tmp_path / "i" / "part-0000-000001.arrow").write_bytes(b"ARROW1 cut short")  # not believed
    again = []
    monkeypatch.setattr(indexing, "write_part", lambda path, *args: (again.append(path.name), write(path, *args)))
    index = CodeIndex.build(model, tokenizer, rows, tmp_path / "i", progress=False)
    assert again == ["part-0000-000001.arrow", "part-0000-000002.arrow", "part-0000-000003.arrow"]
    assert {p.name: p.read_bytes() for p in index.folder.iterdir()} == {
        p.name: p.read_bytes() for p in whole.folder.iterdir()
    }


def test_streams_translations_prefixes_and_token_ids_are_indexed(model, tokenizer, tmp_path, runs):
    texts = list(dict.fromkeys(texts_of(12)))
    pairs = Dataset.from_dict({"translation": [{"en": text, "fr": "le livre"} for text in texts]})
    index = CodeIndex.build(
        model, tokenizer, pairs.to_iterable_dataset(), tmp_path / "i", text="en", prefix="the ", progress=False
    )
    assert len(index) == len(texts)
    prefixed = Dataset.from_dict({"text": [f"the {text}" for text in texts]})
    tokenized = prefixed.map(lambda row: {"input_ids": tokenizer(row["text"])["input_ids"]}, remove_columns="text")
    for rows in (prefixed, tokenized):
        plain = count_codes(model, tokenizer, rows, max_top_s=6, progress=False)
        runs.clear()
        assert same(plain, count_codes(model, tokenizer, rows, max_top_s=6, progress=False, index=index))
        assert not runs
    assert len(CodeIndex.build(model, tokenizer, tokenized, tmp_path / "i", progress=False)) == len(index)


def test_rows_without_a_text_are_left_out_and_no_rows_are_refused(model, tokenizer, tmp_path):
    rows = Dataset.from_dict({"text": ["the cat", None, "the cat", "a dog ."]})
    assert len(CodeIndex.build(model, tokenizer, rows, tmp_path / "i", progress=False)) == 2
    one = CodeIndex.build(model, tokenizer, Dataset.from_dict({"text": ["a"]}), tmp_path / "one", progress=False)
    assert len(one) == 1 and "1 texts" in repr(one)
    for empty in ({"text": []}, {"text": [None, None]}, {"text": [float("nan")]}):
        with pytest.raises(ValueError, match="No row has a text in 'text', so there is nothing to index"):
            CodeIndex.build(model, tokenizer, Dataset.from_dict(empty), tmp_path / "empty", progress=False)
    with pytest.raises(ValueError, match="There is no text column 'en'"):
        CodeIndex.build(model, tokenizer, rows, tmp_path / "other", text="en", progress=False)
    assert not (tmp_path / "empty").exists() and not (tmp_path / "other").exists()


def test_broken_and_foreign_files_are_refused_in_words(index, tmp_path, model, tokenizer, topic):
    def broken(name: str, change) -> None:
        folder = tmp_path / name
        shutil.copytree(index.folder, folder)
        change(folder, min(folder.glob("part-*")))
        count_codes(model, tokenizer, topic.retain, max_top_s=2, progress=False, index=CodeIndex.load(folder))

    def overwritten(folder, _):
        for part in folder.glob("part-*"):  # what is not read is not looked through
            part.write_bytes(b"x" * part.stat().st_size)

    def flipped(folder, _):
        for part in folder.glob("part-*"):
            data = bytearray(part.read_bytes())
            data[len(data) // 3] ^= 1
            part.write_bytes(data)

    manifest = "code_index.json"
    changes = {
        "is missing, or is not as it was written": lambda f, p: p.write_bytes(p.read_bytes()[:-40]),
        "part-0000-000000.arrow is missing": lambda f, p: p.unlink(),
        "is no part of a code index|not as it was written": overwritten,
        "not as it was written|cannot be read": flipped,
        "is no strict JSON": lambda f, p: (f / manifest).write_text('{"version": NaN}'),
        "wrong type: expected": lambda f, p: (f / manifest).write_text("[]"),
        "has format 7; this excise reads 1": lambda f, p: (f / manifest).write_text('{"version": 7}'),
        "parts in code_index.json is of the wrong type": lambda f, p: changed(f / manifest, parts=3),
        "names a file that no index has": lambda f, p: changed(
            f / manifest, parts=[{"name": "../x", "texts": 1, "tokens": 1, "bytes": 1, "sha256": ""}]
        ),
        "origin": lambda f, p: changed(f / manifest, origin={}),
        "has max_top_s 6 and depth -1": lambda f, p: changed(f / manifest, depth=-1),
        "has max_top_s 0 and depth": lambda f, p: changed(f / manifest, max_top_s=0),
        "is of another index": lambda f, p: changed(f / manifest, depth=7),
    }
    for number, (message, change) in enumerate(changes.items()):
        with pytest.raises(ValueError, match=message):
            broken(str(number), change)


def changed(path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_folder_with_something_else_is_left_alone(model, tokenizer, corpus, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists and is not an empty folder"):
        CodeIndex.build(model, tokenizer, corpus, tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(ValueError, match="holds no code index"):
        CodeIndex.load(tmp_path)


def test_more_ranks_than_are_stored_are_counted_by_the_model_with_a_word(model, tokenizer, topic, index):
    options = {"max_top_s": 20, "progress": False}
    plain = count_codes(model, tokenizer, topic.retain, **options)
    with pytest.warns(UserWarning, match="goes to S' = 6, and 20 is asked for"):
        assert same(plain, count_codes(model, tokenizer, topic.retain, **options, index=index))


def test_images_are_told_that_an_index_is_for_texts(model, index):
    from transformers import ViTImageProcessor

    with pytest.raises(ValueError, match=r"A CodeIndex is of texts, and a ViTImageProcessor\w* makes inputs of images"):
        CodeFinder(model, ViTImageProcessor(), index)


@pytest.fixture(scope="module")
def in_processes(tmp_path_factory):
    """What each of two processes saw, where a build had been killed after a part."""
    from tests.helpers.indexing_in_processes import build

    folder = tmp_path_factory.mktemp("processes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "PART_TEXTS", 8)
        build(folder / "alone")
        shutil.copytree(folder / "alone", folder / "alone grown")
        build(folder / "alone grown", 49)
    (folder / "killed").mkdir()
    shutil.copy(folder / "alone" / "part-0000-000001.arrow", folder / "killed")
    (folder / "killed" / ".part-0000-000002-0.arrow").write_bytes(b"half")
    result = launched("indexing_in_processes", folder)
    assert result.returncode == 0, result.stderr[:8000]
    return folder, [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_two_processes_write_what_one_does_and_go_on_from_a_kill(in_processes):
    folder, found = in_processes
    assert [each["world"] for each in found] == [2, 2]
    assert [(each["texts"], each["grown"], each["resumed"]) for each in found] == [(40, 49, 40)] * 2
    for alone, other in (("alone", "killed"), ("alone grown", "index")):
        first, second = ({p.name: p.read_bytes() for p in (folder / name).iterdir()} for name in (alone, other))
        assert first == second


def test_what_one_process_raises_all_raise(in_processes):
    first, second = (each["error"] for each in in_processes[1])
    assert first.startswith("RuntimeError: Another process could not index its part. FileNotFoundError")
    assert second.startswith("FileNotFoundError")


def test_meanings_of_codes_are_those_of_the_model(make_model, tokenizer, corpus, tmp_path):
    plain, indexed = (Unlearner(make_model(num_codes=40), tokenizer) for _ in range(2))
    indexed.index = CodeIndex.build(indexed.model, tokenizer, corpus, tmp_path / "i", progress=False)
    texts = [*corpus["text"][:30], "a book reads the doctor teacher house likes"]
    ((site, _),) = plain.sites.items()
    for unlearner in (plain, indexed):
        unlearner.mask(Selection({site: [1, 2, 3]}, {}), "some")
    for options in ({"count": 99}, {"top_s": 5, "codes": {site: range(0, 40, 2)}}):
        assert token_meanings(plain, texts, **options, progress=False) == token_meanings(
            indexed, texts, **options, progress=False
        )
    for code in (2, 7):
        first, second = (code_tokens(one, texts, site, code, progress=False) for one in (plain, indexed))
        close = pytest.approx([row.pop("similarity") for row in first["contexts"]], abs=1e-5)
        assert [row.pop("similarity") for row in second["contexts"]] == close
        assert first == second


def test_random_controls_are_drawn_by_the_same_numbers(make_model, tokenizer, topic, corpus, tmp_path):
    from excise.evaluation.controls import use_counts

    unlearner = Unlearner(make_model(num_codes=40), tokenizer)
    plain = use_counts(unlearner, topic.retain, progress=False)
    unlearner.index = CodeIndex.build(unlearner.model, tokenizer, corpus, tmp_path / "i", progress=False)
    assert same(plain, use_counts(unlearner, topic.retain, progress=False))


def test_no_file_of_an_index_is_saved_or_published(make_model, tokenizer, corpus, tmp_path):
    model = make_model(num_codes=40)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    unlearner = Unlearner.from_pretrained(tmp_path / "model")
    index = CodeIndex.build(unlearner.model, unlearner.tokenizer, corpus, tmp_path / "model" / "index", progress=False)
    unlearner.index = index
    unlearner.forget(Selection({next(iter(unlearner.sites)): [1, 2]}, {}), name="some")
    unlearner.save_pretrained(tmp_path / "checkpoint")
    unlearner.save_bundle(tmp_path / "bundle")
    for folder in ("checkpoint", "bundle"):
        names = {path.name for path in (tmp_path / folder).rglob("*")}
        assert "model.safetensors" in names and not names & {path.name for path in index.folder.iterdir()}
    assert same_files(index.folder, lambda: index.check(unlearner.model, unlearner.tokenizer))
