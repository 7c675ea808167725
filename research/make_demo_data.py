"""Make the extract of English-French sentence pairs that excise carries for its demo.

The source is Parquet with a column `translation` = {en, fr}, here Tatoeba through manythings.org/anki (CC BY 2.0 FR):

    python research/make_demo_data.py {train,validation,test}.parquet \
        --out src/excise/data/packaged/tatoeba.parquet

A model trained from nothing in a minute can only learn a small language. So a pair is kept when its English side is
short and made of the most frequent words; sentences about the topics may be a little longer and rarer, so that there
are enough of them. Of several translations of one sentence the most typical is kept: the one whose words are the most
frequent. The same files and arguments give the same rows.
"""

import argparse
import hashlib
import re
from collections import Counter, defaultdict
from math import log

import pyarrow as pa
import pyarrow.parquet as pq

WORD = re.compile(r"\d+|[^\W\d_]+(?:['-][^\W\d_]+)*")
FRENCH_WORD = re.compile(r"\w+'?")
DIALOGUE = re.compile(r'["«»“”–—]')
TOPICS = (
    "teacher|teachers",
    "car|cars",
    "dog|dogs",
    "book|books",
    "water",
    "love|loves|loved|loving",
    "money",
    "school|schools",
    "house|houses",
    "father",
    "French",
    "Mary",
    "Boston",
)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", help="Parquet files with a column `translation` = {en, fr}")
    parser.add_argument("--out", required=True, help="the Parquet file to write")
    parser.add_argument("--max-words", type=int, default=6, help="English words of a sentence (default: %(default)s)")
    parser.add_argument("--vocabulary", type=int, default=400, help="English words in use (default: %(default)s)")
    parser.add_argument("--topics", nargs="*", default=TOPICS, help="forms of one topic, separated by |")
    parser.add_argument("--topic-max-words", type=int, default=10, help="the same for topics (default: %(default)s)")
    parser.add_argument("--topic-vocabulary", type=int, default=1200, help="the same for topics (default: %(default)s)")
    parser.add_argument("--min-count", type=int, default=8, help="sentences of a French word (default: %(default)s)")
    parser.add_argument("--test-share", type=float, default=0.05, help="of general sentences (default: %(default)s)")
    parser.add_argument("--topic-test-share", type=float, default=0.17, help="of a topic's (default: %(default)s)")
    return parser.parse_args()


def read_pairs(sources: list[str]) -> list[tuple[str, str]]:
    """All (en, fr) pairs of the files, with plain apostrophes, single spaces and the French space before ? and !."""

    def clean(text: str) -> str:
        return " ".join(text.replace("’", "'").split())

    def clean_french(text: str) -> str:
        return re.sub(r" ?([?!;:])", r" \1", clean(text))

    return [
        (clean(pair["en"]), clean_french(pair["fr"]))
        for source in sources
        for pair in pq.read_table(source, columns=["translation"])["translation"].to_pylist()
    ]


def words(text: str) -> list[str]:
    """The words of an English sentence in lower case; a contraction is one word."""
    return [word.lower() for word in WORD.findall(text)]


def typical(translations: list[str], frequency: Counter[str]) -> str:
    """The translation whose words are the most frequent on average; ties go by the alphabet."""

    def score(text: str) -> float:
        found = FRENCH_WORD.findall(text.lower())
        return sum(log(frequency[word]) for word in found) / len(found)

    return max(sorted(translations), key=score)


def digest(text: str) -> str:
    """A random but repeatable order, which depends on nothing but the sentence."""
    return hashlib.sha256(text.casefold().encode()).hexdigest()


def main() -> None:
    """Choose, split and write."""
    args = parse_arguments()
    pairs = [(en, fr) for en, fr in read_pairs(args.sources) if WORD.search(en) and FRENCH_WORD.search(fr)]
    pairs = [(en, fr) for en, fr in pairs if not DIALOGUE.search(en + fr)]
    short = [(en, fr) for en, fr in pairs if len(words(en)) <= args.max_words]
    english = Counter(word for en, _ in short for word in set(words(en)))
    french = Counter(word for _, fr in pairs for word in set(FRENCH_WORD.findall(fr.lower())))
    rank = {
        word: place for place, (word, _) in enumerate(sorted(english.items(), key=lambda item: (-item[1], item[0])))
    }
    topics = {forms: re.compile(rf"\b(?:{forms})\b", 0 if forms[0].isupper() else re.I) for forms in args.topics}
    topic_forms = {form.lower() for forms in topics for form in forms.split("|")}

    def within(en: str, max_words: int, vocabulary: int) -> bool:
        found = words(en)
        known = all(word in topic_forms or rank.get(word, vocabulary) < vocabulary for word in found)
        return known and len(found) <= max_words

    translations: dict[str, list[str]] = defaultdict(list)
    spelling: dict[str, str] = {}
    group: dict[str, str] = {}
    for en, fr in pairs:
        topic = next((forms for forms, pattern in topics.items() if pattern.search(en)), "")
        limits = (args.topic_max_words, args.topic_vocabulary) if topic else (args.max_words, args.vocabulary)
        frequent = all(french[word] >= args.min_count for word in FRENCH_WORD.findall(fr.lower()))
        if frequent and len(words(fr)) <= limits[0] + 3 and within(en, *limits):
            key = en.casefold()
            spelling.setdefault(key, en)
            group.setdefault(key, topic)
            translations[key].append(fr)

    rows = []
    for topic in ["", *topics]:
        members = sorted((key for key in group if group[key] == topic), key=digest)
        num_test = round(len(members) * (args.topic_test_share if topic else args.test_share))
        rows += [
            {
                "en": spelling[key],
                "fr": typical(translations[key], french),
                "split": "test" if i < num_test else "train",
            }
            for i, key in enumerate(members)
        ]
        print(f"{topic or '(no topic)':24} {len(members) - num_test:6} train {num_test:5} test")
    # In the order of the alphabet each sentence shares its beginning with the one before: a third of the bytes.
    rows.sort(key=lambda row: (row["split"], row["en"]))
    schema = pa.schema([("en", pa.string()), ("fr", pa.string()), ("split", pa.string())])
    pq.write_table(
        pa.Table.from_pylist(rows, schema=schema),
        args.out,
        compression="zstd",
        compression_level=22,
        use_dictionary=["split"],
        column_encoding={"en": "DELTA_BYTE_ARRAY", "fr": "PLAIN"},
        write_statistics=False,
    )
    num_words = len({word for row in rows for word in words(row["en"])})
    num_french = len({word for row in rows for word in FRENCH_WORD.findall(row["fr"].lower())})
    print(f"{len(rows)} pairs, {num_words} English and {num_french} French words, {pa.OSFile(args.out).size()} bytes")


if __name__ == "__main__":
    main()
