#!/usr/bin/env bash
# Prepares a Python environment once, then runs the companion; options: ./run_all.sh --help
set -euo pipefail
# Ignore the user's shell settings: MPLBACKEND=Agg drops inline figures, PYTHONPATH and PYTHONHOME
# shadow our packages, PYTHONDONTWRITEBYTECODE recompiles every import in every kernel.
unset MPLBACKEND PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
venv=$here/.venv
stamp=$venv/lavae-stamp
made=$venv/lavae-made # marks a .venv that this script made; no other is ever removed
log=$here/.lavae/setup.log
probe=$here/lavae_companion/runner/environment.py

fail() {
  echo "error: $*" >&2
  exit 1
}

# ready PREFIX [STAMP]: whether the environment in PREFIX can run the companion of this checkout.
ready() {
  [ -x "$1/bin/python" ] &&
    "$1/bin/python" -P "$probe" "${@:2}" 2>/dev/null
}

# Sets python. Each candidate is run, because one on the PATH may not start (pyenv's shims).
find_python() {
  for python in python3 python3.13 python3.12 python3.11; do
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
      2>/dev/null && return
  done
  fail "found no Python 3.11 to 3.13; on Debian and Ubuntu: apt-get install python3 python3-venv"
}

ours() { [ -e "$made" ] || [ -e "$stamp" ]; }

make_venv() {
  find_python
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "this Python has no venv; on Debian and Ubuntu: apt-get install python3 python3-venv"
  [ ! -e "$venv" ] || ours ||
    fail "the .venv here was not made by run_all.sh; move it away, or install into it and activate it"
  rm -rf "$venv"
  mkdir -p "$venv" && touch "$made"
  "$python" -m venv "$venv" >"$log" 2>&1 || fail "cannot make .venv; see ${log#"$PWD"/}"
}

install() {
  echo "installing the packages into .venv, once (on Linux some GB, most of it torch) ..." >&2
  rm -f "$stamp" # the next call then starts again if this one is killed
  # Without compiling: it saves a minute, and most of torch is never imported.
  (cd "$here" && "$venv/bin/python" -m pip install --no-compile --disable-pip-version-check \
    --progress-bar off -c requirements.lock -e '.[test]' 2>&1) | tee "$log" >&2 ||
    fail "pip could not install the packages; see ${log#"$PWD"/}"
  ready "$venv" || fail "the new .venv does not work; see ${log#"$PWD"/}"
  "$venv/bin/python" -P "$probe" --stamp "$stamp"
}

# Sets environment: the active one if it has this checkout's packages, else .venv.
find_environment() {
  for environment in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
    if [ "$environment" = "$venv" ] && ours; then continue; fi
    if ready "$environment"; then return; fi
  done
  environment=$venv
  if ready "$venv" "$stamp"; then return; fi
  mkdir -p "$(dirname "$log")" 2>/dev/null || fail "cannot write to the folder $here"
  # A .venv that works is updated after a change of the lock; any other is made from scratch.
  { [ -f "$stamp" ] && ready "$venv"; } || make_venv
  install
}

find_environment
exec "$environment/bin/python" -P -m lavae_companion.runner "$@"
