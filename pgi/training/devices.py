"""The devices of a training: one, all of this machine, or those of several machines."""

from __future__ import annotations

import signal
import threading

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.tsl.protobuf import coordination_config_pb2

from pgi.config import ExperimentConfig
from pgi.errors import LostWorkerError
from pgi.rules import check, check_choice
from pgi.training import cluster
from pgi.training.cluster import Cluster
from pgi.training.stages import stages
from pgi.training.workers import Workers

STRATEGIES = ("auto", "one", "mirrored", "multiworker")


def choose(name: str, config: ExperimentConfig) -> tf.distribute.Strategy:
    """The strategy of a name; to be called before TensorFlow runs anything or lists devices.

    Args:
        name: "one" device; "mirrored" over all local GPUs, or over all logical CPUs without a GPU;
            "multiworker" for the processes in TF_CONFIG or of a Slurm job step, each with its local
            GPUs; "auto" for that if there are several processes, otherwise `local(config)`.
        config: of the experiment.

    Raises:
        RuleError: the environment describes no cluster, or one that is not wanted.
    """
    check_choice("--strategy", STRATEGIES, name)
    found = cluster.from_environment()
    several = found is not None and len(found.addresses) > 1
    if several:
        assert found is not None
        rule = '"auto" or "multiworker" if TF_CONFIG or Slurm starts several processes'
        check("--strategy", rule, name in ("auto", "multiworker"), name)
        return multi_worker(found)
    if name == "multiworker":
        rule = "in an environment with TF_CONFIG, or in a Slurm job step of several tasks"
        check("--strategy=multiworker", rule, found is not None, "neither")
    if name == "mirrored":
        gpus = tf.config.list_logical_devices("GPU")
        return mirrored([x.name for x in gpus or tf.config.list_logical_devices("CPU")])
    return tf.distribute.get_strategy() if name == "one" else local(config)


def local(config: ExperimentConfig) -> tf.distribute.Strategy:
    """As many local GPUs as divide every batch, or the default device; one GPU under XLA."""
    gpus = [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
    parts = config.train.accumulation_steps
    batches = [stage.batch_size for stage in stages(config)]
    counts = range(1, 2 if config.train.jit_compile else len(gpus) + 1)
    fitting = [n for n in counts if all(batch % (n * parts) == 0 for batch in batches)]
    return mirrored(gpus[: max(fitting, default=1)])


def mirrored(devices: list[str]) -> tf.distribute.Strategy:
    """`MirroredStrategy` over devices of one kind; for one of them the default strategy."""
    if len(devices) <= 1:
        return tf.distribute.get_strategy()
    # NCCL is for GPUs only.
    on_cpu = all("CPU" in name.upper() for name in devices)
    reduction = tf.distribute.ReductionToOneDevice() if on_cpu else None
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)


def multi_worker(of: Cluster) -> tf.distribute.Strategy:
    """`MultiWorkerMirroredStrategy`; waits until all workers are there.

    Raises:
        LostWorkerError: this worker cannot join the others, for example because they have not
            noticed yet that it was gone, or because its port is in use.
    """
    own = f"worker {of.index} ({of.addresses[of.index]})"
    print(f"{own} waits for all {len(of.addresses)}: {', '.join(of.addresses)}", flush=True)
    cluster.meet(of)
    # TensorFlow would wait for an hour for a worker that was lost since.
    workers = coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=len(of.addresses))
    context.context().configure_coordination_service(
        "standalone",
        service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=120_000,
        coordinated_jobs=[workers],
    )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(of.addresses)}),
        task_type="worker",
        task_id=of.index,
        rpc_layer="grpc",
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.OpError as error:
        raise LostWorkerError(f"{own} cannot join the others: {error.message}") from error
    finally:
        # TensorFlow takes SIGTERM for itself, so that it would end nothing.
        handler = signal.getsignal(signal.SIGTERM)
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def describe(strategy: tf.distribute.Strategy) -> str:
    """Such as "the CPU", "2 GPUs" or "4 GPUs of 2 workers"."""
    gpus = len(tf.config.list_logical_devices("GPU"))
    replicas = strategy.num_replicas_in_sync
    workers = Workers(strategy).count
    one = "GPU" if gpus else "CPU"
    where = f"the {one}" if replicas == 1 else f"{replicas} {one}s"
    return where + (f" of {workers} workers" if workers > 1 else "")
