"""The wheel: built, installed in a fresh environment, and used from there."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from excise.storage.extras import EXTRAS


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints; its error output shows when it fails."""
    result = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources with the setuptools at hand, so that no network is needed."""
    copy = tmp_path_factory.mktemp("sources")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(root / "src", copy / "src", ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, copy)
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, copy, cwd=copy)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that holds the wheel; what excise requires is lent by the environment of the tests."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder)  # pip is lent, too: putting it there takes longer than all the rest
    python = folder / "bin" / "python"
    options = ("--quiet", "--no-index", "--no-deps", "--no-compile", wheel)
    run(sys.executable, "-I", "-m", "pip", "--python", python, "install", *options, cwd=folder)
    purelib = run(python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    lent = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (Path(purelib) / "lent.pth").write_text("\n".join(lent) + "\n")
    return folder


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(root, wheel):
    package = root / "src" / "excise"
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == {path.relative_to(root / "src").as_posix() for path in files}


def test_the_data_in_the_wheel_is_small_and_attributed(wheel):
    with zipfile.ZipFile(wheel) as archive:
        size = sum(entry.file_size for entry in archive.infolist() if entry.filename.endswith(".parquet"))
        attribution = archive.read("excise/data/packaged/ATTRIBUTION.md").decode()
    assert 0 < size <= 500_000
    assert "CC BY 2.0 FR" in attribution and "tatoeba.org" in attribution


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """What the wheel states of itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_the_wheel_states_its_licence_and_its_python(metadata):
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"


def test_the_wheel_requires_few_packages_and_offers_the_rest_as_extras(metadata):
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    assert len([requirement for requirement in requirements if requirement.marker is None]) <= 14
    assert set(metadata.get_all("Provides-Extra")) == {*EXTRAS, "all", "test", "lint", "docs"}
    for extra in EXTRAS:
        named = [r for r in requirements if r.marker is not None and r.marker.evaluate({"extra": extra})]
        assert len(named) == len(EXTRAS[extra])


def test_the_installed_package_offers_its_names_and_its_packaged_files(fresh, root):
    code = """
import json, sys
from importlib.resources import files
import excise
from excise.data import load_demo

for name in excise.__all__:
    getattr(excise, name)
print(json.dumps({
    "file": excise.__file__,
    "rows": {split: rows.num_rows for split, rows in load_demo().items()},
    "attribution": files("excise.data.packaged").joinpath("ATTRIBUTION.md").read_text(encoding="utf-8"),
}))
"""
    found = json.loads(run(fresh / "bin" / "python", "-I", "-c", code, cwd=fresh).splitlines()[-1])
    assert Path(found["file"]).is_relative_to(fresh)
    assert found["rows"] == {"train": 20_700, "test": 1_850}
    assert found["attribution"] == (root / "src/excise/data/packaged/ATTRIBUTION.md").read_text(encoding="utf-8")


def test_the_installed_command_explains_itself(fresh):
    text = run(fresh / "bin" / "excise", "--help", cwd=fresh)
    assert "usage" in text.lower()
    for verb in (
        "topic",
        "train",
        "index",
        "count",
        "unlearn",
        "evaluate",
        "undo",
        "delete",
        "inspect",
        "report",
        "demo",
    ):
        assert verb in text
