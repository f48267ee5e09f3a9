import contextvars
import os
import subprocess
import sys
import threading

import pytest

from ovseg_demo.runtime.threads import respect_quota, run_below, sleep_while_waiting
from tests.paths import ROOT


def threads(folder, given=()):
    environment = dict(given)
    respect_quota(environment, folder)
    return environment.get("OMP_NUM_THREADS")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("200000 100000\n", "2"),
        ("150000 100000\n", "1"),
        ("50000 100000\n", "1"),
        ("6400000 100000\n", "64"),
        ("max 100000\n", None),
        ("", None),
    ],
)
def test_a_quota_of_version_2_sets_the_threads(tmp_path, content, expected):
    (tmp_path / "cpu.max").write_text(content)
    assert threads(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("400000\n", "4"), ("-1\n", None)])
def test_a_quota_of_version_1_does_too(tmp_path, quota, expected):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert threads(tmp_path) == expected


def test_without_a_quota_torch_decides(tmp_path):
    assert threads(tmp_path) is None


def test_what_the_user_set_stays(tmp_path):
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    assert threads(tmp_path, {"OMP_NUM_THREADS": "7"}) == "7"


@pytest.mark.parametrize("given", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "10"}, {}])
def test_threads_sleep_while_they_wait_unless_the_user_said_otherwise(given):
    environment = dict(given)
    sleep_while_waiting(environment)
    assert environment == (given or {"OMP_WAIT_POLICY": "PASSIVE"})


def test_the_page_starts_with_threads_that_sleep():
    program = """
import sys, types
from tests.paths import ROOT
stand_in = types.ModuleType("ovseg_demo.ui.application")
def run(arguments, environment, prog):
    print(environment["OMP_WAIT_POLICY"], "torch" in sys.modules)
stand_in.run = run
sys.modules[stand_in.__name__] = stand_in
import app
app.main()
"""
    environment = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["PASSIVE", "False"], done.stderr


def test_the_command_line_leaves_torch_unimported_until_the_quota_is_known():
    program = "import sys, ovseg_demo.runtime.threads, ovseg_demo.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_long_work_yields_to_others_and_leaves_its_caller_alone():
    before = niceness()
    assert run_below(niceness) == min(19, before + 10)
    assert niceness() == before


def test_work_below_returns_its_result_and_raises_its_error():
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(3)
    assert run_below(lambda: (variable.get(), threading.current_thread().daemon)) == (3, True)
    with pytest.raises(ZeroDivisionError):
        run_below(lambda: 1 // 0)
