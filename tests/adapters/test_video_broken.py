"""What is no clip, or not a whole one, is refused by name; nothing is dropped silently."""

import io
import struct
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from darts_mim import series_to_frames
from darts_mim.adapters import read_video
from tests.adapters.video_clips import encode, levels, moving_frames

FRAMES = moving_frames(20)


def gif(path: Path) -> Path:
    pictures = [Image.fromarray(frame) for frame in FRAMES]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    return path


def faststart(path: Path) -> Path:
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *FRAMES[0].shape[:2], "yuv420p"
        for frame in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


# The containers and codecs that clips come in: DivX and Motion-JPEG in AVI, phones, screens, pages.
WHOLE = {
    "divx.avi": lambda path: encode(path, FRAMES, "mpeg4", "yuv420p"),
    "jpeg.avi": lambda path: encode(path, FRAMES, "mjpeg", "yuvj420p"),
    "end.mp4": lambda path: encode(path, FRAMES, "libx264", "yuv420p"),
    "start.mp4": faststart,
    "lossless.mkv": lambda path: encode(path, FRAMES, "ffv1", "bgr0"),
    "page.webm": lambda path: encode(path, FRAMES, "libvpx-vp9", "yuv420p"),
    "picture.gif": gif,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return {name: write(folder / name) for name, write in WHOLE.items()}


class TestCutOff:
    @pytest.mark.parametrize("name", WHOLE)
    def test_whatever_is_left_of_a_file_is_whole_or_refused_by_name(self, whole, name, tmp_path):
        data = whole[name].read_bytes()
        frames = read_video(whole[name])
        assert len(frames) == len(FRAMES)
        cuts = {*np.linspace(1, len(data) - 1, 40).astype(int), *(len(data) - k for k in (1, 2, 9))}
        path = tmp_path / f"cut-{name}"
        refused = 0
        for cut in sorted(cuts):
            path.write_bytes(data[:cut])
            message = ""
            try:
                series = read_video(path)
            except ValueError as error:
                message = str(error)
            if message:
                refused += 1
                assert f"'{path}'" in message, cut
                assert "anew, or leave it out" in message
            else:  # what is missing is an index or a note behind the frames
                np.testing.assert_array_equal(series.values(), frames.values(), str(cut))
        assert refused >= 35

    def test_the_message_says_how_many_frames_are_there(self, whole, tmp_path):
        data = whole["jpeg.avi"].read_bytes()
        # before the twelfth frame, which begins with the name of its chunk
        at = data.index(b"movi")
        for _ in range(12):
            at = data.index(b"00dc", at + 1)
        path = tmp_path / "cut.avi"
        path.write_bytes(data[:at])
        with pytest.raises(
            ValueError,
            match=r"cut\.avi' is broken: 11 frames can be decoded, but its header states 20",
        ):
            read_video(path)

    def test_frames_before_the_cut_can_be_read(self, whole, tmp_path):
        path = tmp_path / "cut.avi"
        data = whole["jpeg.avi"].read_bytes()
        path.write_bytes(data[: 3 * len(data) // 4])
        part, full = read_video(path, stop_frame=5), read_video(whole["jpeg.avi"])
        np.testing.assert_array_equal(part.values(), full[:5].values())

    def test_a_list_of_clips_names_the_broken_one(self, whole, tmp_path):
        path = tmp_path / "cut.avi"
        path.write_bytes(whole["divx.avi"].read_bytes()[:-500])
        with pytest.raises(ValueError, match=r"cut\.avi' is broken"):
            read_video([whole["divx.avi"], path, whole["end.mp4"]])

    def test_nothing_is_left_in_the_cache(self, whole, tmp_path):
        path = tmp_path / "cut.avi"
        path.write_bytes(whole["jpeg.avi"].read_bytes()[:20000])
        with pytest.raises(ValueError, match="is broken"):
            read_video(path, cache=tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []


class TestDamaged:
    @pytest.mark.parametrize("name", ["divx.avi", "jpeg.avi", "end.mp4"])
    def test_a_hole_in_the_middle_is_refused(self, whole, name, tmp_path):
        data = bytearray(whole[name].read_bytes())
        first = data.index(b"movi" if name.endswith("avi") else b"mdat")
        middle = (first + len(data)) // 2
        data[middle - 200 : middle + 200] = bytes(400)
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"is broken: [0-9]+ frames can be decoded, but"):
            read_video(path)


class TestFewerFramesThanStated:
    """Files that state more frames than they hold, and are right."""

    def test_an_avi_file_may_leave_frames_out_for_the_one_before_to_stay(self, tmp_path):
        path = tmp_path / "a.avi"
        path.write_bytes(self.avi([0, 1, None, 3, 4]))
        with pytest.raises(ValueError, match=r"no constant frame rate.*fps=10"):
            read_video(path)
        frames = series_to_frames(read_video(path, fps=10, grey=True))[:, 0, 0, 0] * 255
        np.testing.assert_allclose(frames, [0, 40, 40, 120, 160], atol=2)

    def test_an_mp4_file_may_hide_frames(self, tmp_path):
        path = encode(tmp_path / "a.mp4", levels(20), "libx264", "yuv420p")
        data = bytearray(path.read_bytes())
        at = data.index(b"elst") + 12  # the length of the part that is shown, in milliseconds
        assert struct.unpack(">I", data[at : at + 4]) == (800,)
        data[at : at + 4] = struct.pack(">I", 400)
        path.write_bytes(data)
        assert len(read_video(path)) == 10

    def avi(self, frames: list[int | None]) -> bytes:
        """Return an AVI file of JPEG pictures; None is a chunk of no length."""

        def chunk(name: bytes, data: bytes) -> bytes:
            return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

        height, width, fps, count = 32, 48, 10, len(frames)
        main = struct.pack("<14I", 10**6 // fps, 0, 0, 16, count, 0, 1, 0, width, height, *[0] * 4)
        stream = struct.pack(
            "<4s4sIHHIIIIIIII4H",
            *(b"vids", b"MJPG", 0, 0, 0, 0, 1, fps, 0, count, 0, 0, 0, 0, 0, width, height),
        )
        picture = struct.pack("<IiiHH4s5I", 40, width, height, 1, 24, b"MJPG", 0, 0, 0, 0, 0)
        movie, index = b"movi", b""
        for number in frames:
            data = io.BytesIO()
            if number is not None:
                Image.new("RGB", (width, height), (40 * number,) * 3).save(data, "JPEG")
            index += struct.pack("<4sIII", b"00dc", 16, len(movie), len(data.getvalue()))
            movie += chunk(b"00dc", data.getvalue())
        streams = chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", picture))
        header = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + streams)
        return chunk(b"RIFF", b"AVI " + header + chunk(b"LIST", movie) + chunk(b"idx1", index))


class TestNoClips:
    def test_a_missing_file(self):
        with pytest.raises(FileNotFoundError, match=r"`path`: there is no file 'a\.avi'"):
            read_video("a.avi")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.avi", b"", "is empty"),
            ("a.avi", b"no clip " * 500, "is no clip that FFmpeg can read .Invalid data"),
            ("a.txt", b"no clip " * 500, "is text, and no clip"),
        ],
    )
    def test_other_files(self, tmp_path, name, content, message):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            read_video(path)
        assert f"'{path}'" in str(caught.value)

    @pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp"])
    def test_pictures_are_pointed_to_their_reader(self, tmp_path, ending):
        path = tmp_path / f"a.{ending}"
        Image.new("RGB", (24, 16)).save(path)
        with pytest.raises(ValueError, match=r"is a picture, and no clip; .* `read_frames`"):
            read_video(path)

    def test_so_are_folders(self, tmp_path):
        with pytest.raises(ValueError, match=r"is a folder; pass its clips, .* `read_frames`"):
            read_video(tmp_path)

    def test_sound(self, tmp_path):
        path = tmp_path / "a.wav"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
            sound.sample_rate = 8000
            container.mux(stream.encode(sound))
        with pytest.raises(ValueError, match=r"must hold moving pictures .* got a file with audio"):
            read_video(path)

    def test_a_playlist_is_not_followed_to_other_machines(self, tmp_path):
        path = tmp_path / "a.m3u8"
        path.write_text(
            "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
        )
        with pytest.raises(ValueError, match=r"a\.m3u8'"):
            read_video(path)

    def test_without_pyav_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(ImportError, match=r"pip install 'darts-mim\[video\]'"):
            read_video("a.avi")


class TestOddFrames:
    def test_transparent_frames_are_refused(self, tmp_path):
        frames = [np.dstack([frame, np.full((16, 24), 255, np.uint8)]) for frame in levels(3)]
        opaque = encode(tmp_path / "a.mkv", frames, "ffv1", "bgra", given="rgba")
        assert series_to_frames(read_video(opaque)).shape == (3, 3, 16, 24)
        frames[1][2, 3, 3] = 7
        clear = encode(tmp_path / "b.mkv", frames, "ffv1", "bgra", given="rgba")
        with pytest.raises(ValueError, match=r"frame 1 of '.*b\.mkv' must be opaque, got 0\.3%"):
            read_video(clear)

    def test_frames_of_more_than_16_bits_are_refused(self, tmp_path):
        frames = [np.zeros((16, 24, 3), np.float32)] * 2
        path = encode(tmp_path / "a.nut", frames, "rawvideo", "gbrpf32le", given="gbrpf32le")
        with pytest.raises(ValueError, match="has 32 bits a channel, in the format gbrpf32le"):
            read_video(path)

    def test_frames_that_change_their_size_need_one(self, tmp_path):
        path = tmp_path / "a.avi"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mjpeg", rate=Fraction(10))
            stream.height, stream.width, stream.pix_fmt = 16, 24, "yuvj420p"
            container.start_encoding()
            for number, size in enumerate([(24, 16), (24, 16), (32, 8)]):
                data = io.BytesIO()
                Image.new("RGB", size, "white").save(data, "JPEG")
                packet = av.Packet(data.getvalue())
                packet.stream, packet.pts, packet.dts = stream, number, number
                packet.time_base = Fraction(1, 10)
                container.mux(packet)
        with pytest.raises(
            ValueError, match=r"frame 2 of .* has 8 x 32 pixels .* those before it 16 x 24; pass"
        ):
            read_video(path)
        assert series_to_frames(read_video(path, size=(16, 24))).shape == (3, 3, 16, 24)
