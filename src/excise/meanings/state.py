"""Whether there is such a code, and whether it is in use."""

from excise.unlearner import Unlearner


def check_code(unlearner: Unlearner, site: str, code: int) -> None:
    """Makes sure that a model has a code.

    Raises:
        ValueError: if there is no such site or code.
    """
    bottleneck = unlearner.sites.get(site)
    if bottleneck is None or not 0 <= code < bottleneck.num_codes:
        sites = ", ".join(f"{name}:0 to {module.num_codes - 1}" for name, module in unlearner.sites.items())
        raise ValueError(f"There is no code {site}:{code}; the model has {sites}.")


def state_of(unlearner: Unlearner, site: str, code: int) -> str:
    """`"live"`, `"masked"` or `"deleted"`."""
    if code in unlearner.ledger.removed(site, kinds=("delete",)):
        return "deleted"
    return "live" if unlearner.sites[site].live[code] else "masked"
