"""The peers' own environment, `.venv-bench`: built when missing, one library after the other.

They are not development dependencies: they are large, and nothing of ours imports them.  What
cannot be installed here (no network, no wheel) is named and left out; the bench goes on.
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-bench"
PYTHON = FOLDER / "bin" / "python"

#: contestant → what pip installs for it
REQUIREMENTS = {
    "pykka": "pykka==4.5.0",
    "thespian": "thespian==4.0.1",
    "xoscar": "xoscar==0.12.2",
    "ray": "ray==2.60.0",
}
INSTALL_S = 600


def build() -> dict[str, str]:
    """Make sure of it; contestants that are missing, each with the reason in one line."""
    if not PYTHON.exists():
        try:
            venv.create(FOLDER, with_pip=True, symlinks=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return dict.fromkeys(REQUIREMENTS, f"no environment: {error}")
    missing = {}
    for name, requirement in REQUIREMENTS.items():
        if not _present(name):
            reason = _install(requirement)
            if reason:
                missing[name] = reason
    return missing


def _present(name: str) -> bool:
    # by metadata: importing Ray takes seconds
    look = f"import importlib.metadata as m; m.version({name!r})"
    return not subprocess.run([PYTHON, "-c", look], capture_output=True, check=False).returncode


def _install(requirement: str) -> str:
    print(f"installing {requirement} into {FOLDER.name}", file=sys.stderr)
    try:
        done = subprocess.run(
            [PYTHON, "-m", "pip", "install", "--quiet", requirement],
            capture_output=True,
            text=True,
            check=False,
            timeout=INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        return f"pip took longer than {INSTALL_S} s"
    if not done.returncode:
        return ""
    return done.stderr.strip().rpartition("\n")[2] or f"pip ended with {done.returncode}"
