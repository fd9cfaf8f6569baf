# shellcheck shell=bash
# Messages, one run at a time, root, versions. Used by ci/setup only.

say() { printf '%s\n' "$*"; }

# fail STATUS LINE...: each line on its own, then the end.
fail() {
  local status=$1 line
  shift
  for line in "$@"; do printf 'ci/setup: %s\n' "$line" >&2; done
  exit "$status"
}

# Two runs at once (make -j, two terminals) would install over each other.
take_turn() {
  { mkdir -p build && : >>build/.setup-lock; } 2>/dev/null ||
    fail 3 "can't write to $PWD/build: run this as the owner of the checkout, or make it writable for you"
  exec 9>build/.setup-lock
  flock --nonblock 9 || { say 'setup: another run is at work, waiting for it'; flock 9; }
}

# quietly WHAT COMMAND...: says what it does; shows the output only if the command fails.
quietly() {
  local what=$1 status=0
  shift
  say "$what ..."
  "$@" >"$SCRATCH/output" 2>&1 </dev/null 9>&- || status=$?
  [[ $status -eq 0 ]] && return
  tail -n 40 "$SCRATCH/output" >&2
  fail 1 "failed (exit status $status): $*"
}

can_be_root() {
  [[ $EUID -eq 0 ]] && return
  command -v sudo >/dev/null || return 1
  # Without a terminal sudo can't ask for the password.
  sudo -n true 2>/dev/null || { [[ -t 2 ]] && sudo -v; }
}

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# put_file PATH: writes standard input there, readable by all; replaced in one step.
put_file() {
  local path=$1
  cat >"$SCRATCH/file"
  cmp --silent "$SCRATCH/file" "$path" && return
  say "write $path"
  as_root install -D --mode=644 "$SCRATCH/file" "$path.new"
  as_root mv "$path.new" "$path"
}

# at_least VERSION WANTED, by their leading numbers: 28.5.2+dfsg4 counts as 28.5.2.
at_least() {
  local have=${1#v}
  have=${have%%[!0-9.]*}
  [[ $have && $(printf '%s\n%s\n' "$2" "$have" | sort --version-sort | head -n 1) == "$2" ]]
}
