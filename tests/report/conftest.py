"""A model that forgot, and a record of it."""

import PIL.Image
import pytest

from excise.report import Record
from tests.helpers.evidence import SITE, class_frontier, enrichment_of, forgetful_model, text_evaluation


@pytest.fixture
def forgetful(make_model, tokenizer):
    return forgetful_model(make_model, tokenizer)


@pytest.fixture
def record(forgetful):
    """A record in which there is something of everything."""
    red = PIL.Image.new("RGB", (8, 8), (200, 0, 0))
    return Record.of(
        forgetful,
        evaluations=[text_evaluation()],
        frontiers=[class_frontier()],
        enrichments={"teacher": enrichment_of()},
        tokens={(SITE, 3): {"teacher": 12, "new": 20}, (SITE, 5): {"house": 2}},
        thumbnails={(SITE, 3): red, (SITE, 4): [red, red]},
        data={"name": "sentence pairs", "split": "test", "license": "CC BY 2.0 FR"},
        base_model={"id": "someone/base", "revision": "0" * 40},
        settings={"seed": 0},
    )
