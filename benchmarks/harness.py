"""Tools for all benchmarks: timing in turns, peak memory, the limits of the machine, Markdown tables."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import torch
from torch.utils.flop_counter import FlopCounterMode

from ovseg_demo.runtime.devices import PRECISIONS, multiplies_bfloat16

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Timing:
    """Seconds of one run, or the median of several.

    Attributes:
        wall: the time by the clock; it grows if the machine does other work at the same time.
        processor: the processor time of all threads of this process, in user and kernel mode.
    """

    wall: float
    processor: float

    def over(self, other: Timing) -> str:
        """Return the ratio to another timing, by the clock and by processor time."""
        return f"{self.wall / other.wall:.2f} ({self.processor / other.processor:.2f})"


def time_once(function: Callable[[], object]) -> Timing:
    """Return the time that one run of a function takes, including its work on a GPU."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Timing(time.perf_counter() - wall, time.process_time() - processor)


def alternate(
    functions: Mapping[str, Callable[[], object]], repeats: int, *, warm_up: bool = True
) -> dict[str, Timing]:
    """Run functions in turns, so that other load affects all alike, and return the median of each.

    With ``warm_up``, a first round is not counted, unless ``repeats`` is 1. Functions that run for many
    seconds do not need it.
    """
    runs: dict[str, list[Timing]] = {name: [] for name in functions}
    uncounted = int(warm_up and repeats > 1)
    for _ in range(uncounted + repeats):
        for name, function in functions.items():
            runs[name].append(time_once(function))
    return {name: _median(timings[uncounted:]) for name, timings in runs.items()}


def _median(timings: Sequence[Timing]) -> Timing:
    return Timing(
        wall=statistics.median(timing.wall for timing in timings),
        processor=statistics.median(timing.processor for timing in timings),
    )


def peak_memory(script: str, arguments: Iterable[str]) -> int:
    """Run a script of this folder in a process of its own and return its peak memory in bytes.

    The script must end with :func:`print_peak_memory`.
    """
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    finished = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return int(finished.stdout.split()[-1])


def print_peak_memory() -> None:
    """Print the peak resident memory of this process in bytes, for :func:`peak_memory`."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, where getrusage reports the parent's peak if that is higher
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        print(int(fields["VmHWM"].split()[0]) * 1024)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(peak if platform.system() == "Darwin" else peak * 1024)


def matrix_rate(dtype: torch.dtype, device: str = "cpu", size: int = 2048) -> float:
    """Return the floating-point operations per second of a square matrix product."""
    a = torch.randn(size, size, device=device).to(dtype)
    return 2 * size**3 / min(time_once(lambda: a @ a).wall for _ in range(4))


def memory_rate(device: str = "cpu", size: int = 2**28) -> float:
    """Return the bytes read and written per second by a copy of an array that is larger than any cache."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.ones_like(source)
    return 2 * size / min(time_once(lambda: target.copy_(source)).wall for _ in range(4))


def describe_machine() -> str:
    """Return one line with the processor, threads, load and versions."""
    facts = [
        _processor_name(),
        f"{torch.get_num_threads()} of {os.cpu_count()} threads",
        f"load {os.getloadavg()[0]:.1f}",
        f"Python {platform.python_version()}",
        f"torch {torch.__version__}",
    ]
    if torch.cuda.is_available():
        facts.append(torch.cuda.get_device_name())
    return ", ".join(facts)


def precisions(device: str = "cpu") -> dict[str, torch.dtype]:
    """Return the dtypes to measure by name: float32, and bfloat16 if the hardware multiplies it."""
    names = ("float32", "bfloat16") if multiplies_bfloat16(device.partition(":")[0]) else ("float32",)
    return {name: PRECISIONS[name] for name in names}


def describe_limits(device: str = "cpu") -> str:
    """Return one line with the measured matrix and memory rates of this machine."""
    rates = {name: matrix_rate(dtype, device) / 1e9 for name, dtype in precisions(device).items()}
    matrices = ", ".join(f"{rate:,.0f} GFLOP/s in {name}" for name, rate in rates.items())
    return f"matrix products {matrices}; memory {memory_rate(device) / 1e9:,.0f} GB/s"


def count_operations(run: Callable[[], object]) -> int:
    """Return the number of floating-point operations in a run's matrix products and convolutions."""

    def count_baddbmm(accumulator: torch.Size, a: torch.Size, b: torch.Size, **_: object) -> int:
        return 2 * a.numel() * b[-1]

    in_place = {torch.ops.aten.baddbmm_: count_baddbmm}
    torch.backends.mha.set_fastpath_enabled(False)  # a single operator, whose products are not counted
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        run()
    torch.backends.mha.set_fastpath_enabled(True)
    return counter.get_total_flops()


@dataclass(frozen=True)
class Way:
    """One of several ways to do the same work.

    Attributes:
        name: its name in the table.
        dtype: the dtype of the matrix products.
        run: does a given number of units of work.
    """

    name: str
    dtype: torch.dtype
    run: Callable[[int], object]


def compare(ways: Sequence[Way], unit: str, count: int, bar: float, options: argparse.Namespace) -> None:
    """Print for each way the time of a unit, the first way's time ÷ it, and the limit of the arithmetic.

    Args:
        ways: the ways to compare; the first is the yardstick.
        unit: the name of a unit, such as "crop".
        count: the number of units in a run.
        bar: the target of the ratio.
        options: options of :func:`make_parser`; ``repeats`` and ``device`` are used.
    """
    runs = {way.name: partial(way.run, count) for way in ways}
    timings = alternate(runs, options.repeats, warm_up=options.device != "cpu")
    yardstick = timings[ways[0].name]
    rows = []
    for way in ways:
        timing = timings[way.name]
        sample = min(count, 3) if way is ways[0] else count  # in ours, units have some work in common
        operations = count_operations(partial(way.run, sample)) / sample
        limit = operations / matrix_rate(way.dtype, options.device)
        rows.append(
            [
                way.name,
                f"{timing.wall / count:.3f} ({timing.processor / count:.3f})",
                yardstick.over(timing),
                f"{operations / 1e9:.0f} GFLOP: {limit:.3f} s, {limit * count / timing.wall:.0%}",
            ]
        )
    print_table(["", f"s a {unit} (processor)", f"published ÷ it; bar {bar:g}", f"limit a {unit}"], rows)


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="rounds; the median is reported")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and one round, to check that it runs"
    )
    return parser


def start(title: str, options: argparse.Namespace) -> None:
    """Set the number of threads, and print the title, the machine and its limits."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA GPU here; leave --device out to measure on the CPU.")
    if options.quick:
        options.repeats = 1
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    print(f"## {title}\n\n{describe_machine()}\n\n{describe_limits(options.device)}\n")


def milliseconds(timing: Timing) -> str:
    """Return a timing in milliseconds, by the clock and by processor time."""
    return f"{1e3 * timing.wall:.1f} ms ({1e3 * timing.processor:.1f})"


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(headings) + " |")
    print("|" + " --- |" * len(headings))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
