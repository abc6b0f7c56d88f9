import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adloom.core.process import Process
from adloom.edges import processes
from adloom.edges.processes import is_gone, this_process


def _process_of(pid: int) -> Process:
    return replace(this_process(), pid=pid, started=processes._started(pid))


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_this_process_lives():
    assert not is_gone(this_process())
    assert this_process() == this_process()
    assert this_process().pid == os.getpid()


def test_another_process_of_this_machine_lives_until_it_ends(child: subprocess.Popen[bytes]):
    process = _process_of(child.pid)
    assert not is_gone(process)
    child.kill()
    child.wait()
    assert is_gone(process)


def test_a_process_that_ended_but_was_not_waited_for_is_dead(child: subprocess.Popen[bytes]):
    process = _process_of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(process)


def test_a_number_that_was_given_to_another_process_does_not_pass_for_it(child: subprocess.Popen[bytes]):
    assert is_gone(replace(_process_of(child.pid), started="1"))


def test_without_a_start_time_a_number_that_is_in_use_proves_nothing(child: subprocess.Popen[bytes]):
    assert not is_gone(replace(_process_of(child.pid), started=""))


@pytest.mark.parametrize("host", ["", "elsewhere", "elsewhere/boot/pid:[1]"])
def test_of_another_machine_nothing_can_be_said(host: str):
    assert not is_gone(Process(host, 2**22 + 1, "1"))
    assert is_gone(replace(this_process(), pid=2**22 + 1))


def test_a_machine_is_told_by_its_boot_and_by_its_container():
    name, boot, namespace = this_process().host.split("/", 2)
    assert name
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert namespace.startswith("pid:[")


def test_a_process_with_a_misleading_name_is_told_rightly(tmp_path: Path):
    shutil.copy(shutil.which("sleep") or "/bin/sleep", tmp_path / "x) Z 1 2 (")
    with subprocess.Popen([tmp_path / "x) Z 1 2 (", "60"]) as process:
        assert not is_gone(_process_of(process.pid))
        assert processes._started(process.pid).isdigit()
        process.kill()


def test_a_process_of_another_user_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    def forbidden(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert not is_gone(replace(this_process(), started="1"))
