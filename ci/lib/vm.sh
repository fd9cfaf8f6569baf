# shellcheck shell=bash
# Virtual machines: QEMU, its UEFI firmware, the disks that they are told things by, and Packer.

# Each package with a file that tells that what it brings is there, wherever it came from.
VM_NEEDS=(
  qemu-system-x86:qemu-system-x86_64
  qemu-utils:qemu-img
  ovmf:/usr/share/OVMF/OVMF_CODE_4M.fd
  xorriso:xorriso
  packer:packer
  fdisk:sfdisk
  openssh-client:ssh-keygen
)

setup_vm() {
  local wanted
  mapfile -t wanted < <(missing_vm)
  if [[ ${#wanted[@]} -gt 0 ]]; then install_vm "${wanted[@]}"; fi
  say "QEMU: $(qemu-system-x86_64 --version | sed -n '1s/^QEMU emulator version \([^ ]*\).*/\1/p'): fine"
}

# For tests, which are left out where they can't be had.
setup_vm_where_possible() {
  if [[ $(missing_vm) ]] && command -v apt-get >/dev/null && can_be_root; then setup_vm; fi
}

# The packages whose programs are not here, a line each.
missing_vm() {
  local need
  for need in "${VM_NEEDS[@]}"; do
    is_here "${need#*:}" || printf '%s\n' "${need%%:*}"
  done
}

# is_here FILE|PROGRAM
is_here() {
  if [[ $1 == /* ]]; then [[ -e $1 ]]; else command -v "$1" >/dev/null; fi
}

install_vm() {
  say "missing: $*"
  if ! command -v apt-get >/dev/null || ! can_be_root; then
    fail 3 "can't install: that needs apt, and root or sudo. On Debian or Ubuntu: run ci/setup vm as root" \
      "elsewhere install QEMU 7.1 or newer for x86-64 with qemu-img, OVMF, xorriso, Packer, sfdisk and OpenSSH's client"
  fi
  refresh_apt
  local package packages=()
  for package in "$@"; do
    # Not every distribution has Packer.
    if [[ $(candidate "$package") == [0-9]* ]]; then
      packages+=("$package")
    else
      say "$package: this distribution has no such package: install it yourself"
    fi
  done
  if [[ ${#packages[@]} -gt 0 ]]; then apt_install "${packages[@]}"; fi
  hash -r
}
