"""The house style that ruff cannot hold: messages of errors, names of constants, first lines of modules."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "excise"
MODULES = sorted(SOURCE.rglob("*.py"))
# Quoted in the middle of another error's sentence.
FRAGMENTS = {
    "it holds {name}, which JSON has no number for",
    "it holds a number that is too large",
}
BEGINNING = re.compile(r"[A-Z0-9`'\"{]|\w+[=_\[.(]")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def message_of(node: ast.AST) -> str | None:
    """What an expression says, with its fields as `{code}`; None where it is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else part for part in node.values]
        return "".join(part if isinstance(part, str) else f"{{{ast.unparse(part.value)}}}" for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [message_of(side) or f"{{{ast.unparse(side)}}}" for side in (node.left, node.right)]
        return "".join(parts)
    return None


def messages(node: ast.AST, arguments: frozenset[str] = frozenset()) -> Iterator[tuple[int, str, frozenset[str]]]:
    """Line and message of every error that is raised with one, and the arguments of the functions around it."""
    if isinstance(node, Function):
        given = node.args
        arguments |= {argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
        message = message_of(node.exc.args[0])
        if message is not None:
            yield node.lineno, message, arguments
    for child in ast.iter_child_nodes(node):
        yield from messages(child, arguments)


def is_sentence(message: str, arguments: frozenset[str] = frozenset()) -> bool:
    """Whether a message begins and ends as the house's do.

    It begins with a capital letter, a figure, a value, or a name of code: quoted, an argument's, or one that cannot be
    taken for a word. It ends with a full stop or a question mark, or with another error or a constant that does so.
    """
    begins = BEGINNING.match(message) or re.split(r"\W", message, maxsplit=1)[0] in arguments
    return bool(begins) and re.search(r"[.?]\Z|\{(error|[A-Z_]+)\}\Z", message) is not None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_message_of_an_error_is_a_sentence(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = [
        f"{path.name}:{line}: {message}"
        for line, message, arguments in messages(tree)
        if message not in FRAGMENTS and not is_sentence(message, arguments)
    ]
    assert not wrong


@pytest.mark.parametrize(
    "message",
    [
        "Row 3 has no text.",
        "{word!r} is no word. Did you mean {other}?",
        "`words` is empty.",
        "top_s={top_s}: expected at least 1.",
        "references[3] is None: expected a str.",
        "count is 0.",
        "The ledger does not fit: {error}",
    ],
)
def test_what_begins_with_a_capital_a_value_or_a_name_and_ends_with_a_stop_is_a_sentence(message):
    assert is_sentence(message, frozenset({"count"}))


@pytest.mark.parametrize("message", ["row 3 has no text.", "Row 3 has no text", "There are: {listed}", ""])
def test_what_begins_small_or_does_not_end_is_no_sentence(message):
    assert not is_sentence(message, frozenset({"count"}))


def test_messages_are_read_from_strings_fields_and_sums_inside_functions():
    source = """
def outer(a):
    def inner(*, b):
        raise ValueError("one " + f"two {b!r}" + a) from None
    raise ValueError(a)
raise SystemExit
raise KeyError("three")
"""
    told = list(messages(ast.parse(source)))
    assert told == [(4, "one two {b}{a}", frozenset({"a", "b"})), (7, "three", frozenset())]


def test_a_constant_has_no_leading_underscore():
    # What is at no face is private anyway.
    statements = [node for path in MODULES for node in ast.parse(path.read_text(encoding="utf-8")).body]
    targets = [leaf for node in statements if isinstance(node, ast.Assign) for leaf in ast.walk(node.targets[0])]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    assert not [name for name in names if re.fullmatch(r"_[A-Z][A-Z0-9_]*", name)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_first_line_of_a_module_is_a_noun_to_search_for(path):
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    assert re.match(r"[A-Za-z]", first) and first.endswith(".")
    assert not re.match(r"(What|Which|How|Where|When|Whether|That|Who|Whose|In|From|It)\b", first)
