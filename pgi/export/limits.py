"""Limits of a served model, so that no request takes more memory than a server of 8 GB has.

docs/SERVING.md has the measurements behind them.
"""

from __future__ import annotations

# Default for each image. Memory grows with it, at the paper's width and three levels.
MAX_MEGAPIXELS = 13.0
# Images in a batch. They are computed one after another, so larger batches would save no time.
MAX_BATCH = 8
