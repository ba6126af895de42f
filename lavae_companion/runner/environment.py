"""The environment that everything runs in: what of the user's surroundings may pass, and whether a
Python is ready to run the companion. run_all.sh runs this file with each candidate:

    python -I environment.py --ready [STAMP]     exit 0 if ready (and STAMP is of today's lock)
    python -I environment.py --stamp STAMP       write STAMP
    python -I environment.py --lock 9            wait for the lock of the file descriptor 9
    python -I environment.py --pip ARGUMENTS     pip, of whose settings only those of the index pass

It must run where nothing is installed, so it imports only the standard library.
"""

import ast
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("lavae_core", "lavae_companion")
NEEDED = ("torch", "papermill", "ipykernel", "nbconvert", "matplotlib", "pooch", "tabulate")

# What of pip's settings says where packages come from. Where they are put is not the user's choice.
PIP = (
    "index-url", "extra-index-url", "no-index", "find-links", "trusted-host", "cert", "client-cert",
    "proxy", "timeout", "default-timeout", "retries", "resume-retries", "keyring-provider",
    "use-feature", "use-deprecated", "cache-dir", "no-cache-dir",
)  # fmt: skip
# All else changes results, or might: PYTHONPATH and JUPYTER_PATH bring other code, MPLBACKEND loses
# pictures, OMP_THREAD_LIMIT stops a training for ever, ATEN_CPU_CAPABILITY gives other bits.
PASS = re.compile(
    r"PATH|LD_LIBRARY_PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|TMP"
    r"|TERM|COLUMNS|LINES|XDG_\w+|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|NIX_SSL_CERT_FILE|(?i:https?|ftp|all|no)_(?i:proxy)|NETRC|PIP_CONFIG_FILE"
    rf"|PIP_({'|'.join(PIP).upper().replace('-', '_')})"
    r"|CUDA_VISIBLE_DEVICES|CUDA_DEVICE_ORDER|OMP_WAIT_POLICY|GOMP_SPINCOUNT|LAVAE_\w+|DASK_\w+"
)
OWN = {"PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1", "MATPLOTLIBRC": os.devnull}


def scrubbed(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of a user's environment variables that may pass, and our own."""
    return {name: value for name, value in variables.items() if PASS.fullmatch(name)} | OWN


def start_scrubbed() -> None:
    """Start this program again in the scrubbed environment, before it loads any library."""
    if "lavae" not in sys._xoptions:  # a sitecustomize may set variables at every start
        command = [sys.executable, "-X", "lavae", "-s", "-P", "-m", "lavae_companion.runner"]
        os.execve(sys.executable, command + sys.argv[1:], scrubbed(os.environ))


def pip(arguments: list[str]) -> None:
    """Become pip. What its configuration files say about the index comes in variables instead."""
    variables, command = scrubbed(os.environ), [sys.executable, "-I", "-m", "pip"]
    listing = variables | {"PIP_USER": "0"}  # `user = true` would list the user's own file alone
    asked = subprocess.run(
        [*command, "config", "list"], env=listing, capture_output=True, text=True
    )
    for section in ("global", "install"):  # the latter is the narrower one
        for name, value in re.findall(rf"^{section}\.([\w-]+)=(.*)$", asked.stdout, re.MULTILINE):
            if name in PIP:
                variable = f"PIP_{name.upper().replace('-', '_')}"
                value = " ".join(str(ast.literal_eval(value)).split())
                variables[variable] = os.environ.get(variable, value)
    variables["PIP_CONFIG_FILE"] = os.devnull  # then pip reads none
    os.execve(sys.executable, command + arguments, variables)


def stamp() -> str:
    """Hash of the two files that determine what is installed."""
    content = b"".join((CHECKOUT / n).read_bytes() for n in ("requirements.lock", "pyproject.toml"))
    return hashlib.sha256(content).hexdigest()


def ready() -> bool:
    """Whether both packages are this checkout's and what they need can be found (not imported)."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        # A copy in a .venv lies in the checkout as well.
        if not (spec and spec.origin and Path(spec.origin).resolve().parents[1] == CHECKOUT):
            return False
    return all(importlib.util.find_spec(name) for name in NEEDED)


def unlike_the_lock() -> str:
    """The installed versions that differ from requirements.lock, in words; "" if none does."""
    lines = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    different = []
    for name, locked in (line.split("==") for line in lines if "==" in line and line[0] != "#"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found = importlib.metadata.version(name)
            if found.partition("+")[0] != locked.partition("+")[0]:  # +cpu is a build of torch
                different.append(f"{name} {found} (lock: {locked})")
    return ", ".join(different)


def lock(descriptor: int) -> None:
    """Wait for the lock of a file that the shell has open, and keeps until it closes it."""
    sys.path.insert(0, str(CHECKOUT))
    from lavae_companion import locks

    with os.fdopen(descriptor, "a+") as file:
        locks.wait_until(lambda: locks.taken(file), lambda: locks.holder(file))
        locks.sign(file, os.getppid(), "installs the packages")


def main(arguments: list[str]) -> int:
    action, *rest = arguments
    if action == "--ready":
        stamps = [Path(name) for name in rest]
        current = all(s.is_file() and s.read_text() == stamp() for s in stamps)
        return 0 if current and ready() else 1
    if action == "--stamp":
        Path(rest[0]).write_text(stamp())
    if action == "--lock":
        lock(int(rest[0]))
    if action == "--pip":
        pip(rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
