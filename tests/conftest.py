"""What every test runs under: no network, fixed seeds, checked shapes.

The environment is set before anything heavy is imported, because Hugging Face and torch read it once, on import.
"""

import gc
import os
import random
import shutil
import socket
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")

# The local Hub's address (tests/helpers/local_hub). huggingface_hub copies its endpoint into many places on import, so
# it is bound here, before any import. Nobody listens there until a test asks for the `hub`.
_HUB_SOCKET = socket.socket()
_HUB_SOCKET.bind(("127.0.0.1", 0))
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{_HUB_SOCKET.getsockname()[1]}"

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

from tests.helpers.forks import Forks
from tests.helpers.without_excise import BLOCKED

# From here on every annotated shape in these modules is checked at each call (and stays a comment outside the suite).
# Configs are left out: the hook takes their dataclass for one with a plain constructor.
jaxtyping.install_import_hook(
    [
        "excise.statistics",
        "excise.bottlenecks.codebook_sae.bottleneck",
        "excise.bottlenecks.key_value.bottleneck",
        "excise.bottlenecks.sparse_units.active",
        "excise.bottlenecks.sparse_units.bottleneck",
        "excise.bottlenecks.codebook_sae.lookup",
        "excise.bottlenecks.key_value.lookup",
        "excise.functional",
        "excise.codes.counts",
    ],
    "beartype.beartype",
)

# Files of earlier versions, code among them, and the scripts that made them with those versions.
collect_ignore = ["fixtures"]

# Fixtures of more than one folder.
pytest_plugins = [
    "tests.helpers.asked",
    "tests.helpers.encodings",
    "tests.helpers.local_hub.fixtures",
    "tests.helpers.questions",
    "tests.helpers.taught",
]

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

hypothesis.settings.register_profile(
    "suite", derandomize=True, database=None, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Puts all that is imported by now out of the garbage collector's sight: a `Trainer` collects at its start."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Remove the suite's own cache, and give its port back."""
    _HUB_SOCKET.close()
    if _MADE_HF_HOME:
        shutil.rmtree(os.environ.pop("EXCISE_TEST_HF_HOME"), ignore_errors=True)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def hub_socket() -> socket.socket:
    """The bound socket of `HF_ENDPOINT`."""
    return _HUB_SOCKET


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder that holds setup.cfg."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def tokenizer():
    """A word-level tokenizer of a few English and French words; unknown words are `<unk>`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    english = "the a teacher doctor cat dog reads sees likes book house ."
    french = "le la un une professeur lit voit aime livre maison"
    words = ["<pad>", "</s>", "<unk>", *english.split(), *french.split()]
    vocabulary = {word: i for i, word in enumerate(words)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    )


@pytest.fixture(scope="session")
def without_excise():
    """A Python in whose forks excise, and what only it needs, cannot be imported."""
    with Forks(["torch", "transformers.models.auto.modeling_auto"], blocked=sorted(BLOCKED)) as forks:
        yield forks


@pytest.fixture(scope="session")
def with_compiler():
    """A Python that compiles, whose calls of excise have no checks of shapes, which cannot be compiled."""
    with Forks(["excise.models", "tests.helpers.compiled"]) as forks:
        yield forks


@pytest.fixture(scope="session")
def make_model(tokenizer):
    """Makes a tiny T5 with bottlenecks, the same for the same arguments, in eval mode."""
    from excise import CodebookSAEConfig, CodebookT5ForConditionalGeneration
    from excise.models import CodebookT5Config

    def make(num_codes=32, top_s=2, layers=(1,), seed=0, **t5):
        torch.manual_seed(seed)
        sizes = {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 3, "num_decoder_layers": 1, "num_heads": 4}
        config = CodebookT5Config(
            **sizes | {"vocab_size": len(tokenizer), "decoder_start_token_id": 0, "dropout_rate": 0.0} | t5,
            bottleneck=CodebookSAEConfig(num_codes=num_codes, top_s=top_s, code_dim=16, active=None),
            bottleneck_layers=list(layers),
        )
        return CodebookT5ForConditionalGeneration(config).eval()

    return make


@pytest.fixture(scope="session")
def topic():
    """Topic sets about *teacher*, made by hand: 12 pairs, 12 other sentences, and held-out ones."""
    from datasets import Dataset

    from excise import TopicSets

    def rows(subject, verbs=("reads", "sees", "likes"), objects=("book", "house", "cat", "dog")):
        texts = [f"the {subject} {verb} a {thing} ." for verb in verbs for thing in objects]
        spans = [[[4, 4 + len(subject)]]] * len(texts)
        french = {"teacher": "professeur", "doctor": "professeur", "cat": "maison", "dog": "livre"}
        references = [f"le {french[subject]} lit un livre ."] * len(texts)
        return {"text": texts, "spans": spans, "reference": references}

    def others(subject):
        return rows(subject) | {"spans": [[]] * 12}

    sets = {"target": rows("teacher"), "control": rows("doctor"), "retain": others("cat")}
    sets |= {"heldout": rows("teacher", ["sees"]), "heldout_retain": others("dog")}
    return TopicSets(
        ("teacher",), ("teacher", "teachers"), "en", "fr", 0, **{k: Dataset.from_dict(v) for k, v in sets.items()}
    )
