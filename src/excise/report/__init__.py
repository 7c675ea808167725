"""The evidence of an unlearning, as a record that is kept and a page that is read."""

from excise.report.record import Record

__all__ = ["Record"]
