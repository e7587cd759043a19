"""One file an experiment, each with a `get_config()`."""
