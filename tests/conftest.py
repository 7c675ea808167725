"""What every test runs under: no network, fixed seeds, checked shapes.

The environment is set before anything heavy is imported, because Hugging Face and torch read it once, on import.
"""

import os
import random
import shutil
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")

# Caches of the suite stay out of the user's own. Worker processes inherit the folder of the one that made it.
_MADE_HF_HOME = "EXCISE_TEST_HF_HOME" not in os.environ
if _MADE_HF_HOME:
    os.environ["EXCISE_TEST_HF_HOME"] = tempfile.mkdtemp(prefix="excise-hf-")
os.environ["HF_HOME"] = os.environ["EXCISE_TEST_HF_HOME"]

import hypothesis
import jaxtyping
import numpy as np
import pytest
import torch

# From here on every annotated shape in these packages is checked at each call (and stays a comment outside the suite).
jaxtyping.install_import_hook(["excise.functional", "excise.bottlenecks"], "beartype.beartype")

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

hypothesis.settings.register_profile(
    "suite", derandomize=True, database=None, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")


def pytest_unconfigure() -> None:
    """Remove the suite's own cache."""
    if _MADE_HF_HOME:
        shutil.rmtree(os.environ.pop("EXCISE_TEST_HF_HOME"), ignore_errors=True)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder that holds setup.cfg."""
    return Path(__file__).resolve().parents[1]
