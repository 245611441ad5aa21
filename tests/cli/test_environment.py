"""How threads wait and how many there are: set before torch is imported, unless the user did."""

import json
import os
import subprocess
import sys

import pytest

from medscore.cli import environment


def test_threads_wait_busily_for_a_short_time() -> None:
    assert environment.settings({}, None) == {"GOMP_SPINCOUNT": "2000"}


@pytest.mark.parametrize("name", environment.OWN)
def test_waiting_that_the_user_chose_stays(name: str) -> None:
    assert environment.settings({name: "0"}, None) == {}


def test_the_number_of_threads_is_set_only_where_it_is_limited() -> None:
    assert "OMP_NUM_THREADS" not in environment.settings({}, None)
    assert environment.settings({}, 2)["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in environment.settings({"OMP_NUM_THREADS": "5"}, 2)


@pytest.mark.parametrize(
    ("limit", "cpus", "physical", "threads"),
    [(8.0, 8, 8, None), (float("inf"), 8, 4, None), (2.0, 64, 32, 2), (2.9, 64, 32, 2),
     (0.5, 64, 32, 1), (40.0, 64, 32, 32)],
)  # fmt: skip
def test_threads_fit_the_control_group_and_the_cores(
    monkeypatch: pytest.MonkeyPatch, limit: float, cpus: int, physical: int, threads: int | None
) -> None:
    monkeypatch.setattr(environment, "cpu_limit", lambda: limit)
    monkeypatch.setattr(environment, "allowed_cpus", lambda: tuple(range(cpus)))
    monkeypatch.setattr(environment, "physical_cores", lambda: physical)
    assert environment._threads() == threads


def test_each_setting_has_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "chosen", {"GOMP_SPINCOUNT": "2000"})
    found = environment.described({"GOMP_SPINCOUNT": "2000", "OMP_NUM_THREADS": "3"})
    assert found["GOMP_SPINCOUNT"] == ("2000", "medscore")
    assert found["OMP_NUM_THREADS"] == ("3", "user")
    assert found["OMP_WAIT_POLICY"] == (None, "default")


CODE = """
import json, os, subprocess, sys
import medscore, medscore.cli
before = os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules
sys.argv = ["medscore", "--version"]
try:
    medscore.cli.main()
except SystemExit:
    pass
child = 'import os; print(os.environ.get("GOMP_SPINCOUNT"))'
inherited = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout
print(json.dumps([before, os.environ.get("GOMP_SPINCOUNT"), inherited.strip()]))
"""


@pytest.mark.process
@pytest.mark.parametrize("user", [None, "123"])
def test_the_command_line_sets_it_and_the_library_does_not(
    monkeypatch: pytest.MonkeyPatch, user: str | None
) -> None:
    for name in environment.OWN:
        monkeypatch.delenv(name, raising=False)
    if user is not None:
        monkeypatch.setenv("GOMP_SPINCOUNT", user)
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, after, inherited = json.loads(done.stdout.splitlines()[-1])
    assert before == [user, False]
    assert after == inherited == (user or "2000")


def test_nothing_is_set_when_torch_is_loaded_already(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.OWN:
        monkeypatch.delenv(name, raising=False)
    environment.prepare()
    assert "GOMP_SPINCOUNT" not in os.environ
