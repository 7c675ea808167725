"""The example that counts with Spark gives the integers of one process, in Spark's local mode."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset

import excise
from excise.codes.counting import count_codes
from excise.codes.counts import CodeCounts
from tests.helpers import tiny


@pytest.mark.slow  # a Java virtual machine and its workers start for it
def test_tasks_of_spark_give_the_counts_of_one_process(tmp_path, root):
    pytest.importorskip("pyspark", reason="pyspark is not installed: `pip install pyspark` to run this example")
    if shutil.which("java") is None:
        pytest.skip("pyspark is installed, but there is no Java for it to run on")
    texts = [f"the cat sat on the mat with {'a dog ' * (i % 5)}and a teacher" for i in range(23)]
    (tmp_path / "corpus.txt").write_text("\n".join(texts), encoding="utf-8")
    model, tokenizer = tiny.codebook_t5(), tiny.tokenizer()
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")
    paths = [str(Path(excise.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    arguments = ["--model", "model", "--texts", "corpus.txt", "--top_s", "5", "--partitions", "3"]
    subprocess.run(
        [sys.executable, root / "examples" / "count_with_spark.py", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYSPARK_PYTHON": sys.executable},
        check=True,
        timeout=500,
    )
    rows = Dataset.from_dict({"text": texts})
    expected = count_codes(model, tokenizer, rows, max_top_s=5, progress=False)
    for number, counts in enumerate(expected.values()):
        found = CodeCounts.load(tmp_path / f"counts-{number}.safetensors")
        assert torch.equal(found.examples, counts.examples) and found.num_examples == len(texts)
    assert expected
