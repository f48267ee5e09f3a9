"""What a process keeps of its freed memory, in a process of its own: the settings are for good."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
from pathlib import Path
from ovseg_demo.runtime.allocator import keep_freed_memory

MEGABYTES, THREADS = 48, 8

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages // 256

if not keep_freed_memory():
    sys.exit(77)
barrier, turn = threading.Barrier(THREADS), threading.Lock()

def work():
    held = [bytes(100) for _ in range(1000)]  # now the thread has its arena
    barrier.wait()
    with turn:  # one thread at a time
        blocks = [b"x" * 2**20 for _ in range(MEGABYTES)]
        del blocks

before = resident()
threads = [threading.Thread(target=work) for _ in range(THREADS)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(resident() - before)
"""


def test_threads_share_what_is_kept():
    """Eight threads that use 48 MB one after the other leave what two arenas keep, not what eight would."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("this C library has no such settings")
    assert done.returncode == 0, done.stderr
    assert 40 < int(done.stdout) < 3 * 48
