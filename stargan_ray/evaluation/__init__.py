"""Judging translations: one metric a file, and the report."""
