"""The notebook runs from top to bottom, and what stands in it is what it puts out."""

import json
import re

import pytest

from tests.helpers.notebook import code_cells, run, run_cell


@pytest.fixture
def notebook(root):
    return root / "examples" / "forget_a_word.ipynb"


def test_a_cell_puts_out_what_it_prints_and_the_value_of_its_last_line():
    namespace = {}
    assert run_cell("x = 2\nprint('two')\nx + 1", namespace) == "two\n3\n"
    assert run_cell("x = 3", namespace) == "" and namespace["x"] == 3
    assert run_cell("None", namespace) == ""


def test_every_cell_can_be_read_and_what_it_imports_is_there(notebook):
    cells = code_cells(notebook)
    run_cell("".join(cells[0]["source"]), {})
    for cell in cells:
        compile("".join(cell["source"]), "<cell>", "exec")


def test_it_is_a_notebook_with_short_outputs_and_no_path_in_them(notebook):
    state = json.loads(notebook.read_text(encoding="utf-8"))
    assert state["nbformat"] == 4 and {cell["cell_type"] for cell in state["cells"]} == {"code", "markdown"}
    assert len({cell["id"] for cell in state["cells"]}) == len(state["cells"])
    outputs = ["".join(output["text"]) for cell in code_cells(notebook) for output in cell["outputs"]]
    assert len(outputs) >= 4 and max(map(len, outputs)) < 3_000
    assert not any("/home" in text or "/tmp" in text or "/work" in text for text in outputs)
    assert outputs[-1] == "True\n"


@pytest.mark.slow  # 80 seconds on an idle core: a T5 is trained from nothing
@pytest.mark.filterwarnings("ignore:'pin_memory' argument")
def test_it_learns_forgets_and_is_as_it_was_again(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, outputs = run(notebook)
    assert outputs[-1] == "True\n"  # undone, it says what it said before
    scores = re.findall(r"^(before|after) +\|.*$", outputs[-2], re.MULTILINE)
    assert scores == ["before", "after"]
    evaluation = namespace["evaluate"](namespace["unlearner"], namespace["topic"], max_new_tokens=24, progress=False)
    assert evaluation.scores["before"]["heldout"]["recall"] > 0.4
    assert namespace["request"].num_codes > 0
