"""Configuration files for TensorFlow Serving, as texts of its protocol buffers."""

from __future__ import annotations

from pgi.export.limits import MAX_BATCH

_MODELS = """\
# For tensorflow_model_server --model_config_file. base_path is the folder on the server.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

_BATCHING = """\
# For tensorflow_model_server --enable_batching --batching_parameters_file.
# Bounds the memory; it is not faster. One image is computed at a time, whatever the signature. A
# request of more than {max_batch} images is rejected, as is one for which the queue has no room.
# Requests are divided into images and do not share a batch, so that one cannot fail another.
max_batch_size {{ value: {max_batch} }}
enable_large_batch_splitting {{ value: true }}
max_execution_batch_size {{ value: 1 }}
batch_timeout_micros {{ value: 0 }}
num_batch_threads {{ value: 1 }}
max_enqueued_batches {{ value: 64 }}
"""

_MONITORING = """\
# For tensorflow_model_server --monitoring_config_file: Prometheus metrics at the REST port.
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def contents(name: str) -> dict[str, str]:
    """The contents of the files by their names; `name` is the model's."""
    return {
        "models.config": _MODELS.format(name=name),
        "batching.config": _BATCHING.format(max_batch=MAX_BATCH),
        "monitoring.config": _MONITORING,
    }
