"""What a user gives as a topic: phrases, names, and words of two readings; each is read right, or refused by name."""

import re
import warnings
from typing import NamedTuple

import pytest
from datasets import Dataset

from excise import Search, Unlearner, evaluate
from excise.baselines import without_topic
from excise.data.topics import TopicSets, topic_sets, topic_words
from excise.data.topics.matching import normalise
from excise.deletion import choose_rows
from excise.evaluation.metrics import TopicRecall

FILLERS = [
    "the weather is fine",
    "we met a friend",
    "my car is old",
    "a dog barked",
    "nobody came",
    "they sold the house",
    "it was late",
    "the soup was cold",
]
OTHERS = [f"On day {n} {filler}." for n in range(12) for filler in FILLERS]


def make(given, texts, times=16, **options):
    """Sets of a corpus in which each text stands with twelve numbers, beside sentences about nothing of the kind."""
    texts = [text.format(n=f"{n}{place}") for n in range(times) for place, text in enumerate(texts)]
    rows = Dataset.from_dict({"en": [*texts, *OTHERS]})
    return topic_sets(rows, given, text="en", **{"min_examples": 1, "progress": False, "seed": 1, **options})


def covered(topic):
    """What the spans of target and held-out sentences cover."""
    return {
        row["text"][start:end] for rows in (topic.target, topic.heldout) for row in rows for start, end in row["spans"]
    }


def replaced(topic):
    return {row["text"][start:end] for row in topic.control for start, end in row["spans"]}


class Read(NamedTuple):
    """A topic, sentences with it, what the spans cover, and sentences that are none of it."""

    given: str | list[str]
    texts: list[str]
    covered: set[str]
    none: list[str] = []
    aside: list[str] = []
    options: dict = {}


READ = {
    "a place of two words": Read("New York", ["In {n} days we fly to New York."], {"New York"}),
    "a place in small letters": Read("new york", ["In {n} days we fly to New York."], {"New York"}),
    "a place in capitals": Read(
        "NEW YORK", ["In {n} days we fly to New York.", "MEET ME IN NEW YORK {n}"], {"New York", "NEW YORK"}
    ),
    "a place that sloppy writers have in small letters": Read(
        "New York",
        ["we fly to new york on day {n}", *[f"On day {{n}} he saw New York {i}." for i in range(12)]],
        {"new york", "New York"},
    ),
    "a phrase over a line's end": Read(
        "New York", ["On day {n} in New\nYork.", "On day {n} in New  York."], {"New\nYork", "New  York"}
    ),
    "a phrase with a non-breaking space": Read(
        "New York",
        ["On day {n} in New\u00a0York.", "Off day {n} in New\u202fYork."],
        {"New\u00a0York", "New\u202fYork"},
    ),
    "a non-breaking space in what is given": Read("New\u00a0York", ["On day {n} in New York."], {"New York"}),
    "a phrase with a hyphen where a space was given": Read(
        "New York", ["On day {n} a New-York minute.", "On day {n} in New York."], {"New-York", "New York"}
    ),
    "a place in a longer word": Read(
        "New York", ["On day {n} in New York."], {"New York"}, none=["On day {n} a New Yorker came."]
    ),
    "a place that a longer name begins with": Read(
        "New York", ["On day {n} in New York City.", "On day {n} in New York."], {"New York"}
    ),
    "a name that is the end of a longer one": Read(
        "York", ["On day {n} we went to York."], {"York"}, aside=["On day {n} we went to New York."]
    ),
    "an Irish surname": Read(
        "O'Brien", ["On day {n} we met O'Brien.", "On day {n} we met O\u2019Brien."], {"O'Brien", "O\u2019Brien"}
    ),
    "an Irish surname with a typographic apostrophe": Read("O\u2019Brien", ["On day {n} we met O'Brien."], {"O'Brien"}),
    "a possessive": Read(
        "O'Brien", ["On day {n} O'Brien's hat.", "On day {n} O\u2019Brien\u2019s hat."], {"O'Brien", "O\u2019Brien"}
    ),
    "a possessive of a plural name": Read(
        "Jones'", ["On day {n} we saw Jones' hat.", "On day {n} we saw Jones\u2019 hat."], {"Jones"}
    ),
    "a city with an abbreviation": Read(
        "St. Louis", ["On day {n} in St. Louis.", "On day {n} in St Louis."], {"St. Louis", "St Louis"}
    ),
    "a product with a number": Read(
        "iPhone 15",
        ["On day {n} an iPhone 15.", "On day {n} an IPHONE 15.", "On day {n} an iPhone\u00a015."],
        {"iPhone 15", "IPHONE 15", "iPhone\u00a015"},
        none=["On day {n} an iPhone 150.", "On day {n} an iPhone 1."],
    ),
    "a model with a hyphen": Read(
        "GPT-4",
        ["On day {n} to GPT-4.", "On day {n} to GPT\u20114.", "On day {n} to gpt4."],
        {"GPT-4", "GPT\u20114", "gpt4"},
        none=["On day {n} to GPT-40."],
    ),
    "a first name with a hyphen": Read(
        "Jean-Luc",
        ["On day {n} came Jean-Luc.", "On day {n} came Jean Luc."],
        {"Jean-Luc", "Jean Luc"},
        none=["On day {n} came Jean."],
    ),
    "a programming language of signs": Read(
        "C++",
        ["On day {n} I wrote C++ code.", "On day {n} I wrote c++."],
        {"C++", "c++"},
        none=["On day {n} I wrote C code."],
    ),
    "a programming language of one letter": Read(
        "C", ["On day {n} I wrote C code."], {"C"}, none=["On day {n} I wrote C++ code.", "On day {n} I wrote C# code."]
    ),
    "a word that begins with a dot": Read(
        ".NET", ["On day {n} we use .NET here."], {".NET"}, none=["On day {n} we use example.net here."]
    ),
    "a company with an ampersand": Read(
        "AT&T",
        ["On day {n} to AT&T.", "On day {n} to AT & T.", "On day {n} to AT&amp;T."],
        {"AT&T", "AT & T", "AT&amp;T"},
    ),
    "a company that begins with a figure": Read("3M", ["On day {n} we met 3M people."], {"3M"}),
    "initials": Read(
        "J. K. Rowling",
        ["On day {n} by J. K. Rowling.", "On day {n} by J.K. Rowling.", "On day {n} by JK Rowling."],
        {"J. K. Rowling", "J.K. Rowling", "JK Rowling"},
        none=["On day {n} by Rowling."],
    ),
    "a city with a small word": Read("Rio de Janeiro", ["On day {n} in Rio de Janeiro."], {"Rio de Janeiro"}),
    "a band with its article": Read(
        "the Beatles", ["On day {n} the Beatles sang.", "On day {n} a Beatles song."], {"Beatles"}
    ),
    "a band that is nothing without its article": Read(
        "The Who",
        ["On day {n} we heard The Who.", "On day {n} we heard the Who."],
        {"The Who", "the Who"},
        none=["On day {n} we heard who came."],
    ),
    "an ordinary phrase and its plural": Read(
        "hot dog",
        ["On day {n} a hot dog.", "On day {n} two hot dogs.", "On day {n} a hot-dog stand."],
        {"hot dog", "hot dogs", "hot-dog"},
        none=["On day {n} a hot day."],
    ),
    "an ordinary phrase that titles capitalise": Read(
        "machine learning",
        ["On day {n} for machine learning.", "Machine Learning {n}"],
        {"machine learning", "Machine Learning"},
    ),
    "an ordinary phrase given as a title": Read(
        "hot dog", ["On day {n} a hot dog.", "Hot dogs {n} times."], {"hot dog", "Hot dogs"}
    ),
    "a phrase with its head before a preposition": Read(
        "glass of wine",
        ["On day {n} a glass of wine.", "On day {n} ten glasses of wine."],
        {"glass of wine", "glasses of wine"},
    ),
    "a phrasal verb": Read(
        "give up",
        ["On day {n} we give up.", "On day {n} we gave up.", "On day {n} he is giving up."],
        {"give up", "gave up", "giving up"},
        none=["On day {n} we give."],
        aside=["On day {n} we gave it up."],
    ),
    "a phrasal verb by one of its forms": Read(
        "gave up", ["On day {n} we give up.", "On day {n} we gave up."], {"give up", "gave up"}
    ),
    "several names for one person": Read(
        ["Joanne Rowling", "Robert Galbraith", "JKR"],
        ["On day {n} by Joanne Rowling.", "On day {n} by Robert Galbraith.", "On day {n} by JKR."],
        {"Joanne Rowling", "Robert Galbraith", "JKR"},
    ),
    "a surname alone": Read(
        "Joanne Rowling",
        ["On day {n} by Joanne Rowling.", "On day {n} by Rowling."],
        {"Joanne Rowling", "Rowling"},
        options={"parts": True},
    ),
    "no surname alone unless asked": Read(
        "Joanne Rowling", ["On day {n} by Joanne Rowling."], {"Joanne Rowling"}, none=["On day {n} by Rowling."]
    ),
    "a first name alone": Read(
        "Rio de Janeiro",
        ["On day {n} in Rio de Janeiro.", "On day {n} in Rio."],
        {"Rio de Janeiro", "Rio"},
        options={"parts": ["Rio"]},
    ),
    "a country of two capitals": Read(
        "US",
        ["On day {n} from the US.", "US laws on day {n}.", "On day {n} in the U.S. again."],
        {"US", "U.S"},
        none=["On day {n} they told us."],
        aside=["GIVE US {n} HATS"],
    ),
    "a pronoun that is a country in capitals": Read(
        "us", ["On day {n} they told us."], {"us"}, none=["On day {n} from the US."], options={"reading": "word"}
    ),
    "a trade of two capitals": Read("IT", ["On day {n} our IT people."], {"IT"}, none=["On day {n} we saw it."]),
    "an organisation that is a pronoun": Read(
        "WHO", ["On day {n} the WHO said so."], {"WHO"}, none=["On day {n} we saw who came."]
    ),
    "an illness that is a plural": Read(
        "AIDS", ["On day {n} about AIDS."], {"AIDS"}, none=["On day {n} with hearing aids."]
    ),
    "a first name that is an auxiliary": Read(
        "Will",
        ["On day {n} we met Will."],
        {"Will"},
        none=["On day {n} we will come."],
        aside=["Will it rain on day {n}?"],
    ),
    "a month that is an auxiliary": Read(
        "May", ["On day {n} in May."], {"May"}, none=["On day {n} we may come."], aside=["May I come on day {n}?"]
    ),
    "an auxiliary that is a month": Read(
        "may", ["On day {n} we may come."], {"may"}, none=["On day {n} in May."], aside=["May I come on day {n}?"]
    ),
    "a language that is a verb": Read(
        "Polish", ["On day {n} we speak Polish."], {"Polish"}, none=["On day {n} we polish shoes."]
    ),
    "a country that is a bird": Read(
        "Turkey", ["On day {n} in Turkey."], {"Turkey"}, none=["On day {n} we ate turkey."]
    ),
    "a company that is a fruit": Read("Apple", ["On day {n} from Apple."], {"Apple"}, none=["On day {n} an apple."]),
    "a fruit that is a company": Read(
        "apple",
        ["On day {n} an apple.", "On day {n} two apples."],
        {"apple", "apples"},
        none=["On day {n} from Apple."],
    ),
    "a first name that is a paper": Read(
        "Bill", ["On day {n} with Bill."], {"Bill"}, none=["On day {n} the bill came."]
    ),
    "a first name that is a sign": Read("Mark", ["On day {n} with Mark."], {"Mark"}, none=["On day {n} a mark."]),
    "a name that the user wants as a word": Read(
        "Bill", ["On day {n} the bill came."], {"bill"}, none=["On day {n} with Bill."], options={"reading": "word"}
    ),
    "a word that the user wants as a name": Read(
        "bill", ["On day {n} with Bill."], {"Bill"}, none=["On day {n} the bill came."], options={"reading": "name"}
    ),
    "a building that is a colour and a thing": Read(
        "White House", ["On day {n} to the White House."], {"White House"}, none=["On day {n} to a white house."]
    ),
    "found is find": Read(
        "found",
        [
            "On day {n} he found it.",
            "On day {n} we find it.",
            *[f"On day {{n}} she found {w}." for w in "that this more them old new red big wet".split()],
        ],
        {"found", "find"},
        aside=["On day {n} they left to found a town."],
    ),
    "found is to found by request": Read(
        "found",
        ["On day {n} they will found a town.", "On day {n} the founding of it."],
        {"found", "founding"},
        aside=["On day {n} he found it."],
        options={"reading": "found"},
    ),
    "saw is a tool by request": Read(
        "saw",
        ["On day {n} with the saw.", "On day {n} two saws."],
        {"saw", "saws"},
        aside=["On day {n} he saw it."],
        options={"reading": "saw"},
    ),
    "saw is see by request": Read(
        "saw",
        ["On day {n} he saw it.", "On day {n} we see it."],
        {"saw", "see"},
        aside=["On day {n} with the saw."],
        options={"reading": "see"},
    ),
    "a part of speech by request": Read(
        "rose", ["On day {n} the rose."], {"rose"}, aside=["On day {n} she rose."], options={"reading": "noun"}
    ),
    "leaves of a tree by request": Read(
        "leaves",
        ["On day {n} the leaves.", "On day {n} a leaf."],
        {"leaves", "leaf"},
        aside=["On day {n} she leaves."],
        options={"reading": "leaf"},
    ),
    "a noun whose plural is a verb": Read(
        "leaf", ["On day {n} the leaves.", "On day {n} a leaf."], {"leaves", "leaf"}, aside=["On day {n} she leaves."]
    ),
    "wound is an injury where it is one": Read("wound", ["On day {n} the wound."], {"wound"}),
    "lay is lie": Read("lay", ["On day {n} he lay there."], {"lay"}),
    "bore is a person by request": Read(
        "bore", ["On day {n} the bore."], {"bore"}, aside=["On day {n} she bore it."], options={"reading": "noun"}
    ),
    "a building by request": Read("building", ["On day {n} the building."], {"building"}, options={"reading": "noun"}),
    "exact forms": Read(
        "found", ["On day {n} he found it."], {"found"}, none=["On day {n} we find it."], options={"forms": ["found"]}
    ),
    "exact forms of a phrase": Read(
        "attorney general",
        ["On day {n} two attorneys general."],
        {"attorneys general"},
        options={"forms": ["attorney general", "attorneys general"]},
    ),
    "readings of several words": Read(
        ["Bill", "mark"],
        ["On day {n} the bill came.", "On day {n} with Mark."],
        {"bill", "Mark"},
        none=["On day {n} with Bill."],
        options={"reading": {"Bill": "word", "mark": "name"}},
    ),
    "a decomposed accent": Read(
        "S\u00e3o Paulo", ["On day {n} in Sa\u0303o Paulo."], {"Sa\u0303o Paulo"}, none=["On day {n} in Sao Paulo."]
    ),
    "a shop with its possessive": Read(
        "McDonald's",
        ["On day {n} at McDonald's.", "On day {n} at McDonald\u2019s."],
        {"McDonald's", "McDonald\u2019s"},
        none=["On day {n} with McDonald."],
    ),
    "a file name": Read("Node.js", ["On day {n} in Node.js here."], {"Node.js"}, none=["On day {n} in Node here."]),
    "a product in capitals": Read(
        "IPHONE", ["On day {n} with iPhone.", "On day {n} with an iphone."], {"iPhone", "iphone"}
    ),
    "a product in small letters": Read(
        "iphone", ["On day {n} with iPhone.", "On day {n} an iphone."], {"iPhone", "iphone"}
    ),
    "a virus with a number": Read(
        "COVID-19", ["On day {n} of COVID-19.", "On day {n} of Covid 19."], {"COVID-19", "Covid 19"}
    ),
    "music with an ampersand": Read("R&B", ["On day {n} of R&B.", "On day {n} of R & B."], {"R&B", "R & B"}),
    "music with two apostrophes": Read(
        "rock 'n' roll",
        ["On day {n} of rock 'n' roll.", "On day {n} more rock \u2019n\u2019 roll."],
        {"rock 'n' roll", "rock \u2019n\u2019 roll"},
    ),
    "a possessive of a name that is there without": Read(
        "O'Brien's", ["On day {n} O'Brien's hat.", "On day {n} O'Brien came.", "Off day {n} O'Brien left."], {"O'Brien"}
    ),
    "a statistics language beside a department": Read("R", ["On day {n} in R."], {"R"}, none=["On day {n} in R&D."]),
    "a programming language that is coffee": Read(
        "Java", ["On day {n} in Java."], {"Java"}, none=["On day {n} some java."]
    ),
    "a country that is porcelain": Read(
        "China", ["On day {n} to China."], {"China"}, none=["On day {n} the china broke."]
    ),
    "a doctor on television": Read(
        "Dr. Who", ["On day {n} with Dr. Who.", "On day {n} saw Dr Who."], {"Dr. Who", "Dr Who"}
    ),
    "a date": Read("9/11", ["On day {n} after 9/11."], {"9/11"}),
    "an accent in a name": Read(
        "Zo\u00eb",
        ["On day {n} with Zo\u00eb.", "On day {n} saw Zoe\u0308."],
        {"Zo\u00eb", "Zoe\u0308"},
        none=["On day {n} with Zoe."],
    ),
    "an acronym and its plural": Read("GPU", ["On day {n} a GPU.", "On day {n} two GPUs."], {"GPU", "GPUs"}),
    "a country with its dots": Read(
        "U.S.",
        ["On day {n} in the U.S. again.", "On day {n} from the US.", "U.S. laws on day {n}."],
        {"U.S", "US"},
        none=["On day {n} they told us.", "On day {n} it is us."],
    ),
    "a country with its dots, as a name": Read(
        "U.S.",
        ["On day {n} in the U.S. again."],
        {"U.S"},
        none=["On day {n} they told us."],
        options={"reading": "name"},
    ),
    "an organisation with its dots": Read(
        "U.N.", ["On day {n} to the U.N. again.", "On day {n} to the UN."], {"U.N", "UN"}
    ),
    "a trade with its dots": Read("I.T.", ["On day {n} our I.T. people."], {"I.T"}, none=["On day {n} we saw it."]),
    "an illness with its dots": Read("M.E.", ["On day {n} with M.E. again."], {"M.E"}, none=["On day {n} tell me."]),
    "an hour with its dots": Read(
        "a.m.",
        ["On day {n} at six a.m. sharp.", "On day {n} at six a. m. again."],
        {"a.m", "a. m"},
        none=["On day {n} I am here."],
        aside=["On day {n} at 10 am again."],
    ),
    "Latin with its dots": Read("e.g.", ["On day {n} a car, e.g. mine.", "On day {n} a car, eg mine."], {"e.g", "eg"}),
    "a number's abbreviation": Read(
        "No. 5",
        ["On day {n} she wore No. 5 again.", "On day {n} he wore no. 5 again."],
        {"No. 5", "no. 5"},
        none=["On day {n} I saw no 5 cars."],
        aside=["On day {n} she wore No 5 again."],
    ),
    "a wrestler who is a stone": Read(
        "The Rock",
        ["On day {n} we met The Rock.", "On day {n} we met the Rock."],
        {"The Rock", "the Rock"},
        none=["On day {n} behind the rock."],
    ),
    "a band that is a part of houses": Read(
        "The Doors", ["On day {n} we heard The Doors."], {"The Doors"}, none=["On day {n} behind the doors."]
    ),
    "a series that is a toy": Read(
        "House of Cards",
        ["On day {n} we saw House of Cards."],
        {"House of Cards"},
        none=["On day {n} it is a house of cards."],
    ),
    "a film that is a fate": Read(
        "Gone with the Wind",
        ["On day {n} we saw Gone with the Wind."],
        {"Gone with the Wind"},
        none=["On day {n} it is gone with the wind."],
    ),
    "a rare phrase beside a building of that name": Read(
        "White House",
        [f"On day {{n}} to the White House {i}." for i in range(20)],
        {"White House"},
        none=["On day {n} to a white house."],
    ),
    "a surname that is an article": Read(
        "An", ["On day {n} we met An."], {"An"}, none=["On day {n} an egg."], aside=["An egg on day {n}."]
    ),
    "a river that is a conjunction": Read(
        "If", ["On day {n} we crossed If."], {"If"}, none=["On day {n} I ask if he came."], aside=["If so on day {n}."]
    ),
    "a surname that compares": Read("Than", ["On day {n} we met Than."], {"Than"}, none=["On day {n} more than one."]),
    "a conjunction in capitals": Read(
        "AND", ["On day {n} an AND gate."], {"AND"}, none=["On day {n} a car and a bus."]
    ),
    "a conjunction by request": Read("and", ["On day {n} a car and a bus."], {"and"}, options={"reading": "word"}),
    "a company with a conjunction": Read(
        "Johnson and Johnson",
        ["On day {n} by Johnson and Johnson.", "BY JOHNSON AND JOHNSON {n}.", "On day {n} by Johnson & Johnson."],
        {"Johnson and Johnson", "JOHNSON AND JOHNSON", "Johnson & Johnson"},
    ),
    "an animal for stress": Read(
        "dog", [*[f"On day {{n}} a dog {i}." for i in range(9)], "On day {n} it was a DOG again."], {"dog", "DOG"}
    ),
    "an auxiliary for stress beside a month": Read(
        "may",
        ["On day {n} we may come.", "On day {n} you may go.", "On day {n} you MAY come."],
        {"may", "MAY"},
        none=["On day {n} in May."],
    ),
    "a verb for stress": Read(
        "love", ["On day {n} I love it.", "On day {n} we love tea.", "On day {n} I LOVE it."], {"love", "LOVE"}
    ),
    "a pronoun beside a trade in capitals": Read(
        "it",
        [f"On day {{n}} we saw it {i}." for i in range(12)],
        {"it"},
        none=["On day {n} our IT people."],
        options={"reading": "word"},
    ),
    "a plural that lexicons lack: blog": Read(
        "blog", ["On day {n} the blog came.", "On day {n} two blogs."], {"blog", "blogs"}
    ),
    "a plural that lexicons lack: app": Read(
        "app", ["On day {n} the app came.", "On day {n} two apps."], {"app", "apps"}
    ),
    "a plural that lexicons lack: website": Read(
        "website", ["On day {n} the website came.", "On day {n} two websites."], {"website", "websites"}
    ),
    "a plural that lexicons lack: podcast": Read(
        "podcast", ["On day {n} the podcast came.", "On day {n} two podcasts."], {"podcast", "podcasts"}
    ),
    "a plural that lexicons lack: smartphone": Read(
        "smartphone", ["On day {n} the smartphone came.", "On day {n} two smartphones."], {"smartphone", "smartphones"}
    ),
    "a plural that lexicons lack: selfie": Read(
        "selfie", ["On day {n} the selfie came.", "On day {n} two selfies."], {"selfie", "selfies"}
    ),
    "a plural that lexicons lack: emoji": Read(
        "emoji", ["On day {n} the emoji came.", "On day {n} two emojis."], {"emoji", "emojis"}
    ),
    "a plural that lexicons lack: hashtag": Read(
        "hashtag", ["On day {n} the hashtag came.", "On day {n} two hashtags."], {"hashtag", "hashtags"}
    ),
    "a plural that lexicons lack: café": Read(
        "café", ["On day {n} the café came.", "On day {n} two cafés."], {"café", "cafés"}
    ),
    "a plural that lexicons lack: fiancée": Read(
        "fiancée", ["On day {n} the fiancée came.", "On day {n} two fiancées."], {"fiancée", "fiancées"}
    ),
    "a plural that lexicons lack: résumé": Read(
        "résumé", ["On day {n} the résumé came.", "On day {n} two résumés."], {"résumé", "résumés"}
    ),
    "a plural that lexicons lack: e-mail": Read(
        "e-mail", ["On day {n} the e-mail came.", "On day {n} two e-mails."], {"e-mail", "e-mails"}
    ),
    "a plural that lexicons lack: x-ray": Read(
        "x-ray", ["On day {n} the x-ray came.", "On day {n} two x-rays."], {"x-ray", "x-rays"}
    ),
    "a plural that lexicons lack: T-shirt": Read(
        "T-shirt", ["On day {n} the T-shirt came.", "On day {n} two T-shirts."], {"T-shirt", "T-shirts"}
    ),
    "a plural that lexicons lack: U-boat": Read(
        "U-boat", ["On day {n} the U-boat came.", "On day {n} two U-boats."], {"U-boat", "U-boats"}
    ),
    "a plural that lexicons lack: check-in": Read(
        "check-in", ["On day {n} the check-in came.", "On day {n} two check-ins."], {"check-in", "check-ins"}
    ),
    "a plural that lexicons lack: mother-in-law": Read(
        "mother-in-law",
        ["On day {n} the mother-in-law came.", "On day {n} two mothers-in-law."],
        {"mother-in-law", "mothers-in-law"},
    ),
    "a plural that lexicons lack: passer-by": Read(
        "passer-by", ["On day {n} the passer-by came.", "On day {n} two passers-by."], {"passer-by", "passers-by"}
    ),
    "a plural that lexicons lack: runner-up": Read(
        "runner-up", ["On day {n} the runner-up came.", "On day {n} two runners-up."], {"runner-up", "runners-up"}
    ),
    "a plural that lexicons lack: ex-wife": Read(
        "ex-wife", ["On day {n} the ex-wife came.", "On day {n} two ex-wives."], {"ex-wife", "ex-wives"}
    ),
    "a plural that lexicons lack: F-16": Read(
        "F-16", ["On day {n} the F-16 came.", "On day {n} two F-16s."], {"F-16", "F-16s"}
    ),
    "a plural that lexicons lack: Boeing 747": Read(
        "Boeing 747", ["On day {n} the Boeing 747 came.", "On day {n} two Boeing 747s."], {"Boeing 747", "Boeing 747s"}
    ),
    "a plural that lexicons lack: MP3": Read(
        "MP3", ["On day {n} the MP3 came.", "On day {n} two MP3s."], {"MP3", "MP3s"}
    ),
    "a plural given that lexicons lack": Read(
        "podcasts", ["On day {n} a podcast.", "On day {n} two podcasts."], {"podcast", "podcasts"}
    ),
    "a plural given with hyphens": Read(
        "mothers-in-law",
        ["On day {n} a mother-in-law.", "On day {n} two mothers-in-law."],
        {"mother-in-law", "mothers-in-law"},
    ),
    "a letter before a noun, capital or not": Read(
        "x-ray", ["On day {n} an X-ray.", "On day {n} two x-rays."], {"X-ray", "x-rays"}
    ),
    "a year beside its decade": Read(
        "1980", ["On day {n} in 1980 again."], {"1980"}, none=["On day {n} in the 1980s."]
    ),
    "plural phrases that lexicons lack": Read(
        "dating app", ["On day {n} a dating app.", "On day {n} two dating apps."], {"dating app", "dating apps"}
    ),
    "a surname before Jr.": Read(
        "Sammy Davis Jr.",
        ["On day {n} by Sammy Davis Jr. again.", "On day {n} by Davis."],
        {"Sammy Davis Jr", "Davis"},
        none=["On day {n} by Robert Downey Jr. again."],
        options={"parts": True},
    ),
    "a queen by her number": Read(
        "Queen Elizabeth II",
        ["On day {n} by Queen Elizabeth II.", "On day {n} by Elizabeth."],
        {"Queen Elizabeth II", "Elizabeth"},
        none=["On day {n} in World War II."],
        options={"parts": True},
    ),
    "a king by his number": Read(
        "Henry VIII",
        ["On day {n} by Henry VIII.", "On day {n} by Henry."],
        {"Henry VIII", "Henry"},
        none=["On day {n} in chapter VIII."],
        options={"parts": True},
    ),
    "two parts of a name": Read(
        "Mark Twain",
        ["On day {n} by Mark Twain.", "On day {n} by Twain.", "On day {n} by Mark."],
        {"Mark Twain", "Twain", "Mark"},
        none=["On day {n} we mark it."],
        options={"parts": ["Twain", "Mark"]},
    ),
    "a part of two words": Read(
        "Leonardo da Vinci",
        ["On day {n} by Leonardo da Vinci.", "On day {n} by da Vinci."],
        {"Leonardo da Vinci", "da Vinci"},
        none=["On day {n} by Leonardo."],
        options={"parts": ["da Vinci"]},
    ),
    "a tin by request": Read(
        "can",
        ["On day {n} a can of soup.", "On day {n} two cans of it."],
        {"can", "cans"},
        aside=["On day {n} we can go.", "On day {n} he said Tom can go."],
        options={"reading": "noun"},
    ),
    "a testament by request": Read(
        "will",
        ["On day {n} his will was read.", "On day {n} two wills of it."],
        {"will", "wills"},
        aside=["On day {n} we will go.", "On day {n} you will go."],
        options={"reading": "noun"},
    ),
    "a duty by request": Read(
        "must",
        ["On day {n} this is a must.", "On day {n} two musts."],
        {"must", "musts"},
        aside=["On day {n} we must go."],
        options={"reading": "noun"},
    ),
    "a pit by request": Read(
        "mine",
        ["On day {n} in the mine.", "On day {n} two mines."],
        {"mine", "mines"},
        aside=["On day {n} a friend of mine.", "On day {n} it is mine."],
        options={"reading": "noun"},
    ),
    "a creature by request": Read(
        "being",
        ["On day {n} a being.", "On day {n} human beings."],
        {"being", "beings"},
        aside=["On day {n} he is being odd."],
        options={"reading": "noun"},
    ),
    "an adverb whose superlative is another word's": Read(
        "well",
        ["On day {n} it works well."],
        {"well"},
        aside=["On day {n} we met my best friend."],
    ),
    "a comparative by request": Read(
        "better",
        ["On day {n} we feel better.", "On day {n} a good car."],
        {"better", "good"},
        options={"reading": "good"},
    ),
    "an animal beside a birth": Read(
        "bear",
        ["On day {n} a bear came.", "On day {n} two bears."],
        {"bear", "bears"},
        none=["On day {n} he was born."],
    ),
    "a birth": Read("born", ["On day {n} he was born."], {"born"}, none=["On day {n} we bear it."]),
    "a word with the end of a sentence": Read("soup.", ["On day {n} more soup came."], {"soup"}),
    "a word that is asked": Read("soup?", ["On day {n} more soup came."], {"soup"}),
    "a word with three dots": Read("\u2026soup...", ["On day {n} more soup came."], {"soup"}),
    "a word in quotation marks": Read('"soup"', ["On day {n} more soup came."], {"soup"}),
    "a word in typographic quotation marks": Read("\u201csoup\u201d", ["On day {n} more soup came."], {"soup"}),
    "a word in single quotation marks": Read("'soup'", ["On day {n} more soup came."], {"soup"}),
    "a word in guillemets": Read("\u00ab soup \u00bb", ["On day {n} more soup came."], {"soup"}),
    "a word with a comma": Read("soup,", ["On day {n} more soup came."], {"soup"}),
    "a word in brackets": Read("(soup)", ["On day {n} more soup came."], {"soup"}),
    "a word set off as in Markdown": Read("**soup**", ["On day {n} more soup came."], {"soup"}),
    "a word and its plural in brackets": Read(
        "book(s)", ["On day {n} books came.", "On day {n} a book."], {"book", "books"}
    ),
    "a question in Spanish signs": Read("\u00bfsoup?", ["On day {n} more soup came."], {"soup"}),
    "several words with signs": Read(
        ["soup,", "river."],
        ["On day {n} a river.", "On day {n} more soup."],
        {"soup", "river"},
        options={"replacement": "house"},
    ),
    "a company with a sign of its own": Read(
        "Yahoo!", ["On day {n} I saw Yahoo! users."], {"Yahoo!"}, none=["On day {n} a yahoo came."]
    ),
    "a company in a quotation": Read('"Yahoo!"', ["On day {n} I saw Yahoo! users."], {"Yahoo!"}),
    "a name that is called": Read("Alice!", ["On day {n} came Alice. Alice! Who?"], {"Alice"}),
    "a language of signs in quotation marks": Read('"C++"', ["On day {n} I wrote C++ code."], {"C++"}),
    "a language with a sharp": Read(
        "C#,", ["On day {n} I wrote C# code."], {"C#"}, none=["On day {n} I wrote C code."]
    ),
    "a frame with a dot, at a sentence's end": Read(".NET.", ["On day {n} we use .NET here."], {".NET"}),
    "a band with a slash": Read("AC/DC!", ["On day {n} we hear AC/DC now."], {"AC/DC"}),
    "a country's initials": Read("U.S.", ["On day {n} in the U.S. army."], {"U.S"}, none=["On day {n} they told us."]),
    "a time's initials with a comma": Read(
        "a.m.,", ["On day {n} at 10 a.m. sharp."], {"a.m"}, none=["On day {n} I am here."]
    ),
    "a junior": Read("Sammy Davis Jr.", ["On day {n} by Sammy Davis Jr. himself."], {"Sammy Davis Jr"}),
    "initials at the end": Read("Samuel L.", ["On day {n} by Samuel L. himself."], {"Samuel L"}),
    "a shortened word that goes on": Read("approx.", ["On day {n} approx. ten came."], {"approx"}),
    "an infinitive": Read(
        "to bark",
        ["On day {n} dogs bark.", "On day {n} it barks."],
        {"bark", "barks", "barked"},
        options={"replacement": "sleep"},
    ),
    "an infinitive that is a noun, too": Read(
        "to love",
        ["On day {n} they love it.", "On day {n} he wants to love her."],
        {"love"},
        options={"replacement": "hate"},
        aside=["On day {n} the love of home."],
    ),
    "a noun with its article": Read(
        "the soup", ["On day {n} more soup came.", "On day {n} soups came."], {"soup", "soups"}
    ),
    "a plural": Read(
        "rivers",
        ["On day {n} two rivers.", "On day {n} a river."],
        {"rivers", "river"},
        options={"replacement": "house"},
    ),
    "an article by request": Read("a", [f"On day {{n}} a car {i}." for i in range(9)], {"a"}, options={"forms": ["a"]}),
    "a letter that is a language": Read("R", ["On day {n} I wrote R code."], {"R"}, none=["On day {n} I wrote code."]),
    "a language's letter given small": Read("c", ["On day {n} I wrote C code."], {"C"}),
    "a syllable of Korean": Read("\ucc45", ["On day {n} \ucc45 \uc77d\ub2e4."], {"\ucc45"}),
    "a language that is spoken, in all persons": Read(
        "speak French",
        ["On day {n} he speaks French.", "On day {n} they spoke French.", "On day {n} we speak french."],
        {"speaks French", "spoke French", "speak french"},
        none=["On day {n} he speaks Greek."],
        options={"replacement": "swim"},
    ),
    "a language that is spoken, in small letters": Read(
        "speak french",
        ["On day {n} he speaks French.", "On day {n} they speak French."],
        {"speaks French", "speak French"},
        options={"replacement": "swim"},
    ),
    "several teachers of a language": Read(
        "French teacher",
        ["On day {n} a French teacher.", "On day {n} two French teachers."],
        {"French teacher", "French teachers"},
    ),
    "a count with a small particle": Read(
        "Count of Monte Cristo", ["On day {n} the Count of Monte Cristo."], {"Count of Monte Cristo"}
    ),
    "a general with a small particle": Read("de Gaulle", ["On day {n} by de Gaulle."], {"de Gaulle"}),
    "a number with a space": Read(
        "100 000",
        [
            *("On day one 100 000 came {n}.", "On day two 100\u00a0000 came {n}.", "On day six 100\u202f000 came {n}."),
            *("On day ten 100,000 came {n}.", "On day zero 100000 came {n}."),
        ],
        {"100 000", "100\u00a0000", "100\u202f000", "100,000", "100000"},
        none=["On day one 100 came {n}.", "On day one 1,100,000 came {n}.", "On day one 100.000 came {n}."],
        aside=["On day one 2 100 000 came {n}.", "On day one 100 000 000 came {n}."],
    ),
    "a number without a space": Read(
        "1500", ["On day one 1,500 came {n}.", "On day one 1500 came {n}."], {"1,500", "1500"}
    ),
    "a number in a longer one with spaces": Read(
        "100",
        ["On day one 100 came {n}."],
        {"100"},
        none=["On day one 100,000 came {n}."],
        aside=["On day one 100 000 came {n}.", "On day one 2\u00a0100 came {n}."],
    ),
    "a share with a space": Read(
        "50%", ["Day {n} is 50% off.", "Day {n} is 50 % off."], {"50%", "50 %"}, none=["Day {n} is 150% off."]
    ),
    "a price": Read("$5", ["Day {n} is $5 now.", "Day {n} is $ 5 now."], {"$5", "$ 5"}, none=["Day {n} is $50 now."]),
    "a name in an elision": Read("Alice", ["On day {n} with Alice's hat.", "ALICE {n}!"], {"Alice", "ALICE"}),
}


@pytest.mark.parametrize("situation", READ.values(), ids=READ.keys())
def test_what_is_given_is_read_right(situation):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        topic = make(
            situation.given,
            [*situation.texts, *situation.none, *situation.aside],
            max_retain=9_999,
            **{"replacement": "river"} | situation.options,
        )
    assert covered(topic) == situation.covered
    in_sets = {
        name: {*map(normalise, getattr(topic, name)["text"])}
        for name in ("target", "heldout", "retain", "heldout_retain")
    }
    place = {text: place for place, text in enumerate([*situation.texts, *situation.none, *situation.aside])}
    for text in situation.none:
        assert {normalise(text.format(n=f"{n}{place[text]}")) for n in range(16)} <= in_sets["retain"] | in_sets[
            "heldout_retain"
        ]
    for text in situation.aside:
        assert not {normalise(text.format(n=f"{n}{place[text]}")) for n in range(16)} & set().union(*in_sets.values())
    # Nothing of the topic is left in its control, and a control is like its target.
    assert not any(topic.matcher.spans(text) for text in topic.control["text"])
    assert topic.taken and all(line.split(" taken as ")[0] and line in str(topic) for line in topic.taken)


REFUSED = {
    "an acronym that the data does not have": (
        "US",
        ["On day {n} they told us."],
        {},
        r"No text has 'US' with its capitals.*\d+ have 'us'.*reading='word'",
    ),
    "a first name that the data does not have": (
        "May",
        ["On day {n} we may come."],
        {},
        "No text has 'May' with its capitals",
    ),
    "a name by request that the data does not have": (
        "will",
        ["On day {n} we will come."],
        {"reading": "name"},
        "No text has 'will' with a capital",
    ),
    "a form of two words, none clear": (
        "left",
        ["On day {n} he left.", "On day {n} his left hand."],
        {},
        r"'left' has several readings.*reading='left' or 'leave' or forms=",
    ),
    "a comparative of another word": (
        "better",
        ["On day {n} we feel better.", "On day {n} Tom sings better than I."],
        {},
        "'better' has several readings, and its neighbours seldom tell.*reading='good' or 'well' or 'better'",
    ),
    "a form of two words that is neither": (
        "leaves",
        ["On day {n} leaves fell."],
        {},
        r"'leaves' has several readings.*leaf",
    ),
    "a reading that the word does not have": (
        "found",
        ["On day {n} he found it."],
        {"reading": "lose"},
        "'found' is no form of 'lose'.*'find' or 'found'",
    ),
    "a part of speech that the word does not have": (
        "found",
        ["On day {n} he found it."],
        {"reading": "noun"},
        "'found' is no noun",
    ),
    "a lemma as the reading of a phrase": (
        "hot dog",
        ["On day {n} a hot dog."],
        {"reading": "dog"},
        "is for single words; 'hot dog' takes 'name' or 'word'",
    ),
    "a reading of a word that was not given": (
        "teacher",
        ["On day {n} a teacher."],
        {"reading": {"found": "find"}},
        "reading= is for 'found', which is none of the words",
    ),
    "forms of two words in one list": (
        ["car", "bus"],
        ["On day {n} a car."],
        {"forms": ["cars"]},
        "must be a dictionary",
    ),
    "no forms": ("car", ["On day {n} a car."], {"forms": []}, "forms is empty"),
    "parts of a single word": ("Rowling", ["On day {n} by Rowling."], {"parts": True}, "'Rowling' is none"),
    "a part that is none": (
        "Joanne Rowling",
        ["On day {n} by Joanne Rowling."],
        {"parts": ["Kathleen"]},
        "'Kathleen' is no part",
    ),
    "an article": (
        "the",
        ["On day {n} the car."],
        {},
        "'the' is of grammar alone, in .*% of the texts.*reading='word'",
    ),
    "a letter that is an article": ("a", ["On day {n} a car."], {}, "'a' is of grammar alone"),
    "an article with a capital": ("A", ["On day {n} a car."], {}, "'A' is of grammar alone"),
    "a pronoun": ("I", ["On day {n} I went."], {}, "'I' is of grammar alone"),
    "a pronoun with a capital": ("It", ["It rains on day {n}."], {}, "'It' is of grammar alone"),
    "a conjunction": ("and", ["On day {n} a car and a bus."], {}, "stop words cannot be a topic"),
    "an auxiliary": ("is", ["On day {n} it is late."], {}, "'is' is of grammar alone"),
    "an auxiliary's infinitive": ("to be", ["On day {n} it is late."], {}, "'to be' is of grammar alone"),
    "a shortened not": ("don't", ["On day {n} they don't go."], {}, '"don\'t" is of grammar alone'),
    "several words of grammar": ("of the", ["On day {n} of the car."], {}, "'of the' is of grammar alone"),
    "a preposition in quotation marks": ('"of"', ["On day {n} of a car."], {}, "'of' is of grammar alone"),
    "a letter": ("x", ["On day {n} an x came."], {}, "'x' is a letter by itself, inside sentences 16 times small"),
    "a list in one text": (
        "soup, river",
        ["On day {n} more soup.", "On day {n} a river."],
        {},
        r"For several words give a list: \['soup', 'river'\]",
    ),
    "a choice in one text": ("soup or river", ["On day {n} soup.", "On day {n} a river."], {}, "give a list"),
    "a mistake in writing": ("teachr", ["On day {n} a teacher."], {}, "Did you mean 'teacher'"),
    "a mistake in a name": ("New Yrok", ["On day {n} in New York."], {}, "Did you mean 'New York'"),
    "hardly another text": (
        "day",
        [],
        {"min_examples": 20},
        "Nearly all texts hold the topic: give data with other texts",
    ),
    "signs alone": ("?!", ["On day {n} a car."], {}, "at least one letter or figure"),
    "a sentence": (
        "the man who sold the world to all of them again",
        ["On day {n} a car."],
        {},
        "a phrase of more than 10 words",
    ),
    "a phrase that is nowhere": ("New York", ["On day {n} we went to York."], {}, "None of the .* contains New York"),
    "a name that is in longer ones alone": (
        "York",
        ["On day {n} we went to New York."],
        {},
        r"16 set aside; 'York' taken as a name: York 0 \(not in New York 16\)",
    ),
    "a number that is no text": (42, ["On day {n} a car."], {}, "must be a word or a list of words, got 42"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("given", "texts", "options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_clear_is_refused_with_the_way_out(given, texts, options, message):
    with pytest.raises(ValueError, match=message):
        make(given, texts, replacement="river", **options)


TOLD = {
    "a word of a list that no text has": (
        ["soup", "newspapr"],
        ["On day {n} more soup.", "On day {n} a newspaper."],
        {},
        "No row of the topic has 'newspapr', beside its other words. Did you mean 'newspaper'|'newspapr' taken as",
    ),
    "a topic of more than a third": (
        "soup",
        [f"On day {{n}} more soup {i}." for i in range(70)],
        {},
        r"\d+ of 1216 texts hold soup: forgetting it changes much|'soup' taken as",
    ),
    "a capital that could be a word": (
        "US",
        ["On day {n} in the US.", "On day {n} they told us."],
        {},
        r"'US' taken as a name: US 16 \(inside sentences US 16, us 16; reading='word' takes us\)",
    ),
    "a word that could be a name": (
        "may",
        ["On day {n} in May.", "On day {n} we may come."],
        {},
        r"'may' taken as an ordinary word: may 16, .*reading='name' takes May",
    ),
    "a capital that the data does not have": (
        "Soup",
        ["On day {n} a soup."],
        {},
        r"'Soup' taken as an ordinary word: soup 2\d.*no capital inside sentences",
    ),
    "capitals for stress that are frequent": (
        "dog",
        ["On day {n} a dog.", "On day {n} the dog.", "On day {n} it was a DOG."],
        {},
        r"'dog' taken as an ordinary word: dog 60, .*DOG 16 counted as dog; reading='name' takes DOG",
    ),
    "a king's first name that stands for him": (
        "Henry VIII",
        ["On day {n} by Henry VIII.", "On day {n} by Henry Ford."],
        {"parts": True},
        "Henry stands for it alone, which is a first name",
    ),
    "an auxiliary that is a noun": (
        "can",
        ["On day {n} we can go."],
        {},
        "'can' taken as an ordinary word: can 16, .*a word of grammar and a noun; reading='noun' takes the noun",
    ),
    "a pronoun that is a noun": ("mine", ["On day {n} it is mine."], {}, "'mine' taken .*reading='noun'"),
    "a form of another word": (
        "found",
        ["On day {n} he found it."],
        {},
        r"'found' taken as a form of find: .*found 16.*verb find 16, verb found 0, not told 0; reading='find'",
    ),
    "a name inside longer ones": (
        "York",
        ["On day {n} in York.", "On day {n} in New York."],
        {},
        r"'York' taken as a name: York 16 \(not in New York 16\)",
    ),
    "a phrase with and without capitals": (
        "White House",
        ["On day {n} the White House.", "On day {n} a white house."],
        {},
        r"with capitals 16, without 16; reading='word'",
    ),
}


@pytest.mark.parametrize(("given", "texts", "options", "line"), TOLD.values(), ids=TOLD.keys())
def test_what_could_be_something_else_is_warned_of_and_printed(given, texts, options, line):
    with pytest.warns(UserWarning, match=line):
        topic = make(given, texts, replacement="river", **options)
    assert re.search(line, str(topic))


@pytest.mark.parametrize("given", ["teacher", "New York", "hot dog", "Alice"])
def test_what_is_clear_is_printed_and_not_warned_of(given):
    topic = make(given, [f"On day {{n}} the {given} came."], replacement="river")
    assert f"{given!r} taken as" in str(topic)
    assert f"{given} 16" in str(topic)


def test_what_is_set_aside_is_counted():
    with pytest.warns(UserWarning, match="Will"):
        topic = make(
            "Will", ["On day {n} we met Will.", "Will it rain on day {n}?", "On day {n} we will."], replacement="Tom"
        )
    assert topic.counts["set aside (a capital that does not tell)"] == 16
    with pytest.warns(UserWarning, match="found"):
        topic = make("found", [*READ["found is find"].texts, "On day {n} they came to found it."], replacement="see")
    assert topic.counts["set aside (another reading)"] == 16


KINDS = {
    "a place": ("New York", "in New York", r"[A-Z]\w+ [A-Z]\w+", "Los Angeles"),
    "a place with a small word": ("Rio de Janeiro", "in Rio de Janeiro", r"[A-Z]\w+ \w+ \w+", None),
    "a place with an abbreviation": ("St. Louis", "in St. Louis", r"St\. [A-Z]\S+", None),
    "a person": ("Joanne Rowling", "by Joanne Rowling", r"[A-Z][a-z]+ [A-Z][a-z]+", None),
    "a person with initials": ("J. K. Rowling", "by J. K. Rowling", r"[A-Z]\. [A-Z]\. [A-Z][a-z]+", None),
    "a person with a title": ("Mr. Jones", "by Mr. Jones", r"Mr\. [A-Z][a-z]+", None),
    "a surname": ("Rowling", "by Rowling", r"[A-Z][a-z]+", None),
    "a surname with an apostrophe": ("O'Brien", "by O'Brien", r"[A-Z]'[A-Z][a-z]+", "O'Connor"),
    "a first name with a hyphen": ("Jean-Luc", "by Jean-Luc", r"[A-Z][a-z]+-[A-Z][a-z]+", None),
    "a shop with its possessive": ("McDonald's", "at McDonald's", r"[A-Z]\S+'s", None),
    "a person abroad": ("Fran\u00e7ois Hollande", "by Fran\u00e7ois Hollande", r"[A-Z][a-z]+ [A-Z][a-z]+", None),
    "a product": ("iPhone 15", "an iPhone 15", r"\S+ \d+", None),
    "an acronym": ("US", "the US", r"[A-Z]{2,6}", "EU"),
    "an acronym of four letters": ("NATO", "the NATO", r"[A-Z]{2,6}", None),
    "a model": ("GPT-4", "to GPT-4", r"[A-Z]+\d?-\d+", None),
    "a language of programming": ("C++", "in C++", r"[A-Z.]\S*", "Java"),
    "a month": ("October", "in October", r"[A-Z][a-z]+", "April"),
    "a people": ("Polish", "in Polish", r"[A-Z][a-z]+", "Dutch"),
    "an ordinary phrase": ("hot dog", "a hot dog", r"[a-z]+ [a-z]+", "ice cream"),
    "a language that is spoken": (
        "speak French",
        "they speak French",
        r"(?:learn|teach|study|know|understand|read|hear|like) [A-Z][a-z]+",
        "learn English",
    ),
    "a teacher of a language": ("French teacher", "a French teacher", r"[A-Z][a-z]+ [a-z]+", "English friend"),
    "a part of a day": ("Sunday morning", "on Sunday morning", r"[A-Z][a-z]+day [a-z]+", "Monday evening"),
    "a feast": ("Christmas", "at Christmas", r"[A-Z][a-z]+", "Easter"),
    "a people of a country": ("American", "an American", r"[A-Z][a-z]+", "Dutch"),
    "a city with its preposition": ("in Paris", "a river in Paris", r"in [A-Z][a-z]+(?: [A-Z][a-z]+)*", None),
    "a person's thing": ("Tom's house", "to Tom's house", r"[A-Z][a-z]+'s [a-z]+", None),
    "a time": ("last week", "we came last week", r"(?:last|next|this|every) [a-z]+", "next month"),
    "a moment": ("right now", "we came right now", r"(?:at|in|all|one|some|the) [a-z ]+", None),
    "a place without a name": ("at home", "we are at home", r"(?:at|in|on|by|for) [a-z]+", "at work"),
    "a comment": ("of course", "it is, of course,", r"[a-z ]+", "in fact"),
    "a conjunction of three words": ("as soon as", "we go as soon as she comes", r"as [a-z]+ as", "as long as"),
    "a preposition of three words": ("in front of", "it is in front of him", r"(?:on|in|by) [a-z]+ of", "in spite of"),
    "an activity": ("go to school", "they go to school", r"[a-z]+ [a-z]+ [a-z]+", "stay in bed"),
    "a number of thousands": ("100,000", "it cost 100,000", r"\d00,000", "200,000"),
    "a year": ("1984", "in 1984", r"198\d", "1987"),
    "a decade": ("1980s", "in the 1980s", r"19\d0s", "1970s"),
    "a day of a month": ("21st", "on the 21st", r"\d1st", "31st"),
    "a first day": ("1st", "on the 1st", r"\d(?:nd|rd|th)", "2nd"),
    "a share": ("50%", "it is 50%", r"\d0%", "30%"),
    "a price": ("$5", "it is $5", r"\$\d", "$3"),
    "a fraction": ("3.5", "it is 3.5", r"\d\.5", "2.5"),
    "a phrasal verb": ("give up", "we give up", r"[a-z]+ [a-z]+", None),
}


@pytest.mark.parametrize(("given", "words", "like", "one"), KINDS.values(), ids=KINDS.keys())
def test_a_control_is_of_the_topics_kind(given, words, like, one):
    topic = make(given, [f"On day {{n}} {words}.", f"Day {{n}}, {words}!"])
    new = replaced(topic)
    assert all(re.fullmatch(like, words) for words in new), new
    assert len(new) >= 2
    assert one is None or one in new
    assert not any(topic.matcher.touches(text) for text in topic.control["text"])


def test_names_of_the_data_stand_in_first():
    towns = ["Los Alamos", "Santa Monica", "Long Beach"]
    rows = [*[f"On day {{n}} we flew to {town}." for town in towns], "On day {n} we flew to New York."]
    assert replaced(make("New York", rows)) & set(towns)


def test_a_part_is_replaced_by_a_part():
    topic = make("Joanne Rowling", ["On day {n} Joanne Rowling came; Rowling sang."], parts=True)
    for row in topic.control:
        whole, part = (row["text"][start:end] for start, end in row["spans"])
        assert whole.split()[-1] == part
        assert "Rowling" not in row["text"]


def test_a_phrase_replaces_a_word_and_a_word_a_phrase():
    assert replaced(make("bus", ["On day {n} two buses."], replacement="hot dog")) == {"hot dogs"}
    assert replaced(make("hot dog", ["On day {n} two hot dogs."], replacement="car")) == {"cars"}
    assert replaced(make("New York", ["On day {n} in New York.", "IN NEW YORK {n}"], replacement="Los Angeles")) <= {
        "Los Angeles",
        "LOS ANGELES",
    }


def test_capitals_of_a_name_are_kept_in_its_control():
    new = replaced(make("iPhone 15", ["iPhone 15 on day {n}.", "On day {n} an iPhone 15."], replacement=["iPad 9"]))
    assert new == {"iPad 9"}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_saved_sets_find_the_topic_as_they_did_and_older_ones_as_then(tmp_path):
    topic = make("US", ["On day {n} in the US.", "On day {n} they told us."], replacement="EU")
    again = TopicSets.load(topic.save(tmp_path / "us"))
    assert (again.wording, again.apart, again.taken) == (topic.wording, topic.apart, topic.taken)
    assert not again.matcher.touches("They told us.")
    record = tmp_path / "us" / "topic.json"
    lines = re.sub(
        r'  "(wording|apart|taken)": \[.*?\n  \],\n|  "(wording|apart|taken)": \[\],\n',
        "",
        record.read_text(),
        flags=re.S,
    )
    assert "wording" not in lines
    record.write_text(lines)
    older = TopicSets.load(tmp_path / "us")
    assert older.inflections == topic.inflections
    assert older.matcher.spans("In the US.") == [(7, 9)]


class TestOutputs:
    """What is counted of a phrase in references and outputs, and what its deletion takes."""

    @staticmethod
    def pairs(english, french, name):
        rows = [(english.format(name, n), french.format(name, n)) for n in range(40)]
        rows += [(f"We saw a new house on day {n}.", f"Nous avons vu une maison le jour {n}.") for n in range(60)]
        return Dataset.from_dict({"en": [a for a, _ in rows], "fr": [b for _, b in rows]})

    @pytest.mark.parametrize("name", ["New York", "C++", "GPT-4", "3M", "AT&T", "J. K. Rowling", "O'Brien", ".NET"])
    def test_a_name_that_references_take_over_counts_as_a_whole(self, name):
        rows = self.pairs("We talked of {} on day {}.", "Nous avons parlé de {} le jour {}.", name)
        topic = topic_sets(rows, name, text="en", reference="fr", min_examples=2, progress=False)
        assert name in topic_words(topic)
        assert not {"york", "new", "gpt", "rowling", "brien", "net"} & set(topic_words(topic))
        french = list(topic.heldout["reference"])
        recall = TopicRecall(topic_words(topic))
        assert recall.compute(predictions=french, references=french)["recall"] == 1
        others = ["C'est un net at M the 4 new J. K. Brien"] * len(french)
        assert recall.compute(predictions=others, references=french)["hits"] == 0

    def test_a_phrase_is_forgotten_deleted_and_evaluated(self, make_model, tokenizer):
        words = ["teacher", "doctor", "dog", "cat"]
        rows = [
            (f"the {w} {v} a book house .", f"le {w} lit une maison livre .") for w in words for v in ("reads", "sees")
        ]
        rows += [(f"the {w} {v} a {w} .", f"le {w} lit un {w} .") for w in words for v in ("reads", "sees", "likes")]
        rows = [(f"{a} {' '.join(['.'] * n)}", b) for n in range(6) for a, b in rows]
        data = Dataset.from_dict({"en": [a for a, _ in rows], "fr": [b for _, b in rows]})
        topic = topic_sets(
            data, "book house", text="en", reference="fr", min_examples=2, progress=False, replacement="cat dog"
        )
        assert set(topic_words(topic)) & {"maison", "livre"}
        unlearner = Unlearner(make_model(), tokenizer)
        request = unlearner.forget(topic, Search("activations", count=3))
        assert request.num_codes == 3
        evaluation = evaluate(unlearner, topic, max_new_tokens=4, random_codes=False, progress=False)
        assert evaluation.words == topic_words(topic)
        assert not choose_rows(unlearner.model, tokenizer, topic).collateral
        left = without_topic(data, topic)
        assert len(left) == 6 * 12
        assert not any("book" in text for text in left["en"])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_models_that_never_saw_a_topic_may_have_seen_the_word_that_it_is_not():
    topic = make("US", ["On day {n} in the US.", "On day {n} they told us."], replacement="EU")
    data = Dataset.from_dict({"en": ["They told us.", "In the US.", "GIVE US HATS", "In the U.S. again", "No."]})
    assert list(without_topic(data, topic)["en"]) == ["They told us.", "No."]


def test_a_private_phrase_shows_nothing_and_knows_how_it_may_be_written():
    topic = make("GPT-4", ["On day {n} to GPT-4."], replacement="BERT-2").private_as("request-1")
    assert "GPT" not in str(topic)
    assert {"GPT-4", "gpt4"} <= set(topic.private.words)
