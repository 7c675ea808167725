"""What every text metric does with its inputs, whichever metric it is."""

import multiprocessing
import os

import evaluate
import numpy as np
import pytest
from datasets import Dataset

from excise.evaluation.metrics import Bleu, Chrf, Meteor, TopicRecall

PREDICTIONS = ["le professeur parle aux enfants", "elle aime la musique", "un chat dort"]
REFERENCES = ["le professeur parle avec les enfants", "elle adore la musique", "le chat dort ici"]
METRICS = [Bleu, Chrf, lambda: Meteor(language="french"), lambda: TopicRecall(["professeur", "musique"])]
each_metric = pytest.mark.parametrize("metric", METRICS, ids=["bleu", "chrf", "meteor", "topic_recall"])


@each_metric
def test_batches_examples_and_one_call_give_the_same_result(metric):
    whole = metric().compute(predictions=PREDICTIONS, references=REFERENCES)
    batched, single = metric(), metric()
    batched.add_batch(predictions=PREDICTIONS[:2], references=REFERENCES[:2])
    batched.add_batch(predictions=PREDICTIONS[2:], references=REFERENCES[2:])
    for prediction, reference in zip(PREDICTIONS, REFERENCES, strict=True):
        single.add(prediction=prediction, reference=reference)
    assert batched.compute() == whole
    assert single.compute() == whole


@each_metric
def test_a_str_equals_a_list_of_one_and_mixed_rows_are_taken(metric):
    whole = metric().compute(predictions=PREDICTIONS, references=REFERENCES)
    mixed = [REFERENCES[0], [REFERENCES[1]], (REFERENCES[2],)]
    assert metric().compute(predictions=PREDICTIONS, references=mixed) == whole


@each_metric
def test_a_metric_can_be_used_again_and_forgets_the_examples_before(metric):
    metric = metric()
    first = metric.compute(predictions=PREDICTIONS, references=REFERENCES)
    metric.compute(predictions=PREDICTIONS[:1], references=REFERENCES[:1])
    assert metric.compute(predictions=PREDICTIONS, references=REFERENCES) == first


def test_combined_metrics_give_what_each_gives_alone():
    combined = evaluate.combine([metric() for metric in METRICS])
    for prediction, reference in zip(PREDICTIONS, REFERENCES, strict=True):
        combined.add(prediction=prediction, reference=reference)
    alone = {}
    for metric in METRICS:
        alone |= metric().compute(predictions=PREDICTIONS, references=REFERENCES)
    assert combined.compute() == alone
    assert combined.compute(predictions=PREDICTIONS, references=REFERENCES) == alone


def test_columns_of_a_dataset_and_numpy_strings_are_taken():
    whole = Bleu().compute(predictions=PREDICTIONS, references=REFERENCES)
    dataset = Dataset.from_dict({"out": PREDICTIONS, "fr": REFERENCES})
    assert Bleu().compute(predictions=dataset["out"], references=dataset["fr"]) == whole
    assert Bleu().compute(predictions=np.array(PREDICTIONS), references=tuple(REFERENCES)) == whole


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "predictions is empty"),
        (None, ["a"], "predictions is None"),
        (["a"], None, "references is None"),
        ("a", ["a"], "predictions is 'a': expected a list"),
        (["a"], "a", "references is 'a': expected a list"),
        (["a", "b"], ["a"], "2 predictions and 1 references"),
        (["a", None], ["a", "b"], r"predictions\[1\] is None"),
        (["a", 3], ["a", "b"], r"predictions\[1\] is 3"),
        (["a", ["b"]], ["a", "b"], r"predictions\[1\] is \['b'\]"),
        (["a", "b"], ["a", None], r"references\[1\] is None"),
        (["a", "b"], ["a", []], r"references\[1\] is \[\]"),
        (["a", "b"], ["a", ["b", None]], r"references\[1\] is \['b', None\]"),
    ],
)
def test_bad_inputs_are_named_and_leave_the_metric_as_it_was(predictions, references, message):
    metric = Bleu()
    metric.add_batch(predictions=PREDICTIONS, references=REFERENCES)
    with pytest.raises(ValueError, match=message):
        metric.add_batch(predictions=predictions, references=references)
    with pytest.raises(ValueError, match=message):
        metric.compute(predictions=predictions, references=references)
    assert metric.compute() == Bleu().compute(predictions=PREDICTIONS, references=REFERENCES)


def test_computing_without_examples_is_refused():
    with pytest.raises(ValueError, match="nothing to score"):
        Bleu().compute()


def test_one_process_writes_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "cache")
    for metric in METRICS:
        metric().compute(predictions=PREDICTIONS, references=REFERENCES)
    assert list(tmp_path.iterdir()) == []


def _score_a_share(process_id, cache_dir, queue):
    metric = Bleu(num_process=2, process_id=process_id, experiment_id="shares", cache_dir=cache_dir)
    share = slice(0, 2) if process_id == 0 else slice(2, 3)
    metric.add_batch(predictions=PREDICTIONS[share], references=REFERENCES[share])
    queue.put((process_id, metric.compute()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a spawned process would import everything again")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_two_processes_that_share_the_work_give_the_result_of_one(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_score_a_share, args=(i, str(tmp_path), queue)) for i in range(2)]
    for process in processes:
        process.start()
    results = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert results[0] == Bleu().compute(predictions=PREDICTIONS, references=REFERENCES)
    assert results[1] is None
    assert not list(tmp_path.rglob("*.arrow"))
