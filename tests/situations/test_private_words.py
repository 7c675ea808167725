"""Private words that are looked for in what leaves: as they are written, and no letter of theirs for the whole."""

import pytest

from excise.sharing.bundle.private_search import PrivateSearch

# By a situation: the private word, a text, and whether it gives the word away.
TEXTS = {
    "C++ in a sentence": ("C++", "She writes C++ all day.", True),
    "C++ in small letters": ("C++", "g++ compiles c++.", True),
    "C++ with its year": ("C++", "It needs C++17.", True),
    "C++ behind an escape": ("C++", "C%2B%2B", True),
    "the letter of C++ by itself": ("C++", "vitamin C and plan c", False),
    "C++ at the end of another word": ("C++", "abc++", False),
    "C#": ("C#", "in C#, as in Java", True),
    "C, and a number behind #": ("C#", "issue C 4 #3", False),
    ".NET": (".NET", "runs on .NET alone", True),
    "a net": (".NET", "a net of roads", False),
    "a network behind a dot": (".NET", "model.network", False),
    "AT&T, escaped": ("AT&T", "AT&amp;T called", True),
    "F*": ("F*", "proved in F*.", True),
    "Notepad++, without its signs": ("Notepad++", "opened in Notepad", True),
    "a name with an apostrophe": ("O'Brien", "o\u2019brien said", True),
    "a name with a hyphen": ("Jean-Luc", "Jean Luc came", True),
    "a name with a point": ("St. Louis", "in St Louis", True),
    "a name with a number": ("GPT-4", "gpt 4 answered", True),
}


@pytest.mark.parametrize(("word", "text", "given_away"), TEXTS.values(), ids=TEXTS)
def test_a_private_word_is_found_as_it_is_written(word, text, given_away):
    search = PrivateSearch([word])
    assert search
    assert bool(search.in_text(text)) is given_away


@pytest.mark.parametrize("name", ["README.md", "report/index.html", "config.json"])
def test_a_word_with_signs_is_found_in_files_and_its_letter_is_not(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    for text, found in (("a plan C, b and c", False), ('{"about": "C++ code"}', True)):
        path.write_text(text)
        assert bool(PrivateSearch(["C++"]).in_file(path, name)) is found
