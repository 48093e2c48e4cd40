"""Clips and folders of images to series, and series to clips that players and browsers show."""

from darts_mim.adapters.video.folders import read_frames
from darts_mim.adapters.video.reading import read_video
from darts_mim.adapters.video.writing import write_gif, write_video

__all__ = ["read_frames", "read_video", "write_gif", "write_video"]
