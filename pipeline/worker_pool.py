"""Workers for a Flink cluster without containers: `python -m pipeline.worker_pool` beside its task managers.

Beam's own pool (apache_beam.runners.worker.worker_pool_main) starts whichever `python` is first on its path, and
imports all again for each worker of each stage. It also knows workers by an id that is unique for one task manager
only: of two that share a pool, one ends the other's worker. And a worker that is killed before it has reached its task
manager is waited for for ever. This pool forks workers from a process that has all imported, starts a killed one
again, and a worker ends when its task manager hangs up.
"""

import argparse
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.sdk_worker import SdkHarness

from pipeline.identity import identity

RESTART_SECONDS = 1.0
PRELOADED = ("pipeline.clean", "pipeline.job", "torch")  # what the tasks of all stages import


@dataclass(frozen=True, slots=True)
class Pool:
    """Beam's worker pool service (beam_fn_api.proto, BeamFnExternalWorkerPool)."""

    context: ForkServerContext

    def StartWorker(self, request: Any, _: grpc.ServicerContext) -> Any:  # noqa: N802
        """Start a worker for whoever asks."""
        asked = (request.control_endpoint.url, request.worker_id)
        threading.Thread(target=keep, args=(self.context, *asked), daemon=True).start()
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, _: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        """Do nothing: the id may be another task manager's, too, and a worker ends when its own hangs up."""
        return beam_fn_api_pb2.StopWorkerResponse()


def keep(context: ForkServerContext, control: str, worker_id: str) -> None:
    """Run a worker, and another one as often as it is killed.

    Its task manager waits for one that never came; where it saw it die, the next one finds nobody and ends in a minute.
    """
    while True:
        worker = context.Process(target=work, args=(control, worker_id))
        worker.start()
        worker.join()
        if (worker.exitcode or 0) >= 0:
            return
        time.sleep(RESTART_SECONDS)


def work(control: str, worker_id: str) -> None:
    """Work for one task manager until it hangs up or dies; what is unfinished then is worked on for nobody."""
    logging.getLogger().setLevel(logging.ERROR)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        harness = SdkHarness(control, worker_id=worker_id)
        harness._worker_thread_pool.shutdown = lambda *_: os._exit(0)  # noqa: SLF001 - it would wait for the unfinished
        harness.run()
    finally:
        os._exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Listen until stopped."""
    line = argparse.ArgumentParser(prog="python -m pipeline.worker_pool", description=__doc__.partition("\n")[0])
    line.add_argument("--port", type=int, default=50000, help="on localhost: only task managers beside it may ask")
    asked = line.parse_args(arguments)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    server = grpc.server(ThreadPoolExecutor(4))
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(Pool(context), server)
    try:
        server.add_insecure_port(f"localhost:{asked.port}")
    except RuntimeError:
        print(f"error: port {asked.port} of localhost is taken", file=sys.stderr)
        return 2
    server.start()
    has = ", ".join(
        f"{name} {value}" for name, value in identity().items() if name in {"lustrate", "apache-beam", "Python"}
    )
    print(f"workers for localhost:{asked.port}: {has}", flush=True)
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        server.stop(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
