"""An assessment as one self-contained page, for people who decide."""

from vecstore.upgrade.report.page import render_report, write_report

__all__ = ["render_report", "write_report"]
