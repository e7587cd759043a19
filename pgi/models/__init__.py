"""The networks and the objective that trains them."""

from pgi.models.coarse import CoarseNetwork
from pgi.models.discriminator import Discriminator
from pgi.models.objective import Objective
from pgi.models.pyramid import PyramidGenerator
from pgi.models.refine import RefineNetwork
from pgi.models.sub_generator import SubGenerator

__all__ = [
    "CoarseNetwork",
    "Discriminator",
    "Objective",
    "PyramidGenerator",
    "RefineNetwork",
    "SubGenerator",
]
