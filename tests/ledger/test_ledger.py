"""The ledger: requests compose and are undone in any order, and masks follow from it alone."""

import json
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from excise import CodebookSAEConfig, Ledger, MaskMismatchError
from excise.bottlenecks import CodebookSAE
from excise.ledger.ledger import VERSION, mask_digest
from excise.ledger.masks import check_masks


def site(num_codes=20, top_s=2) -> CodebookSAE:
    return CodebookSAE(CodebookSAEConfig(hidden_size=2, num_codes=num_codes, top_s=top_s))


SITES = {"a": site(), "b": site()}
codes = st.dictionaries(st.sampled_from(["a", "b"]), st.sets(st.integers(0, 17)), min_size=1)
requests = st.lists(st.tuples(st.sampled_from(["mask", "delete"]), codes), max_size=5)


def built(entries) -> Ledger:
    ledger = Ledger()
    for number, (kind, ids) in enumerate(entries):
        ledger = ledger.add(kind, f"topic {number}", ids, thresholds={"q": 0.05}, data={"target": "ab"})
    return ledger


def without(ledger, request_id) -> Ledger:
    """A ledger without a mask; where all codes of the mask were deleted, as it is: that is refused."""
    codes = ledger.requests[request_id - 1].codes
    gone = {name: set(ledger.removed(name, kinds=("delete",))) for name in SITES}
    if any(codes.values()) and all(set(ids) <= gone[name] for name, ids in codes.items()):
        with pytest.raises(ValueError, match=f"No code of request {request_id} .* can come back"):
            ledger.undo(request_id)
        return ledger
    return ledger.undo(request_id)


@given(requests, st.integers(0, 1000))
def test_a_mask_is_the_union_of_what_is_in_force_in_whatever_order_requests_are_undone(entries, seed):
    ledger = built(entries)
    masks = [request.id for request in ledger.requests if request.kind == "mask"]
    random.Random(seed).shuffle(masks)
    undone = masks[: len(masks) // 2]
    for request_id in undone:
        ledger = without(ledger, request_id)
    for name in SITES:
        kept = [ids for number, (_, ids) in enumerate(entries, start=1) if number not in undone]
        expected = sorted(set().union(*(ids.get(name, set()) for ids in kept)))
        assert ledger.removed(name) == expected
        assert (~ledger.live(SITES)[name]).nonzero().flatten().tolist() == expected


@given(requests)
def test_undoing_every_mask_gives_back_all_that_was_not_deleted(entries):
    ledger = built(entries)
    for request in ledger.requests:
        if request.kind == "mask":
            ledger = without(ledger, request.id)
    for name in SITES:
        deleted = set().union(*(ids.get(name, set()) for kind, ids in entries if kind == "delete"))
        assert set(ledger.removed(name)) == deleted == set(ledger.removed(name, kinds=("delete",)))


@given(requests)
def test_a_ledger_survives_json(entries):
    ledger = built(entries)
    state = ledger.to_dict(ledger.live(SITES))
    assert Ledger.from_dict(json.loads(json.dumps(state))) == ledger
    assert (state is None) == (not entries)


def test_a_change_leaves_the_older_ledger_as_it_was():
    first = Ledger().add("mask", "cats", {"a": [3, 1]})
    second = first.add("mask", "dogs", {"a": [1]})
    third = second.undo(1)
    assert [len(each.requests) for each in (first, second, third)] == [1, 2, 2]
    assert first.requests[0].undone is None and third.requests[0].undone
    assert [each.removed("a") for each in (first, second, third)] == [[1, 3], [1, 3], [1]]
    assert (second.requests[1].id, second.requests[0].codes, second.requests[0].num_codes) == (2, {"a": (1, 3)}, 2)
    assert second.requests[0].created.endswith("+00:00")


@pytest.mark.parametrize(
    ("number", "message"),
    [(7, r"no request 7; the ledger has \[1, 2, 3\]"), (2, "deletion cannot be undone"), (3, "undone already")],
)
def test_what_cannot_be_undone_says_so(number, message):
    ledger = built([("mask", {"a": {1}}), ("delete", {"a": {2}}), ("mask", {"a": {3}})]).undo(3)
    with pytest.raises(ValueError, match=message):
        ledger.undo(number)


def test_an_empty_ledger_has_nothing_to_undo():
    with pytest.raises(ValueError, match="none"):
        Ledger().undo(1)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"c": [1]}, r"codes of \['c'\]"),
        ({"a": [20]}, "has codes 0 to 19"),
        ({"a": [-1]}, "has codes 0 to 19"),
        ({"a": range(19)}, "At a 1 of 20 codes would stay live, fewer than the 2"),
    ],
    ids=["site", "too large", "negative", "too many"],
)
def test_codes_that_there_are_not_or_that_cannot_be_spared_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        Ledger().add("mask", "topic", ids).live(SITES)


def test_as_many_live_codes_as_a_token_needs_are_enough():
    assert Ledger().add("mask", "topic", {"a": range(18)}).live(SITES)["a"].sum() == 2


def test_a_digest_tells_masks_apart_and_depends_on_no_order():
    masks = Ledger().add("mask", "topic", {"a": [1], "b": [2]}).live(SITES)
    assert mask_digest(masks) == mask_digest(dict(reversed(masks.items())))
    others = [{"a": [1], "b": [3]}, {"a": [1, 2]}, {"a": [2], "b": [1]}, {}]
    assert len({mask_digest(Ledger().add("mask", "t", ids).live(SITES)) for ids in others} | {mask_digest(masks)}) == 5


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"version": VERSION + 1, "requests": []}, "Update it"),
        ({"version": VERSION}, "no readable ledger"),
        ({"version": VERSION, "requests": [{"id": 1}]}, "no readable ledger"),
        ({"version": VERSION, "requests": [3]}, "no readable ledger"),
        ({"version": VERSION, "requests": None}, "no readable ledger"),
        ({"version": "1", "requests": []}, "ledger"),
        ([], "ledger"),
    ],
    ids=str,
)
def test_what_is_no_ledger_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        Ledger.from_dict(state)
    with pytest.raises(MaskMismatchError, match=message):
        check_masks(state, SITES)


@pytest.mark.parametrize(
    ("entries", "undone", "text"),
    [
        ([("mask", {"a": {1, 2}, "b": {3}})], 1, "3 of 3 codes came back."),
        ([("mask", {"a": {1, 2}}), ("mask", {"a": {1, 2, 3}})], 1, "0 of 2 codes came back: request 2 masks them too."),
        (
            [("delete", {"a": {1}}), ("mask", {"a": {1, 2, 3, 4}}), ("mask", {"a": {1, 2}})],
            2,
            "2 of 4 codes came back: request 1 deleted 1 of them for good, request 3 masks 2 of them too.",
        ),
        ([("delete", {"a": {1, 2}})], None, "2 of 2 codes were erased now."),
        (
            [("delete", {"a": {1, 2}}), ("delete", {"a": {2, 3, 4}})],
            None,
            "2 of 3 codes were erased now: request 1 deleted 1 of them for good.",
        ),
        (
            [("delete", {"a": {1}}), ("delete", {"a": {1}})],
            None,
            "0 of 1 codes were erased now: request 1 deleted them for good.",
        ),
        (
            [("mask", {"a": {1, 2}}), ("delete", {"a": {2, 3}})],
            None,
            "2 of 2 codes were erased now. Undoing request 1 will not bring back 1 of its codes.",
        ),
        ([("mask", {"a": {1, 2}}), ("mask", {"a": {2}})], None, "0 of 1 codes are masked by this request alone: "),
    ],
    ids=range(8),
)
def test_a_ledger_tells_what_came_back_or_went_and_what_holds_the_others(entries, undone, text):
    ledger = built(entries)
    ledger = ledger if undone is None else ledger.undo(undone)
    assert ledger.outcome(ledger.requests[(undone or 0) - 1]).startswith(text)


@given(requests, st.integers(0, 4))
def test_the_codes_that_others_hold_are_those_that_stay_removed(entries, number):
    ledger = built(entries)
    request = next((r for r in ledger.requests if r.kind == "mask" and r.id >= number), None)
    if request is None or without(ledger, request.id) == ledger:
        return
    after = ledger.undo(request.id)
    left = sum(len(set(after.removed(name)) & set(request.codes.get(name, ()))) for name in SITES)
    held = after.held_by(request)
    assert request.num_codes - left == int(after.outcome(request).partition(" ")[0])
    assert max(held.values(), default=0) <= left <= sum(held.values())
    assert held == ledger.held_by(request)
    assert all(0 < count <= request.num_codes for count in held.values())


class TestCheckMasks:
    @pytest.fixture
    def sites(self):
        return {"a": site(), "b": site()}

    @pytest.fixture
    def state(self, sites):
        """A ledger in force: a mask, a deletion, and a mask that was undone."""
        ledger = built([("mask", {"a": {1, 2}}), ("delete", {"b": {3}}), ("mask", {"b": {4}})]).undo(3)
        for name, mask in ledger.live(sites).items():
            sites[name].live.copy_(mask)
        sites["b"].codebook.data[3] = 0
        return ledger.to_dict(ledger.live(sites))

    def test_a_model_that_follows_its_ledger_passes(self, sites, state):
        check_masks(state, sites)
        check_masks(None, {"a": site()})

    def test_no_single_change_of_a_mask_passes(self, sites, state):
        for module in sites.values():
            for code in range(20):
                module.live[code] ^= True
                with pytest.raises(MaskMismatchError):
                    check_masks(state, sites)
                module.live[code] ^= True

    def test_a_lost_ledger_does_not_pass(self, sites, state):
        with pytest.raises(MaskMismatchError, match="differ at 2"):
            check_masks(None, sites)

    def test_a_lost_or_different_request_does_not_pass(self, sites, state):
        for number in (0, 1):
            requests = [r for i, r in enumerate(state["requests"]) if i != number]
            with pytest.raises(MaskMismatchError):
                check_masks(state | {"requests": requests}, sites)
        state["requests"][0]["codes"]["a"] = [1, 5]
        with pytest.raises(MaskMismatchError):
            check_masks(state, sites)

    @pytest.mark.parametrize("wrong", [{"digest": "0"}, {"digest": None}])
    def test_a_wrong_or_missing_digest_does_not_pass(self, sites, state, wrong):
        with pytest.raises(MaskMismatchError, match="digest"):
            check_masks(state | wrong, sites)

    def test_a_deleted_row_with_anything_in_it_does_not_pass(self, sites, state):
        for value in (1e-30, float("nan")):
            sites["b"].codebook.data[3, 1] = value
            with pytest.raises(MaskMismatchError, match="not zero"):
                check_masks(state, sites)

    def test_another_number_of_codes_or_sites_does_not_pass(self, sites, state):
        for others in ({"a": site(num_codes=2, top_s=1), "b": sites["b"]}, {"a": sites["a"]}):
            with pytest.raises(MaskMismatchError, match="does not fit"):
                check_masks(state, others)

    def test_masks_made_by_hand_are_of_the_right_type(self, sites, state):
        assert all(mask.dtype == torch.bool for mask in Ledger.from_dict(state).live(sites).values())


@given(requests)
def test_as_deletions_the_masks_are_the_same_and_nothing_can_be_undone(entries):
    ledger = built(entries)
    undone = next((request.id for request in ledger.requests if request.kind == "mask"), None)
    ledger = ledger if undone is None else without(ledger, undone)
    deleted = ledger.as_deletions()
    for name in SITES:
        assert deleted.removed(name, kinds=("delete",)) == ledger.removed(name)
    for request, was in zip(deleted.requests, ledger.requests, strict=True):
        assert vars(request) | {"kind": was.kind} == vars(was)
        with pytest.raises(ValueError, match=r"cannot be undone|undone already"):
            deleted.undo(request.id)
