"""The direction of imports, and what `import excise` costs."""

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from excise.cli import VERBS
from excise.storage.extras import EXTRAS

SOURCE = Path(__file__).resolve().parents[1] / "src" / "excise"
MODULES = sorted(SOURCE.rglob("*.py"))

# The floors of the house, from the ground up. A room (a folder or a module of src/excise) may import rooms of the rows
# above its own in this table, and nothing beside or below.
LAYERS = [
    {"statistics", "storage"},
    {"bottlenecks", "data"},
    {"ledger"},
    {"models"},
    {"codes"},
    {"report", "training"},
    {"deletion"},
    {"evaluation", "sharing"},
    {"attacks"},
    {"baselines", "unlearner"},
    {"cli"},
]
RANK = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer}
# Parts of rooms that rest on less than their room may, so that they can be used without any model.
ONLY = {
    "data/topics": {"data", "statistics", "storage"},
    "evaluation/metrics": {"data", "evaluation", "statistics", "storage"},
}
# Of an extra, so not there for everyone, and slow to import: inside the functions that use them.
OF_EXTRAS = {module for modules in EXTRAS.values() for module in modules}

# Folders of models, and with them the codes that the verbs load a model by.
KINDS = ("codebook_t5", "codebook_clip", "key_value")


def imported_names(path: Path, nodes: Iterator[ast.AST]) -> list[str]:
    """The absolute dotted names that a file's import statements name."""
    package = ["excise", *path.relative_to(SOURCE).parent.parts]
    names = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names += [f"{base}.{alias.name}" for alias in node.names] if base == "excise" else [base]
    return names


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not typing_only and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def unit_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_imports_only_from_layers_above_its_own_in_the_table(path):
    unit = unit_of(path)
    if unit == "__init__":
        return
    assert unit in RANK, f"place {unit!r} in LAYERS"
    for name in imported_names(path, ast.walk(ast.parse(path.read_text(encoding="utf-8")))):
        root, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if root != "excise":
            continue
        part = "/".join(path.relative_to(SOURCE).parts[:2])
        assert target in ONLY.get(part, RANK) or target == "", (
            f"{part} may import {sorted(ONLY[part])} only, not {name}"
        )
        if part == "evaluation/metrics" and target == "evaluation":
            assert rest.startswith("evaluation.metrics"), f"metrics may not import {name}"
        if part == "evaluation/metrics" and target == "data":  # what a word is
            assert rest in ("data.scripts", "data.words"), f"metrics may not import {name}"
        if target == unit:
            continue
        assert target in RANK, f"{name}: import the module itself, or place {target!r} in LAYERS"
        assert RANK[target] < RANK[unit], f"{unit} may not import {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_packages_of_extras_are_imported_inside_functions(path):
    names = imported_names(path, outside_functions(ast.parse(path.read_text(encoding="utf-8"))))
    assert not OF_EXTRAS & {name.partition(".")[0] for name in names}


def test_the_reader_of_imports_sees_relative_nested_and_plain_ones():
    source = "import excise.ledger\nfrom ..codes import x\ndef f():\n    from . import y\n    import nltk\n"
    tree = ast.parse(source)
    path = SOURCE / "training" / "keys.py"
    assert sorted(imported_names(path, ast.walk(tree))) == ["excise.codes", "excise.ledger", "excise.training", "nltk"]
    assert imported_names(path, outside_functions(tree)) == ["excise.ledger", "excise.codes"]


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported_modules(path: Path, known: set[str]) -> set[str]:
    """The modules of excise that a file's import statements outside functions name; packages stand for their faces."""
    names = set()
    for node in outside_functions(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= modules if modules <= known else modules | {node.module}
    return names & known


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Modules that import each other, directly or through others: each circle once, and one of each knot of them."""
    done, path, found = set(), [], []

    def visit(name: str) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            path.append(name)
            for other in sorted(imports.get(name, ())):
                visit(other)
            done.add(path.pop())

    for name in imports:
        visit(name)
    return found


def test_no_two_modules_import_each_other():
    known = {module_name(path) for path in MODULES}
    assert not circles({module_name(path): imported_modules(path, known) for path in MODULES})


def test_the_finder_of_circles_sees_those_of_two_and_those_through_others():
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"a"}}) == [["a", "b", "a"]]
    assert circles({"z": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"d", "b"}, "d": {"a"}}) == [
        ["b", "c", "b"],
        ["a", "b", "c", "d", "a"],
    ]


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh Python has loaded after a statement."""
    code = f"{statement}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def loaded_with(names: set[str]) -> dict[str, set[str]]:
    """The modules of excise that are loaded with some, and the packages of others that each loads itself.

    Statements outside functions alone count, and the packages that a module lies in.
    """
    known = {module_name(path): path for path in MODULES}
    todo, loaded = sorted(names), {}
    while todo:
        name = todo.pop()
        if name in loaded:
            continue
        nodes = list(outside_functions(ast.parse(known[name].read_text(encoding="utf-8"))))
        others = imported_names(known[name], nodes)
        others += [f"{n.module}.{alias.name}" for n in nodes if isinstance(n, ast.ImportFrom) for alias in n.names]
        loaded[name] = {other for other in others if other.partition(".")[0] != "excise"}
        parts = name.split(".")
        todo += imported_modules(known[name], set(known)) | {".".join(parts[:i]) for i in range(1, len(parts))}
    return loaded


# What is loaded together, and what is not to come along: half a second and more each, and not what it is there for.
APART = {
    "the command, whose help needs nothing": (
        {"excise.cli", *(f"excise.cli.{verb.replace('-', '_')}" for verb in VERBS)},
        {"numpy", "PIL", "torch", "transformers", "datasets", "scipy", "accelerate", "huggingface_hub"},
    ),
    "what undoes, deletes and saves": (
        {"excise.unlearner", *(f"excise.models.{kind}.modeling_{kind}" for kind in KINDS)},
        {"datasets", "evaluate", "matplotlib", "pandas", "peft", "pyarrow", "scipy.stats", "sklearn"},
    ),
    "what makes topic sets": (
        {"excise.data.topics", "excise.data.reading", "excise.data.forget_sets", "excise.storage.digests"},
        {"torch", "transformers", "accelerate", "scipy.stats", "evaluate"},
    ),
}


@pytest.mark.parametrize("what", APART)
def test_what_a_verb_loads_takes_nothing_along_that_it_does_not_use(what):
    names, heavy = APART[what]
    for module, others in loaded_with(names).items():
        along = {other for other in others if any(f"{other}.".startswith(f"{name}.") for name in heavy)}
        assert not along, (
            f"{module} is loaded with {what}, and loads {along}: import them inside functions or for types"
        )


def test_what_is_loaded_along_is_read_through_faces_and_from_both_forms_of_import():
    loaded = loaded_with({"excise.evaluation.metrics.base"})
    assert "excise.evaluation.metrics.bleu" in loaded  # by the face of its package, which is loaded first
    assert {"evaluate", "datasets", "datasets.Features"} <= loaded["excise.evaluation.metrics.base"]


def test_importing_excise_loads_little_that_transformers_would_not():
    # Counted, not timed, so that it holds on a busy machine: every module in excess is of a kind known to be small.
    excess = modules_after("import excise") - modules_after("import transformers")
    small = {"excise", "wrapt", "lazy_loader"} | sys.stdlib_module_names
    assert not {name for name in excess if name.partition(".")[0].lstrip("_") not in small | {""}}


def test_neither_importing_excise_nor_transformers_after_it_loads_torch():
    for statement in ("import excise", "import excise, transformers", "import transformers, excise"):
        loaded = modules_after(statement)
        assert not {"torch", "datasets", "scipy", "pandas"} & loaded, statement


def public_modules() -> list[str]:
    names = []
    for path in MODULES:
        if "__all__" in path.read_text(encoding="utf-8"):
            parts = path.relative_to(SOURCE).with_suffix("").parts
            names.append(".".join(["excise", *(part for part in parts if part != "__init__")]))
    return names


@pytest.mark.parametrize("name", public_modules())
def test_what_a_module_offers_is_sorted_and_can_be_had(name):
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__))
    missing = [offer for offer in module.__all__ if not hasattr(module, offer)]
    assert not missing
