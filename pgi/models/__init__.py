"""The networks: two of a sub-generator, its discriminator, and the pyramid of them."""

from pgi.models.coarse import CoarseNetwork
from pgi.models.discriminator import Discriminator
from pgi.models.pyramid import PyramidGenerator
from pgi.models.refine import RefineNetwork
from pgi.models.sub_generator import SubGenerator

__all__ = [
    "CoarseNetwork",
    "Discriminator",
    "PyramidGenerator",
    "RefineNetwork",
    "SubGenerator",
]
