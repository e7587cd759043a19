"""What holds for every test: two logical CPU devices, so that tests of replicas need no others."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Iterator

import pytest
import tensorflow as tf
from absl import logging

# A shell lets commands in the background ignore SIGINT, and their children inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(autouse=True)
def absl_verbosity() -> Iterator[None]:
    """Programs lower absl's verbosity for their process; the next test starts from its own."""
    before = logging.get_verbosity()
    yield
    logging.set_verbosity(before)


@pytest.fixture
def eagerly() -> Iterator[None]:
    """Runs `tf.function` eagerly: a few training steps take less time than tracing them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
