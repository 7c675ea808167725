from dataclasses import replace
from xml.etree import ElementTree

import pytest

from excise.evaluation import sweep
from excise.report import plot_sweep


@pytest.fixture
def swept(unlearner, topic, generation, planted):
    return sweep(unlearner, topic, top_s=(1, 2, 3), progress=False)


def words(path):
    return [
        "".join(node.itertext()).strip() for node in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_the_original_model_comes_first_and_each_step_tells_its_codes(swept, tmp_path):
    plot_sweep(swept, tmp_path / "sweep.svg")
    written = words(tmp_path / "sweep.svg")
    assert written.count("original") == 2  # a panel for each set
    first = written.index("original")
    assert written[first + 1 : first + 7] == ["1", "(1)", "2", "(2)", "3", "(3)"]
    for label in ("BLEU", "chrF", "topic recall", "selected codes", "random codes", "bottleneck left out"):
        assert label in written
    assert any("seed 0" in text for text in written)


def test_a_sweep_of_old_is_drawn_without_what_it_lacks(swept, tmp_path):
    def old(evaluation):
        scores = {name: sets for name, sets in evaluation.scores.items() if name in ("before", "after")}
        return replace(evaluation, scores=scores)

    evaluations = {top_s: old(evaluation) for top_s, evaluation in swept.evaluations.items()}
    plot_sweep(replace(swept, evaluations=evaluations), tmp_path / "sweep.svg")
    assert "bottleneck left out" not in words(tmp_path / "sweep.svg")


def test_the_drawn_points_are_the_changes_of_the_table(swept, monkeypatch, tmp_path):
    from matplotlib.axes import Axes

    drawn = []
    plot = Axes.plot

    def spy(axes, x, y, **look):
        drawn.append((list(y), "linestyle" in look))
        return plot(axes, x, y, **look)

    monkeypatch.setattr(Axes, "plot", spy)
    plot_sweep(swept, tmp_path / "sweep.svg", metrics=["recall"])
    assert drawn == [([0, 0, 0, 0], True), ([0, 0, 0, -100], False)]


@pytest.mark.parametrize("name", ["$x^2$", "$\\frac$", "US$"])
def test_any_topic_is_drawn_as_it_is(swept, tmp_path, name):
    plot_sweep(replace(swept, topic=name, tested=name), tmp_path / "sweep.svg")
    svg = ElementTree.parse(tmp_path / "sweep.svg")
    written = " ".join(" ".join(svg.getroot().itertext()).split())
    assert f"Codes of {name!r} chosen by" in written
    assert all(letter in written for letter in name)


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_same_numbers_give_the_same_bytes(swept, tmp_path, suffix):
    for name in "ab":
        plot_sweep(swept, tmp_path / f"{name}.{suffix}")
    picture = (tmp_path / f"a.{suffix}").read_bytes()
    assert picture == (tmp_path / f"b.{suffix}").read_bytes()
    assert picture.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    assert b"dc:date" not in picture


def test_other_kinds_of_picture_and_unknown_measures_are_refused_and_write_nothing(swept, tmp_path):
    with pytest.raises(ValueError, match=r"\.svg or \.png"):
        plot_sweep(swept, tmp_path / "sweep.gif")
    with pytest.raises(ValueError, match=r"'meteor'.*this sweep has bleu"):
        plot_sweep(swept, tmp_path / "sweep.svg", metrics=["meteor"])
    assert not list(tmp_path.iterdir())
