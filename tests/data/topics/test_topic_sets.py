import pytest
from datasets import Dataset, DatasetDict

from excise.data.topics import TopicSets, topic_sets, topic_words
from excise.data.topics.matching import normalise

NOUNS = {"teacher": "professeur", "doctor": "médecin", "farmer": "fermier", "brother": "frère", "pilot": "pilote"}
FRAMES = [
    ("The {} came home on day {}.", "Le {} est rentré le jour {}."),
    ("My {} has {} hats.", "Mon {} a {} chapeaux."),
    ("I saw your {} at {}.", "J'ai vu ton {} à {}."),
]


def corpus(first=0, last=40):
    rows = [
        {"en": english.format(word, n), "fr": french.format(translated, n)}
        for n in range(first, last)
        for english, french in FRAMES
        for word, translated in NOUNS.items()
    ]
    return Dataset.from_dict({"translation": rows})


def make(dataset=None, words="teacher", **options):
    return topic_sets(dataset or corpus(), words, **{"text": "en", "reference": "fr", **options})


@pytest.fixture(scope="module")
def topic():
    return make()


def keys(*datasets):
    return {normalise(text) for dataset in datasets for text in dataset["text"]}


def test_spans_point_at_the_topic_word_and_at_its_replacement(topic):
    for old, new in zip(topic.target, topic.control, strict=True):
        ((start, end),) = old["spans"]
        ((new_start, new_end),) = new["spans"]
        assert old["text"][start:end] == "teacher"
        assert new["text"][new_start:new_end] in NOUNS
        # Outside the spans the two are one text.
        assert old["text"][:start] == new["text"][:new_start]
        assert old["text"][end:] == new["text"][new_end:]
        assert old["reference"] == new["reference"]


def test_the_control_is_no_topic_of_its_own(topic):
    words = [row["text"][start:end] for row in topic.control for start, end in row["spans"]]
    assert "teacher" not in words
    assert len(set(words)) >= 3


def test_the_retain_sets_hold_no_topic_word(topic):
    for dataset in (topic.retain, topic.heldout_retain):
        assert not any("teacher" in text.lower() for text in dataset["text"])
        assert all(spans == [] for spans in dataset["spans"])


def test_selecting_and_evaluating_sets_are_disjoint_with_an_own_split(topic):
    assert not keys(topic.target, topic.retain) & keys(topic.heldout, topic.heldout_retain)
    assert topic.target.column_names == ["text", "spans", "reference"]


def test_they_are_disjoint_with_an_overlapping_evaluation_set_in_other_clothes():
    other = corpus(20, 80).map(
        lambda row: {"translation": {**row["translation"], "en": row["translation"]["en"].upper()}}
    )
    topic = make(evaluation=other, min_examples=5)
    assert not keys(topic.target, topic.retain) & keys(topic.heldout, topic.heldout_retain)
    assert topic.counts["evaluation texts dropped (in the data set too)"] == 20 * len(FRAMES) * len(NOUNS)
    assert len(topic.heldout) == 40 * len(FRAMES)


def test_a_duplicated_text_counts_once():
    twice = Dataset.from_dict({"translation": list(corpus()["translation"]) * 2})
    assert make(twice).digest() == make().digest()


def test_the_seed_decides_everything():
    assert make(seed=3).digest() == make(seed=3).digest()
    assert make(seed=3).digest()["target"] != make(seed=4).digest()["target"]


def test_sizes_are_at_most_what_was_asked():
    topic = make(max_examples=25, max_retain=30)
    assert [len(topic.target), len(topic.control), len(topic.retain)] == [25, 25, 30]
    assert [len(topic.heldout), len(topic.heldout_retain)] == [25, 30]


def test_several_words_make_one_topic_and_each_is_replaced():
    topic = make(words=["teacher", "pilot"])
    assert topic.name == "teacher+pilot"
    assert set(topic.inflections) == {"teacher", "teachers", "pilot", "pilots", "piloted", "piloting"}
    assert not any("teacher" in text or "pilot" in text for text in topic.control["text"])


def test_a_name_in_the_data_is_a_name_however_it_is_asked_for():
    texts = [f"We met {name} at {n}." for n in range(60) for name in ("Mary", "Alice", "Susan", "a merry man")]
    topic = topic_sets(Dataset.from_dict({"text": texts}), "mary", text="text", min_examples=5)
    assert topic.inflections == ("Mary",)
    assert all(row["text"][slice(*row["spans"][0])].istitle() for row in topic.control)
    assert topic.target.column_names == ["text", "spans"]


def test_the_given_replacement_is_used_and_inflected():
    topic = make(replacement=["baker"])
    assert {row["text"][slice(*row["spans"][0])] for row in topic.control} == {"baker"}


@pytest.mark.parametrize("evaluation", [None, corpus(20, 80)])
def test_a_prefix_stands_before_each_text_and_changes_nothing_else(evaluation):
    prefix = "translate for a Teacher:  "
    plain, prefixed = (make(evaluation=evaluation, prefix=p) for p in ("", prefix))
    assert (plain.counts, plain.inflections) == (prefixed.counts, prefixed.inflections)
    for name in ("target", "control", "retain", "heldout", "heldout_retain"):
        old, new = getattr(plain, name), getattr(prefixed, name)
        assert new["text"] == [prefix + text for text in old["text"]]
        shifted = [[[start + len(prefix), end + len(prefix)] for start, end in spans] for spans in old["spans"]]
        assert new["spans"] == shifted
        assert new["reference"] == old["reference"]


def test_a_prefix_is_saved_and_older_records_have_none(tmp_path):
    folder = make(prefix="to French: ").save(tmp_path / "prefixed")
    assert TopicSets.load(folder).prefix == "to French: "
    record = folder / "topic.json"
    record.write_text(record.read_text().replace('"prefix": "to French: ",', ""))
    assert TopicSets.load(folder).prefix == ""


def test_rows_without_usable_text_are_skipped():
    rows = [
        *corpus()["translation"],
        {"en": None, "fr": "x"},
        {"en": "  ", "fr": "x"},
        {"en": "A teacher.", "fr": None},
    ]
    assert make(Dataset.from_dict({"translation": rows})).digest() == make().digest()


def test_saving_and_loading_gives_the_same_topic(topic, tmp_path):
    again = TopicSets.load(topic.save(tmp_path / "topic"))
    assert again.digest() == topic.digest()
    assert (again.words, again.inflections, again.seed, again.counts) == (
        topic.words,
        topic.inflections,
        topic.seed,
        topic.counts,
    )
    with pytest.raises(FileExistsError, match="not an empty folder"):
        topic.save(tmp_path / "topic")


def test_a_changed_set_is_noticed_on_loading(topic, tmp_path):
    folder = topic.save(tmp_path / "topic")
    record = folder / "topic.json"
    record.write_text(record.read_text().replace(topic.digest()["retain"], "0" * 64))
    with pytest.raises(ValueError, match=r"retain in .* changed"):
        TopicSets.load(folder)
    with pytest.raises(ValueError, match="No topic sets"):
        TopicSets.load(tmp_path)


def test_printing_shows_counts_and_ten_samples(topic):
    printed = str(topic)
    assert f"target {len(topic.target)}" in printed
    assert printed.count("\n  - ") == 10
    assert topic.target[0]["text"] in printed


def test_the_topics_words_in_the_references_are_found(topic):
    assert topic_words(topic) == ("professeur",)
    with pytest.raises(ValueError, match="no references"):
        topic_words(make(reference=None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"words": "giraffe"}, "None of the 600 texts in 'en' contains giraffe, giraffes"),
        ({"words": "?!"}, "at least one letter or figure"),
        ({"words": ""}, "at least one letter or figure"),
        ({"words": []}, "empty"),
        ({"min_examples": 500}, r"Too few examples of teacher: \d+ in target.*min_examples=500"),
        ({"max_examples": 0}, "max_examples must be at least 1"),
        ({"text": "de"}, r"no text column 'de'.*translation\[en\], translation\[fr\]"),
        ({"reference": "de"}, "no text column 'de'"),
        ({"replacement": "teachers"}, "is the topic itself"),
        ({"replacement": []}, "replacement is empty"),
        ({"evaluation": corpus()}, "All 600 texts of the evaluation set are in the data set"),
        ({"evaluation": corpus(50, 51)}, r"Too few examples of teacher: 3 in heldout"),
        ({"dataset": Dataset.from_dict({"en": [1, 2], "fr": ["a", "b"]})}, "None of the 2 rows"),
        ({"dataset": DatasetDict({"train": corpus()})}, "pick one split"),
    ],
)
def test_bad_input_is_refused_with_the_way_out(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="The dataset is empty"):
        topic_sets(Dataset.from_dict({"en": []}), "teacher", text="en")
