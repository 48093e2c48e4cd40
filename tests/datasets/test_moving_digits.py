"""Handwritten digits, the sequences in which they bounce, and clips as training samples."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from darts_mim import Grid
from darts_mim.datasets import (
    ClipTrainingDataset,
    MovingDigits,
    bouncing_trajectory,
    load_bundled_digits,
    load_mnist_digits,
)

CLIP = np.zeros((5, 1, 3, 4))
TEN_THOUSAND = np.zeros((10_000, 28, 28), np.uint8)
SQUARES = np.full((5, 3, 4), 255, dtype=np.uint8)  # digits of 3 by 4 pixels, ink all over


def write_idx(path, images, *, magic=b"\x00\x00\x08\x03", pack=True):
    content = magic + struct.pack(">3I", *images.shape) + images.tobytes()
    path.write_bytes(gzip.compress(content, compresslevel=1) if pack else content)


def moving_squares(**options):
    defaults = {"digits": SQUARES, "n_sequences": 20, "seed": 3, "length": 6}
    return MovingDigits(**(defaults | {"height": 9, "width": 14} | options))


class TestBouncingTrajectory:
    def test_a_point_stops_at_the_wall_and_turns_round(self):
        # By hand: 0.7 -> 0.9 -> 1.1, stopped at 1 -> 0.8 -> 0.6.
        positions = bouncing_trajectory([0.5], [0.2], length=5)
        np.testing.assert_allclose(positions, [[0.7], [0.9], [1.0], [0.8], [0.6]])

    def test_its_steps_grow_or_shrink_between_the_walls_and_behind_them(self):
        # By hand: 0.1 -> 0.3 -> 0.7 -> 1.5, stopped at 1 -> 1 - 1.6, stopped at 0.
        positions = bouncing_trajectory([0.0], [0.1], length=5, growth=2.0)
        np.testing.assert_allclose(positions, [[0.1], [0.3], [0.7], [1.0], [0.0]], atol=1e-12)
        slow = bouncing_trajectory([[0.0], [0.0]], [[0.4], [0.1]], length=3, growth=[[0.5], [1.0]])
        np.testing.assert_allclose(slow[:, :, 0], [[0.4, 0.1], [0.6, 0.2], [0.7, 0.3]])


class TestMovingDigits:
    def test_the_benchmark_is_the_default(self):
        clips = MovingDigits(load_bundled_digits(size=28), n_sequences=1, seed=0)
        assert (clips[0].shape, clips[0].dtype) == ((20, 1, 64, 64), np.float32)
        assert (clips[0].min(), clips[0].max()) == (0.0, 1.0)
        assert (clips.digits_per_sequence, clips.speed) == (2, 0.1)

    def test_a_sequence_is_the_same_whenever_it_is_asked_for(self):
        clips = moving_squares(n_sequences=10**9)
        forwards = [clips[i] for i in (0, 1, 2, 10**9 - 1)]
        backwards = [clips[i] for i in (-1, 2, 1, 0)]
        np.testing.assert_array_equal(forwards, backwards[::-1])

    def test_seeds_and_indices_do_not_meet(self):
        pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (2**32, 0), (2**32, 1)]
        frames = [moving_squares(seed=seed, height=40, width=60)[i].tobytes() for seed, i in pairs]
        assert len(set(frames)) == len(pairs)

    @pytest.mark.parametrize("acceleration", [0.0, 0.2])
    def test_a_longer_sequence_begins_with_the_frames_of_a_shorter_one(self, acceleration):
        short, long = (moving_squares(length=n, acceleration=acceleration)[4] for n in (6, 11))
        np.testing.assert_array_equal(long[:6], short)

    def test_digits_stay_whole_inside_the_canvas(self):
        for frames in moving_squares(digits_per_sequence=1, length=40):
            np.testing.assert_array_equal(frames.sum(axis=(1, 2, 3)), 3 * 4)

    def test_digits_move_by_the_speed_of_the_shorter_span(self):
        clips = moving_squares(digits_per_sequence=1, height=103, width=204, speed=0.1, length=2)
        for frames in clips:
            first, second = (np.argwhere(frame)[0] for frame in frames[:, 0])
            if 0 in (*first, *second) or second[0] == 100 or second[1] == 200:
                continue  # at a wall
            # Spans are 100 and 200 pixels, so a step is 10, give or take the rounding down.
            assert abs(np.hypot(*(second - first)) - 10.0) < 1.5

    def test_accelerated_digits_begin_alike_and_change_their_speed_at_rates_of_their_own(self):
        options = {"n_sequences": 9, "digits_per_sequence": 1, "speed": 0.02}
        options |= {"height": 1003, "width": 1004}
        plain = moving_squares(**options)
        accelerated = moving_squares(**options, acceleration=0.3)
        rates = []
        for frames, changed in zip(plain, accelerated, strict=True):
            np.testing.assert_array_equal(frames[0], changed[0])
            places = np.array([np.argwhere(frame)[0] for frame in changed[:, 0]])
            if (places == 0).any() or (places == 1000).any():
                continue  # at a wall
            ways = np.hypot(*np.diff(places, axis=0).T)
            rate = np.log(ways[-1] / ways[0]) / 4  # from the way to frame 1 to that to frame 5
            np.testing.assert_allclose(ways, 20 * np.exp(rate * np.arange(1, 6)), atol=3.0)
            rates.append(rate)
        assert -0.35 < min(rates) < -0.1
        assert 0.1 < max(rates) < 0.35

    def test_a_digit_as_high_as_the_canvas_moves_sideways(self):
        frames = moving_squares(height=3, digits_per_sequence=1, length=15)[0]
        assert len({frame.tobytes() for frame in frames}) > 1

    def test_overlapping_digits_show_the_brighter_one(self):
        digits = np.array([0.25, 0.75]).reshape(2, 1, 1) * np.ones((2, 4, 4))
        frames = MovingDigits(digits, n_sequences=1, seed=0, length=3, height=4, width=4)[0]
        np.testing.assert_array_equal(frames, np.float32(0.75))

    def test_the_digits_of_a_sequence_are_different_images(self):
        digits = np.arange(1, 3, dtype=np.uint8).reshape(2, 1, 1)
        clips = MovingDigits(digits, n_sequences=30, seed=0, length=1, height=50, width=50)
        shown = [set(np.unique(frames)) - {0} for frames in clips]
        assert sum(len(values) == 2 for values in shown) >= 29  # one may hide the other

    def test_bytes_and_floats_of_the_same_digits_give_the_same_frames(self):
        digits = load_bundled_digits("test")
        options = {"n_sequences": 2, "seed": 0, "height": 10, "width": 12}
        np.testing.assert_allclose(
            MovingDigits(digits, **options)[1],
            MovingDigits(digits / 255.0, **options)[1],
            atol=1e-7,
        )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_sequences": 0}, "`n_sequences` must be at least 1"),
            ({"seed": -1}, "`seed` must be at least 0"),
            ({"height": 2}, "`height` must be at least 3"),
            ({"width": 3}, "`width` must be at least 4"),
            ({"speed": 1.5}, r"`speed` must be finite and in \[0, 1\]"),
            ({"digits": np.ones((1, 2, 2), np.int64)}, "`digits` must be .* got int64"),
            ({"digits": np.ones((0, 4, 4))}, r"`digits` must be .* \(0, 4, 4\)"),
            ({"digits": np.full((2, 3, 3), 255.0)}, r"must lie in \[0, 1\].*got 255.0 to 255.0"),
        ],
    )
    def test_digits_and_options_out_of_range_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            moving_squares(**options)


class TestBundledDigits:
    def test_no_image_is_in_both_splits(self):
        train, test = (
            {image.tobytes() for image in load_bundled_digits(split)} for split in ("train", "test")
        )
        assert (len(train), len(test)) == (1415, 382)
        assert not train & test

    def test_enlarging_keeps_the_ink_and_uses_all_bytes(self):
        small, large = load_bundled_digits("test"), load_bundled_digits("test", size=17)
        assert (large.shape, large.dtype) == ((382, 17, 17), np.uint8)
        for images in (small, large):
            assert (images.min(), images.max()) == (0, 255)
        np.testing.assert_allclose(large.mean(axis=(1, 2)), small.mean(axis=(1, 2)), rtol=0.1)
        with pytest.raises(ValueError, match="`size` must be at least 8"):
            load_bundled_digits(size=7)


class TestMnistDigits:
    def test_of_both_forms_the_packed_one_is_read_and_checked(self, tmp_path):
        name, packed = "t10k-images-idx3-ubyte", TEN_THOUSAND.copy()
        packed[3, 4, 5] = 200
        write_idx(tmp_path / f"{name}.gz", packed, pack=True)
        write_idx(tmp_path / name, TEN_THOUSAND + 2, pack=False)
        np.testing.assert_array_equal(load_mnist_digits(tmp_path, "test"), packed)
        with pytest.raises(ValueError, match=rf"{name}\.gz must be the published file"):
            load_mnist_digits(tmp_path, "test", download=True)
        (tmp_path / f"{name}.gz").unlink()
        assert load_mnist_digits(tmp_path, "test", download=True).max() == 2

    def test_other_files_are_refused_by_name(self, tmp_path):
        file = tmp_path / "t10k-images-idx3-ubyte.gz"
        with pytest.raises(FileNotFoundError, match=rf"{file}; pass download=True"):
            load_mnist_digits(tmp_path, "test")
        for images, options in ((SQUARES, {}), (TEN_THOUSAND, {"magic": b"\x00\x00\x08\x01"})):
            write_idx(file, images, **options)
            with pytest.raises(ValueError, match=rf"{file} must be MNIST's file of 10000 images"):
                load_mnist_digits(tmp_path, "test")
        write_idx(file, TEN_THOUSAND)
        whole = file.read_bytes()
        for cut in (whole[:-9], b"", gzip.compress(gzip.decompress(whole)[:-9])):
            file.write_bytes(cut)
            with pytest.raises(ValueError, match=rf"{file} must be"):
                load_mnist_digits(tmp_path, "test")

    def test_no_more_is_unpacked_than_the_images_need(self, tmp_path):
        write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", np.zeros((10_000, 28, 28 * 12), np.uint8))
        tracemalloc.start()
        with pytest.raises(
            ValueError, match="must be MNIST's file of 10000 images, got 7840017 bytes"
        ):
            load_mnist_digits(tmp_path, "test")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 30e6  # it unpacks to 94 MB

    def test_no_real_test_digit_is_a_training_digit(self, shared_data):
        train, test = (
            load_mnist_digits(shared_data / "mnist", split) for split in ("train", "test")
        )
        assert (train.shape, test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
        assert (train.min(), train.max()) == (0, 255)
        assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


class TestClipTrainingDataset:
    def test_a_clip_is_split_into_input_and_output(self):
        clips = np.random.default_rng(0).random((3, 6, 2, 3, 4))  # float64, and a frame too many
        dataset = ClipTrainingDataset(clips, input_chunk_length=3, output_chunk_length=2)
        sample = dataset[1]
        assert len(dataset) == 3
        assert dataset.grid == Grid(2, 3, 4)
        assert (sample.past_target.dtype, sample.future_target.dtype) == (np.float32, np.float32)
        past, future = np.split(clips[1, :5].reshape(5, 24).astype(np.float32), [3])
        np.testing.assert_array_equal(sample.past_target, past)
        np.testing.assert_array_equal(sample.future_target, future)

    def test_a_grid_of_names_can_be_given(self):
        grid = Grid(1, 9, 14, channel_names=["ink"])
        assert ClipTrainingDataset(moving_squares(), 3, 3, grid=grid).grid is grid

    @pytest.mark.parametrize(
        ("clips", "chunks", "error", "message"),
        [
            ([CLIP], (0, 1), ValueError, "`input_chunk_length` must be at least 1"),
            ([], (1, 1), ValueError, "`clips` must hold at least one clip"),
            ([CLIP], (4, 2), ValueError, r"`clips` .* T at least 6, .* \(5, 1, 3, 4\) in clip 0"),
            ([CLIP[:, 0]], (2, 2), ValueError, r"`clips` must have shape \(T, C, H, W\)"),
            ([CLIP, CLIP.swapaxes(2, 3)], (2, 2), ValueError, r"`clips` .* in clip -1"),
            ([CLIP.astype(np.uint8)], (2, 2), TypeError, "`clips` must be floats, got uint8"),
            ([CLIP + np.nan], (2, 2), ValueError, "`clips` must be finite"),
        ],
    )
    def test_clips_that_do_not_fit_are_refused(self, clips, chunks, error, message):
        with pytest.raises(error, match=message):
            ClipTrainingDataset(clips, *chunks)[-1]
