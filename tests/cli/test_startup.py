"""What verbs load, seen in processes of their own."""

import json
import subprocess
import sys

from excise import Unlearner
from excise.codes.selection import Selection

# Each takes a third of a second and more to load.
HEAVY = {"datasets", "evaluate", "matplotlib", "pandas", "peft", "pyarrow", "scipy.stats", "sacrebleu", "sklearn"}


def modules_after(*verbs: list[str]) -> set[str]:
    """The modules that a fresh Python has loaded after some verbs."""
    code = (
        "import json, sys\nfrom excise.cli import main\n"
        f"assert not any(main(verb) for verb in {verbs!r})\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_undo_inspect_and_delete_load_no_package_that_they_do_not_use(make_model, tokenizer, tmp_path):
    unlearner = Unlearner(make_model(), tokenizer)
    for codes in ([1, 2], [3]):
        unlearner.mask(Selection(dict.fromkeys(unlearner.sites, codes), {}), "teacher")
    unlearner.save_pretrained(tmp_path / "model")
    model = str(tmp_path / "model")
    loaded = modules_after(
        ["undo", model, "--request", "1", "--out", str(tmp_path / "undone")],
        ["delete", model, "--request", "2", "--out", str(tmp_path / "deleted")],
        ["inspect", model],
    )
    assert not HEAVY & loaded
    assert {"torch", "excise.unlearner"} <= loaded


def test_help_loads_no_package_but_the_two_that_make_excise_lazy():
    loaded = {name.partition(".")[0] for name in modules_after(["--help"], ["undo", "--help"], ["demo", "--help"])}
    before = set(
        json.loads(
            subprocess.check_output([sys.executable, "-c", "import json, sys; print(json.dumps([*sys.modules]))"])
        )
    )
    others = loaded - sys.stdlib_module_names - {name.partition(".")[0] for name in before}
    assert {name for name in others if not name.startswith("_")} == {"excise", "lazy_loader", "wrapt"}
