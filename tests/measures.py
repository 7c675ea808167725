"""Measures of a checkout's structure: units, layers, imports, files, requirements, public names and how they are used.

    python tests/measures.py                     # this checkout
    python tests/measures.py ../before .         # two, side by side

It reads sources and runs none of them, so it needs nothing but Python and measures any checkout of excise. A row is:

units
    Folders and loose modules directly under src/excise; `__init__` is none.
layers
    The longest way from unit to unit along imports, in units. Every import counts, those inside functions too.
pairs
    Ordered pairs of units of which the first imports the second.
files, files sharing a name
    Python files under src/excise; those of them, `__init__` aside, whose name another one has too.
files over 300 lines
    Python files under src/excise.
required packages
    Lines of `install_requires` in setup.cfg.
names at `excise`
    What `excise/__init__.py` offers, without its rooms (the submodules).
of them, shown nowhere
    Names at `excise` that stand in no code of README, docs, examples, benchmarks or research. In Python files that is
    any identifier; in Markdown, fenced code, code spans and what a directive of mkdocstrings writes out
    (`::: excise.sweep`, `members:`). A page that shows a whole room does not count: somebody should have had a reason
    to write the name.
names at all faces
    Different names that faces offer by `__all__` or `lazy_loader.attach(submod_attrs=)`. Faces are `excise`, the
    folders in it, the modules among its rooms, and `excise.evaluation.metrics`.
uses behind a face
    Names that README, docs, examples, benchmarks and research import from a module that is no face, or from a face that
    does not offer them.
"""

import argparse
import ast
import configparser
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

LONG = 300
# What readers of the project read and copy from.
SHOWN = ("README.md", "docs", "examples", "benchmarks", "research")
FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
DIRECTIVE = re.compile(r"^::: .*(?:\n+ {4}.*)*", re.MULTILINE)
IMPORT_LINES = re.compile(
    r"^ *(?:>>> )?((?:from +excise[\w.]* +import +(?:\([^)]*\)|[^\n(]+))|(?:import +excise[^\n]*))", re.M
)


class Checkout:
    """A checkout of excise, read as text and syntax trees.

    Args:
        root: the folder that holds setup.cfg and src/excise.

    Raises:
        FileNotFoundError: If there is no src/excise in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.package = root / "src" / "excise"
        if not self.package.is_dir():
            raise FileNotFoundError(f"{root} holds no src/excise. Give the folder of a checkout of excise.")

    @cached_property
    def trees(self) -> dict[Path, ast.Module]:
        """The syntax tree of every Python file under src/excise, by its path from there."""
        paths = sorted(self.package.rglob("*.py"))
        return {path.relative_to(self.package): _tree(path) for path in paths}

    @cached_property
    def units(self) -> set[str]:
        """The names of the folders and loose modules at the top."""
        return {_unit(path) for path in self.trees} - {"__init__"}

    @cached_property
    def pairs(self) -> set[tuple[str, str]]:
        """Pairs of units, the importing one first."""
        pairs = set()
        for path, tree in self.trees.items():
            importer = _unit(path)
            for module, name in imports(tree, ("excise", *path.parent.parts)):
                parts = [*module.split("."), name]
                if parts[0] == "excise" and parts[1] in self.units and importer in self.units - {parts[1]}:
                    pairs.add((importer, parts[1]))
        return pairs

    @cached_property
    def layers(self) -> int:
        """The number of units on the longest way along imports.

        Raises:
            ValueError: If units import one another in a circle, so that there is no longest way.
        """
        depths: dict[str, int] = {}
        rest = dict.fromkeys(sorted(self.units))
        while rest:
            ready = [unit for unit in rest if not any(a == unit and b in rest for a, b in self.pairs)]
            if not ready:
                raise ValueError(f"Units import one another in a circle, among {list(rest)}. Break it first.")
            for unit in ready:
                depths[unit] = 1 + max((depths[b] for a, b in self.pairs if a == unit), default=0)
            for unit in ready:
                del rest[unit]
        return max(depths.values())

    @cached_property
    def sharing_a_name(self) -> list[Path]:
        """Files, `__init__` aside, whose name another file has too."""
        counts = Counter(path.name for path in self.trees)
        return [path for path in self.trees if path.name != "__init__.py" and counts[path.name] > 1]

    @cached_property
    def long_files(self) -> list[Path]:
        """Files of more than 300 lines."""
        return [path for path in self.trees if len(_read(self.package / path).splitlines()) > LONG]

    @cached_property
    def required(self) -> list[str]:
        """The requirements that come with a plain `pip install`."""
        config = configparser.ConfigParser()
        config.read_string(_read(self.root / "setup.cfg"))
        return config["options"]["install_requires"].split()

    @cached_property
    def offers(self) -> dict[str, tuple[set[str], set[str]]]:
        """The names and the submodules that every face offers."""
        modules = {_module(path): path for path in self.trees}
        rooms = {f"excise.{name}" for name in _offers(self.trees[modules["excise"]])[1]}
        folders = {f"excise.{path.parts[0]}" for path in self.trees if len(path.parts) > 1}
        faces = ({"excise", "excise.evaluation.metrics"} | rooms | folders) & set(modules)
        return {face: _offers(self.trees[modules[face]]) for face in sorted(faces)}

    @cached_property
    def unshown(self) -> list[str]:
        """Names at `excise` that stand in no document, example or benchmark."""
        shown = set()
        for path in self._shown_files():
            text = _read(path)
            if path.suffix == ".py":
                shown |= _identifiers(ast.parse(text))
            else:
                codes = [*FENCE.findall(text), *CODE_SPAN.findall(FENCE.sub("", text)), *DIRECTIVE.findall(text)]
                shown |= {word for code in codes for word in re.findall(r"\w+", code)}
        return sorted(self.offers["excise"][0] - shown)

    @cached_property
    def behind_a_face(self) -> list[str]:
        """Uses of what is behind a face, each as `file: module.name`."""
        uses = []
        for path in self._shown_files():
            text = _read(path)
            trees = [ast.parse(text)] if path.suffix == ".py" else map(ast.parse, _import_statements(text))
            names = [pair for tree in trees for pair in imports(tree)]
            hidden = [f"{module}.{name}".rstrip(".") for module, name in names if self._is_hidden(module, name)]
            uses += [f"{path.relative_to(self.root)}: {name}" for name in hidden]
        return uses

    def _is_hidden(self, module: str, name: str) -> bool:
        if module.partition(".")[0] != "excise":
            return False
        if module not in self.offers or not name or f"{module}.{name}" in self.offers:
            return module not in self.offers
        return name not in set().union(*self.offers[module])

    def _shown_files(self) -> Iterator[Path]:
        for name in SHOWN:
            path = self.root / name
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            yield from (file for file in files if file.suffix in {".py", ".md"} and file.is_file())

    def measures(self) -> dict[str, int]:
        """The table's rows: what is measured, and how many there are."""
        every_name = set().union(*(names for names, _ in self.offers.values()))
        return {
            "units": len(self.units),
            "layers": self.layers,
            "pairs": len(self.pairs),
            "files": len(self.trees),
            "files sharing a name": len(self.sharing_a_name),
            f"files over {LONG} lines": len(self.long_files),
            "required packages": len(self.required),
            "names at `excise`": len(self.offers["excise"][0]),
            "of them, shown nowhere": len(self.unshown),
            "names at all faces": len(every_name),
            "uses behind a face": len(self.behind_a_face),
        }


def imports(tree: ast.AST, package: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every import in a tree as the absolute module and the name taken from it, "" where the module itself is.

    Args:
        tree: the syntax tree of a file.
        package: the names of the package that the file is in, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _tree(path: Path) -> ast.Module:
    return ast.parse(_read(path), filename=str(path))


def _unit(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def _module(path: Path) -> str:
    return ".".join(["excise", *path.with_suffix("").parts]).removesuffix(".__init__")


def _offers(tree: ast.Module) -> tuple[set[str], set[str]]:
    """The names and the submodules that a module offers by `__all__`, `lazy_loader.attach` and a list of `ROOMS`."""
    names: set[str] = set()
    submodules: set[str] = set()
    for node in tree.body:
        target = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
        if target == "ROOMS":
            submodules |= _constants(node.value)
        elif "__all__" in target and isinstance(node.value, ast.Call):
            arguments = {word.arg: ast.literal_eval(word.value) for word in node.value.keywords}
            names |= {name for attributes in arguments.get("submod_attrs", {}).values() for name in attributes}
            submodules |= set(arguments.get("submodules", ()))
            names |= {name for argument in node.value.args for name in _constants(argument)}
        elif "__all__" in target:
            names |= _constants(node.value)
    return names, submodules


def _constants(node: ast.AST) -> set[str]:
    return {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)}


def _identifiers(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.alias):
            names.add(node.name.rpartition(".")[2])
    return names


def _import_statements(text: str) -> list[str]:
    """The imports of excise in a document's fenced code, which need not be whole programs."""
    statements = []
    for code in FENCE.findall(text):
        statements += [re.sub(r"\n *(?:\.\.\. )?", "\n", found) for found in IMPORT_LINES.findall(code)]
    return statements


def main(arguments: list[str] | None = None) -> None:
    """Prints the table.

    Args:
        arguments: folders of checkouts; this one if none is given.
    """
    parser = argparse.ArgumentParser(description="Measure the structure of checkouts of excise.")
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(__file__).parents[1]], metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="name what the rows on files and names count, too")
    args = parser.parse_args(arguments)
    checkouts = [Checkout(folder.resolve()) for folder in args.folders]
    columns = [checkout.measures() for checkout in checkouts]
    names = [checkout.root.name for checkout in checkouts]
    width = max(map(len, columns[0]))
    lines = [" ".join([" " * width, *(f"{name:>10}" for name in names)])]
    lines += [" ".join([f"{row:<{width}}", *(f"{column[row]:>10}" for column in columns)]) for row in columns[0]]
    for checkout in checkouts if args.list else []:
        lines += ["", f"{checkout.root.name}:"]
        lines += [f"  shown nowhere: {name}" for name in checkout.unshown]
        lines += [f"  behind a face: {use}" for use in checkout.behind_a_face]
        lines += [f"  over {LONG} lines: {path}" for path in checkout.long_files]
        lines += [f"  sharing a name: {path}" for path in checkout.sharing_a_name]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
