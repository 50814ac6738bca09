"""What the kernel says of a process."""

import os
import signal
import subprocess
import sys
import time

import pytest

from runtime.vitals import OomWatch, Vitals, start_time


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "3600"])
    yield process
    process.kill()
    process.wait()


def began(pid):
    """Start time of a process that exists."""
    found = start_time(pid)
    assert found is not None
    return found


def cpu_s(vitals):
    return vitals.read().cpu_s


def waited_s(vitals):
    return vitals.read().waited_s


def wait_for(read, state):
    deadline = time.monotonic() + 5
    while read().state != state:
        assert time.monotonic() < deadline, read()
        time.sleep(0.005)


def test_a_sleeping_a_stopped_and_a_dead_process_are_told_apart(sleeper):
    vitals = Vitals(sleeper.pid)
    wait_for(vitals.read, "S")
    sleeper.send_signal(signal.SIGSTOP)
    wait_for(vitals.read, "T")
    sleeper.kill()
    wait_for(vitals.read, "Z")
    sleeper.wait()
    assert vitals.read() is None
    vitals.close()


def test_processor_time_counts_all_threads():
    vitals = Vitals(os.getpid())
    before = cpu_s(vitals)
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert cpu_s(vitals) - before >= 0.05
    vitals.close()


def test_two_who_share_a_processor_wait_for_it_in_turn():
    processor = min(os.sched_getaffinity(0))
    spin = f"import os; os.sched_setaffinity(0, {{{processor}}})\nwhile True: pass"
    pair = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(2)]
    vitals = [Vitals(each.pid) for each in pair]
    deadline = time.monotonic() + 20
    while min(map(waited_s, vitals)) < 0.1:
        assert time.monotonic() < deadline
    for each, process in zip(vitals, pair, strict=True):
        each.close()
        process.kill()
        process.wait()


def test_a_name_full_of_parentheses_does_not_confuse():
    name = "open('/proc/self/comm', 'w').write(') R (1 2')"
    code = f"import time; {name}; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        vitals = Vitals(process.pid)
        wait_for(vitals.read, "S")
        assert began(process.pid) > 0
        vitals.close()
        process.kill()


def test_pid_and_start_time_name_a_process(sleeper):
    assert began(sleeper.pid) >= began(os.getpid())
    assert began(sleeper.pid) == began(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert start_time(sleeper.pid) is None


def test_nobody_was_killed_for_memory_between_two_looks():
    watch = OomWatch()
    watch.look()
    assert watch.look() == 0
    watch.close()
