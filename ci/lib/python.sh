# shellcheck shell=bash
# The Python environment: .venv, complete when .venv/.ready exists and names today's inputs.

setup_python() {
  local stamp=.venv/.ready inputs python
  inputs=$(digest_inputs)
  if [[ $(cat "$stamp" 2>/dev/null) == "$inputs" ]] && .venv/bin/python -c '' 2>/dev/null; then
    # make compares times, and a fresh checkout of the same files is newer.
    touch "$stamp"
  else
    # A .venv without a stamp was left half done. One with a stamp only needs the difference.
    if ! [[ -e $stamp ]] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
      python=$(find_python) || install_python
      python=${python:-$(find_python)} || fail 3 "$wanted_python"
      quietly 'python: make .venv' "$python" -m venv --clear .venv
    fi
    rm -f "$stamp"
    quietly 'python: install ci/requirements.txt' .venv/bin/python -m pip install \
      --disable-pip-version-check --require-hashes --requirement ci/requirements.txt
    quietly 'python: install imagefactory' .venv/bin/python -m pip install \
      --disable-pip-version-check --no-deps --no-build-isolation --editable .
    printf '%s\n' "$inputs" >"$stamp.new"
    mv "$stamp.new" "$stamp"
  fi
  say "python: .venv with $(.venv/bin/python --version): fine"
}

# The folder counts too: a .venv doesn't survive being moved.
digest_inputs() {
  { printf '%s\n' "$ROOT" && cat pyproject.toml ci/requirements.txt ci/setup ci/lib/python.sh; } |
    sha256sum | cut -d ' ' -f 1
}

wanted_python='install Python 3.11 or newer with its venv module (python3 and python3-venv on Debian and Ubuntu)'

find_python() {
  local python
  for python in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    # Debian's python3 alone has no ensurepip, and then venv fails half way.
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$python"
      return
    fi
  done
  return 1
}

install_python() {
  if ! command -v apt-get >/dev/null || ! can_be_root; then fail 3 "$wanted_python"; fi
  refresh_apt
  at_least "$(candidate python3)" 3.11 || fail 3 "$wanted_python"
  apt_install python3 python3-venv
}
