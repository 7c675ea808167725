"""Topics in languages other than English: what is found, what replaces it, and what is told."""

import re
import warnings
from collections import Counter

import pytest
from datasets import Dataset

from excise import TopicSets, topic_sets
from excise.data import load_demo, topic_words
from excise.data.topics.form_replacement import FormReplacer
from excise.data.topics.languages import Lemmas, chosen_language, language_of

# Sentences with a gap, each with other nouns in it, so that neighbours tell what goes where.
GERMAN = {
    "das": ("Wasser", "Haus", "Buch", "Brot", "Auto", "Bild", "Kleid", "Fenster", "Boot", "Pferd"),
    "die": ("Tasche", "Uhr", "Lampe", "Blume", "Schule", "Brücke"),
}
GERMAN_FRAMES = (
    "Ich sehe {} {} und du hast es nicht.",
    "{} {} ist nicht für mich.",
    "Wir haben {} {} nach dem Essen hier.",
    "Er will {} {} auch noch, aber sie will nicht.",
    "Hast du {} {} schon?",
)
SPANISH = {
    "el": ("libro", "perro", "coche", "vaso", "camino", "sombrero", "barco", "reloj"),
    "la": ("casa", "mesa", "puerta", "silla", "camisa", "ventana"),
}
SPANISH_FRAMES = (
    "No quiero que veas {} {} en este sitio.",
    "{} {} es para ti y no para mí.",
    "Me gusta mucho {} {} que tiene.",
    "Ya no está aquí {} {} de su hermano.",
    "Por eso compró {} {} con todo.",
)


def corpus(nouns, frames, extra=()):
    texts = [
        re.sub("^.", lambda first: first[0].upper(), frame.format(article, noun)) + f" {number}"
        for number in range(3)
        for article, own in nouns.items()
        for noun in own
        for frame in frames
    ]
    return Dataset.from_dict({"t": [*texts, *extra]})


def german(*extra):
    return corpus(GERMAN, GERMAN_FRAMES, extra)


def spanish(*extra):
    return corpus(SPANISH, SPANISH_FRAMES, extra)


def sets(dataset, words, language=None, **options):
    options = {"text": "t", "min_examples": 1, "progress": False, "language": language} | options
    return topic_sets(dataset, words, **options)


def forms(topic):
    """The spans' texts, of all rows with the topic."""
    return {
        row["text"][start:stop]
        for rows in (topic.target, topic.heldout)
        for row in rows
        for start, stop in row["spans"]
    }


def texts_of(topic, *names):
    return " ".join(row["text"] for name in names for row in getattr(topic, name))


@pytest.fixture(scope="module")
def french():
    """The French side of the packaged pairs: real sentences."""
    rows = load_demo()["train"][:8_000]["translation"]
    return Dataset.from_dict({"t": [row["fr"] for row in rows], "en": [row["en"] for row in rows]})


# The situation: the language, the word, sentences with it, and the forms that are found in them.
FOUND = {
    "French elision, straight and typographic": ("fr", "eau", ["Je veux de l'eau.", "Il n'y a pas d’eau."], {"eau"}),
    "French capital behind an elision": ("fr", "eau", ["L'Eau est froide.", "L'EAU est là."], {"Eau", "EAU"}),
    "French irregular plural": ("fr", "cheval", ["Le cheval est là.", "Les chevaux sont là."], {"cheval", "chevaux"}),
    "French plural given": ("fr", "chevaux", ["Le cheval est là.", "Les chevaux sont là."], {"cheval", "chevaux"}),
    "French suppletive plural": ("fr", "œil", ["Il a un œil.", "Il a les yeux bleus."], {"œil", "yeux"}),
    "French oe for œ": ("fr", "œuf", ["J'ai un oeuf.", "J'ai un œuf."], {"oeuf", "œuf"}),
    "French capital without its accent": ("fr", "école", ["Ecole fermée.", "C'est mon école."], {"Ecole", "école"}),
    "French verb, with inversion and pronouns on hyphens": (
        "fr",
        "donner",
        ["Donne-moi ça.", "Donne-t-il tout ?", "Vous donnerez cela.", "Il a donné."],
        {"Donne", "donnerez", "donné"},
    ),
    "French participle that agrees": ("fr", "aimer", ["Elle est aimée.", "Tu les aimes."], {"aimée", "aimes"}),
    "French demonstrative on a hyphen": ("fr", "livre", ["Ce livre-là est à moi."], {"livre"}),
    "French adjective in four forms": (
        "fr",
        "heureux",
        ["Il est heureux.", "Elle est heureuse.", "Elles sont heureuses."],
        {"heureux", "heureuse", "heureuses"},
    ),
    "French decomposed accents": (
        "fr",
        "école",
        ["Mon e\u0301cole est là.", "L'école est là."],
        {"e\u0301cole", "école"},
    ),
    "German umlaut plural and dative": (
        "de",
        "Haus",
        ["Die Häuser sind alt.", "In den Häusern ist es kalt.", "Das Dach des Hauses ist rot."],
        {"Häuser", "Häusern", "Hauses", "Haus"},
    ),
    "German noun given in small letters": ("de", "haus", ["Die Häuser sind alt."], {"Häuser", "Haus"}),
    "German umlauts written out": (
        "de",
        "Haus",
        ["Die Haeuser und die Häuser sind alt."],
        {"Haeuser", "Häuser", "Haus"},
    ),
    "German ss for ß": ("de", "Straße", ["Die Strasse ist lang.", "Die Straßen sind leer."], {"Strasse", "Straßen"}),
    "German strong verb": (
        "de",
        "schreiben",
        ["Er schrieb ihr.", "Sie hat geschrieben.", "Du schreibst."],
        {"schrieb", "geschrieben", "schreibst"},
    ),
    "German name in the genitive": (
        "de",
        "Ziri",
        ["Das ist Ziris Hut, sagte Ziri.", "Ich sah Ziri."],
        {"Ziri", "Ziris"},
    ),
    "Spanish plural": ("es", "lápiz", ["Un lápiz rojo.", "Dos lápices rojos."], {"lápiz", "lápices"}),
    "Spanish clitics on an infinitive, a gerund and an imperative": (
        "es",
        "comer",
        ["Voy a comerlo.", "Está comiéndolo.", "Cómelo ya.", "Comió pan."],
        {"comerlo", "comiéndolo", "Cómelo", "Comió"},
    ),
    "Spanish two clitics": ("es", "dar", ["Dámelo ya.", "No puedo dárselo."], {"Dámelo", "dárselo"}),
    "Spanish feminine plural": ("es", "niño", ["Tus niñas son así.", "Es mi niño."], {"niñas", "niño"}),
    "Spanish upside-down question mark": ("es", "agua", ["¿Agua?", "El agua es buena."], {"Agua", "agua"}),
    "Italian elision, untested but there": ("it", "acqua", ["L'acqua è fredda.", "Bevo dell'acqua."], {"acqua"}),
    "Portuguese plural, untested but there": (
        "pt",
        "livro",
        ["O livro é meu.", "Os livros são meus."],
        {"livro", "livros"},
    ),
}


@pytest.mark.parametrize(("language", "word", "sentences", "wanted"), FOUND.values(), ids=FOUND)
def test_the_forms_of_a_word_are_found(language, word, sentences, wanted):
    base = spanish() if language in ("es", "pt", "it", "fr") else german()
    rows = [*sentences, *(f"{n} {sentence}" for n in range(9) for sentence in sentences)]
    dataset = Dataset.from_dict({"t": [*base["t"], *rows]})
    topic = sets(dataset, word, language, replacement="perro" if base["t"][0] == spanish()["t"][0] else "Lampe")
    assert wanted <= forms(topic)
    for row in topic.retain:
        assert not any(form in row["text"] for form in wanted)


# The situation: the language, the word, sentences with it, sentences of other words, and the forms that are found.
OTHERS = {
    "French noun that ends like an infinitive: mer": (
        "fr", "mer", ["Je vois la mer {}."], ["Mais il me dit que ma mère va mal {}."], {"mer"},
    ),
    "French noun that ends like an infinitive: fer": (
        "fr", "fer", ["Un fer rouge {}."], ["Il fait ce que tu fais {}."], {"fer"},
    ),
    "French noun that ends like an infinitive: ver": (
        "fr", "ver", ["Un ver blanc {}."], ["Je vais où il va {}."], {"ver"},
    ),
    "French noun that ends like an infinitive: hiver": (
        "fr", "hiver", ["Un hiver froid {}.", "Les hivers {}."], ["Il arriva hier {}."], {"hiver", "hivers"},
    ),
    "Spanish verb of no stem: ir": (
        "es", "ir", ["Quiero ir {}.", "Voy hoy {}.", "Él va hoy {}."], ["Es a él o en casa {}."], {"ir", "Voy", "va"},
    ),
    "Spanish verb of one letter: dar": (
        "es", "dar", ["Quiero dar {}.", "Doy pan {}."], ["El pan de casa {}."], {"dar", "Doy"},
    ),
    "Spanish verb of one letter: ser": ("es", "ser", ["Quiero ser {}."], ["No se sabe {}."], {"ser"}),
    "Spanish verb of one letter: ver": (
        "es", "ver", ["Quiero ver {}.", "Lo veo bien {}."], ["Él va bien y tú vas mal {}."], {"ver", "veo"},
    ),
    "Spanish forms of estar and este": (
        "es", "estar", ["Yo estoy mal {}.", "Él está mal {}."], ["Esta, estas y esto {}."], {"estoy", "está"},
    ),
    "Spanish preposition like a verb: entre": (
        "es", "entrar", ["Quiero entrar {}.", "Él entró {}."], ["Algo entre los dos {}."], {"entrar", "entró"},
    ),
    "Spanish regular form of a stem of two letters stays": (
        "es", "usar", ["Ella usa pan {}.", "Yo usé pan {}."], [], {"usa", "usé"},
    ),
    "French noun that is a participle, too: été": (
        "fr", "été", ["Un bel été chaud {}.", "Les étés chauds {}."], ["Il est là, elle était là {}."], {"été", "étés"},
    ),
    "Spanish yes: sí": ("es", "sí", ["Creo que sí {}."], ["Él se va con ella {}."], {"sí"}),
    "Dutch noun whose plural is a verb: fiets": (
        "nl", "fiets", ["Ik heb een fiets {}.", "Twee fietsen {}."], ["Ik heb een boek {}."], {"fiets", "fietsen"},
    ),
    "French avoir, and an elided s": (
        "fr", "avoir", ["Vous avez du pain {}.", "Ils ont du pain {}."], ["Elle s'en va chez eux {}."], {"avez", "ont"},
    ),
    "French stone, and a man called Pierre": (
        "fr", "pierre", ["C'est une pierre {}.", "Deux pierres {}."], ["Je vois Pierre ici {}."], {"pierre", "pierres"},
    ),
    "French man called Pierre, and a stone": ("fr", "Pierre", ["Je vois Pierre {}."], ["Une pierre {}."], {"Pierre"}),
    "Spanish rose, and a woman called Rosa": (
        "es", "rosa", ["Una rosa roja {}.", "Las rosas {}."], ["Veo a Rosa {}."], {"rosa", "rosas"},
    ),
    "Spanish light, and a woman called Luz": ("es", "luz", ["Una luz roja {}."], ["Veo a Luz {}."], {"luz"}),
    "French White House, and a white house": (
        "fr", "Maison Blanche", ["La Maison Blanche {}."], ["Une maison blanche {}."], {"Maison Blanche"},
    ),
    "French white house, and the White House": (
        "fr", "maison blanche", ["Une maison blanche {}."], [], {"maison blanche"},
    ),
    "French word in capitals": ("fr", "MAISON", ["La maison {}.", "Maison à vendre {}."], [], {"maison", "Maison"}),
    "French word in capitals behind an elision only": ("fr", "EAU", ["Je veux de l'eau {}."], [], {"eau"}),
    "French word with a capital behind an elision only": ("fr", "Eau", ["Je veux de l'eau {}."], [], {"eau"}),
    "French acronym": ("fr", "ONU", ["Je vois l'ONU {}."], ["On est là {}."], {"ONU"}),
    "French capitals without accents": ("fr", "élève", ["Un élève {}.", "UN ELEVE {}."], [], {"élève", "ELEVE"}),
    "French noun with its elided article": (
        "fr", "l'école", ["Mon école {}.", "Les écoles {}."], [], {"école", "écoles"},
    ),
    "French town with its own article": (
        "fr", "La Rochelle", ["À La Rochelle {}."], ["Une rochelle {}."], {"La Rochelle"},
    ),
    "Spanish noun with its article": ("es", "el libro", ["Mi libro {}.", "Los libros {}."], [], {"libro", "libros"}),
    "German noun with its article": ("de", "das Haus", ["Mein Haus {}.", "Zwei Häuser {}."], [], {"Haus", "Häuser"}),
    "Spanish imperatives without an ending": (
        "es", "poner", ["Ponlo ya {}.", "Ponte bien {}.", "Quiero poner pan {}."], [], {"Ponlo", "Ponte", "poner"},
    ),
    "Spanish imperative that is a noun, too": (
        "es", "hablar", ["Háblame ya {}.", "Quiero hablar {}."], [], {"Háblame", "hablar"},
    ),
    "Spanish decir": ("es", "decir", ["Dime algo {}.", "Dímelo ya {}."], ["Algo {}."], {"Dime", "Dímelo"}),
    "German genitive of a noun that is a name, too": (
        "de", "Müller", ["Da ist Müllers Hut {}."], ["Zwei Mühlen {}."], {"Müllers"},
    ),
    "German noun with a hyphen": (
        "de", "E-Mail", ["Eine E-Mail {}.", "Zwei E-Mails {}."], ["Ein E {}."], {"E-Mail", "E-Mails"},
    ),
    "German plural with a hyphen": (
        "de", "E-Mails", ["Eine E-Mail {}.", "Zwei E-Mails {}."], [], {"E-Mail", "E-Mails"},
    ),
    "German name of two words in the genitive": (
        "de", "Angela Merkel", ["Das ist Angela Merkels Hut {}."], ["Ein Merkel {}."], {"Angela Merkels"},
    ),
    "German polite Sie": ("de", "Sie", ["Was wollen Sie hier {}."], ["Was sie will {}."], {"Sie"}),
    "German word in capitals, with ss for ß": ("de", "GROSS", ["Er ist groß {}."], [], {"groß"}),
    "Russian word in capitals, at the start only": (
        "ru", "ВОДА", ["Вода тут {}.", "Нет воды {}."], [], {"Вода", "воды"},
    ),
    "Spanish woman at the start of sentences": (
        "es", "rosa", ["Una rosa roja {}."], ["Veo a Rosa {}."], {"rosa"},
    ),
    "French man seldom among stones": (
        "fr", "Pierre", ["Je vois Pierre {}."], [f"Une pierre {word} {{}}." for word in "abcdefghijkl"], {"Pierre"},
    ),
    "Greek word in capitals": ("el", "ΛΟΓΟΣ", ["Ο λόγος {}.", "Ο ΛΟΓΟΣ {}."], [], {"λόγος", "ΛΟΓΟΣ"}),
    "Greek capitals of a word with an accent": ("el", "λόγος", ["Ο λόγος {}.", "Ο ΛΟΓΟΣ {}."], [], {"λόγος", "ΛΟΓΟΣ"}),
    "Turkish capital I without a dot": ("tr", "ışık", ["Işık burada {}.", "Bu ışık {}."], [], {"Işık", "ışık"}),
    "Turkish capitals only": ("tr", "ışık", ["IŞIK VAR {}.", "Işık burada {}."], [], {"IŞIK", "Işık"}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.* taken as")
@pytest.mark.parametrize(("language", "word", "own", "others", "wanted"), OTHERS.values(), ids=OTHERS)
def test_the_forms_of_other_words_are_not_the_topics(language, word, own, others, wanted):
    own = [sentence.format(n) for n in range(20) for sentence in own]
    others = [sentence.format(n) for n in range(20) for sentence in others]
    dataset = Dataset.from_dict({"t": [*own, *others, *(f"Lampe {n}." for n in range(60))]})
    topic = sets(dataset, word, language, replacement="Lampe", max_retain=10_000)
    assert forms(topic) == wanted
    retained = {row["text"] for name in ("retain", "heldout_retain") for row in getattr(topic, name)}
    assert not retained & set(own)
    assert set(others) <= retained


def test_a_sentence_that_starts_with_a_first_name_or_the_noun_of_its_letters_is_in_no_set():
    rows = [f"{text} {n}." for n in range(20) for text in ("Une pierre", "Pierre est ici", "Un pain")]
    topic = sets(Dataset.from_dict({"t": rows}), "pierre", "fr", replacement="pain", max_retain=10_000)
    assert forms(topic) == {"pierre"}
    assert "Pierre" not in texts_of(topic, "target", "heldout", "retain", "heldout_retain")


def test_a_german_verb_whose_prefix_stands_apart_is_in_no_set_and_told():
    verbs = {"aufstehen": "Ich stehe um sieben auf", "ausgehen": "Wir gehen heute aus", "anrufen": "Sie rief ihn an"}
    other = "Er steht auf dem Dach und geht aus dem Haus"
    for verb, sentence in verbs.items():
        rows = [f"{one}, {n}." for n in range(20) for one in (f"Ich will {verb}", sentence, other)]
        topic = sets(Dataset.from_dict({"t": rows}), verb, "de", replacement="Dach", max_retain=10_000)
        retained = texts_of(topic, "retain", "heldout_retain")
        assert forms(topic) == {verb}
        assert sentence not in retained
        assert other in retained
        assert "prefix stands apart" in topic.taken[0]


def test_a_form_that_is_a_word_of_its_own_is_warned_of_and_its_lemma_can_be_asked_for():
    rows = [f"{sentence} {n}." for n in range(20) for sentence in ("Un bel été", "Il était là", "Un pain")]
    dataset = Dataset.from_dict({"t": rows})
    with pytest.warns(UserWarning, match="été may be a form of être"):
        sets(dataset, "été", "fr", replacement="pain")
    assert forms(sets(dataset, "été", "fr", reading="être", replacement="pain")) == {"été", "était"}


# The situation: the word, a sentence, and what is not the topic in it.
ASIDE = {
    "German closed compound that ends with the word": ("Wasser", "Ich habe Trinkwasser und Brot."),
    "German closed compound that begins with it": ("Wasser", "Die Wasserflasche ist hier."),
    "German compound with a link": ("Buch", "Die Bücherwand ist dort."),
}


@pytest.mark.parametrize(("word", "sentence"), ASIDE.values(), ids=ASIDE)
def test_a_german_compound_is_in_no_set(word, sentence):
    topic = sets(german(*(f"{sentence} {n}" for n in range(30))), word, "de", max_retain=10_000)
    assert sentence not in texts_of(topic, "target", "heldout", "retain", "heldout_retain")


@pytest.mark.parametrize(("word", "inside"), [("Essen", "Essen"), ("essen", "essen")])
def test_a_german_noun_and_a_verb_of_the_same_letters_are_told_apart_by_the_capital_that_is_given(word, inside):
    extra = [
        sentence.format(n)
        for n in range(30)
        for sentence in ("Das ist gutes Essen, sagt er {}.", "Wir wollen jetzt essen, sagt er {}.", "Essen ist da {}.")
    ]
    with pytest.warns(UserWarning, match="capital"):
        topic = sets(german(*extra), word, "de", max_retain=10_000, replacement="Lampe")
    assert forms(topic) == {inside}
    retained = texts_of(topic, "retain", "heldout_retain")
    assert inside not in retained
    assert "Essen ist da" not in retained


def test_a_german_noun_is_no_name_and_is_replaced_by_nouns():
    topic = sets(german(), "Haus", "de")
    assert topic.taken == ("'Haus' taken as a word: Haus 15",)
    others = Counter(row["text"][slice(*row["spans"][0])] for row in topic.control)
    assert set(others) <= {*GERMAN["das"], *GERMAN["die"]} - {"Haus"}
    assert sum(others[noun] for noun in GERMAN["das"]) >= 0.9 * sum(others.values())  # of its gender


def test_a_german_name_is_replaced_by_names():
    names = ("Maria", "Anna", "Julia", "Lena", "Sophie")
    extra = [f"Ich weiß, dass {name} das Haus nicht hat {n}." for name in names for n in range(9)]
    topic = sets(german(*extra), "Maria", "de")
    assert topic.taken[0].startswith("'Maria' taken as a name")
    assert {row["text"][slice(*row["spans"][0])] for row in topic.control} <= {*names} - {"Maria"}


def test_a_spanish_noun_is_replaced_by_one_of_its_gender():
    topic = sets(spanish(), "libro", "es")
    others = Counter(row["text"][slice(*row["spans"][0])] for row in topic.control)
    assert sum(others[noun] for noun in SPANISH["el"]) >= 0.9 * sum(others.values())


def test_real_french_sentences_make_a_topic_whose_elisions_stay_right(french):
    topic = sets(french, "argent", "fr", reference="en", min_examples=20)
    assert forms(topic) <= {"argent", "Argent", "argents"}
    assert any("l'argent" in row["text"] for row in topic.target)
    for row in topic.control:
        start, _ = row["spans"][0]
        elided = row["text"][:start].endswith(("'", "\u2019"))
        assert not elided or row["text"][start].lower() in "aeiouyhâàéèêëîïôûœ", row["text"]
        assert "argent" not in row["text"].lower()
    assert len({row["text"][slice(*row["spans"][0])] for row in topic.control}) >= 5
    assert topic_words(topic) == ("money",)


def test_a_french_noun_is_replaced_by_nouns_of_its_gender_and_number(french):
    topic = sets(french, "voiture", "fr", min_examples=20)
    after = {"feminine": Counter(), "masculine": Counter()}
    for text in french["t"]:
        for article, word in re.findall(r"\b(le|un|la|une) (\w+)", text):
            after["feminine" if article in ("la", "une") else "masculine"][word] += 1
    words = []
    for row in topic.control:
        start, stop = row["spans"][0]
        if re.search(r"\b(la|une|ma|sa) $", row["text"][:start]):
            words.append(row["text"][start:stop])
    feminine = [word for word in words if after["feminine"][word] > after["masculine"][word]]
    assert len(words) >= 50
    assert len(feminine) >= 0.9 * len(words)


def test_french_names_are_replaced_by_names(french):
    topic = sets(french, "Marie", "fr", min_examples=20)
    assert all(row["text"][row["spans"][0][0]].isupper() for row in topic.control)
    assert topic.taken[0].startswith("'Marie' taken as a name")


def test_a_given_replacement_takes_the_form_and_the_elision_that_it_needs(french):
    topic = sets(french, "argent", "fr", replacement="travail", min_examples=20)
    text = texts_of(topic, "control")
    assert "l'travail" not in text
    assert "d'travail" not in text
    assert re.search(r"\ble travail\b", text)


def test_a_replacement_that_is_the_topic_is_refused(french):
    with pytest.raises(ValueError, match="is the topic itself"):
        sets(french, "argent", "fr", replacement="argent")


def test_a_phrase_has_its_plural_and_asks_for_a_replacement(french):
    texts = [*french["t"], *(f"J'aime la pomme de terre {n}." for n in range(9))]
    texts += [f"J'aime les pommes de terre {n}." for n in range(9)]
    dataset = Dataset.from_dict({"t": texts})
    with pytest.raises(ValueError, match="replacement="):
        sets(dataset, "pomme de terre", "fr")
    assert {"pomme de terre", "pommes de terre"} <= forms(sets(dataset, "pomme de terre", "fr", replacement="maison"))


# Which language texts are told to be in.
TOLD = {
    "French": (["Il ne veut pas de l'eau, mais elle en a pour nous et pour vous."], "fr"),
    "German": (["Das ist nicht für mich, aber du hast es auch."], "de"),
    "Spanish": (["No sé por qué está aquí, pero me gusta mucho la casa."], "es"),
    "English": (["The cat is on the mat and it is not for you."], "en"),
    "English with a French name": (["Jean-Luc is at the Café de la Paix with the others."], "en"),
    "Russian": (["Я не знаю, что это такое, но он был там и это всё."], "ru"),
    "too few words to tell": (["alpha beta gamma"], None),
    "no word": (["123"], None),
}


@pytest.mark.parametrize(("texts", "language"), TOLD.values(), ids=TOLD)
def test_the_language_of_texts_is_told_by_their_commonest_words(texts, language):
    assert language_of(texts) == language


def test_texts_that_are_plainly_not_english_are_told_with_a_warning_unless_their_column_says_so(french):
    with pytest.warns(UserWarning, match="language='fr'"):
        assert chosen_language(None, lambda: french["t"][:200], "t") == "fr"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen_language(None, lambda: french["t"][:200], "fr") == "fr"
        assert chosen_language(None, lambda: french["en"][:200]) == "en"
        assert chosen_language("fr-CA", lambda: []) == "fr"


@pytest.mark.parametrize("language", ["French", "", 3, "f"])
def test_what_is_no_code_is_refused(language):
    with pytest.raises(ValueError, match="expected a code"):
        chosen_language(language, lambda: [])


@pytest.mark.parametrize(
    ("language", "message"),
    [("xx", "no language has this code; expected a code of ISO 639, such as"), ("jp", "there is 'ja'")],
)
def test_a_code_that_no_language_has_is_refused_by_name(language, message):
    with pytest.raises(ValueError, match=message):
        sets(spanish(), "perro", language)


@pytest.mark.parametrize("word", ["les", "à", "y", "c'", "AVEC", "« de »"])
def test_a_french_word_of_grammar_is_refused_by_name(word, french):
    with pytest.raises(ValueError, match=r"is of grammar alone, in .*stop words cannot be a topic"):
        sets(french, word, "fr")


def test_a_german_word_of_grammar_is_refused_unless_its_capital_makes_a_noun_of_it():
    rows = german(*(f"Das Sein ist hier {n}." for n in range(20)))
    with pytest.raises(ValueError, match="stop words cannot be a topic"):
        sets(rows, "und", "de")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert "Sein" in forms(sets(rows, "Sein", "de", replacement="Lampe"))


def test_a_word_is_found_without_its_article_and_said_so(french):
    assert forms(sets(french, "la voiture", "fr")) >= {"voiture", "voitures"}
    assert "(without its article" in str(sets(french, "« l'eau »", "fr"))


@pytest.mark.parametrize("code", ["fra", "FR", "fr_CA"])
def test_a_language_is_known_by_its_longer_codes(code):
    assert chosen_language(code, lambda: []) == "fr"


@pytest.mark.parametrize("language", ["ja", "ko", "zh", "mt"])
def test_a_language_whose_lists_are_not_to_be_had_takes_the_word_as_it_is_and_points_at_the_users_line(
    language, caplog
):
    """Of three wordfreq wants other packages, of the others it has no list, or that of a relative."""
    with pytest.warns(UserWarning, match="no inflections for language=") as told:
        topic = sets(spanish(*(f"perro {n}" for n in range(30))), "perro", language)
    assert forms(topic) == {"perro"}
    assert not caplog.records
    assert {warning.filename for warning in told} == {__file__}


def test_a_language_without_a_lexicon_takes_each_word_as_its_only_form_and_says_so():
    with pytest.warns(UserWarning, match="no inflections for language='vi'"):
        topic = sets(spanish(*(f"nước {n}" for n in range(30))), "nước", "vi", replacement="perro")
    assert forms(topic) == {"nước"}


def test_a_part_of_speech_is_refused_as_a_reading_and_a_lemma_is_taken(french):
    with pytest.raises(ValueError, match="is for English"):
        sets(french, "livre", "fr", reading="verb")
    with pytest.warns(UserWarning, match="livres is a noun, too"):
        topic = sets(french, "livre", "fr", reading="livrer", replacement="maison")
    assert topic.inflections[:2] == ("livrer", "livre")


def test_a_form_that_is_mostly_a_noun_is_in_no_set_of_a_verb_and_a_noun_that_may_be_a_verb_is_told(french):
    with pytest.warns(UserWarning, match="porte is a noun, too"):
        topic = sets(french, "porter", "fr", replacement="manger")
    assert "porte" not in {form.lower() for form in forms(topic)}
    assert not re.search(r"\bporte\b", texts_of(topic, "retain", "heldout_retain"))
    topic = sets(french, "porte", "fr", replacement="maison")
    assert "porte" in forms(topic)
    assert "porte may be a form of porter" in repr(topic)


def test_sets_keep_their_language_and_find_the_topic_alike_when_loaded(tmp_path):
    topic = sets(german(*(f"Ich habe Trinkwasser {n}." for n in range(9))), "Wasser", "de")
    again = TopicSets.load(topic.save(tmp_path / "topic"))
    assert again.language == "de"
    assert again.matcher.touches("Ich habe Trinkwasser.")
    assert not again.matcher.spans("Ich habe Trinkwasser.")
    assert "language 'de'" in repr(again)


def test_no_stop_word_of_the_references_goes_with_a_topic():
    rows = [("Das Wasser ist da", "the water is with some of them")] * 40 + [
        ("Das Haus ist da", "a house was on it")
    ] * 40
    dataset = Dataset.from_dict(
        {
            "t": [f"{source} {n}." for n, (source, _) in enumerate(rows)],
            "en": [f"{r} {n}" for n, (_, r) in enumerate(rows)],
        }
    )
    topic = sets(dataset, "Wasser", "de", reference="en", replacement="Haus")
    assert topic_words(topic) == ("water",)


def test_a_verb_with_clitics_has_the_base_form_of_the_verb():
    lemmas = Lemmas("es")
    assert [lemmas.lemmas(word)[0] for word in ("dámelo", "verla", "casarse", "comiéndolo")] == [
        "dar",
        "ver",
        "casar",
        "comer",
    ]


def test_replacement_is_the_same_for_the_same_seed(french):
    one, other = (sets(french, "argent", "fr", min_examples=20, seed=3) for _ in range(2))
    assert one.control["text"] == other.control["text"]
    assert FormReplacer.__doc__
