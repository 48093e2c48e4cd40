"""Figures in notebooks and as files, and files that appear whole or not at all."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from darts_mim.diagnostics import GateSaturation
from darts_mim.files import whole_file
from darts_mim.plotting import (
    plot_frames,
    plot_gates,
    plot_horizon_error,
    plot_uncertainty,
    save_figure,
)


@pytest.mark.parametrize(
    "draw",
    [
        lambda series: plot_frames(series[:4], series[4:], series[4:]),
        lambda series: plot_horizon_error({"MIM": [1.0, 2.0]}),
        lambda series: plot_uncertainty(series.with_values(series.all_values() + np.arange(3.0))),
        lambda series: plot_gates(GateSaturation(pd.DataFrame({1: [0.5]}), ("f",), 0.9)),
    ],
)
def test_a_notebook_shows_what_no_window_does(series, draw):
    figure = draw(series)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert plt.get_fignums() == []


class TestSaveFigure:
    def test_the_ending_chooses_the_format(self, tmp_path):
        figure = plot_horizon_error({"MIM": [1.0, 2.0]})
        path = save_figure(tmp_path / "new" / "curve.png", figure, dpi=50)
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("PNG", (320, 190))
        assert save_figure(tmp_path / "curve.pdf", figure).read_bytes().startswith(b"%PDF")

    def test_an_unknown_ending_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"`path` must end in one of .*pdf.*got .*curve.doc"):
            save_figure(tmp_path / "curve.doc", plot_horizon_error({"MIM": [1.0]}))

    def test_what_is_no_figure_is_refused(self, tmp_path):
        with pytest.raises(TypeError, match="`figure` must be a figure, got NoneType"):
            save_figure(tmp_path / "curve.png", None)


class TestWholeFile:
    def test_until_the_end_the_old_file_stays(self, tmp_path):
        target = tmp_path / "new" / "a.txt"
        with whole_file(target) as draft:
            draft.write_text("old")
            assert not target.exists()
            assert draft.suffix == ".txt"
        with whole_file(target) as draft:
            draft.write_text("new")
            assert target.read_text() == "old"
        assert [file.read_text() for file in target.parent.iterdir()] == ["new"]

    def test_its_name_may_be_as_long_as_names_are(self, tmp_path):
        with whole_file(tmp_path / f"{'a' * 251}.txt") as draft:
            draft.write_text("new")
        assert len(list(tmp_path.iterdir())) == 1

    def test_what_goes_wrong_leaves_nothing(self, tmp_path):
        def fail():
            with whole_file(tmp_path / "a.txt") as draft:
                draft.write_text("half")
                raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            fail()
        assert list(tmp_path.iterdir()) == []
