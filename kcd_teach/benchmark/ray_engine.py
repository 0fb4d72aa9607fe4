"""The engine for more than one machine: a Ray cluster, which hands out the runs, and repeats those that are lost."""

import importlib
import math
import os
import platform
import re
import secrets
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from kcd_teach import __version__
from kcd_teach._checks import check_at_least, check_at_most, check_choice
from kcd_teach._files import part_of
from kcd_teach.benchmark.runner import Job, Result, result_of
from kcd_teach.benchmark.runs import unwatched
from kcd_teach.registry import Origin, load_origins, origins

STARTS = 3
"""Attempts to start Ray: its parts wait 15 seconds for each other, too short at times on a busy machine. What a failed
attempt leaves behind ends with this process."""
PATIENCE = 30.0
"""Seconds after which what has not stopped is asked again, in case a request was lost."""
PARTS = 10_000
"""Number of equal parts into which Ray can divide a GPU."""
SHARED_MEMORY = 100 * 2**20
"""Bytes that Ray sets aside for objects; runs exchange files, so nearly the least it allows."""


class Ray:
    """The machines of a Ray cluster, one processor per run; all must see the folder of the plan under the same path.

    A run whose worker or machine is lost goes on from its last epoch, on any other worker. If this process uses Ray
    already, that Ray is used, and stays.

    Args:
        address: ``"HOST:PORT"`` of a cluster, or ``"auto"`` for the one that this machine belongs to; None starts a
            Ray on this machine alone, which no other machine can reach and no other user obeys, and stops it afterwards.
        workers: runs side by side on a Ray that is started here; as many as there are processors by default.
        per_gpu: runs that share a GPU, where they compute on GPUs.
        retries: how often a run may lose its worker before the plan is given up.

    Raises:
        ImportError: Ray is not installed.
        RuntimeError: on entering, no cluster at the address; from :meth:`run`, a run lost its worker too often.
    """

    def __init__(
        self, address: str | None = None, *, workers: int | None = None, per_gpu: int = 1, retries: int = 3
    ) -> None:
        if address is not None and address != "auto" and not re.fullmatch(r"[^\s/]+:\d+", address):
            raise ValueError(f"address must be 'auto' or HOST:PORT, as 10.0.0.1:6379, got {address!r}")
        if workers is not None:
            check_at_least("workers", workers, 1)
            if address is not None:
                raise ValueError(f"workers={workers} is for a Ray started here; address={address!r} has its own number")
        check_at_least("per_gpu", per_gpu, 1)
        check_at_most("per_gpu", per_gpu, PARTS)
        check_at_least("retries", retries, 0)
        self._address, self._workers, self._per_gpu, self._retries = address, workers, per_gpu, retries
        self.here = 1 if address is not None else workers or os.cpu_count() or 1
        self._ray = _import_ray(alone=address is None)
        self._waiting: list[Any] = []
        self._mark: Path | None = None

    def __enter__(self) -> "Ray":
        """Join the cluster, or start one."""
        self._found = self._ray.is_initialized()
        if self._found:
            return self
        self._sigterm = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
        if self._address is None:
            alone = {"num_cpus": self._workers, "include_dashboard": False, "object_store_memory": SHARED_MEMORY}
            self._begin("Ray cannot be started on this machine", STARTS, address="local", **alone)
        else:
            self._begin(f"no Ray can be joined at address={self._address!r}", 1, address=self._address)
        return self

    def _begin(self, trouble: str, attempts: int, **settings: Any) -> None:
        for left in reversed(range(attempts)):
            try:
                self._ray.init(logging_level="error", **settings)
                if threading.current_thread() is threading.main_thread():  # Ray's own way to end dumps a stack
                    signal.signal(signal.SIGTERM, signal.default_int_handler)
                return
            except Exception as error:  # Ray raises the bare class
                if not left:
                    raise RuntimeError(f"{trouble}: {error}") from error

    def __exit__(self, *error: object) -> None:
        """Stop what runs, at the latest after its epoch, and wait for it."""
        try:
            while self._waiting:
                for reference in self._waiting:
                    self._ray.cancel(reference)  # an interrupt, which training hears between two batches
                _, self._waiting = self._ray.wait(self._waiting, num_returns=len(self._waiting), timeout=PATIENCE)
        finally:
            if self._mark is not None:
                self._mark.unlink(missing_ok=True)
            if not self._found:
                self._ray.shutdown()
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, self._sigterm)

    def place(self, device: str | None, folder: Path) -> str:
        """See :class:`~kcd_teach.benchmark.runner.JobEngine`; GPUs by default if the cluster has any.

        Raises:
            ValueError: a device other than cpu and cuda, as Ray chooses which GPU; cuda without a GPU.
        """
        gpus = self._ray.cluster_resources().get("GPU", 0)
        device = device or ("cuda" if gpus else "cpu")
        check_choice("device", device, ("cpu", "cuda"))
        if device == "cuda" and not gpus:
            raise ValueError("device='cuda' needs a GPU, and no machine of this Ray has one; choose device='cpu'")
        share = math.floor(PARTS / self._per_gpu) / PARTS if device == "cuda" else 0
        self._mark = part_of(folder / "locks" / "engine", "mark")
        self._mark.parent.mkdir(parents=True, exist_ok=True)
        self._mark.touch()
        self._remote = self._ray.remote(num_cpus=1, num_gpus=share, max_retries=self._retries)(_in_worker)
        return device

    def run(self, jobs: Mapping[str, Job]) -> Iterator[tuple[str, Result]]:
        """See :class:`~kcd_teach.benchmark.runner.JobEngine`."""
        names = {
            self._remote.options(name=name).remote(job, self._mark, __version__, origins()): name
            for name, job in jobs.items()
        }
        self._waiting = list(names)
        while self._waiting:
            ended, self._waiting = self._ray.wait(self._waiting)
            for reference in ended:
                yield names[reference], self._result(names[reference], reference)

    def _result(self, name: str, reference: Any) -> Result:
        """What a job returned, or raised; RuntimeError if its worker was lost too often."""
        lost = self._ray.exceptions.RayError
        try:
            result: Result = self._ray.get(reference)
            return result
        except lost as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, Exception) and not isinstance(cause, lost):
                raise cause from error
            raise RuntimeError(
                f"{name} lost its worker more than {self._retries} times, perhaps for want of memory "
                f"({type(error).__name__}); what is finished is stored, start again to go on"
            ) from error


def _import_ray(alone: bool) -> ModuleType:
    """Ray, which is imported only when it is used."""
    if alone and "ray" not in sys.modules:  # which reads these at its import
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # use nothing but the loopback address
        if os.environ.setdefault("RAY_AUTH_MODE", "token") == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            os.environ.setdefault(
                "RAY_AUTH_TOKEN", secrets.token_hex(32)
            )  # unlike Ray's own, it is not kept in the home
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError("the engine ray needs Ray: pip install 'kcd_teach[cluster]'") from error


def _in_worker(job: Job, mark: Path, version: str, own: tuple[Origin, ...] = ()) -> Result:
    """Carry out a job in a process of the cluster, once it is checked that this process belongs to the plan."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A process that a shell started in the background ignores interrupts, and so do its children; Ray stops runs by them.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if version != __version__:
        raise RuntimeError(f"{platform.node()} has kcd_teach {__version__}, the plan {version}; install the same one")
    if not mark.exists():
        raise RuntimeError(
            f"{platform.node()} does not see {mark.parent.parent} as the plan does; choose a folder that all machines "
            "share, under the same path"
        )
    load_origins(own)
    return result_of(job, unwatched)
