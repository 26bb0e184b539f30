"""Results as plain text and as HTML, for a terminal, a pipe or a notebook."""

from __future__ import annotations


def run_text(run) -> str:
    return "run"


def run_html(run) -> str:
    return "run"


def verification_text(v) -> str:
    return "v"
