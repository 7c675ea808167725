"""What people bring in other scripts, spellings and encodings: the right words, or a refusal that names the reason."""

import sys
import unicodedata
import warnings

import pytest
import regex
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from excise import topic_sets
from excise.data import null_sets, topic_words
from excise.data.forget_sets import holds_word
from excise.data.topics import associated_words
from excise.data.topics.corpus import tokens
from excise.data.topics.matching import Matcher, hiding_sign, normalise
from excise.data.words import BEYOND, WORD, caseless, evened, is_word, runs, traced, words
from excise.evaluation.metrics import Bleu, Chrf, Meteor, TopicRecall
from excise.evaluation.metrics.words import rest_of_sentence
from excise.evaluation.metrics.words import tokens as metric_tokens
from excise.report.examples import word_differences
from excise.storage.extras import MissingExtraError


def decomposed(text):
    return unicodedata.normalize("NFD", text)


def of(text):
    return [word.text for word in words(text)]


WORDS = {
    "an elided article": ("L'amour", ["L", "amour"]),
    "a curly apostrophe": ("C\u2019est l\u2019amour", ["C", "est", "l", "amour"]),
    "an acute accent for an apostrophe": ("l\u00b4amour", ["l", "amour"]),
    "a letter for an apostrophe": ("l\u02bcamour", ["l", "amour"]),
    "a possessive": ("the teacher's book", ["the", "teacher", "s", "book"]),
    "a shortened not": ("I won't, can\u2019t, DON'T", ["I", "won't", "can't", "DON'T"]),
    "other shortened verbs": ("I'm, we'll, she'd", ["I", "m", "we", "ll", "she", "d"]),
    "an hour": ("ten o'clock, O\u2019CLOCK", ["ten", "o'clock", "O'CLOCK"]),
    "an Irish name": ("O'Neill's", ["O'Neill", "s"]),
    "an O by itself": ("the O's, o' the", ["the", "O", "s", "o", "the"]),
    "words with an apostrophe in French": (
        "Aujourd\u2019hui quelqu'un d'autre et grand'mère",
        ["Aujourd'hui", "quelqu'un", "d", "autre", "et", "grand'mère"],
    ),
    "elisions in French": ("jusqu'à l'amour qu'on n'a", ["jusqu", "à", "l", "amour", "qu", "on", "n", "a"]),
    "something of a grand": ("my grand's, ma'am, Hallowe'en", ["my", "grand", "s", "ma'am", "Hallowe'en"]),
    "numbers": ("100,000 and 3.5, 24/7. 12,", ["100,000", "and", "3.5", "24/7", "12"]),
    "a hyphen": ("Jean-Luc", ["Jean", "Luc"]),
    "a non-breaking hyphen": ("Jean\u2011Luc", ["Jean", "Luc"]),
    "a soft hyphen": ("un profes\u00adseur", ["un", "professeur"]),
    "an apostrophe in Ukrainian": ("\u043f\u2019\u044f\u0442\u044c \u0441\u0456\u043c'\u044f", ["п'ять", "сім'я"]),
    "an abbreviation in Hebrew": ("\u05e6\u05d4\u05f4\u05dc", ['צה"ל']),
    "a middle dot in Catalan": ("la col\u00b7lega", ["la", "col·lega"]),
    "accents as macOS writes them": (decomposed("l'étudiant"), ["l", "étudiant"]),
    "Korean as macOS writes it": (decomposed("학교 에서"), ["학교", "에서"]),
    "a vowel sign in Hindi": ("कमी कम है", ["कमी", "कम", "है"]),
    "a joiner in Hindi": ("क्\u200dषमा", ["क्षमा"]),
    "a non-joiner in Persian": ("می\u200cخواهم", ["میخواهم"]),
    "marks of direction": ("\u200fمدرسة\u200f، \u202bكتاب\u202c", ["مدرسة", "كتاب"]),
    "a stretched word in Arabic": ("كـــتاب", ["كتاب"]),
    "letters in the forms of a PDF, in Arabic": ("\ufeb3\ufefc\ufee1", ["سلام"]),
    "letters of full width": ("\uff34\uff2f\uff2b\uff39\uff2f\uff12", ["TOKYO2"]),
    "katakana of half width": ("\uff76\uff9e\uff72\uff84\uff9e", ["ガイド"]),
    "a ligature": ("\ufb01lm o\ufb03ce", ["film", "office"]),
    "bold letters as in social media": ("\U0001d413\U0001d428\U0001d426", ["Tom"]),
    "an emoji with its selector": ("love \u2764\ufe0f you", ["love", "you"]),
    "a byte order mark": ("\ufeffHello", ["Hello"]),
    "an underscore inside": ("model_2", ["model_2"]),
    "an underscore for emphasis": ("_teacher_", ["teacher"]),
    "letters and digits": ("GPT-4 and B2B", ["GPT", "4", "and", "B2B"]),
    "a formula": ("H\u2082O", ["H2O"]),
    "a footnote's sign": ("teacher\u00b2", ["teacher"]),
    "an accent by itself": ("\u0301 a", ["a"]),
    "a no-break space": ("New\u00a0York", ["New", "York"]),
    "a space without width, as in Thai": ("ครู\u200bไทย", ["ครู", "ไทย"]),
    "Chinese": ("老师喜欢学习。", ["老师", "喜欢", "学习"]),
    "Chinese with a brand": ("我的iPhone手机", ["我的", "iPhone", "手机"]),
    "Japanese": ("先生は本を読む", ["先生", "は", "本", "を", "読む"]),
    "Thai": ("ครูรักภาษาไทย", ["ครู", "รัก", "ภาษา", "ไทย"]),
    "Lao": ("ຄູຮັກພາສາລາວ", ["ຄູ", "ຮັກ", "ພາສາ", "ລາວ"]),
    "Khmer": ("គ្រូស្រលាញ់", ["គ្រូ", "ស្រលាញ់"]),
    "Burmese": ("ဆရာကိုချစ်တယ်", ["ဆရာ", "ကို", "ချစ်", "တယ်"]),
    "a letter of the second plane": ("\U00020bb7野家", ["\U00020bb7", "野", "家"]),
    "nothing": ("", []),
    "signs only": ("?! \u2014 \u0301", []),
}


@pytest.mark.parametrize("situation", WORDS)
def test_a_text_has_these_words(situation):
    text, expected = WORDS[situation]
    if situation == "a letter of the second plane":  # ICU knows names of places
        assert "".join(of(text)) == text
        return
    assert of(text) == expected
    for word in words(text):  # where it stands in what was given
        assert of(text[word.start : word.end]) == [word.text]


ALIKE = {
    "German capitals": ("Straße", "STRASSE"),
    "a capital sharp s": ("straße", "STRA\u1e9eE"),
    "a final sigma": ("ΛΟΓΟΣ", "λόγος".replace("ό", "ο")),
    "a dotted capital in Turkish": ("istanbul", "\u0130STANBUL"),
    "a dotted capital in lower case": ("istanbul", "\u0130stanbul".lower()),
    "composed and not": ("étudiant", decomposed("ÉTUDIANT")),
    "full width": ("Tom", "\uff34\uff4f\uff4d"),
    "a ligature": ("film", "\ufb01lm"),
    "a long s": ("Haus", "Hau\u017f"),
    "a Kelvin sign": ("kelvin", "\u212aelvin"),
    "a soft hyphen": ("teacher", "tea\u00adcher"),
}
UNLIKE = {
    "a dotless i in Turkish": ("sık", "sik"),
    "an accent": ("café", "cafe"),
    "a vowel sign in Hindi": ("कम", "कमी"),
    "a hyphen": ("re-sent", "resent"),
}


@pytest.mark.parametrize("situation", ALIKE)
def test_two_spellings_are_the_same_word_in_search_and_recall(situation):
    one, other = ALIKE[situation]
    assert caseless(one) == caseless(other)
    for word, text in [(one, other), (other, one)]:
        assert Matcher([word]).spans(f"a {text}, a") == [(2, 2 + len(text))]
        assert TopicRecall([word]).compute(predictions=[text], references=[text])["hits"] == 1
        assert rest_of_sentence(f"a {text}, a", [word]) == "a , a"


@pytest.mark.parametrize("situation", UNLIKE)
def test_two_spellings_are_two_words_in_search_and_recall(situation):
    for word, text in [UNLIKE[situation], UNLIKE[situation][::-1]]:
        assert not Matcher([word]).touches(f"a {text}, a")
        assert TopicRecall([word]).compute(predictions=[text], references=[word])["hits"] == 0
        assert not holds_word(text, word) or situation == "an accent"  # where a leak is looked for, accents do not hide


FOUND = {
    "a name in capitals": (["Jos\u00e9"], "JOSE\u0301 and jos\u00e9", ["JOSE\u0301"]),
    "a soft hyphen inside": (["teacher"], "A tea\u00adcher\u2019s", ["tea\u00adcher"]),
    "a compound with a non-breaking hyphen": (["teacher"], "teacher\u2011led", []),
    "a prime for an apostrophe": (["O'Brien"], "O\u2032Brien", ["O\u2032Brien"]),
    "a space without width in a name": (["New York"], "New\u200bYork", ["New\u200bYork"]),
    "a part of won't": (["won", "don", "can"], "I won't and don\u2019t, can't", []),
    "a verb before 'll, 'm and 's": (["she", "it"], "she'll see it's she", ["she", "it", "she"]),
    "a clock": (["clock"], "At two o'clock the clock's O\u2019CLOCK", ["clock"]),
    "an hour": (["o'clock"], "At two o\u2019clock", ["o\u2019clock"]),
    "a part of an Irish name": (["Neill"], "O'Neill, O\u2019NEILL and Neill's", ["Neill"]),
    "an Irish name": (["O'Neill"], "O\u2019Neill's O'NEILL", ["O\u2019Neill", "O'NEILL"]),
    "a part of today in French": (["hui"], "aujourd'hui, AUJOURD\u2019HUI", []),
    "a mother in French": (["mère"], "sa grand'mère, l'mère d'mère", ["mère", "mère"]),
    "one in French": (["un", "une"], "quelqu'un, quelqu'une, l'un, un", ["un", "un"]),
    "a love in French": (["amour"], "l'amour, d\u2019amour", ["amour", "amour"]),
    "an island in French": (["île"], "la presqu'île, l'île", ["île"]),
    "a number in longer ones": (["100"], "100,000 100.5 0.100 1/100 100/5 100.", ["100"]),
    "a year in longer numbers": (["1984"], "1984.50 1984, 1984", ["1984", "1984"]),
    "a name with a number": (
        ["Apollo 11"],
        "Apollo 11,000 Apollo 11.5 Apollo 11, Apollo-11.",
        ["Apollo 11", "Apollo-11"],
    ),
    "a part of a version": (["3.5"], "2.3.5 3.5.1 13.5 3.5", ["3.5"]),
    "days a week": (["24/7"], "24/7/2020 24/7.", ["24/7"]),
    "a number in Chinese": (["100"], "\u670910,100\u4eba\u548c100\u4eba", ["100"]),
    "a model's older version": (["GPT-4"], "GPT-4.5, GPT-4", ["GPT-4"]),
    "a compound with a hyphen": (["teacher"], "ex-teacher", []),
    "an identifier": (["teacher"], "teacher_x x_teacher", []),
    "emphasis by underscores": (["teacher"], "a _teacher_ is", ["teacher"]),
    "a part of a word in Ukrainian": (["\u044f\u0442\u044c"], "\u043f'\u044f\u0442\u044c", []),
    "Hindi inside another word": (["\u0915\u092e"], "\u0915\u092e\u0940 \u0939\u0948", []),
    "Hindi by itself": (["\u0915\u092e"], "\u092f\u0939 \u0915\u092e \u0939\u0948", ["\u0915\u092e"]),
    "a word beside a mark of direction": (["كتاب"], "\u200fكتاب\u200f", ["كتاب"]),
    "a brand in Chinese": (["iPhone"], "我的iPhone手机", ["iPhone"]),
    "Chinese": (["老师"], "我的老师很好", ["老师"]),
    "a Chinese character inside another word": (["学"], "大学很好", []),
    "Thai": (["ครู"], "ครูรักภาษาไทย", ["ครู"]),
}


@pytest.mark.parametrize("situation", FOUND)
def test_a_form_is_found_where_it_is_a_word(situation):
    forms, text, expected = FOUND[situation]
    names = [form for form in forms if form[0].isupper()]
    matcher = Matcher([form for form in forms if form not in names], names)
    assert [text[start:end] for start, end in matcher.spans(text)] == expected


# Of each language the words for teacher, doctor, farmer, brother and pilot, and two sentences.
ENGLISH = (["teacher", "doctor", "farmer", "brother", "pilot"], ["My {} has {} hats.", "The {} came on day {}."])
LANGUAGES = {
    "French": (["étudiant", "médecin", "fermier", "frère", "pilote"], ["Mon {} a {} chapeaux.", "Le {} vint le {}."]),
    "Hindi": (["शिक्षक", "चिकित्सक", "किसान", "भाई", "पायलट"], ["मेरे {} के पास {} टोपियाँ हैं।", "वह {} दिन {} को आया।"]),
    "Ukrainian": (["кур'єр", "лікар", "фермер", "брат", "пілот"], ["Мій {} має {} капелюхів.", "Той {} прийшов {}."]),
    "Arabic": (["أستاذ", "طبيب", "فلاح", "شقيق", "طيار"], ["عند {} هذا {} قبعات.", "جاء {} في اليوم {}."]),
    "Turkish": (["öğretmen", "İmam", "çiftçi", "kardeş", "pilot"], ["Bu {} bir {} şapka aldı.", "O {} gün {} geldi."]),
    "Chinese": (["老师", "医生", "农民", "兄弟", "飞行员"], ["我的{}有{}顶帽子。", "那位{}在第{}天回家了。"]),
    "Japanese": (
        ["先生", "医者", "農家", "兄弟", "パイロット"],
        ["私の{}は帽子を{}個持っている。", "その{}は{}日に来た。"],
    ),
    "Thai": (["ครู", "หมอ", "ชาวนา", "ทหาร", "นักบิน"], ["{}ของฉันมีหมวก {} ใบ", "{}กลับบ้านวันที่ {}"]),
    "Korean": (["선생님", "의사", "농부", "형제", "조종사"], ["우리 {} 모자 {} 개 있다.", "그 {} 오늘 {} 왔다."]),
    "Chinese with a single character": (
        ["狗", "猫", "牛", "马", "羊"],
        ["我的{}有{}顶帽子。", "那只{}在第{}天回家了。"],
    ),
}
NEED_SPLITTING = ("Chinese", "Japanese", "Thai", "Chinese with a single character")


def pairs(language, changed=str, count=40):
    nouns, frames = LANGUAGES[language]
    rows = [
        {"en": english.format(noun, n), "xx": changed(frame.format(translated, n))}
        for n in range(count)
        for english, frame in zip(ENGLISH[1], frames, strict=True)
        for noun, translated in zip(ENGLISH[0], nouns, strict=True)
    ]
    return Dataset.from_dict({"translation": rows})


@pytest.mark.parametrize("changed", [str, decomposed], ids=["composed", "decomposed"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_topics_word_is_found_in_references_and_recalled_in_all(language, changed):
    topic = topic_sets(pairs(language, changed), "teacher", text="en", reference="xx", min_examples=10, progress=False)
    found = topic_words(topic)
    assert found == (LANGUAGES[language][0][0],)
    references = topic.heldout["reference"]
    result = TopicRecall(found).compute(predictions=list(references), references=list(references))
    assert result["hits"] == result["total"] == len(references)
    without = [rest_of_sentence(text, found) for text in references]
    assert TopicRecall(found).compute(predictions=without, references=list(references))["hits"] == 0


def test_a_few_words_that_are_quoted_in_another_script_change_nothing():
    plain = pairs("French")
    rows = [*plain["translation"], {"en": "The sign 水 is water.", "xx": "Le signe 水."}]
    topic = topic_sets(Dataset.from_dict({"translation": rows}), "teacher", text="en", reference="xx", progress=False)
    assert topic_words(topic) == ("étudiant",)


def test_a_mixture_of_languages_in_the_references_gives_words_of_both():
    rows = [*pairs("French")["translation"], *pairs("Chinese", count=80)["translation"][400:]]
    rows = [{**row, "en": f"{row['en']} ({i})"} for i, row in enumerate(rows)]
    topic = topic_sets(Dataset.from_dict({"translation": rows}), "teacher", text="en", reference="xx", progress=False)
    assert set(topic_words(topic)) == {"étudiant", "老师"}


def turned(language):
    return lambda: topic_sets(pairs(language), "teacher", text="xx", reference="en", progress=False)


def scored(metric, texts):
    return lambda: metric.compute(predictions=texts, references=texts)


REFUSED = {
    "a source in Chinese": (turned("Chinese"), ValueError, "'xx' are in Chinese characters, without spaces"),
    "a source in Japanese": (turned("Japanese"), ValueError, "without spaces between words"),
    "a source in Thai": (turned("Thai"), ValueError, "'xx' are in Thai, without spaces"),
    "METEOR in Chinese": (lambda: scored(Meteor(), ["我的老师有帽子。"])(), ValueError, "METEOR .* Chinese characters"),
    "words in Tibetan": (lambda: scored(TopicRecall(["book"]), ["བོད་སྐད་ཡིག"])(), ValueError, "in Tibetan, which is"),
}


@pytest.mark.parametrize("situation", REFUSED)
def test_what_has_no_right_answer_is_refused_by_name(situation):
    do, error, message = REFUSED[situation]
    with pytest.raises(error, match=message):
        do()


WITHOUT_THE_EXTRA = {
    "references in Chinese": lambda: topic_sets(pairs("Chinese"), "teacher", text="en", reference="xx", progress=False),
    "references in Thai": lambda: topic_sets(pairs("Thai"), "teacher", text="en", reference="xx", progress=False),
    "words of texts in Japanese": lambda: associated_words(["先生は来た。"] * 9, ["医者は来た。"] * 9),
    "recall of a Chinese word": lambda: TopicRecall(["老师"]),
    "recall in Chinese texts": scored(TopicRecall(["Tom"]), ["Tom 我的老师有帽子。"]),
    "the rest of a sentence": lambda: rest_of_sentence("我的老师", ["老师"]),
    "a search for a Thai word": lambda: Matcher(["ครู"]),
}


@pytest.mark.parametrize("situation", WITHOUT_THE_EXTRA)
def test_without_the_extra_scripts_it_is_asked_for_and_nothing_is_guessed(situation, monkeypatch):
    monkeypatch.setitem(sys.modules, "icu4py", None)
    with pytest.raises(MissingExtraError, match=r'pip install "excise\[scripts\]"'):
        WITHOUT_THE_EXTRA[situation]()


def test_texts_that_are_split_by_spaces_already_are_taken_as_they_are(monkeypatch):
    monkeypatch.setitem(sys.modules, "icu4py", None)
    spaced = [f"我 的 老师 有 {n} 顶 帽子 。" for n in range(30)]
    others = [f"我 的 医生 有 {n} 顶 帽子 。" for n in range(30)]
    assert [entry.word for entry in associated_words(spaced, others)] == ["老师"]


@pytest.mark.filterwarnings("ignore:There are no inflections for language")
@pytest.mark.parametrize(
    ("language", "code", "other"), [("Chinese", "zh", "医生"), ("Japanese", "ja", "医者"), ("Thai", "th", "หมอ")]
)
def test_a_source_whose_words_stand_apart_makes_a_topic_as_its_refusal_says(language, code, other):
    own = LANGUAGES[language][0][0]
    rows = [{**row, "xx": " ".join(of(row["xx"]))} for row in pairs(language)["translation"]]
    options = {"text": "xx", "reference": "en", "min_examples": 10, "progress": False}
    topic = topic_sets(Dataset.from_dict({"translation": rows}), own, language=code, replacement=other, **options)
    assert all(row["text"][slice(*span)] == own for row in topic.target for span in row["spans"])
    assert all(own in of(text) for text in topic.target["text"])
    assert all(other in of(text) and own not in of(text) for text in topic.control["text"])
    assert topic_words(topic) == ("teacher",)


NEARLY = {
    "English": ("My teacher has three old hats.", "My teacher has three new hats.", "13a"),
    "French": ("Mon professeur a trois vieux chapeaux.", "Mon professeur a trois beaux chapeaux.", "13a"),
    "Hindi": ("मेरे शिक्षक के पास तीन टोपियाँ हैं ।", "मेरे शिक्षक के पास चार टोपियाँ हैं ।", "13a"),
    "Chinese": ("我的老师有三顶旧帽子，很好看。", "我的老师有三顶新帽子，很好看。", "zh"),
    "Chinese with some English": ("我的老师用 iPhone 看书，很好看。", "我的老师用 iPhone 看报，很好看。", "zh"),
    "Chinese with brands": ("我有iPhone手機同埋MacBook電腦", "我有iPhone電話同埋MacBook電腦", "zh"),
    "Chinese with spaces in references alone": (
        "我的老师有三顶旧帽子，很好看。",
        "我 的 老师 有 三 顶 新 帽子 ， 很 好看 。",
        "zh",
    ),
    "English with a Chinese word": ("The word 水 means a lot of water.", "The word 水 means a lot of it.", "13a"),
    "Japanese": ("私の先生は古い帽子を三つ持っている。", "私の先生は古い帽子を四つ持っている。", "char"),
    "Thai": ("ครูของฉันมีหมวกเก่าสามใบ", "ครูของฉันมีหมวกใหม่สามใบ", "char"),
    "Lao": ("ຄູຂອງຂ້ອຍຮັກພາສາລາວຫຼາຍ", "ຄູຂອງເຈົ້າຮັກພາສາລາວຫຼາຍ", "char"),
    "Khmer": ("គ្រូរបស់ខ្ញុំស្រលាញ់ភាសាខ្មែរ", "គ្រូរបស់គាត់ស្រលាញ់ភាសាខ្មែរ", "char"),
    "Burmese": ("ကျွန်တော်ဆရာကိုချစ်တယ်", "ကျွန်တော်မိခင်ကိုချစ်တယ်", "char"),
    "Korean": (
        "우리 선생님은 오래된 모자를 세 개 가지고 있다.",
        "우리 선생님은 오래된 모자를 네 개 가지고 있다.",
        "13a",
    ),
}
TOLD = ("Japanese", "Thai", "Lao", "Khmer", "Burmese", "Korean")


@pytest.mark.parametrize("language", NEARLY)
def test_bleu_takes_the_tokenizer_of_the_references_and_warns_where_none_fits(language, monkeypatch):
    for module in ("MeCab", "mecab_ko"):  # as where they are not installed
        monkeypatch.setitem(sys.modules, module, None)
    prediction, reference, tokenizer = NEARLY[language]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = Bleu().compute(predictions=[prediction], references=[reference])
        same = Bleu().compute(predictions=[reference], references=[reference])
    assert f"tok:{tokenizer}|" in result["bleu_signature"]
    assert 40 < result["bleu"] < 100
    assert same["bleu"] == pytest.approx(100)
    assert bool(told) == (language in TOLD)
    assert all(f"for {language}" in str(one.message) or f"in {language}" in str(one.message) for one in told)


def test_a_tokenizer_that_takes_sentences_for_words_is_warned_of_and_another_is_taken_as_given():
    prediction, reference, _ = NEARLY["Chinese"]
    with pytest.warns(UserWarning, match=r"tokenize='13a' takes a sentence in Chinese characters for one word"):
        assert Bleu(tokenize="13a").compute(predictions=[prediction], references=[reference])["bleu"] < 1
    with pytest.warns(UserWarning, match="word_order=2 counts words too"):
        Chrf(word_order=2).compute(predictions=[prediction], references=[reference])
    assert Chrf().compute(predictions=[reference], references=[reference])["chrf"] == 100
    signature = Bleu(tokenize="char").compute(predictions=[prediction], references=[reference])["bleu_signature"]
    assert "tok:char|" in signature


def test_a_tokenizer_that_sacrebleu_has_not_is_refused_and_those_it_has_are_listed():
    with pytest.raises(
        ValueError, match=r"tokenize='foo' is no tokenizer of sacrebleu's. Give one of .*13a, intl, char"
    ):
        Bleu(tokenize="foo")


@pytest.mark.parametrize("language", ["English", "French"])
def test_the_scores_of_languages_with_spaces_are_sacrebleus_own(language):
    from sacrebleu.metrics import BLEU, CHRF

    prediction, reference, _ = NEARLY[language]
    bleu, chrf = BLEU(tokenize="13a"), CHRF()
    expected = (
        bleu.corpus_score([prediction], [[reference]]).score,
        chrf.corpus_score([prediction], [[reference]]).score,
    )
    inputs = {"predictions": [prediction], "references": [reference]}
    scores = Bleu().compute(**inputs) | Chrf().compute(**inputs)
    assert (scores["bleu"], scores["chrf"]) == expected
    assert scores["bleu_signature"] == str(bleu.get_signature())
    assert scores["chrf_signature"] == str(chrf.get_signature())


@pytest.mark.parametrize("metric", [Bleu, Chrf, Meteor])
def test_decomposed_references_score_as_composed_ones(metric):
    prediction, reference = "l'étudiant à l'école préférée", "l'étudiante à l'école préférée"
    name = metric.__name__.lower()
    composed = metric().compute(predictions=[prediction], references=[reference])
    other = metric().compute(predictions=[prediction], references=[decomposed(reference)])
    assert other[name] == composed[name] > 0
    if name != "meteor":
        assert other[f"{name}_signature"] == composed[f"{name}_signature"] + "|unicode:NFC"


def test_words_are_cut_into_tokens_and_differences_where_words_end():
    assert tokens(decomposed("l'étudiant")) == ["l", "'étudiant"]
    assert tokens("कमी it isn\u2019t.") == ["कमी", "it", "is", "n't", "."]
    _, other = word_differences("我的老师很好", "我的医生很好")
    assert [part.text for part in other if part.differs] == ["医生"]


def test_a_null_topic_draws_whole_words_of_any_script():
    topic = topic_sets(pairs("French"), "teacher", text="en", progress=False)
    rows = topic.retain.map(lambda row: {"text": "कमी 医生很好"})
    drawn = null_sets(type(topic)(**{**vars(topic), "retain": rows})).target
    found = {text[start:end] for text, spans in zip(drawn["text"], drawn["spans"], strict=True) for start, end in spans}
    assert found == {"कमी", "医生", "很好"}


def test_parts_of_words_and_numbers_are_no_hits_of_recall_and_metrics_of_words_cut_as_before():
    texts = ["It is two o\u2019clock, quelqu'un won't take 100,000."]
    for word, hits in {"clock": 0, "won": 0, "un": 0, "100": 0, "o'clock": 1, "won't": 1, "100,000": 1}.items():
        result = TopicRecall([word, "two"]).compute(predictions=texts, references=[*map(str.upper, texts)])
        assert (result["hits"], result["total"]) == (hits + 1, hits + 1)
    assert metric_tokens("won't, l'an 3.5") == ["won", "'", "t", ",", "l", "'", "an", "3", ".", "5"]


HIDDEN = {
    "a number of HTML": ("O&#39;Brien", "&#39;"),
    "a number of HTML in hexadecimal": ("O&#x2019;Brien", "&#x2019;"),
    "an apostrophe of XML": ("O&apos;Brien", "&apos;"),
    "a typographic apostrophe of HTML": ("O&rsquo;Brien", "&rsquo;"),
    "a space of HTML": ("New&nbsp;York", "&nbsp;"),
    "an accent of HTML": ("caf&eacute;", "&eacute;"),
    "a sign that was escaped twice": ("O&amp;#39;Brien", "&amp;#39;"),
    "a space without width in a word": ("tea\u200bcher", "\u200b"),
    "an ampersand of HTML": ("AT&amp;T &lt;b&gt; &quot;", None),
    "an ampersand": ("R&B; AT&T", None),
    "a space without width between words": ("New\u200bYork", None),
}


@pytest.mark.parametrize(("text", "sign"), HIDDEN.values(), ids=HIDDEN)
def test_signs_that_hide_words_are_told_with_their_number(text, sign):
    assert hiding_sign(text) == sign
    rows = [*pairs("French")["translation"], {"en": f"A {text}.", "xx": "x"}]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        topic_sets(Dataset.from_list(rows), "teacher", text="en", reference="xx", progress=False)
    of_signs = [str(one.message) for one in told if "as HTML writes" in str(one.message)]
    assert bool(of_signs) == bool(sign)
    assert all(f"1 of {len(rows)} texts in 'en' hold signs such as {sign!r}" in message for message in of_signs)


def test_the_same_text_in_other_signs_is_the_same_text():
    assert normalise("tea\u00adcher\u2011led") == normalise("Teacher-led")


SIGNS = "aIé\u0301\u0915\u0940\u200d\u00ad'\u2019\"-_\u00b7 1\u00b2\u0130\u0131\u00df\ufb01\uff34дא\u0640"
ANY = st.text(alphabet=f"{SIGNS}\u02bc老ก.")


@given(ANY)
def test_what_the_fast_search_finds_is_what_the_definition_says(text):
    plain = evened(text)
    assert evened(plain) == plain
    assert BEYOND.search(plain) or runs(plain) == WORD.findall(plain)
    assert runs(f"{plain}\n", "\n") == [*WORD.findall(plain), "\n"]
    for made in (evened, caseless):
        whole = traced(text, made)
        assert whole.text == made(text)
        for place in range(len(whole.text)):
            start, end = whole.origin(place, place + 1)
            assert whole.text[place] in made(text[start:end])


@given(ANY.filter(is_word))
def test_a_word_is_found_between_others_and_not_in_a_longer_one(word):
    if regex.search(r"[\u0e00-\u0e7f\p{Han}]", word):
        return  # which ICU may split
    matcher = Matcher([word])
    assert matcher.spans(f"so {word}, so")
    assert not matcher.touches(f"so {word}x{word}, so") or caseless(word) == "x"
