"""Files that FFmpeg cannot read are refused by name."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darts_mim import series_to_frames
from darts_mim.adapters import read_video
from tests.adapters.video_clips import encode, levels, moving_frames

FRAMES = moving_frames(20)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return {
        "divx.avi": encode(folder / "divx.avi", FRAMES, "mpeg4", "yuv420p"),
        "jpeg.avi": encode(folder / "jpeg.avi", FRAMES, "mjpeg", "yuvj420p"),
        "phone.mp4": encode(folder / "phone.mp4", FRAMES, "libx264", "yuv420p"),
    }


@pytest.mark.parametrize("name", ["divx.avi", "jpeg.avi", "phone.mp4"])
def test_a_hole_or_a_frame_that_is_cut_off_is_refused(whole, name, tmp_path):
    data = whole[name].read_bytes()
    first = data.index(b"movi" if name.endswith("avi") else b"mdat")
    middle = (first + len(data)) // 2
    hole = data[: middle - 200] + bytes(400) + data[middle + 200 :]
    path = tmp_path / name
    for damaged in (hole, *(data[: int(share * len(data))] for share in (0.01, 0.35, 0.75))):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"`path`: '.*{name}'"):
            read_video([whole[name], path], cache=tmp_path / "cache")
        assert len(list((tmp_path / "cache").iterdir())) == 1  # of the whole one


def test_frames_before_the_damage_can_be_read(whole, tmp_path):
    path = tmp_path / "cut.avi"
    data = whole["jpeg.avi"].read_bytes()
    path.write_bytes(data[: 3 * len(data) // 4])
    part, full = read_video(path, stop_frame=5), read_video(whole["jpeg.avi"])
    np.testing.assert_array_equal(part.values(), full[:5].values())


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.avi"):
        read_video("a.avi")
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path))}.*`read_frames`"):
        read_video(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.avi", b""),
        ("a.avi", b"no clip " * 500),
        ("a.srt", b"1\n00:00:00,000 --> 00:00:01,000\nwords without pictures\n"),
        # a playlist is not followed to other machines
        ("a.m3u8", b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"),
    ],
)
def test_other_files_are_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"`path`: '{path}'")):
        read_video(path)


def test_transparent_frames_are_refused(tmp_path):
    frames = [np.dstack([frame, np.full((16, 24), 255, np.uint8)]) for frame in levels(3)]
    opaque = encode(tmp_path / "a.mkv", frames, "ffv1", "bgra", given="rgba")
    assert series_to_frames(read_video(opaque)).shape == (3, 3, 16, 24)
    frames[1][2, 3, 3] = 7
    clear = encode(tmp_path / "b.mkv", frames, "ffv1", "bgra", given="rgba")
    with pytest.raises(ValueError, match=r"frame 1 of '.*b\.mkv' must be opaque, got 0\.3%"):
        read_video(clear)


def test_frames_of_more_than_16_bits_are_refused(tmp_path):
    frames = [np.zeros((16, 24, 3), np.float32)] * 2
    path = encode(tmp_path / "a.nut", frames, "rawvideo", "gbrpf32le", given="gbrpf32le")
    with pytest.raises(ValueError, match=r"at most 16 bits a channel .* got 32 bits"):
        read_video(path)


def test_frames_that_change_their_size_need_one(tmp_path):
    pictures = io.BytesIO()
    for width, height in ((24, 16), (24, 16), (32, 8)):
        Image.new("RGB", (width, height), "white").save(pictures, "JPEG")
    path = tmp_path / "a.mjpeg"
    path.write_bytes(pictures.getvalue())
    with pytest.raises(ValueError, match=r"frame 2 of .* \(3, 8, 32\).* before it \(3, 16, 24"):
        read_video(path)
    assert series_to_frames(read_video(path, size=(16, 24))).shape == (3, 3, 16, 24)
    assert len(read_video(path, size=4, fps=50)) == 6


def test_a_size_of_gigabytes_is_refused_before_memory_is_taken(tmp_path):
    data = io.BytesIO()
    Image.new("L", (8, 6)).save(data, "GIF")
    bomb = bytearray(data.getvalue())
    bomb[6:10] = struct.pack("<HH", 12000, 12000)  # the size of the screen
    path = tmp_path / "a.gif"
    path.write_bytes(bomb)
    with pytest.raises(ValueError, match=r"`path`: '.*a\.gif' cannot be read"):
        read_video(path)
