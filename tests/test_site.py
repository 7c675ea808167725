"""The site's reference has every name that a face offers, under the module that defines it."""

import importlib
import re
import runpy

import pytest

import excise


@pytest.fixture(scope="module")
def pages(request):
    return runpy.run_path(str(request.config.rootpath / "docs" / "pages.py"))


def followed(path: str):
    """What a full name stands for."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_there_is_a_page_for_each_room(pages):
    assert list(pages["page_files"]()) == ["excise", *(f"excise.{room}" for room in excise.ROOMS)]


@pytest.mark.parametrize("room", excise.ROOMS)
def test_the_page_of_a_room_describes_all_that_its_face_offers(pages, room):
    face, page = importlib.import_module(f"excise.{room}"), pages["reference"](f"excise.{room}")
    described = {path.rpartition(".")[2]: followed(path) for path in re.findall(r"^::: (.+)$", page, re.MULTILINE)}
    names = [name for name in face.__all__ if name not in ("metrics", "hyperparameters")]
    assert described.items() >= {name: getattr(face, name) for name in names}.items()


def test_the_first_page_links_each_name_at_the_top(pages):
    links = dict(re.findall(r"^- \[`(\w+)`\]\[(.+)\]$", pages["reference"]("excise"), re.MULTILINE))
    assert links.keys() == set(excise.__all__) - {"__version__"}
    assert all(followed(path) is getattr(excise, name) for name, path in links.items())


def test_metrics_and_hyperparameters_stand_on_the_pages_of_their_rooms(pages):
    assert "::: excise.evaluation.metrics.bleu.Bleu\n" in pages["reference"]("excise.evaluation")
    assert "## excise.baselines.hyperparameters" in pages["reference"]("excise.baselines")
