"""Weights of DeepFillv2's published implementation, by the names of its variables.

DeepFillv2: "Free-Form Image Inpainting with Gated Convolution", https://arxiv.org/abs/1806.03589.
"""

from pgi.deepfillv2.stored import Variables as Variables
from pgi.deepfillv2.stored import find_checkpoint as find_checkpoint
from pgi.deepfillv2.stored import find_variables as find_variables
from pgi.deepfillv2.stored import split_source as split_source
from pgi.deepfillv2.weights import SIDE as SIDE
from pgi.deepfillv2.weights import assign_discriminator as assign_discriminator
from pgi.deepfillv2.weights import assign_generator as assign_generator
from pgi.deepfillv2.weights import discriminator_variables as discriminator_variables
from pgi.deepfillv2.weights import generator_variables as generator_variables
from pgi.deepfillv2.weights import listed as listed
from pgi.deepfillv2.weights import load as load
from pgi.deepfillv2.weights import misfits as misfits
from pgi.deepfillv2.weights import model_config as model_config
