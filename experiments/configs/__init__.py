"""One file per experiment, with a `get_config()`."""
