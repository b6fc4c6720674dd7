"""Yahoo's open_nsfw: one score of how unsafe for work an image is."""

from excise.judges.judge import register

from .opennsfw import OpenNSFW

register("opennsfw", OpenNSFW)
