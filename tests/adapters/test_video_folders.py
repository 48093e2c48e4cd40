"""Images become frames: every kind with the range of its bits, in an order that people expect."""

import logging
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darts_mim import Grid, series_to_frames
from darts_mim.adapters import read_frames
from darts_mim.adapters.video.reading import natural_order

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
DEEP_GREY = RNG.integers(0, 2**16, (5, 7), dtype=np.uint16)
DEEP_COLOUR = RNG.integers(0, 2**16, (5, 7, 3), dtype=np.uint16)
TURNED = {0x0112: 6}  # EXIF: turn it clockwise to look at it


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def save_deep_png(path: Path, pixels: np.ndarray) -> Path:
    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width, codec.pix_fmt = *pixels.shape[:2], "rgb48be"
    codec.time_base = Fraction(1)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le").reformat(format="rgb48be")
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in codec.encode(frame)))
    return path


def save_tiff(path: Path, pixels: np.ndarray, **options) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


def levels(series) -> list[int]:
    return np.rint(series.values()[:, 0] * 255).astype(int).tolist()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve grey images of 6 rows and 8 columns, with numbers of one and of two digits."""
    for number in range(12):
        save(tmp_path / f"frame{number}.png", np.full((6, 8), 10 * number, np.uint8))
    return tmp_path


class TestKinds:
    @pytest.mark.parametrize(
        ("name", "write", "pixels", "peak"),
        [
            ("a.png", save, GREY, 255),
            ("a.PNG", save, COLOUR, 255),
            ("a.png", save, DEEP_GREY, 65535),
            ("a.png", save_deep_png, DEEP_COLOUR, 65535),
            ("a.tif", save, GREY, 255),
            ("a.tiff", save, COLOUR, 255),
            ("a.tif", save, DEEP_GREY, 65535),
            ("a.tif", lambda p, x: save(p, x, compression="tiff_lzw"), DEEP_GREY, 65535),
            ("a.tif", lambda p, x: save_tiff(p, x, byteorder=">"), DEEP_GREY, 65535),
            ("a.tif", lambda p, x: save_tiff(p, x, photometric="rgb"), DEEP_COLOUR, 65535),
            ("a.tif", lambda p, x: save_tiff(p, ~x, photometric="miniswhite"), GREY, 255),
            ("a.tif", lambda p, x: save_tiff(p, ~x, photometric="miniswhite"), DEEP_GREY, 65535),
            ("a.tif", lambda p, x: save_tiff(p, x, bigtiff=True), DEEP_GREY, 65535),
        ],
    )
    def test_pixels_are_exact_shares_of_their_largest_number(
        self, tmp_path, name, write, pixels, peak
    ):
        write(tmp_path / name, pixels)
        series = read_frames(tmp_path, dtype=np.float64)
        names = ("grey",) if pixels.ndim == 2 else ("red", "green", "blue")
        assert Grid.from_series(series).channel_names == names
        read = series_to_frames(series, layout="THWC")[0] * peak
        np.testing.assert_array_equal(np.rint(read), pixels.reshape(read.shape))

    def test_a_jpeg_is_close(self, tmp_path):
        smooth = np.add.outer(10 * np.arange(16), 5 * np.arange(16)).astype(np.uint8)
        save(tmp_path / "a.jpg", smooth, quality=95)
        np.testing.assert_allclose(
            series_to_frames(read_frames(tmp_path))[0, 0] * 255, smooth, atol=3
        )

    @pytest.mark.parametrize(
        ("name", "pixels", "write"),
        [
            ("a.png", COLOUR, save),
            ("a.tif", COLOUR, save),
            ("a.png", DEEP_GREY, save),
            ("a.tif", DEEP_GREY, save),
            ("a.tif", GREY, save),
        ],
    )
    def test_the_turn_of_a_camera_is_applied(self, tmp_path, name, pixels, write):
        exif = Image.Exif()
        exif.update(TURNED)
        write(tmp_path / name, pixels, exif=exif)
        read = series_to_frames(read_frames(tmp_path), layout="THWC")[0]
        expected = np.rot90(pixels, -1) / np.iinfo(pixels.dtype).max
        np.testing.assert_allclose(read, expected.reshape(read.shape), atol=1e-6)

    def test_black_and_white_and_palettes(self, tmp_path):
        save(tmp_path / "a.png", GREY > 127)
        assert set(read_frames(tmp_path).values().ravel()) == {0, 1}
        Image.fromarray(COLOUR // 64 * 85).quantize(64).save(tmp_path / "a.png")
        read = series_to_frames(read_frames(tmp_path), layout="THWC")[0] * 255
        np.testing.assert_array_equal(np.rint(read), COLOUR // 64 * 85)

    def test_the_pages_of_a_tiff_file_are_frames(self, tmp_path):
        pages = np.stack([DEEP_GREY, DEEP_GREY // 2, DEEP_GREY // 4])
        save_tiff(tmp_path / "a.tif", pages, photometric="minisblack")
        read = series_to_frames(read_frames(tmp_path))[:, 0]
        np.testing.assert_array_equal(np.rint(read * 65535), pages)

    def test_grey_weighs_colours_as_the_eye_does(self, tmp_path):
        for name, write, pixels, peak in (
            ("1.png", save, COLOUR, 255),
            ("2.png", save_deep_png, DEEP_COLOUR, 65535),
        ):
            series = read_frames([write(tmp_path / name, pixels)], grey=True)
            read = series_to_frames(series)[0, 0] * peak
            np.testing.assert_allclose(read, pixels @ [0.299, 0.587, 0.114], atol=0.51)

    def test_an_opaque_layer_of_alpha_is_nothing(self, tmp_path):
        opaque = np.dstack([COLOUR, np.full((5, 7), 255, np.uint8)])
        save(tmp_path / "a.png", opaque)
        save(tmp_path / "b.png", COLOUR)
        series = read_frames(tmp_path)
        np.testing.assert_array_equal(series.values()[0], series.values()[1])

    def test_the_first_picture_of_a_jpeg_is_the_one(self, tmp_path):
        image = Image.new("L", (8, 6), 100)
        image.save(
            tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.new("L", (8, 6), 0)]
        )
        np.testing.assert_allclose(read_frames(tmp_path).values() * 255, 100, atol=1)


class TestOrder:
    def test_numbers_in_names_count(self, folder):
        assert levels(read_frames(folder)) == [10 * number for number in range(12)]

    def test_a_sequence_stays_as_it_is(self, folder):
        paths = [folder / f"frame{number}.png" for number in (3, 10, 2)]
        assert levels(read_frames(paths)) == [30, 100, 20]

    @settings(max_examples=50, deadline=None, derandomize=True, database=None)
    @given(
        st.lists(
            st.tuples(st.text("ab_\N{SUPERSCRIPT TWO}", max_size=2), st.integers(0, 10**30)),
            unique=True,
        )
    )
    def test_any_names_are_in_order_of_their_numbers(self, parts):
        names = [Path(f"x{text}-{number}.png") for text, number in parts]
        ordered = [f"x{text}-{number}.png" for text, number in sorted(parts)]
        assert [path.name for path in sorted(names, key=natural_order)] == ordered


class TestSeries:
    def test_rate_and_times_are_what_is_told(self, folder):
        series = read_frames(folder, fps=12.5, start="2026-01-01")
        grid = Grid.from_series(series)
        assert series.freq_str == "80ms"
        assert grid.attributes_of("time")["frames_per_second"] == 12.5
        assert grid.attributes_of("global")["source"] == folder.name
        assert read_frames(folder, start="2026-01-01", freq="5min").freq_str == "5min"
        assert read_frames(folder).time_index.tolist() == list(range(12))

    def test_a_date_needs_a_step(self, folder):
        with pytest.raises(ValueError, match="`freq` must be the time from a frame to the next"):
            read_frames(folder, start="2026-01-01")

    def test_size_and_type(self, folder):
        series = read_frames(folder, size=(3, 4), dtype=np.float64)
        assert series.dtype == np.float64
        assert Grid.from_series(series).shape == (1, 3, 4)
        assert levels(series) == [10 * number for number in range(12)]

    def test_frames_may_go_through_a_file(self, folder, tmp_path_factory):
        cache = tmp_path_factory.mktemp("cache")
        series = read_frames(folder, cache=cache)
        assert series == read_frames(folder)
        assert isinstance(series.all_values(copy=False).base, np.memmap)


class TestRefused:
    def test_no_folder(self, folder, tmp_path_factory):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read_frames("nowhere")
        with pytest.raises(NotADirectoryError, match=r"frame3\.png"):
            read_frames(folder / "frame3.png")
        with pytest.raises(FileNotFoundError, match=r"a\.png"):
            read_frames(["a.png"])
        empty = tmp_path_factory.mktemp("empty")
        (empty / "labels.txt").write_text("walk")
        with pytest.raises(ValueError, match=r"must hold images .*, got 1 other files \['labels"):
            read_frames(empty)

    def test_other_files_are_named_in_the_log(self, folder, caplog):
        (folder / "labels.txt").write_text("walk")
        (folder / ".hidden").write_text("")
        with caplog.at_level(logging.WARNING):
            assert len(read_frames(folder)) == 12
        assert "Ignored 1 files" in caplog.text
        assert "labels.txt" in caplog.text

    def test_mixed_sizes_without_one(self, folder, monkeypatch):
        save(folder / "frame12.png", np.zeros((8, 8), np.uint8))
        assert len(read_frames(folder, size=4)) == 13
        load = Image.Image.load
        monkeypatch.setattr(Image.Image, "load", lambda self: self.size == (8, 6) and load(self))
        with pytest.raises(ValueError, match=r"frame12\.png' has sides of \[8, 8\] .* \[6, 8\]"):
            read_frames(folder)

    def test_mixed_shapes_and_colours(self, folder):
        save(folder / "frame12.png", np.zeros((8, 6), np.uint8))
        with pytest.raises(ValueError, match=r"frame12\.png' has the shape \(1, 8, 6\)"):
            read_frames(folder)
        save(folder / "frame12.png", np.zeros((6, 8, 3), np.uint8))
        with pytest.raises(ValueError, match=r"frame12\.png' has the shape \(3, 6, 8\)"):
            read_frames(folder)
        assert len(read_frames(folder, grey=True)) == 13

    @pytest.mark.parametrize("dtype", [np.float32, np.int32])
    def test_numbers_without_a_range(self, tmp_path, dtype):
        save_tiff(tmp_path / "a.tif", GREY.astype(dtype))
        with pytest.raises(
            ValueError, match=r"a\.tif' must hold grey or RGB .* range is not known"
        ):
            read_frames(tmp_path)

    def test_transparency(self, tmp_path):
        save(tmp_path / "a.png", np.dstack([COLOUR, np.full((5, 7), 100, np.uint8)]))
        with pytest.raises(ValueError, match=r"a\.png' must be opaque, got 100\.0% of its pixels"):
            read_frames(tmp_path)

    def test_pages_of_deep_colours(self, tmp_path):
        save_tiff(tmp_path / "a.tif", np.stack([DEEP_COLOUR] * 2), photometric="rgb")
        with pytest.raises(ValueError, match=r"a\.tif' has pages in colours of 16 bits"):
            read_frames(tmp_path)

    def test_only_deep_colours_need_pyav(self, folder, tmp_path_factory, monkeypatch):
        deep = save_deep_png(tmp_path_factory.mktemp("deep") / "a.png", DEEP_COLOUR)
        monkeypatch.setitem(sys.modules, "av", None)
        assert len(read_frames(folder)) == 12
        with pytest.raises(ImportError, match=r"pip install '\.\[video\]'"):
            read_frames([deep])

    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "deep.png"])
    @pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
    def test_damage(self, tmp_path, name):
        path = tmp_path / name
        (save_deep_png if name == "deep.png" else save)(
            path, DEEP_COLOUR if name == "deep.png" else COLOUR
        )
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match=rf"`path`: '.*{name}' cannot be read"):
            read_frames([path])


def test_two_folders_of_one_name_share_a_cache(tmp_path):
    for number, value in enumerate((10, 20)):
        (tmp_path / f"{number}" / "images").mkdir(parents=True)
        save(tmp_path / f"{number}" / "images" / "0.png", np.full((4, 5), value, np.uint8))
    series = [
        read_frames(tmp_path / f"{number}" / "images", cache=tmp_path / "cache")
        for number in range(2)
    ]
    assert [levels(one) for one in series] == [[10], [20]]
    assert len(list((tmp_path / "cache").iterdir())) == 2
