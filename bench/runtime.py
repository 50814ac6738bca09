"""runtime: asks, pipelined asks and one-way messages beside the peers, and what a kill costs.

Every contestant is a program of its own (`bench/peers`), started anew each round; rounds are
interleaved, so that a slow minute of the machine hits all of them.  Figures are medians of
the rounds.  Ratios are taken within a round, and the median of those is reported.

The fault run comes last, once a contestant: eight submitters, and every second the process
that answered last is killed.
"""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from typing import Any

from bench.peers import environment

ROUNDS = 5
FAULT_S = 30.0
#: asks a round and contestant; pipelined and one-way take a multiple of it
CALLS = 2000
MODES = ("ask", "pipelined", "oneway")

#: in the order in which they are shown
CONTESTANTS = ("obscura", "pyzmq", "pipe", "pool", "xoscar", "ray", "thespian", "pykka")


def run(name: str, *what: object, timeout: float = 180.0) -> dict[str, Any]:
    """One contestant's figures, or {"failed": reason}.

    Whatever it started dies with it: it leads a session of its own.
    """
    python = environment.PYTHON if name in environment.REQUIREMENTS else sys.executable
    process = subprocess.Popen(
        [python, "-m", f"bench.peers.{name}", *map(str, what)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=environment.ROOT,
        env=os.environ | {"PYTHONPATH": str(environment.ROOT)},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {timeout:g} s"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with contextlib.suppress(ValueError):
        figures: dict[str, Any] = json.loads(output.strip().rpartition("\n")[2])
        return figures
    return {"failed": errors.strip().rpartition("\n")[2] or f"exit {process.returncode}"}


def median_of(rounds: list[dict[str, Any]], mode: str) -> dict[str, float]:
    """Key by key, over the rounds that have *mode*."""
    found = [each[mode] for each in rounds if mode in each]
    keys = found[0] if found else {}
    return {key: round(statistics.median(each[key] for each in found), 1) for key in keys}


def ratio(rounds: dict[str, list[dict[str, Any]]], mode: str, to: str) -> float | None:
    """Ours over theirs, round by round; None where the other one could not run."""
    pairs = zip(rounds["obscura"], rounds.get(to, []), strict=False)
    ratios = [
        ours[mode]["per_s"] / theirs[mode]["per_s"]
        for ours, theirs in pairs
        if mode in ours and mode in theirs
    ]
    return round(statistics.median(ratios), 2) if ratios else None


def show(results: dict[str, dict[str, Any]], faults: dict[str, dict[str, Any]]) -> None:
    """The table, on stderr: stdout belongs to the JSON."""
    head = "".join(f"{mode:>10}{'p50':>9}{'p99':>9}" for mode in MODES)
    print(f"\n{'':10}{head}   (per s, µs)", file=sys.stderr)
    for name, modes in results.items():
        cells = []
        for mode in MODES:
            cell = modes.get(mode, {})
            cells += [cell.get(key, "–") for key in ("per_s", "p50_us", "p99_us")]
        row = "".join(f"{cell:>{10 - (each % 3 > 0)}}" for each, cell in enumerate(cells))
        note = modes.get("failed") or ("in process" if modes.get("in_process") else "")
        print(f"{name:10}{row}   {note}", file=sys.stderr)
    words = ("kills", "lost", "duplicated", "stuck", "rerun", "answered", "recovery_p50_ms")
    print("\nfaults    " + "".join(f"{word:>17}" for word in words), file=sys.stderr)
    for name, figures in faults.items():
        row = "".join(f"{figures.get(word, '–'):>17}" for word in words)
        note = figures.get("failed") or figures.get("cannot") or ""
        if figures.get("gave_up"):
            note = "no recovery: ended with the first kill"
        print(f"{name:10}{row}   {note}", file=sys.stderr)


def main(*, n: int = CALLS, rounds: int = ROUNDS, seconds: float = FAULT_S) -> dict[str, Any]:
    """All contestants; *n* asks a round, *seconds* of kills.  `seconds=0` leaves them out."""
    missing = environment.build()
    names = [name for name in CONTESTANTS if name not in missing]
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            print(f"round {number + 1}/{rounds}: {name}", file=sys.stderr)
            taken[name].append(run(name, "measure", "--calls", n))
    results: dict[str, dict[str, Any]] = {}
    for name, figures in taken.items():
        results[name] = {mode: found for mode in MODES if (found := median_of(figures, mode))}
        results[name] |= {
            key: each[key] for each in figures for key in ("failed", "in_process") if key in each
        }
    faults = {}
    for name in names if seconds else []:
        print(f"fault: {name}", file=sys.stderr)
        faults[name] = run(name, "fault", "--seconds", seconds, timeout=seconds + 120)
    show(results, faults)
    ours = faults.get("obscura", {})
    return {
        "ask_vs_xoscar": ratio(taken, "ask", "xoscar"),
        "ask_vs_ray": ratio(taken, "ask", "ray"),
        "pipelined_vs_xoscar": ratio(taken, "pipelined", "xoscar"),
        "pipelined_vs_ray": ratio(taken, "pipelined", "ray"),
        "oneway_vs_pyzmq": ratio(taken, "oneway", "pyzmq"),
        "fault_lost": ours.get("lost"),
        "fault_duplicated": ours.get("duplicated"),
        "fault_stuck": ours.get("stuck"),
        "recovery_overhead_ms": ours.get("overhead_p50_ms"),
        "rounds": rounds,
        "contestants": results,
        "faults": faults,
        "missing": missing,
    }
