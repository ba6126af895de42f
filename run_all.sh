#!/bin/sh
# Prepares a Python environment once, then runs the companion; options: ./run_all.sh --help
# The next line starts it again in bash, without CRLF line ends, and without the functions, options and
# start file of the user's own bash (-p).
case $- in *c*) ;; *) exec bash -pc "$(command tr -d '\r' <"$0")" "$0" "$@" ;; esac #
set -euo pipefail

file=$0
while [ -L "$file" ]; do # a symbolic link: the folder is that of the script itself
  link=$(readlink -- "$file")
  case $link in /*) file=$link ;; *) file=$(dirname -- "$file")/$link ;; esac
done
here=$(CDPATH='' cd -- "$(dirname -- "$file")" && pwd)
venv=$here/.venv
stamp=$venv/lavae-stamp
made=$venv/lavae-made # marks a .venv that this script made; no other is ever removed
log=$here/.lavae/setup.log
probe=$here/lavae_companion/runner/environment.py # it also scrubs the environment of the user

fail() {
  echo "error: $*" >&2
  exit 1
}

# ready PREFIX [STAMP]: whether the environment in PREFIX can run the companion of this checkout.
ready() {
  [ -x "$1/bin/python" ] &&
    "$1/bin/python" -I "$probe" --ready "${@:2}" 2>/dev/null
}

# find_python [MORE]: sets python. Each is run, because one on the PATH may not start (pyenv's shims).
find_python() {
  local found=''
  for python in python3 python3.13 python3.12 python3.11 "$@"; do
    "$python" -I -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
      2>/dev/null && return
    found=${found:-$("$python" -I -c 'import sys; print(*sys.version_info[:3], sep=".")' 2>/dev/null || :)}
  done
  [ "$found" ] ||
    fail "found no Python 3.11 to 3.13; on Debian and Ubuntu: apt-get install python3 python3-venv"
  fail "found Python $found, but this needs 3.11 to 3.13; install one beside it (as python3.12)," \
    "or with conda: conda env create -f environment.yml && conda activate lavae && ./run_all.sh"
}

ours() { [ -e "$made" ] || [ -e "$stamp" ]; }

make_venv() {
  find_python
  "$python" -I -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no venv; on Debian and Ubuntu: apt-get install $python-venv"
  [ ! -e "$venv" ] || ours ||
    fail "the .venv here was not made by run_all.sh; move it away, or install into it and activate it"
  rm -rf "$venv"
  mkdir -p "$venv" && touch "$made"
  "$python" -I -m venv "$venv" >"$log" 2>&1 || fail "cannot make .venv; see ${log#"$PWD"/}"
}

install() {
  echo "installing the packages into .venv, once (on Linux 6 GB, 4 GB of it for NVIDIA GPUs:" \
    "an index of PyTorch's CPU wheels in PIP_EXTRA_INDEX_URL saves these) ..." >&2
  rm -f "$stamp" # the next call then starts again if this one is killed
  # Without compiling: it saves a minute, and most of torch is never imported.
  (cd "$here" && "$venv/bin/python" -I "$probe" --pip install --no-compile \
    --disable-pip-version-check --progress-bar off -c requirements.lock -e '.[test]' 2>&1) |
    tee "$log" | sed '/^Requirement already satisfied/d' >&2 || fail "pip could not install the packages; see ${log#"$PWD"/}"
  ready "$venv" || fail "the new .venv does not work; see ${log#"$PWD"/}"
  "$venv/bin/python" -I "$probe" --stamp "$stamp"
}

# Sets environment: the active one if it has this checkout's packages, else .venv.
find_environment() {
  for environment in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
    if [ "$environment" = "$venv" ] && ours; then continue; fi
    if ready "$environment"; then return; fi
  done
  environment=$venv
  if ready "$venv" "$stamp"; then return; fi
  { mkdir -p "$(dirname "$log")" && exec 9<>"${log%.log}.lock"; } 2>/dev/null ||
    fail "cannot write to the folder $here"
  find_python "$venv/bin/python"
  "$python" -I "$probe" --lock 9
  if ready "$venv" "$stamp"; then return; fi # another call made it meanwhile
  # A .venv that works is updated after a change of the lock; any other is made from scratch.
  { [ -f "$stamp" ] && ready "$venv"; } || make_venv
  install
}

find_environment
exec 9>&-
exec "$environment/bin/python" -I -m lavae_companion.runner "$@"
