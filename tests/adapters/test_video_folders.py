"""Images become frames: every kind with the range of its bits, in an order that people expect."""

import logging
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from PIL import Image

from darts_mim import Grid, series_to_frames
from darts_mim.adapters import read_frames

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
DEEP_GREY = RNG.integers(0, 2**16, (5, 7), dtype=np.uint16)
DEEP_COLOUR = RNG.integers(0, 2**16, (5, 7, 3), dtype=np.uint16)
TURNED = {0x0112: 6}  # EXIF: turn it clockwise to look at it
WHITE = "miniswhite"  # 0 is white


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
            ("a.PNG", save, COLOUR, 255),
            ("a.png", save_deep_png, DEEP_COLOUR, 65535),
            ("a.tiff", save, COLOUR, 255),
            ("a.tif", lambda p, x: tifffile.imwrite(p, x, byteorder=">"), DEEP_GREY, 65535),
            ("a.tif", lambda p, x: tifffile.imwrite(p, x, photometric="rgb"), DEEP_COLOUR, 65535),
            ("a.tif", lambda p, x: tifffile.imwrite(p, ~x, photometric=WHITE), GREY, 255),
            ("a.tif", lambda p, x: tifffile.imwrite(p, ~x, photometric=WHITE), DEEP_GREY, 65535),
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
        if pixels.ndim == 3:
            luma = series_to_frames(read_frames(tmp_path, grey=True))[0, 0] * peak
            np.testing.assert_allclose(luma, pixels @ [0.299, 0.587, 0.114], atol=0.51)

    @pytest.mark.parametrize(
        ("name", "pixels"), [("a.png", COLOUR), ("a.tif", COLOUR), ("a.tif", DEEP_GREY)]
    )
    def test_the_turn_of_a_camera_is_applied(self, tmp_path, name, pixels):
        exif = Image.Exif()
        exif.update(TURNED)
        save(tmp_path / name, pixels, exif=exif)
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
        tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
        read = series_to_frames(read_frames(tmp_path))[:, 0]
        np.testing.assert_array_equal(np.rint(read * 65535), pages)

    def test_an_opaque_layer_of_alpha_is_nothing_and_another_is_refused(self, tmp_path):
        save(tmp_path / "a.png", np.dstack([COLOUR, np.full((5, 7), 255, np.uint8)]))
        save(tmp_path / "b.png", COLOUR)
        series = read_frames(tmp_path)
        np.testing.assert_array_equal(series.values()[0], series.values()[1])
        save(tmp_path / "b.png", np.dstack([COLOUR, np.full((5, 7), 100, np.uint8)]))
        with pytest.raises(ValueError, match=r"b\.png' must be opaque, got 100\.0% of its pixels"):
            read_frames(tmp_path)

    def test_the_first_picture_of_a_jpeg_is_the_one(self, tmp_path):
        image = Image.new("L", (8, 6), 100)
        image.save(
            tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.new("L", (8, 6), 0)]
        )
        np.testing.assert_allclose(read_frames(tmp_path).values() * 255, 100, atol=1)


class TestSeries:
    def test_numbers_in_names_count_and_a_sequence_stays_as_it_is(self, folder):
        assert levels(read_frames(folder)) == [10 * number for number in range(12)]
        paths = [folder / f"frame{number}.png" for number in (3, 10, 2)]
        assert levels(read_frames(paths)) == [30, 100, 20]

    def test_rate_and_times_are_what_is_told(self, folder):
        series = read_frames(folder, fps=12.5, start="2026-01-01")
        grid = Grid.from_series(series)
        assert series.freq_str == "80ms"
        assert grid.attributes_of("time")["frames_per_second"] == 12.5
        assert grid.attributes_of("global")["source"] == folder.name
        assert read_frames(folder, start="2026-01-01", freq="5min").freq_str == "5min"
        assert read_frames(folder).time_index.tolist() == list(range(12))
        with pytest.raises(ValueError, match="`freq` must be a pandas offset"):
            read_frames(folder, start="2026-01-01")

    def test_size_and_type(self, folder):
        series = read_frames(folder, size=(3, 4), dtype=np.float64)
        assert series.dtype == np.float64
        assert Grid.from_series(series).shape == (1, 3, 4)
        assert levels(series) == [10 * number for number in range(12)]

    def test_two_folders_of_one_name_share_a_cache(self, tmp_path):
        for number, value in enumerate((10, 20)):
            images = tmp_path / f"{number}" / "images"
            images.mkdir(parents=True)
            save(images / "0.png", np.full((4, 5), value, np.uint8))
            series = read_frames(images, cache=tmp_path / "cache")
            assert levels(series) == [value]
            assert isinstance(series.all_values(copy=False).base, np.memmap)
        assert len(list((tmp_path / "cache").iterdir())) == 2


class TestRefused:
    def test_no_folder(self, folder, tmp_path_factory):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read_frames("nowhere")
        with pytest.raises(FileNotFoundError, match=r"a\.png"):
            read_frames(["a.png"])
        empty = tmp_path_factory.mktemp("empty")
        (empty / "labels.txt").write_text("walk")
        with pytest.raises(ValueError, match=r"must hold images .*, got \['labels"):
            read_frames(empty)

    def test_other_files_are_named_in_the_log(self, folder, caplog):
        (folder / "labels.txt").write_text("walk")
        (folder / ".hidden").write_text("")
        with caplog.at_level(logging.WARNING):
            assert len(read_frames(folder)) == 12
        assert "Ignored 1 files" in caplog.text
        assert "labels.txt" in caplog.text

    def test_mixed_sizes_and_colours(self, folder):
        save(folder / "frame12.png", np.zeros((8, 6), np.uint8))
        assert len(read_frames(folder, size=4)) == 13
        with pytest.raises(ValueError, match=r"frame12\.png' has the shape \(1, 8, 6\)"):
            read_frames(folder)
        save(folder / "frame12.png", np.zeros((6, 8, 3), np.uint8))
        with pytest.raises(ValueError, match=r"frame12\.png' has the shape \(3, 6, 8\)"):
            read_frames(folder)
        assert len(read_frames(folder, grey=True)) == 13

    def test_numbers_without_a_range_and_pages_of_deep_colours(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.float32))
        with pytest.raises(ValueError, match=r"a\.tif' must hold grey or RGB"):
            read_frames(tmp_path)
        tifffile.imwrite(tmp_path / "a.tif", np.stack([DEEP_COLOUR] * 2), photometric="rgb")
        with pytest.raises(ValueError, match=r"a\.tif' has pages in colours of 16 bits"):
            read_frames(tmp_path)

    def test_only_deep_colours_need_pyav(self, folder, tmp_path_factory, monkeypatch):
        deep = save_deep_png(tmp_path_factory.mktemp("deep") / "a.png", DEEP_COLOUR)
        monkeypatch.setitem(sys.modules, "av", None)
        assert len(read_frames(folder)) == 12
        with pytest.raises(ImportError, match=r"pip install '\.\[video\]'"):
            read_frames([deep])

    @pytest.mark.parametrize(
        ("name", "write", "pixels"),
        [
            ("a.png", save, COLOUR),
            ("a.jpg", save, COLOUR),
            ("a.tif", save, COLOUR),
            ("deep.png", save_deep_png, DEEP_COLOUR),
        ],
    )
    @pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
    def test_damage(self, tmp_path, name, write, pixels):
        path = write(tmp_path / name, pixels)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match=rf"`path`: '.*{name}' cannot be read"):
            read_frames([path])
