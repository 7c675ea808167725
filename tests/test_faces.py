"""What people import: the names at `excise` and at the faces of its rooms, and nothing behind these."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import excise

ROOT = Path(__file__).resolve().parents[1]
FACES = ["excise", *(f"excise.{room}" for room in excise.ROOMS), "excise.evaluation.metrics"]
PYTHON = sorted(path for folder in ("examples", "benchmarks", "research") for path in (ROOT / folder).rglob("*.py"))
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def imports(source: str) -> list[tuple[str, str]]:
    """The modules of excise that a source imports from, and the names that it takes."""
    taken = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "excise":
            taken += [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            taken += [(alias.name, "") for alias in node.names if alias.name.partition(".")[0] == "excise"]
    return taken


def sources() -> list:
    texts = [(path, block) for path in TEXTS for block in CODE.findall(path.read_text(encoding="utf-8"))]
    named = [(path, path.read_text(encoding="utf-8")) for path in PYTHON] + texts
    return [pytest.param(source, id=f"{path.relative_to(ROOT)}-{i}") for i, (path, source) in enumerate(named)]


@pytest.mark.parametrize("source", sources())
def test_examples_benchmarks_and_documents_import_from_faces_only(source):
    for module, name in imports(source):
        assert module in FACES, f"{name or module} is behind a face: offer it at one of {FACES}"
        if name:
            offered = importlib.import_module(module)
            rooms = excise.ROOMS if module == "excise" else ["metrics", "hyperparameters"]
            assert name in offered.__all__ or name in rooms, f"{module} does not offer {name}"


def test_every_name_at_the_top_stands_in_a_document_or_an_example():
    texts = "\n".join(path.read_text(encoding="utf-8") for path in (*TEXTS, *PYTHON))
    unnamed = [name for name in excise.__all__ if not re.search(rf"\b{name}\b", texts)]
    assert not unnamed


def test_faces_are_small():
    assert len(excise.__all__) <= 45
    assert len({name for face in FACES for name in importlib.import_module(face).__all__}) <= 174


@pytest.mark.parametrize("face", FACES)
def test_a_face_offers_what_it_names_sorted_and_with_a_docstring(face):
    module = importlib.import_module(face)
    assert sorted(module.__all__) == list(module.__all__)
    for name in module.__all__:
        offered = getattr(module, name)
        assert name == "__version__" or not callable(offered) or offered.__doc__


def test_the_version_is_that_of_the_package():
    assert excise.__version__ == importlib.metadata.version("excise")
