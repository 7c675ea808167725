"""The structure of the package stays as simple as it has become, and the script that measures it counts right."""

from pathlib import Path

import pytest

from tests.measures import Checkout, main

# What `python tests/measures.py` may say of this checkout at most.
BOUNDS = {
    "units": 17,
    "layers": 11,  # deletion, of which evaluation and sharing both ask
    "pairs": 91,
    # 195 when the house was redrawn; since then guard, identity, verdicts, private evidence, processes; and the sparse
    # look-up, the code index, passes that are shared and resumed, sentences kept for topics; and attacks, deeper
    # deletions and the baselines on texts, one small file each; what topics, files, classes and images may be,
    # and a verb for each part of the job; partial forgetting, and presets of the key-value model; bottlenecks attached
    # to any model, sparse units, questions and the benchmark's measures,
    # and a small file a baseline on answers
    "files": 360,
    "files sharing a name": 36,  # verbs have the names of what they call, and every kind of bottleneck the same files
    "files over 300 lines": 0,
    "required packages": 14,
    "names at `excise`": 45,
    "of them, shown nowhere": 0,
    "names at all faces": 172,
    "uses behind a face": 0,
}


@pytest.fixture(scope="module")
def measures(root):
    return Checkout(root).measures()


@pytest.mark.parametrize("row", BOUNDS)
def test_the_structure_of_the_package_keeps_within_its_bounds(measures, row):
    assert measures[row] <= BOUNDS[row], "see `python tests/measures.py --list`"


def test_every_row_of_the_table_has_a_bound(measures):
    assert set(measures) == set(BOUNDS)


FILES = {
    "setup.cfg": "[options]\ninstall_requires =\n    numpy>=1\n    torch>=2\n",
    "src/excise/__init__.py": """
import lazy_loader
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["codes", "numbers"],
    submod_attrs={"codes": ["Codes", "shown", "listed", "spoken_of"], "models.t5": ["T5"]},
)
""",
    "src/excise/py.typed": "",
    "src/excise/numbers.py": '__all__ = ["x"]\n' + "x = 1\n" * 300,
    "src/excise/codes/__init__.py": '__all__ = ["Codes", "extra"]\n',
    "src/excise/codes/base.py": "def f():\n    from excise.numbers import x\n    from excise.codes.other import y\n",
    "src/excise/models/base.py": "from ..codes import Codes\nimport excise.numbers\n",
    "src/excise/cli.py": "from excise import models\nimport torch\n",
    "README.md": """
Once spoken_of, never in code. Use `shown`, or

```python
from excise import Codes, hidden
from excise.codes import (
    extra,
    inner,
)
```
""",
    "docs/reference.md": "::: excise.codes\n    options:\n      members:\n        - listed\n",
    "examples/one.py": """
import torch
import excise.numbers
from excise.numbers import x, _y
from excise.models.base import T5
""",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Checkout(tmp_path)


def test_units_are_joined_by_every_import_of_their_files(checkout):
    assert checkout.units == {"numbers", "codes", "models", "cli"}
    assert checkout.pairs == {("codes", "numbers"), ("models", "codes"), ("models", "numbers"), ("cli", "models")}
    assert checkout.layers == 4


def test_units_that_import_one_another_in_a_circle_are_named(checkout):
    (checkout.package / "numbers.py").write_text("import excise.codes\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"in a circle, among \['cli', 'codes', 'models', 'numbers'\]"):
        Checkout(checkout.root).measures()


def test_files_requirements_and_names_are_counted(checkout):
    measures = checkout.measures()
    assert measures["files"] == 6
    assert measures["files sharing a name"] == 2
    assert measures["files over 300 lines"] == 1
    assert measures["required packages"] == 2
    assert measures["names at `excise`"] == 5
    assert measures["names at all faces"] == 7


def test_a_name_is_shown_where_code_holds_it_and_not_where_a_sentence_does(checkout):
    assert checkout.unshown == ["spoken_of"]


def test_what_is_taken_from_behind_a_face_is_named_with_its_file(checkout):
    assert checkout.behind_a_face == [
        "README.md: excise.hidden",
        "README.md: excise.codes.inner",
        "examples/one.py: excise.numbers._y",
        "examples/one.py: excise.models.base.T5",
    ]


def test_the_table_has_a_column_for_every_checkout(checkout, capsys):
    main([str(checkout.root), str(checkout.root), "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [checkout.root.name] * 2
    assert lines[1].split() == ["units", "4", "4"]
    assert "  over 300 lines: numbers.py" in lines


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no src/excise"):
        Checkout(tmp_path)
