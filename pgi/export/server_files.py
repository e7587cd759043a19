"""What TensorFlow Serving is told by files beside the model: texts of its protocol buffers."""

from __future__ import annotations

_MODELS = """\
# tensorflow_model_server --model_config_file: the folder of versions as the server sees it.
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
# tensorflow_model_server --enable_batching --batching_parameters_file.
# Images are computed one after another, so a batch is no faster than its images. What these bounds
# give is bounded memory: one batch at a time computes, and a full queue refuses. Requests that come
# together share a batch: an element that is refused fails all of it, a request may have 8 images at
# most, and those of the signature "predict" must then be of one size.
max_batch_size { value: 8 }
batch_timeout_micros { value: 0 }
num_batch_threads { value: 1 }
max_enqueued_batches { value: 64 }
"""

_MONITORING = """\
# tensorflow_model_server --monitoring_config_file: for Prometheus, at the REST port.
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def contents(name: str) -> dict[str, str]:
    """The files' texts by their names.

    Args:
        name: of the model.
    """
    return {
        "models.config": _MODELS.format(name=name),
        "batching.config": _BATCHING,
        "monitoring.config": _MONITORING,
    }
