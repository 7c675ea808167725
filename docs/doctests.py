"""Examples in docstrings as blocks of code, for the reference (an extension of griffe).

The house's docstrings hold doctests as they are, or under `Example:`; Markdown would take `>>>` for quotations.
"""

import re

from griffe import Extension

DOCTEST = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)\S.*)*", re.MULTILINE)
EXAMPLE = re.compile(r"^Example:\n(?P<code>(?:    .*\n?|\n(?=    ))+)", re.MULTILINE)


class Doctests(Extension):
    """Puts fences around them."""

    def on_object(self, *, obj, **kwargs):
        """Of one object's docstring."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """A docstring with its examples in fences."""
    text = EXAMPLE.sub(_example, text)
    return DOCTEST.sub(lambda block: _fence(block[0], block["indent"], "pycon"), text)


def _example(section: re.Match[str]) -> str:
    code = section["code"].rstrip()
    return section[0] if ">>>" in code else f"Example:\n{_fence(code, '    ', 'python')}\n"


def _fence(code: str, indent: str, language: str) -> str:
    return f"{indent}```{language}\n{code}\n{indent}```"
