"""Segments the images of a data set on the workers of a Ray cluster.

Ray is an optional package, which is imported here alone.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from ovseg_demo.datasets.items import Item, choose_stems
from ovseg_demo.datasets.job import Job, Result
from ovseg_demo.datasets.runner import (
    Done,
    Failure,
    Outcome,
    Reporter,
    Skipped,
    Unexpected,
    describe_failure,
)
from ovseg_demo.datasets.store import ResultStore
from ovseg_demo.errors import MissingDependencyError, OvsegError, VocabularyError

_ITEM, _OUTCOME = "item", "outcome"  # columns: pickled values, which Ray does not look into


def run_on_ray(
    items: Sequence[Item],
    job: Job,
    make_job: Callable[[], Job],
    store: ResultStore,
    *,
    workers: int,
    gpus_per_worker: float,
    on_outcome: Callable[[Outcome], None],
) -> None:
    """Segment images on a pool of Ray's actors and save their results in this process.

    Ray gives the images of a worker that dies to another one. Results are saved as they come, so a run that
    is cut continues as one of :func:`.runner.run_local` does, with either engine.

    Args:
        items: the images. Each worker opens their files by path: they lie on a disk that all machines share.
        job: how they are segmented; its settings are recorded.
        make_job: makes the same job in a worker; it is pickled.
        store: gets the results.
        workers: number of actors.
        gpus_per_worker: GPUs of each; 0 means that it computes on a CPU core.
        on_outcome: called after each image, in the order in which they are finished.

    Raises:
        MissingDependencyError: Ray is not installed.
        FullDiskError: the disk is full.
        RecordError: the folder of the results is closed in another way.
        OvsegError: a setting is not valid.
        Exception: five images in a row raised errors that are not expected.
    """
    ray = _import_ray()
    report = Reporter(on_outcome)
    waiting, stems = [], choose_stems(items, store.journal.stems)
    for item, is_finished in _check_finished(items, job, store):
        if is_finished:
            report(Skipped(item))
        else:
            work = _with_whole_path(item), stems(item), _formats_of(item, job, store)
            waiting.append({_ITEM: pickle.dumps(work)})
    if not waiting:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    resources = {"num_gpus": gpus_per_worker} if gpus_per_worker else {"num_cpus": 1}
    data = ray.data.from_items(waiting, override_num_blocks=max(1, min(len(waiting), 8 * workers)))
    made = data.map_batches(
        Worker, fn_constructor_args=(make_job,), batch_size=1, concurrency=workers, **resources
    )
    for row in made.iter_rows():
        report(_save(pickle.loads(row[_OUTCOME]), store))


_Made = tuple[Item, Result] | Failure | Unexpected | OvsegError
"""What a worker makes of an image; an OvsegError ends the run."""


class Worker:
    """One actor: makes the job once, then segments the images of its batches.

    Args:
        make_job: makes the job.
    """

    def __init__(self, make_job: Callable[[], Job]):
        self._job = make_job()

    def __call__(self, batch: dict[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        """Return what became of each image."""
        return {_OUTCOME: [pickle.dumps(self._segment(row)) for row in batch[_ITEM]]}

    def _segment(self, row: bytes) -> _Made:
        try:
            item, stem, formats = pickle.loads(row)  # opens the table of the image
        except Exception as error:  # such as a table that this machine does not have
            return OvsegError(
                f"A worker cannot open an input ({error}); put the inputs where all machines find them."
            )
        try:
            image = self._job.load(item)
            return item, self._job.describe(self._job.segment(image, item), image, item, stem, formats)
        except Exception as error:
            try:
                failure = describe_failure(item, error)
            except OvsegError as fatal:  # it ends the run, so the process that saves results raises it
                return OvsegError(str(fatal))
            if isinstance(failure, Unexpected):  # its error may be of a kind that cannot be pickled
                return Unexpected(failure.failure, RuntimeError(failure.failure.trace))
            return failure


def _formats_of(item: Item, job: Job, store: ResultStore) -> tuple[str, ...]:
    try:
        return store.formats_of(item, job)
    except VocabularyError:  # the worker finds the error again and says what it is
        return job.formats


def _with_whole_path(item: Item) -> Item:
    """Return an item that another process finds, whatever its working folder."""
    is_file = isinstance(item.content, Path)
    return replace(item, content=item.content.absolute()) if is_file else item


def _save(made: _Made, store: ResultStore) -> Outcome | Unexpected:
    if isinstance(made, OvsegError):
        raise made
    if not isinstance(made, tuple):
        return made
    item, result = made
    try:
        store.save(result)
    except Exception as error:
        return describe_failure(item, error)
    return Done(item, result.line["key"], result.summary)


def _check_finished(items: Sequence[Item], job: Job, store: ResultStore) -> Iterator[tuple[Item, bool]]:
    """Yield each image with whether it is finished; the files of finished ones are read to compare them."""

    def check(item: Item) -> bool:
        try:
            return store.is_finished(item, job)
        except (OvsegError, OSError):  # the worker finds the error again and says what it is
            return False

    with ThreadPoolExecutor(4, "compare") as pool:
        yield from zip(items, pool.map(check, items), strict=True)


def _import_ray() -> ModuleType:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError(
            'The engine "ray" needs Ray, which is not installed; install it with "pip install \'ray[data]\'".'
        ) from error
    return ray
