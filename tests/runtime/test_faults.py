"""Named points at which a process fails when told to."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import SpecInvalid
from runtime.faults import ACTS, Injected, Plan, fault, order, strike

ROOT = Path(__file__).resolve().parents[2]
PASS = "from runtime.faults import fault\nfor n in range(5): fault('a.point'); print(n, flush=True)"


def run(**environment):
    return subprocess.run(
        [sys.executable, "-c", PASS],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_point_that_is_not_armed_does_nothing():
    fault("a.point")
    assert run().stdout.split() == list("01234")
    assert run(RUNTIME_FAULTS="another.point=kill").stdout.split() == list("01234")


def test_an_armed_point_strikes_when_it_is_passed_for_the_nth_time():
    done = run(RUNTIME_FAULTS="a.point=kill@3")
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["0", "1"])


def test_an_act_may_have_an_argument():
    assert run(RUNTIME_FAULTS="a.point=exit:70").returncode == 70


def test_once_means_once_over_all_incarnations(tmp_path):
    told = {"RUNTIME_FAULTS": "a.point=exit:3", "RUNTIME_FAULTS_ONCE": str(tmp_path)}
    assert [run(**told).returncode for _ in range(2)] == [3, 0]


def test_an_order_is_for_one_process_and_one_point_and_is_carried_out_once(tmp_path):
    plan = Plan("", orders=tmp_path)
    placed = order(tmp_path, os.getpid(), "a.point", "sleep:0.5")
    order(tmp_path, os.getpid() + 1, "a.point", "kill")
    assert [plan.due(each) for each in ("a", "a.point", "a.point")] == ["", "sleep:0.5", ""]
    assert not placed.exists()


def test_an_order_that_was_taken_back_does_nothing(tmp_path):
    order(tmp_path, os.getpid(), "a.point", "kill").unlink()
    assert not Plan("", orders=tmp_path).due("a.point")


def test_orders_are_taken_only_where_the_environment_opens_the_door(tmp_path):
    order(tmp_path, os.getpid(), "a.point", "kill")
    fault("a.point")
    script = (
        "import os, pathlib; from runtime.faults import fault, order\n"
        f"order(pathlib.Path({str(tmp_path)!r}), os.getpid(), 'a.point', 'exit:9')\n"
        "fault('a.point')"
    )
    for environment, code in (({}, 0), ({"RUNTIME_FAULTS_ORDERS": str(tmp_path)}, 9)):
        told = os.environ | environment
        done = subprocess.run([sys.executable, "-c", script], env=told, cwd=ROOT, check=False)
        assert done.returncode == code


def test_chances_are_repeatable():
    def struck(seed):
        plan = Plan("a=kill%0.3", seed)
        return [bool(plan.due("a")) for _ in range(200)]

    assert struck(1) == struck(1) != struck(2)
    assert 30 < sum(struck(1)) < 90


@pytest.mark.parametrize("text", ["a", "a=", "a=dance", "a=kill@x", "a=kill%", "=kill"])
def test_a_plan_that_is_none_is_refused(text):
    with pytest.raises(SpecInvalid):
        Plan(text)


def test_several_points_are_armed_at_once():
    plan = Plan("a=kill@2 b.c-d=sleep:0.5")
    assert [plan.due("a"), plan.due("b.c-d"), plan.due("a"), plan.due("a")] == [
        "",
        "sleep:0.5",
        "kill",
        "",
    ]


def test_raise_raises_what_nobody_plans_for():
    with pytest.raises(Injected):
        strike("raise")


def test_an_unknown_act_is_refused_with_those_there_are():
    with pytest.raises(SpecInvalid, match="spin-gil"):
        strike("dance")


@pytest.mark.parametrize("act", ["sleep", "gil", "spin", "deadlock"])
def test_acts_of_limited_length_end(act):
    strike(f"{act}:0.05")
    assert act in ACTS
