"""`python -m bench NAME [--json FILE]`: one bench; without a name, the list of them."""

import argparse
import importlib
import inspect
import json
import sys
from pathlib import Path

BENCHES = ("index", "models", "pipeline", "recall", "runtime", "search", "sketch", "start")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="?", help="which bench; without it, the list")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--seed", type=int, help="repeat a run exactly")
    parser.add_argument("--n", type=int, help="how many pictures, or asks a round")
    parser.add_argument("--seconds", type=float, help="how long runtime's workers are killed")
    options = parser.parse_args()
    if options.name is None:
        for name in BENCHES:
            story = importlib.import_module(f"bench.{name}").__doc__ or ""
            print(story.partition("\n")[0])
        return 0
    if options.name not in BENCHES:
        parser.error(f"no bench is called {options.name}; there are: {', '.join(BENCHES)}")
    bench = importlib.import_module(f"bench.{options.name}").main
    taken = inspect.signature(bench).parameters
    given = {key: getattr(options, key) for key in ("seed", "n", "seconds")}
    given = {key: value for key, value in given.items() if value is not None}
    for key in given:
        if key not in taken:
            parser.error(f"{options.name} takes no --{key}")
    figures = bench(**given)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
