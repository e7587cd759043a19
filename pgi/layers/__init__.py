"""Layers of the sub-generators and discriminators."""

from pgi.layers.contextual_attention import contextual_attention
from pgi.layers.gated_conv import GatedConv2D
from pgi.layers.spectral_norm import SpectralNormConv2D

__all__ = ["GatedConv2D", "SpectralNormConv2D", "contextual_attention"]
