# shellcheck shell=bash
# The engines: a Docker daemon with BuildKit and the containerd image store, buildx, mmdebstrap, bubblewrap; Apptainer. Ubuntu's keys.

setup_engines() {
  # First, so that nothing is changed beside an engine that must stay as it is.
  if docker_answers; then check_engine; fi
  # Twice: only with a client can it see whether a daemon answers.
  install_missing
  [[ $installed == no ]] || install_missing
  docker_answers || start_daemon
  check_engine
  check_buildx
  say "mmdebstrap: $(mmdebstrap --version | cut -d ' ' -f 2): fine"
  say "bubblewrap: $(bwrap --version | cut -d ' ' -f 2): fine"
  setup_keyring
  setup_apptainer
}

# What base images of Ubuntu are locked with. Nothing else needs it, so that a machine without it is set up all the same.
setup_keyring() {
  local keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg
  [[ ! -e $keyring ]] || return 0
  if command -v apt-get >/dev/null && can_be_root; then install_keyring; fi
  [[ -e $keyring ]] || say "ubuntu-keyring: not installed, and $keyring is missing: base images of Ubuntu can't be locked here"
}

# Debian 12 lacks the package; it holds files alone, so that sid's serves.
install_keyring() {
  if [[ $(candidate ubuntu-keyring) != [0-9]* ]]; then refresh_apt; fi
  if [[ $(candidate ubuntu-keyring) == [0-9]* ]]; then
    apt_install ubuntu-keyring
  elif [[ $(. /etc/os-release && printf '%s' "${ID:-} ${VERSION_CODENAME:-}") == 'debian bookworm' ]]; then
    download_from_sid "$SCRATCH/keyring" ubuntu-keyring
    apt_install "$SCRATCH"/keyring/debs/ubuntu-keyring_*.deb
  fi
}

install_missing() {
  local wanted=()
  installed=no
  if needs_engine; then wanted+=(docker.io); fi
  if ! command -v docker >/dev/null; then wanted+=(docker-cli); fi
  if ! at_least "$(buildx_version)" "$BUILDX_WANTED"; then wanted+=(docker-buildx); fi
  if ! command -v mmdebstrap >/dev/null; then wanted+=(mmdebstrap); fi
  if ! command -v bwrap >/dev/null; then wanted+=(bubblewrap); fi
  # With it mmdebstrap works for an ordinary user.
  if ((EUID != 0)) && ! command -v newuidmap >/dev/null; then wanted+=(uidmap); fi
  [[ ${#wanted[@]} -gt 0 ]] || return 0

  say "missing or too old: ${wanted[*]}"
  if is_installed docker-ce-cli && [[ ${wanted[*]} == *docker* ]]; then
    fail 3 "Docker's own packages are installed, and Debian's can't join them: update docker-ce, docker-ce-cli" \
      "and docker-buildx-plugin from where they came, then run ci/setup engines again"
  fi
  if ! command -v apt-get >/dev/null || ! can_be_root; then
    fail 3 "can't install: that needs apt, and root or sudo. On Debian or Ubuntu: run ci/setup engines as root" \
      "elsewhere install Docker Engine $DOCKER_WANTED or newer with its client, buildx $BUILDX_WANTED or newer, mmdebstrap, bubblewrap and uidmap," \
      "and put $CONTAINERD_STORE in /etc/docker/daemon.json"
  fi
  install_engines "${wanted[@]}"
  installed=yes
}

# A daemon that answers is left as it is; check_engine says what is wrong with it.
needs_engine() {
  docker_answers && return 1
  can_start_docker || return 1
  if ! command -v docker >/dev/null && [[ -S /var/run/docker.sock ]]; then return 1; fi
  ! at_least "$(dockerd --version 2>/dev/null | sed 's/^Docker version //')" "$DOCKER_WANTED"
}

install_engines() {
  local packages=() package
  refresh_apt
  if [[ $* == *docker* ]] && ! apt_has_new_docker; then
    [[ $(. /etc/os-release && printf '%s' "${ID:-} ${VERSION_CODENAME:-}") == 'debian bookworm' ]] ||
      fail 3 "this distribution's docker.io is $(candidate docker.io), its docker-buildx $(candidate docker-buildx):" \
        "install Docker Engine $DOCKER_WANTED and buildx $BUILDX_WANTED or newer yourself, then run this again"
    add_forky
  fi
  for package in $(with_companions "$@" | sort --unique); do
    # What is there stays as it is, except for an engine that is too old.
    if [[ " ${ENGINE_PACKAGES[*]} " != *" $package "* ]] && is_installed "$package"; then continue; fi
    if [[ $(candidate "$package") == [0-9]* ]]; then packages+=("$package"); fi
  done
  # Before the package, which may start the daemon at once.
  [[ " $* " != *' docker.io '* ]] || write_daemon_json
  apt_install "${packages[@]}"
  hash -r
}

apt_has_new_docker() {
  at_least "$(candidate docker.io)" "$DOCKER_WANTED" && at_least "$(candidate docker-buildx)" "$BUILDX_WANTED"
}

with_companions() {
  printf '%s\n' "$@"
  if [[ " $* " == *' mmdebstrap '* ]]; then echo uidmap; fi
  [[ " $* " == *' docker.io '* ]] || return 0
  printf '%s\n' docker-cli docker-buildx containerd tini-static runc iptables git ca-certificates
  # Elsewhere docker-compose is the old program, not the plugin.
  if at_least "$(candidate docker-compose)" 2; then echo docker-compose; fi
  # Where the kernel has AppArmor, no container starts without its tools.
  if grep -qs Y /sys/module/apparmor/parameters/enabled; then echo apparmor; fi
}

# What only tests use. Without one of these a test is left out, which says so; in a CI it fails.
TEST_PACKAGES=(environment-modules umoci xvfb)

setup_tests() {
  local missing=() package client=freerdp2-x11
  command -v dpkg-query >/dev/null || return 0
  [[ -n $(candidate $client) ]] || client=freerdp3-x11
  # Ubuntu's chromium is no package of its own.
  for package in "${TEST_PACKAGES[@]}" "$client" $(grep -qs '^ID=debian' /etc/os-release && echo chromium); do
    is_installed "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] && can_be_root || return 0
  refresh_apt
  apt_install "${missing[@]}"
}
