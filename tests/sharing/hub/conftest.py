"""Bundles to push to the local Hub (tests/helpers/local_hub/fixtures.py), and its plain client."""

import pytest
from huggingface_hub import HfApi

from tests.helpers.local_hub import bundles
from tests.helpers.local_hub.server import Hub


@pytest.fixture
def api(hub: Hub) -> HfApi:
    """The plain client."""
    return HfApi()


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> dict[str, bundles.Made]:
    """One bundle of each mode."""
    folder = tmp_path_factory.mktemp("bundles")
    return {"delete": bundles.deleted(folder / "deleted"), "mask": bundles.masked(folder / "masked")}


@pytest.fixture
def bundle(made, tmp_path) -> bundles.Made:
    """A model with deleted codes, what was erased, and the folder, to be changed by the test."""
    return made["delete"].copied(tmp_path / "bundle")


@pytest.fixture
def masked(made, tmp_path) -> bundles.Made:
    """The same of a model that is masked."""
    return made["mask"].copied(tmp_path / "masked")


@pytest.fixture
def small_sizes(hub: Hub) -> None:
    """Weights are large files and are sent in several parts."""
    hub.lfs_from, hub.chunk = 5_000, 30_000
