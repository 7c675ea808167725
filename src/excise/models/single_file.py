"""Single file of a package's modules, for places where the package itself is not."""

import ast
import builtins
import importlib
import inspect
import symtable
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# jaxtyping's shapes are for the suite. `Annotated` is written as they are, and a reader still sees them.
SHAPES = ("jaxtyping", "typing", "Annotated")


@dataclass(frozen=True)
class SingleFile:
    """One file in place of several modules.

    Args:
        source: its text, without a head.
        names: what it defines.
        requirements: names of the packages that it imports, but for the standard library.
    """

    source: str
    names: frozenset[str]
    requirements: tuple[str, ...]


def single_file(entries: Sequence[str]) -> SingleFile:
    """Some modules and all of their package that they import, one after the other, text for text.

    Left out are the modules' own docstrings, `__all__`, and imports, which come once at the top.

    Args:
        entries: dotted names of modules. What they import of the packages that these are of is taken in.

    Raises:
        ValueError: if the modules cannot stand in one file: two define the same name, one defines a builtin's, or
            imports something of the package inside a function or under another name.

    Example:
        >>> made = single_file(["excise.ledger.packing"])
        >>> made.requirements, sorted(made.names & {"pack", "unpack"})
        (('numpy',), ['pack', 'unpack'])
    """
    packages = {name.partition(".")[0] for name in entries}
    modules: dict[str, _Module] = {}
    for name in entries:
        _collect(name, packages, modules)
    meaning: dict[str, Any] = dict.fromkeys(vars(builtins), "Python's own")
    for name, module in modules.items():
        for bound, meant in module.imports.items() | dict.fromkeys(module.names, name).items():
            if meaning.setdefault(bound, meant) != meant:
                raise ValueError(
                    f"{bound!r} is {meant} in {name}, but {meaning[bound]} in a module before it. In one file a name "
                    "has one meaning: give one of them another."
                )
    imports = {bound: origin for module in modules.values() for bound, origin in module.imports.items()}
    parts = [_import_lines(imports)]
    parts += [f"# -------- {name}\n\n{module.body}" for name, module in modules.items()]
    roots = {origin[0].partition(".")[0] for origin in imports.values()}
    return SingleFile(
        source="\n\n\n".join(parts) + "\n",
        names=frozenset().union(*(module.names for module in modules.values())),
        requirements=tuple(sorted(roots - sys.stdlib_module_names)),
    )


@dataclass(frozen=True)
class _Module:
    body: str
    names: frozenset[str]
    imports: dict[str, tuple[str, str | None]]


def _collect(name: str, packages: Collection[str], modules: dict[str, _Module]) -> None:
    """Reads a module, after those that it needs."""
    if name in modules:
        return
    source = inspect.getsource(importlib.import_module(name))
    tree = ast.parse(source)
    imports: dict[str, tuple[str, str | None]] = {}
    dropped: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            dropped.append(node)
            for module, alias in _imported(node):
                if module.partition(".")[0] not in packages:
                    imports[alias.asname or alias.name] = _outside(node, module, alias.name)
                    continue
                if isinstance(node, ast.Import) or alias.asname:
                    raise ValueError(f"{name}, line {node.lineno}: import {module} by `from`, under its own names.")
                _collect(_home(module, alias.name), packages, modules)
        elif _is_docstring(node) or _is_public_list(node):
            dropped.append(node)
    for inner in set(ast.walk(tree)) - set(tree.body):
        if not isinstance(inner, ast.Import | ast.ImportFrom):
            continue
        if any(module.partition(".")[0] in {*packages, ""} for module, _ in _imported(inner)):
            listed = " or ".join(sorted(packages))
            raise ValueError(f"{name}, line {inner.lineno}: an import of {listed} must stand at the top.")
    symbols = symtable.symtable(source, name, "exec").get_symbols()
    names = {symbol.get_name() for symbol in symbols if symbol.is_assigned() and not symbol.is_imported()}
    modules[name] = _Module(_without(source, dropped), frozenset(names - {"__all__"}), imports)


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, ast.alias]]:
    for alias in node.names:
        yield (alias.name if isinstance(node, ast.Import) else "." * node.level + (node.module or "")), alias


def _outside(node: ast.Import | ast.ImportFrom, module: str, name: str) -> tuple[str, str | None]:
    if module.startswith("."):
        raise ValueError(f"Line {node.lineno}: relative imports are not followed; import {module} by its whole name.")
    if isinstance(node, ast.Import):
        return module, None
    return SHAPES[1:] if module == SHAPES[0] else (module, name)


def _home(module: str, name: str) -> str:
    """The module in which something is defined that a package may only pass on."""
    found = importlib.import_module(module)
    if not hasattr(found, "__path__"):
        return module
    home = getattr(getattr(found, name), "__module__", None)
    if home is None:
        raise ValueError(f"{module} does not tell where its {name!r} is defined: import it from its own module.")
    return home


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_public_list(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def _without(source: str, nodes: Sequence[ast.stmt]) -> str:
    gone = {line for node in nodes for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    lines = source.splitlines()
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in gone).strip("\n")


def _import_lines(imports: Mapping[str, tuple[str, str | None]]) -> str:
    lines, offered = [], defaultdict(list)
    for bound, (module, name) in sorted(imports.items()):
        if name is None:
            lines.append(f"import {module}" if bound == module else f"import {module} as {bound}")
        else:
            offered[module].append(name if bound == name else f"{name} as {bound}")
    lines = sorted(lines) + [f"from {module} import {', '.join(names)}" for module, names in sorted(offered.items())]
    return "\n".join(lines)


__all__ = ["SingleFile", "single_file"]
