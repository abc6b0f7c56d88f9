"""The short forms of the torture; ``make torture`` runs the long ones."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")


def torture(script: str, *options: str) -> str:
    command = [sys.executable, str(HERE / script), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def count(table: str, name: str) -> int:
    return next(int(line.rsplit(None, 1)[1]) for line in table.splitlines() if line.strip().startswith(name + " "))


@needs_strace
def test_killed_at_any_system_call_a_run_resumes_without_buying_twice_or_losing_an_image():
    table = torture("kill_points.py", "--sample", "8", "--workers", "1")
    assert count(table, "killed dedicated") + count(table, "killed ignored") >= 6
    assert count(table, "double purchases") == count(table, "lost images") == 0


@needs_strace
def test_killed_in_any_step_from_a_rejected_image_to_a_delivery_the_same_commands_go_on_as_if_nothing_was():
    table = torture("loop_kills.py", "--sample", "4", "--workers", "1")
    assert count(table, "kills") >= 3
    assert count(table, "double purchases") == count(table, "lost images") == 0


@needs_strace
def test_an_error_of_disk_or_network_ends_a_run_cleanly_and_costs_nothing():
    table = torture("io_errors.py", "--sample", "8", "--workers", "1")
    assert count(table, "struck disk") >= 3
    assert count(table, "double purchases") == count(table, "lost images") == 0


@needs_strace
def test_whatever_a_power_cut_takes_a_run_resumes_without_buying_twice_or_losing_an_image():
    table = torture("power_cut.py", "--sample", "8", "--workers", "1")
    assert count(table, "struck with something unsafe") >= 1
    assert count(table, "double purchases") == count(table, "lost images") == 0


def test_without_file_descriptors_or_memory_a_run_ends_and_costs_nothing():
    table = torture("starvation.py", "--runs", "6", "--workers", "1")
    assert count(table, "runs without files") == 2
    assert count(table, "double purchases") == count(table, "lost images") == 0


def test_processes_that_are_killed_and_paused_at_random_share_a_campaign_without_harm():
    table = torture("random_kills.py", "--kills", "12", "--workers", "1")
    assert count(table, "kills") >= 12
    assert count(table, "double purchases") == count(table, "lost images") == 0


def test_twenty_processes_on_one_campaign_buy_exactly_what_is_wanted():
    table = torture("random_kills.py", "--workers", "1", "--twenties", "1")
    assert count(table, "images bought") == count(table, "images archived") == count(table, "images wanted") == 30


def test_two_processes_that_are_killed_share_a_campaign_in_s3_without_harm():
    table = torture("random_kills.py", "--s3", "--kills", "3", "--workers", "1")
    assert count(table, "kills") >= 3
    assert count(table, "double purchases") == count(table, "lost images") == 0
