"""The evidence of an unlearning, as a record that is kept and a page that is read."""

from excise.report.page import write_report
from excise.report.plots import plot_frontier, plot_volcano
from excise.report.record import Record

__all__ = ["Record", "plot_frontier", "plot_volcano", "write_report"]
