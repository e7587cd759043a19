"""Training: the loop, its data pipeline, callbacks, checkpoints and run folder."""
