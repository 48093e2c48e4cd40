"""Clips and folders of images to series, and series to clips that players and browsers show."""

from darts_mim.adapters.video.encoding import write_video
from darts_mim.adapters.video.gif import write_gif
from darts_mim.adapters.video.reading import read_frames, read_video

__all__ = ["read_frames", "read_video", "write_gif", "write_video"]
