"""Several processes: the main one writes, and the others wait for what came of it."""

import ast
import json
from pathlib import Path

import pytest

from tests.helpers.two_processes import launched

SOURCE = Path(__file__).resolve().parents[2] / "src" / "excise"


@pytest.fixture(scope="module")
def run(tmp_path_factory, hub_server):
    """Runs all writers in two processes, and gives what each saw."""
    from tests.helpers.local_hub.server import Hub

    folder = tmp_path_factory.mktemp("processes")
    hub_server.hub = Hub(hub_server.hub.endpoint)
    environment = {"HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_write", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    result = launched("writing_in_processes", folder, **environment)
    assert result.returncode == 0, result.stderr[:8000]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_launched_processes_know_of_each_other_before_there_is_a_process_group(run):
    assert [found["world"] for found in run] == [2, 2]
    assert all(found["early"] for found in run)


FOLDERS = {"checkpoint", "compacted", "adapter", "bundle", "record", "report", "topic counts", "topic sets"}


def test_every_writer_writes_once_and_all_processes_find_it_whole(run):
    first, second = (found["writers"] for found in run)
    assert first.keys() == second.keys() >= FOLDERS
    for name in first:
        assert first[name]["first"] == second[name]["first"] == "", name
        assert first[name]["once"] == second[name]["once"], name
        # There is no hidden rest of another process beside it.
        assert len(first[name]["beside"]) == 1, name


def test_what_is_written_over_is_new_for_all_and_what_is_not_is_refused_to_all(run):
    first, second = (found["writers"] for found in run)
    for name in first:
        assert first[name]["again"] == second[name]["again"], name
        assert first[name]["again"].startswith("FileExistsError: ") == (name in FOLDERS), name
        assert first[name]["twice"] == second[name]["twice"], name
    changed = {name for name, seen in first.items() if seen["once"] != seen["twice"]}
    assert changed >= {
        "evaluation",
        "frontier",
        "sweep",
        "enrichment",
        "selection",
        "code counts",
        "pair counts",
        "sheet",
    }


def test_weights_are_in_every_checkpoint(run):
    files = {name: seen["files"] for name, seen in run[0]["writers"].items()}
    for name in ("checkpoint", "compacted", "bundle", "remote code"):
        assert "model.safetensors" in files[name] and "config.json" in files[name], name
    assert "adapter_model.safetensors" in files["adapter"]
    assert "checkpoint-4/model.safetensors" in files["training"]
    assert [found["steps"] for found in run] == [4, 4]


def test_what_the_main_process_raises_all_raise(run):
    for found in run:
        assert found["errors"]["kept"] == "FileExistsError: there"
    assert run[0]["errors"]["as its base"].startswith("LeftoversError: It is left.")
    assert run[1]["errors"]["as its base"].startswith("ValueError: LeftoversError: It is left.")  # it cannot be sent
    assert "is written by the main process of a run, and this is another" in run[1]["errors"]["backstop"]


def test_the_main_process_may_write_alone(run):
    assert [found["alone"] for found in run] == ["3", "3"]


def test_who_asks_for_what_the_main_process_does_not_write_is_told(run):
    (first, _), (second, messages) = (found["waiting"] for found in run)
    assert first == "" and second.startswith("TimeoutError: Process 1 of 2 has waited 0 s for the main process")
    assert len(messages) == 1 and "or the main one alone" in messages[0]


def test_a_model_in_ddp_is_saved_and_one_in_shards_is_refused(run):
    for found in run:
        codes, new, old = found["sharded"]
        assert codes == "4"
        assert "spread over several processes" in new and "spread over several processes" in old


def test_pushes_make_the_same_commits_as_one_process(run):
    first, second = (found["pushed"] for found in run)
    assert first == second
    assert "0 findings" in first["audit"] and "holds other weights already" in first["refused"]
    assert first["commits"]["tester/whole"] == 1 and first["commits"]["tester/model"] == 2
    for repo in first["names"]:
        assert "model.safetensors" in first["names"][repo], repo


def contexts(function: ast.FunctionDef) -> set[str]:
    """The names of the contexts that a function enters."""
    items = (item for node in ast.walk(function) if isinstance(node, ast.With) for item in node.items)
    calls = (item.context_expr for item in items if isinstance(item.context_expr, ast.Call))
    return {ast.unparse(call.func) for call in calls}


def test_every_function_that_makes_a_file_or_folder_leaves_it_to_the_main_process():
    alone = {"new_figure", "run_demo"}  # entered by such functions only; and what one process alone can run
    for path in SOURCE.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef) or function.name in alone:
                continue
            if contexts(function) & {"new_folder", "new_file", "new_figure"}:
                decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
                assert any(line.startswith("by_main_process") for line in decorators), f"{path.name}: {function.name}"
