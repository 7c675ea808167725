"""Training in two processes."""

import json

import pytest
import torch

from excise.training.callback import perplexity
from tests.helpers.two_processes import launched


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two processes saw in one step over the halves of a batch of eight rows."""
    folder = tmp_path_factory.mktemp("distributed")
    result = launched("distributed", folder)
    assert result.returncode == 0, result.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_there_are_two_processes_and_each_saw_another_half(found):
    assert [each["world"] for each in found] == [2, 2]
    assert found[0]["own"] != found[1]["own"]


def test_counts_are_those_of_all_processes_together(found):
    counts = torch.tensor(found[0]["counts"])
    assert (torch.tensor(found[0]["own"]) + torch.tensor(found[1]["own"])).tolist() == counts.tolist()
    for each in found:
        assert each["log"]["live_code_share"] == pytest.approx((counts > 0).float().mean().item())
        assert each["log"]["code_perplexity"] == pytest.approx(perplexity(counts), rel=1e-4)


def test_logged_losses_are_those_of_the_whole_batch(found):
    for each in found:
        for name, value in each["expected"].items():
            assert each["log"][name] == pytest.approx(value, rel=1e-3), name


def test_codes_have_the_same_id_in_every_process(found):
    assert found[0]["codes_id"] == found[1]["codes_id"] and len(found[0]["codes_id"]) == 32


def test_the_same_codes_are_revived_at_the_same_place_in_every_process(found):
    unused = [code for code, count in enumerate(found[0]["counts"]) if count == 0]
    assert unused
    assert found[0]["revived"] == found[1]["revived"] == unused
    assert found[0]["codes"] == found[1]["codes"]
