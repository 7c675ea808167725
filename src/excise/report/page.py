"""A record as one page that needs nothing else: no network, no other file."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from excise.report.code_data import code_data
from excise.report.context import context
from excise.report.record import Record

# In JSON inside a script element, whatever a text holds must not end the element or begin another.
UNSAFE = str.maketrans({letter: f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"})


def page(record: Record) -> str:
    """The page as HTML. Whatever comes from the record is shown as text and never run.

    A content security policy in it forbids every request and every script but the page's own.
    """
    script, style = _file("volcano.js"), _file("page.css")
    sha = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{sha}'"
    policy += "; base-uri 'none'; form-action 'none'"
    data = embedded(code_data(record)) if record.enrichments else None
    return _template().render(**context(record), script=script, style=style, policy=policy, code_data=data)


def embedded(value: Any) -> str:
    r"""JSON that may stand in a script element.

    Example:
        >>> embedded(["</script>"])
        '["\\u003c/script\\u003e"]'
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(UNSAFE)


def _file(name: str) -> str:
    return files("excise.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _template():
    from jinja2 import Environment, PackageLoader, StrictUndefined

    options = {"autoescape": True, "undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=PackageLoader("excise.report"), **options)
    environment.filters["thousands"] = "{:,}".format
    return environment.get_template("index.html")
