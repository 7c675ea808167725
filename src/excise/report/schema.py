"""Schema of a record: the packaged JSON schema, and the check of a state against it."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from excise.storage.display import printable, shortened

NAME = "excise-report"
VERSION = 1
SCHEMA_FILE = f"report-{VERSION}.schema.json"


def schema_text() -> str:
    """The schema, as the file that is packaged and written beside each report."""
    return files("excise.report").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")


@cache
def _validator():
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema_text()))


def check_state(state: Any) -> None:
    """Makes sure that a value is a record's state.

    Raises:
        ValueError: if it is of another kind, of a newer version, or not as the schema says; the message tells where.
    """
    if not isinstance(state, Mapping) or state.get("schema") != NAME:
        raise ValueError(f"This is no record of an unlearning: its `schema` is not {NAME!r}.")
    version = state.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ValueError(f"The record has version {shortened(version)}; this excise reads {VERSION}. Update excise.")
    from jsonschema.exceptions import best_match

    error = best_match(_validator().iter_errors(state))
    if error is not None:
        where, message = (printable(shortened(text, 200)) for text in (error.json_path, error.message))
        raise ValueError(f"The record is not as its schema ({SCHEMA_FILE}) says: at {where}: {message}.")
