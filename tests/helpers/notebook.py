"""A notebook that is run as Jupyter runs it, cell by cell in one namespace, without Jupyter.

python -m tests.helpers.notebook examples/forget_a_word.ipynb    # runs it and writes what it prints into it
"""

import ast
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def code_cells(path: Path) -> list[dict[str, Any]]:
    """The cells of code of a notebook, with their `source` as lines."""
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, namespace: dict[str, Any]) -> str:
    """What a cell prints, and below it the value of its last line, as Jupyter shows it.

    Args:
        source: of the cell.
        namespace: of the notebook; it is changed.
    """
    tree, printed = ast.parse(source), io.StringIO()
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)
            if value is not None:
                printed.write(f"{value!r}\n")
    return printed.getvalue()


def run(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Runs a notebook: its namespace at the end, and what each cell of code put out."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    return namespace, [run_cell("".join(cell["source"]), namespace) for cell in code_cells(path)]


def write_outputs(path: Path) -> None:
    """Runs a notebook and writes into it what each cell put out."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    _, outputs = run(path)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, text) in enumerate(zip(cells, outputs, strict=True), 1):
        lines = text.splitlines(keepends=True)
        cell["execution_count"] = number
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_outputs(Path(sys.argv[1]))
