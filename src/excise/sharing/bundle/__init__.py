"""Bundles: an unlearned model as a folder with weights, processor, ledger, report and card, all read back."""

from excise.sharing.bundle.manifest import check_bundle
from excise.sharing.bundle.writing import write_bundle, write_checkpoint

__all__ = ["check_bundle", "write_bundle", "write_checkpoint"]
