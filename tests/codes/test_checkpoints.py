"""Checkpoints of counts: a pass that was killed goes on where it was, and gives the same integers."""

import os
import signal
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from excise.bottlenecks.site import bottlenecks
from excise.codes import CodeFinder, Search, counting, passes
from excise.codes.counting import count_codes, count_pairs, count_used
from tests.data.test_streams import assert_same

ROWS = 11
OPTIONS = {"max_top_s": 4, "batch_size": 2, "progress": False}


@pytest.fixture
def rows(topic) -> Dataset:
    """Rows of unequal length, an odd number."""
    longer = [f"{text} {'book ' * (i % 4)}" for i, text in enumerate(topic.retain["text"][:ROWS])]
    return Dataset.from_dict({"text": longer})


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Checkpoints are written after each batch."""
    monkeypatch.setattr(passes, "SECONDS", -1.0)


@pytest.fixture
def ran(monkeypatch) -> list:
    """The batches that were run."""
    batches, ranks = [], counting._Counter.of_batch
    monkeypatch.setattr(counting._Counter, "of_batch", lambda self, batch: batches.append(batch) or ranks(self, batch))
    return batches


def killed(call, at: int) -> None:
    """Calls in a process of its own, which is killed before a batch."""
    child = os.fork()
    if child == 0:
        ranks, batches = counting._Counter.of_batch, []

        def one(self, batch):
            batches.append(batch)
            if len(batches) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return ranks(self, batch)

        counting._Counter.of_batch = one
        try:
            call()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a spawned process would import everything again")
def test_one_that_is_killed_while_it_writes_leaves_nothing_half(make_model, tokenizer, rows, tmp_path):
    model = make_model()

    def count():
        return count_codes(model, tokenizer, rows, checkpoint=tmp_path, **OPTIONS)

    child = os.fork()
    if child == 0:
        written, replace = [], Path.replace

        def third(path, target):
            written.append(path)
            if len(written) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(path, target)

        Path.replace = third
        try:
            count()
        finally:
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert len(names(tmp_path)) == 2
    assert_same(count(), count_codes(model, tokenizer, rows, **OPTIONS))
    assert len(names(tmp_path)) == 2 and not list(tmp_path.glob("*.partial"))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a spawned process would import everything again")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_count_that_was_killed_goes_on_and_gives_the_same_integers(
    make_model, tokenizer, rows, tmp_path, ran, streamed
):
    model, data = make_model(layers=(0, 1)), rows.to_iterable_dataset() if streamed else rows
    whole = count_codes(model, tokenizer, data, **OPTIONS)
    assert len(ran) == 6

    def count():
        return count_codes(model, tokenizer, data, checkpoint=tmp_path, **OPTIONS)

    killed(count, 3)
    killed(count, 2)
    assert len(names(tmp_path)) == 2
    ran.clear()
    assert_same(count(), whole)
    assert [batch.number for batch in ran] == [3, 4, 5]
    ran.clear()
    assert_same(count(), whole)
    assert not ran and len(names(tmp_path)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a spawned process would import everything again")
def test_a_count_of_pairs_and_one_of_use_go_on_too(make_model, tokenizer, topic, tmp_path, ran):
    model = make_model()

    def pairs(**folder):
        return count_pairs(model, tokenizer, topic.target, topic.control, **OPTIONS, **folder)

    def used(**folder):
        return count_used(model, tokenizer, topic.retain, batch_size=2, progress=False, **folder)

    whole, whole_used = pairs(), used()
    killed(lambda: pairs(checkpoint=tmp_path / "pairs"), 4)
    killed(lambda: used(checkpoint=tmp_path / "used"), 6)
    ran.clear()
    found = pairs(checkpoint=tmp_path / "pairs")
    assert len(ran) == 3
    for site, counts in whole.items():
        assert torch.equal(found[site].both, counts.both)
        assert torch.equal(found[site].control.examples, counts.control.examples)
        assert found[site].target.num_examples == 12
    assert_same(used(checkpoint=tmp_path / "used"), whole_used)


def test_what_is_of_another_run_is_refused_by_name(make_model, tokenizer, rows, tmp_path):
    model = make_model()
    count_codes(model, tokenizer, rows, checkpoint=tmp_path, **OPTIONS)
    others = {
        "max_top_s": lambda: count_codes(model, tokenizer, rows, checkpoint=tmp_path, **OPTIONS | {"max_top_s": 3}),
        "batch_size": lambda: count_codes(model, tokenizer, rows, checkpoint=tmp_path, **OPTIONS | {"batch_size": 3}),
        "data": lambda: count_codes(model, tokenizer, rows.select(range(9)), checkpoint=tmp_path, **OPTIONS),
        "function, max_top_s": lambda: count_used(model, tokenizer, rows, checkpoint=tmp_path, batch_size=2),
        "model": lambda: count_codes(make_model(seed=1), tokenizer, rows, checkpoint=tmp_path, **OPTIONS),
    }
    for different, call in others.items():
        with pytest.raises(ValueError, match=f"holds counts of another run: {different} differ. Give the same"):
            call()
    ((_, bottleneck),) = bottlenecks(model).items()
    bottleneck.live[3] = False
    with pytest.raises(ValueError, match=r"another run: model differ\."):
        count_codes(model, tokenizer, rows, checkpoint=tmp_path, **OPTIONS)


def test_a_stream_that_has_other_rows_now_is_refused(make_model, tokenizer, rows, tmp_path):
    model = make_model()
    count_codes(model, tokenizer, rows.to_iterable_dataset(), checkpoint=tmp_path, **OPTIONS)
    for other in (rows.select(range(9)), rows.select(reversed(range(ROWS)))):
        with pytest.raises(ValueError, match="holds counts of other rows than the stream has now, in batch 0"):
            count_codes(model, tokenizer, other.to_iterable_dataset(), checkpoint=tmp_path, **OPTIONS)


def test_a_shorter_stream_of_the_same_windows_is_refused(make_model, tokenizer, rows, tmp_path, monkeypatch):
    from excise.data import batches

    monkeypatch.setattr(batches, "WINDOW", 2)
    model = make_model()
    count_codes(model, tokenizer, rows.to_iterable_dataset(), checkpoint=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match="of more than the 3 batches that the stream has now"):
        count_codes(model, tokenizer, rows.to_iterable_dataset().take(6), checkpoint=tmp_path, **OPTIONS)


def test_files_of_the_same_batches_count_once(make_model, tokenizer, rows, tmp_path):
    model = make_model()
    whole = count_codes(model, tokenizer, rows, checkpoint=tmp_path, **OPTIONS)
    (first,) = tmp_path.iterdir()
    (tmp_path / "copied.safetensors").write_bytes(first.read_bytes())
    assert_same(count_codes(model, tokenizer, rows, checkpoint=tmp_path, **OPTIONS), whole)
    assert len(names(tmp_path)) == 1


def test_a_file_that_is_broken_or_something_else_is_no_checkpoint(make_model, tokenizer, rows, tmp_path):
    model = make_model()
    count_codes(model, tokenizer, rows, checkpoint=tmp_path, **OPTIONS)
    (path,) = tmp_path.iterdir()
    content, tensors = path.read_bytes(), load_file(path)
    path.write_bytes(content[:100])
    with pytest.raises(ValueError, match="Remove it, and its batches are counted again"):
        count_codes(model, tokenizer, rows, checkpoint=tmp_path, **OPTIONS)
    save_file(tensors, path)
    with pytest.raises(ValueError, match="holds counts of another run"):
        count_codes(model, tokenizer, rows, checkpoint=tmp_path, **OPTIONS)


def test_a_checkpoint_is_written_each_minute_and_in_the_end(make_model, tokenizer, rows, tmp_path, monkeypatch):
    kept = []
    keep = passes.Checkpoint.keep
    monkeypatch.setattr(passes.Checkpoint, "keep", lambda self, part: kept.append(part) or keep(self, part))
    monkeypatch.setattr(passes, "SECONDS", 60.0)
    count_codes(make_model(), tokenizer, rows, checkpoint=tmp_path, **OPTIONS)
    assert len(kept) == 1


def test_all_that_a_choice_counts_is_kept_each_in_a_folder_of_its_own(make_model, tokenizer, topic, tmp_path, ran):
    finder = CodeFinder(make_model(num_codes=64, layers=(0, 1)), tokenizer)
    searches = [
        Search(method="fisher", positions="all", multiple=2, q=0.9, rounds=2, max_retain_ratio=1.0),
        Search("activations", count=3),
    ]
    options = {"preset": searches, "batch_size": 4, "progress": False}
    chosen = finder.choose(topic, **options)
    assert ran
    assert finder.choose(topic, checkpoint=tmp_path, **options).codes == chosen.codes
    folders = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.safetensors")}
    assert folders >= {"retain", "search-1/pairs", "search-2", "round-2/search-1/pairs"}
    ran.clear()
    assert finder.choose(topic, checkpoint=tmp_path, **options).codes == chosen.codes and not ran
    counts = finder.count_topic(topic, retain=True, max_top_s=4, progress=False, checkpoint=tmp_path / "topic")
    assert sorted(path.name for path in (tmp_path / "topic").iterdir()) == ["pairs", "retain"]
    whole = finder.count_topic(topic, retain=True, max_top_s=4, progress=False)
    assert_same(counts.retain, whole.retain)


def test_a_folder_that_is_no_checkpoint_of_this_loses_nothing(make_model, tokenizer, rows, tmp_path):
    model = make_model()
    count_codes(model, tokenizer, rows, checkpoint=tmp_path / "own", **OPTIONS)
    own, another = (tmp_path / "own" / f".{'0' * 32}.safetensors.partial", tmp_path / "own" / ".download.partial")
    for path in (own, another):
        path.write_bytes(b"half")
    with pytest.raises(ValueError, match="holds counts of another run"):
        count_codes(model, tokenizer, rows, checkpoint=tmp_path / "own", **OPTIONS | {"max_top_s": 3})
    assert own.exists() and another.exists()
    count_codes(model, tokenizer, rows, checkpoint=tmp_path / "own", **OPTIONS)
    assert not own.exists() and another.exists()


def test_a_file_and_a_checkpoint_that_lacks_counts_are_refused_in_words(make_model, tokenizer, rows, tmp_path):
    model = make_model()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file, and a checkpoint is a folder"):
        count_codes(model, tokenizer, rows, checkpoint=tmp_path / "file", **OPTIONS)
    assert (tmp_path / "file").read_text() == "mine"
    count_codes(model, tokenizer, rows, checkpoint=tmp_path / "own", **OPTIONS)
    (path,) = (tmp_path / "own").glob("*.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    for name in tensors:
        save_file({other: tensor for other, tensor in tensors.items() if other != name}, path, metadata)
        with pytest.raises(ValueError, match=r"lacks some of its counts\. Remove it"):
            count_codes(model, tokenizer, rows, checkpoint=tmp_path / "own", **OPTIONS)
