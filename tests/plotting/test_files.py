"""Figures as files, and files that appear whole or not at all."""

import pytest
from PIL import Image

from darts_mim.files import whole_file
from darts_mim.plotting import plot_horizon_error, save_figure


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

    def test_what_goes_wrong_leaves_nothing(self, tmp_path):
        def fail():
            with whole_file(tmp_path / "a.txt") as draft:
                draft.write_text("half")
                raise OSError("disk full")

        with pytest.raises(OSError, match="disk full"):
            fail()
        assert list(tmp_path.iterdir()) == []
