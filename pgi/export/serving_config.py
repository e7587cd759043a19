"""Configuration files for TensorFlow Serving, as texts of its protocol buffers."""

from __future__ import annotations

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
# Images are computed one after another, so a batch saves no time. These limits bound the memory:
# one batch is computed at a time, and a full queue rejects requests. Simultaneous requests share a
# batch: an invalid element fails all of it, a request may have at most 8 images, and images for the
# signature "predict" must have the same size.
max_batch_size { value: 8 }
batch_timeout_micros { value: 0 }
num_batch_threads { value: 1 }
max_enqueued_batches { value: 64 }
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
        "batching.config": _BATCHING,
        "monitoring.config": _MONITORING,
    }
