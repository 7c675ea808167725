"""Count the codes of a corpus on a cluster with Spark: a task counts its sentences, and counts merge by addition.

    pip install pyspark                 # and Java, 17 or later
    python examples/count_with_spark.py --model unlearned --texts corpus/*.txt --partitions 64 --master local[2]

A task that is lost is run again by Spark, and what it gives is added once. The counts are those of one process.
"""

import argparse

from datasets import Dataset
from pyspark.sql import SparkSession
from transformers import AutoTokenizer

from excise import CodebookT5ForConditionalGeneration, Search
from excise.codes import CodeFinder

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True, help="a folder that every machine sees, or a Hub id")
parser.add_argument("--texts", nargs="+", required=True, help="text files that every machine sees, a sentence a line")
parser.add_argument("--top_s", type=int, default=24, help="counts are made for every S' up to this")
parser.add_argument("--partitions", type=int, default=2, help="tasks; a few for each worker, of minutes each")
parser.add_argument("--master", default="local[2]", help="local[n] is n processes on this machine")
parser.add_argument("--out", default="counts", help="beginning of the names of the files of counts, one a site")
args = parser.parse_args()


def count(sentences, model=args.model, top_s=args.top_s):
    """What the sentences of one task use, by site; the model is loaded once a task."""
    if texts := list(sentences):
        reader = CodebookT5ForConditionalGeneration.from_pretrained(model).eval()
        finder = CodeFinder(reader, AutoTokenizer.from_pretrained(model))
        every_code = Search("activations", count=1)  # at all positions; nothing is tested
        rows = Dataset.from_dict({"text": texts})
        yield finder.count(rows, every_code, max_top_s=top_s, progress=False).counts[0].target


def both(some, others):
    return {site: some[site] + others[site] for site in some}


spark = SparkSession.builder.master(args.master).appName("codes of a corpus").getOrCreate()
lines = spark.sparkContext.textFile(",".join(args.texts), args.partitions)
totals = lines.mapPartitions(count).treeReduce(both)
spark.stop()
for number, (site, counts) in enumerate(totals.items()):
    counts.save(f"{args.out}-{number}.safetensors")
    print(f"{site}: {counts}")
