import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from excise.codes.counts import CodeCounts, PairedCounts, best_ranks

NUM_CODES, MAX_TOP_S = 12, 5


def ranked(tokens, generator):
    """Random distinct codes for each token, most similar first."""
    return torch.rand(tokens, NUM_CODES, generator=generator).argsort(1)[:, :MAX_TOP_S]


def batch(seed, examples=4, tokens=9):
    generator = torch.Generator().manual_seed(seed)
    codes = ranked(tokens, generator)
    rows = torch.randint(examples, (tokens,), generator=generator)
    return codes, rows, examples


def count(codes, rows, examples):
    return CodeCounts.empty(NUM_CODES, MAX_TOP_S).add_batch_(best_ranks(codes, rows, examples, NUM_CODES))


def count_pairs(target, control):
    ranks = [best_ranks(*of_one, NUM_CODES) for of_one in (target, control)]
    return PairedCounts.empty(NUM_CODES, MAX_TOP_S).add_batch_(*ranks)


@pytest.mark.parametrize("top_s", range(1, MAX_TOP_S + 1))
@pytest.mark.parametrize("seed", range(5))
def test_counts_for_every_top_s_are_those_of_counting_each_by_hand(seed, top_s):
    codes, rows, examples = batch(seed)
    usage = count(codes, rows, examples)
    for code in range(NUM_CODES):
        among = (codes[:, :top_s] == code).any(1)
        assert usage.example_counts(top_s)[code] == len(set(rows[among].tolist()))


@given(st.integers(0, 10_000), st.integers(0, 9))
def test_counts_of_parts_add_up_to_the_whole_wherever_it_is_cut(seed, cut):
    codes, rows, examples = batch(seed)
    rows = rows.sort().values
    whole = count(codes, rows, examples)
    boundary = rows[cut] if cut < len(rows) else examples
    first = rows < boundary
    parts = [
        count(codes[first], rows[first], int(boundary)),
        count(codes[~first], rows[~first] - boundary, examples - int(boundary)),
    ]
    for total in (parts[0] + parts[1], parts[1] + parts[0]):
        assert torch.equal(total.examples, whole.examples)
        assert total.num_examples == whole.num_examples


@pytest.mark.parametrize("top_s", [1, 3, MAX_TOP_S])
def test_discordant_pairs_are_those_of_comparing_each_pair_by_hand(top_s):
    target, control = batch(1), batch(2)
    table = count_pairs(target, control).table(top_s)
    for code in range(NUM_CODES):
        present = [
            {int(row) for row, own in zip(rows, codes[:, :top_s], strict=True) if code in own}
            for codes, rows, _ in (target, control)
        ]
        assert table.target_count[code] == len(present[0])
        assert table.control_count[code] == len(present[1])
        assert table.target_only[code] == len(present[0] - present[1])
        assert table.control_only[code] == len(present[1] - present[0])


def test_an_example_without_a_counted_token_is_an_example_all_the_same():
    codes = ranked(1, torch.Generator().manual_seed(0))
    assert count(codes, torch.tensor([2]), 3).num_examples == 3
    assert count(codes[:0], torch.tensor([], dtype=torch.int64), 3).example_counts(1).sum() == 0


def test_counts_of_other_codebooks_do_not_add_up():
    with pytest.raises(ValueError, match="do not add up"):
        CodeCounts.empty(8, 4) + CodeCounts.empty(9, 4)


@pytest.mark.parametrize("top_s", [0, MAX_TOP_S + 1])
def test_a_top_s_that_was_not_counted_is_refused(top_s):
    with pytest.raises(ValueError, match=f"top_s={top_s}"):
        CodeCounts.empty(NUM_CODES, MAX_TOP_S).example_counts(top_s)


def test_counts_survive_a_file(tmp_path):
    target, control = batch(3), batch(4)
    usage = count_pairs(target, control)
    usage.save(tmp_path / "pairs.safetensors")
    loaded = PairedCounts.load(tmp_path / "pairs.safetensors")
    assert torch.equal(loaded.both, usage.both)
    for name in ("target", "control"):
        assert torch.equal(getattr(loaded, name).examples, getattr(usage, name).examples)
        assert getattr(loaded, name).num_examples == getattr(usage, name).num_examples
    usage.target.save(tmp_path / "one.safetensors")
    assert torch.equal(CodeCounts.load(tmp_path / "one.safetensors").examples, usage.target.examples)
    with pytest.raises(ValueError, match="holds no counts"):
        PairedCounts.load(tmp_path / "one.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x80\x02]q\x00h\x00a.", b"\xff" * 8 + b"{", b"\x02" + bytes(7) + b"[]"])
def test_a_file_that_is_broken_holds_no_counts(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    for counts in (CodeCounts, PairedCounts):
        with pytest.raises(ValueError, match="holds no counts"):
            counts.load(tmp_path / "x.safetensors")


def test_no_code_is_counted_nowhere():
    codes = torch.tensor([[2, 0], [1, -1], [-1, -1]])
    usage = count(codes, torch.tensor([0, 0, 1]), 2)
    assert usage.example_counts(2).tolist()[:3] == [1, 1, 1]
    assert usage.example_counts(2).sum() == 3
    assert usage.num_examples == 2


def test_counts_apart_have_no_discordant_pairs_and_survive_a_file(tmp_path):
    target, control = (
        CodeCounts.empty(3, 2).add_batch_(best_ranks(torch.tensor([[0, 1]]), torch.tensor([0]), n, 3)) for n in (1, 2)
    )
    apart = PairedCounts(target, control)
    table = apart.table(2)
    assert table.target_only is None and table.control_only is None
    assert (table.num_target, table.num_control) == (1, 2)
    apart.save(tmp_path / "apart.safetensors")
    assert PairedCounts.load(tmp_path / "apart.safetensors").both is None
    assert (apart + apart).table(1).target_count.tolist() == [2, 0, 0]
    with pytest.raises(ValueError, match="do not add up"):
        apart + PairedCounts(target, control, torch.zeros_like(target.examples))
    with pytest.raises(ValueError, match="counts without pairs"):
        apart.add_batch_(*[best_ranks(torch.tensor([[0, 1]]), torch.tensor([0]), 1, 3)] * 2)
