"""Results come in, pages that a browser shows without a network go out: the report of one video."""

from vidsal.report.summary import Summary, read_summary

__all__ = ["Summary", "read_summary"]
