"""Requests to forget in words: what was asked for, how its codes were found, and what became of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from excise.report.in_force import depth_lines
from excise.report.markdown import counted, escaped, listed

TESTS = {
    "mcnemar": "exact McNemar test, each example against its twin without the topic",
    "fisher": "Fisher's exact test",
    "chi2": "chi-squared test",
    "paper": "chi-squared test, not corrected for the number of codes (CodeUnlearn, section 3.5)",
}
POSITIONS = {
    "topic": "counted at the tokens of the topic's word",
    "class_token": "counted at the class token",
    "all": "counted at all tokens",
}
# What was measured of a budget, and in words.
BUDGETS = {
    "max_loss_rise": "as many as raise the loss on retained examples by at most {:.3g}",
    "loss_rise": "it rose by {:.3g}",
    "heldout_loss_rise": "on examples that did not choose them, by {:.3g}",
    "max_probability_fall": "as many as lower the probability of retained answers by at most {:.3g} of it",
    "probability_fall": "it fell by {:.3g}",
    "heldout_probability_fall": "of answers that did not choose them, by {:.3g}",
}
# Told by other words.
TOLD = {"method", "q", "effect", "count", "max_retain_ratio", "top_s", "positions", "num_target", "num_control"}
TOLD |= {"preset", "searches", "seed", "deletes_request", "taken_out", *BUDGETS}
TOLD |= {"codes_by_round", "rounds", "rows", "distilled", "share"}


def request_row(request: Mapping[str, Any], state: Mapping[str, Any]) -> list[str]:
    """The cells of a request of a record: number, topic, codes, how they were found, when, and what holds."""
    return [
        str(request["id"]),
        escaped(request["topic"]),
        f"{request['num_codes']:,}",
        escaped(how_found(request["thresholds"])),
        escaped(request["created"][:10]),
        escaped(_standing(request, state)),
    ]


def how_found(thresholds: Mapping[str, Any]) -> str:
    """The thresholds of a request in words, not yet escaped.

    Example:
        >>> print(how_found({"method": "activations", "count": 200_000}))
        the N_a = 200,000 codes that its examples select most often
        >>> print(how_found({"method": "fisher", "q": 0.05, "top_s": 24, "effect": 0.0}))
        Fisher's exact test; false discovery rate (Benjamini-Hochberg) at most 0.05; S' = 24
    """
    searches = thresholds.get("searches")
    parts = [" or ".join(f"({how_found(one)})" for one in searches)] if searches else list(_search(thresholds))
    if searches and thresholds.get("count") is not None:
        parts.append(f"at most {counted(thresholds['count'], 'code')}")
    if by_round := thresholds.get("codes_by_round"):
        numbers = listed([f"{number:,}" for number in by_round])
        parts.append(f"searched again under the mask of what was found: {numbers} codes")
        said = [how_found(one["thresholds"] | {"preset": None}) for one in thresholds.get("rounds", ())]
        parts += [f"round {i}: {one}" for i, one in enumerate(said, 1) if one != said[0]]
    parts += [told.format(thresholds[name]) for name, told in BUDGETS.items() if name in thresholds]
    if "deletes_request" in thresholds:
        parts.append(f"the codes of request {thresholds['deletes_request']}")
    if "taken_out" in thresholds:
        parts.append(f"{counted(thresholds['taken_out'], 'row')} taken out of the files")
    parts += depth_lines(thresholds)
    parts += [f"{name} {value}" for name, value in thresholds.items() if name not in TOLD and value is not None]
    if thresholds.get("preset"):
        parts.append(f"preset {thresholds['preset']}")
    return "; ".join(parts) or "chosen by hand"


def _search(thresholds: Mapping[str, Any]) -> Iterator[str]:
    method, count = thresholds.get("method"), thresholds.get("count")
    if method == "activations":
        share = f", {100 * thresholds['share']:g} % of all that they select" if "share" in thresholds else ""
        yield f"the N_a = {count:,} codes that its examples select most often{share}"
    elif method == "examples":
        drawn = f", drawn by seed {thresholds['seed']}" if "seed" in thresholds else ""
        yield f"all codes that N_e = {count:,} of its examples select{drawn}"
    else:
        if method:
            yield TESTS.get(method, str(method))
        if thresholds.get("q") is not None:
            bound = f"at most {thresholds['q']}"
            yield f"p {bound}" if method == "paper" else f"false discovery rate (Benjamini-Hochberg) {bound}"
        if thresholds.get("effect"):
            yield f"in a share of examples larger by at least {thresholds['effect']}"
        if thresholds.get("max_retain_ratio") is not None:
            yield f"at most {thresholds['max_retain_ratio']} times as often in retained examples"
        if count is not None:
            yield f"at most {counted(count, 'code')}"
    sizes = [(thresholds.get(f"num_{kind}"), f"{kind} example") for kind in ("target", "control")]
    if told := [counted(number, noun) for number, noun in sizes if number is not None]:
        yield f"on {listed(told)}"
    if thresholds.get("top_s") is not None:
        yield f"S' = {thresholds['top_s']}"
    if thresholds.get("positions"):
        yield POSITIONS.get(thresholds["positions"], str(thresholds["positions"]))


def can_be_undone(request: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    """Whether undoing a request brings its codes back."""
    masked = request["kind"] == "mask" and not request["undone"]
    return masked and state["mode"] == "mask" and _deleted_by(request, state) is None


def _deleted_by(request: Mapping[str, Any], state: Mapping[str, Any]) -> int | None:
    """The request that deleted what another has masked."""
    return next((r["id"] for r in state["requests"] if r["thresholds"].get("deletes_request") == request["id"]), None)


def _standing(request: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    if request["kind"] == "delete":
        return "deleted for good" + (", embedding rows too" if request.get("rows") else "")
    if request["undone"]:
        return f"undone {request['undone'][:10]}"
    deleted_by = _deleted_by(request, state)
    return "masked" if deleted_by is None else f"deleted by request {deleted_by}"
