import ast
import sys
import textwrap

import pytest

from excise.models.single_file import single_file


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    """Makes a package of texts; its name is a new one for each test."""
    name = f"made_for_{request.node.name.partition('[')[0][-40:]}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def make(**modules):
        for module, text in modules.items():
            text = textwrap.dedent(text).replace("PACKAGE", name)
            (folder / f"{module}.py").write_text(text, encoding="utf-8")
        return name

    yield make
    for loaded in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[loaded]


def test_a_module_stands_after_those_that_it_imports_and_works_as_before(package):
    name = package(
        top='"""T."""\nimport math as m\nfrom PACKAGE.low import half\n\n# why\ndef f(r):\n    return m.pi * half(r)\n',
        low='"""Low."""\n\n__all__ = ["half"]\n\n\ndef half(x):\n    return x / 2\n',
    )
    made = single_file([f"{name}.top"])
    namespace = {}
    exec(compile(made.source, "made", "exec"), namespace)
    assert namespace["f"](2) == pytest.approx(3.14159265)
    assert "# why" in made.source and "__all__" not in made.source
    assert made.names == {"f", "half"}
    assert made.source.index("def half") < made.source.index("def f")


def test_what_a_package_only_passes_on_is_taken_from_where_it_is_defined(package):
    name = package(
        __init__="from PACKAGE.low import Thing\n", low="class Thing: ...\n", top="from PACKAGE import Thing\n"
    )
    assert single_file([f"{name}.top"]).names == {"Thing"}


def test_imports_come_once_and_the_packages_among_them_are_named(package):
    name = package(
        one="import json\nimport numpy as np\nfrom typing import Any\n",
        two="import numpy as np\nfrom typing import Any, NamedTuple\nfrom torch import Tensor\n",
    )
    made = single_file([f"{name}.one", f"{name}.two"])
    assert made.requirements == ("numpy", "torch")
    assert made.source.count("import numpy as np") == made.source.count("typing") == 1


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ("def f(): ...\n", "def f(): ...\n", "'f' is .*two, but .*one"),
        ("import json as j\n", "import base64 as j\n", "'j' is"),
        ("import json\n", "def json(): ...\n", "'json' is"),
        ("x = 1\n", "def compile(): ...\n", "'compile' is .*but Python's own"),
    ],
)
def test_a_name_with_two_meanings_is_refused(package, one, two, message):
    name = package(one=one, two=two)
    with pytest.raises(ValueError, match=message):
        single_file([f"{name}.one", f"{name}.two"])


@pytest.mark.parametrize(
    "text",
    [
        "import PACKAGE.low\n",
        "from PACKAGE.low import x as y\n",
        "from .low import x\n",
        "from PACKAGE import low\n",
        "def f():\n    from PACKAGE.low import x\n",
        "def f():\n    from .low import x\n",
    ],
)
def test_an_import_that_cannot_be_followed_is_refused(package, text):
    name = package(top=text, low="x = 1\n")
    with pytest.raises(ValueError, match="import"):
        single_file([f"{name}.top"])


def test_the_same_modules_give_the_same_text_that_parses(package):
    name = package(top="from PACKAGE.low import x\ny = x\n", low="import json\nx = json\n")
    first = single_file([f"{name}.top"]).source
    assert single_file([f"{name}.top"]).source == first
    assert not any("made_for" in ast.unparse(node) for node in ast.parse(first).body)
