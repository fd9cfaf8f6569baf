"""A small Debian disk for virtual machines, from packages alone: no loop device, no mount, no grub-install.

Its partitions: 14 for GRUB's image where firmware is a BIOS, 15 for UEFI, and 1, the root, last, so that it
can grow.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import uuid
from pathlib import Path

import pytest
from filelock import FileLock

SUITE = "bookworm"
PROGRAMS = (
    "mmdebstrap",
    "mke2fs",
    "sfdisk",
    "grub-mkimage",
    "mkfs.vfat",
    "mmd",
    "mcopy",
    "qemu-img",
    "qemu-system-x86_64",
    "xorriso",
)
PLANTED = "srv/planted"
ODD = "odd\n\x1b[31m\"name\" '$x'\\ ü"
"""A name with what may not reach a terminal, nor be taken for words of a command."""

_PACKAGES = (
    *(
        "linux-image-cloud-amd64",
        "initramfs-tools",
        "zstd",
        "systemd-sysv",
        "udev",
        "dbus",
        "kmod",
        "e2fsprogs",
    ),
    *("cloud-init", "cloud-guest-utils", "fdisk", "openssh-server", "sudo", "qemu-guest-agent"),
    *("netplan.io", "iproute2", "systemd-resolved", "ca-certificates"),
)
_SECTOR = 512
_MEBIBYTES = 2048
_BIOS, _BIOS_SECTORS = 2048, 6144  # where partitions begin, and how long they are, in sectors
_ESP, _ESP_SECTORS = 8192, 32768
_ROOT = 40960
_TABLE = f"""label: gpt
14 : start={_BIOS}, size={_BIOS_SECTORS}, type=21686148-6449-6E6F-744E-656564454649
15 : start={_ESP}, size={_ESP_SECTORS}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
1 : start={_ROOT}, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, attrs=LegacyBIOSBootable
"""
_MODULES = (
    "part_gpt ext2 fat search search_fs_uuid configfile normal linux serial terminal echo test boot all_video"
)
_CLOUD = """datasource_list: [NoCloud, ConfigDrive, OpenStack, None]
locale: false
ssh_genkeytypes: [ed25519, ecdsa]
manage_etc_hosts: localhost
system_info:
  default_user:
    name: debian
    lock_passwd: true
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
"""
# A machine without a network would wait for it for two minutes.
_PATIENCE = """[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --timeout=20
"""
_MENU = """serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
search --no-floppy --fs-uuid --set=root {id}
linux /vmlinuz root=UUID={id} ro console=tty0 console=ttyS0,115200
initrd /initrd.img
boot
"""
_EARLY = """search --no-floppy --fs-uuid --set=root {id}
set prefix=($root)/boot/grub
configfile /boot/grub/grub.cfg
"""


@pytest.fixture(scope="session")
def vm_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk, a qcow2 file that nobody may write to. All workers share it; with ZZ_VM_DISKS, a folder, all
    runs do.
    """
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return _without(f"{', '.join(missing)}: not installed: run ci/setup tests")
    if os.geteuid() != 0:
        return _without("only root can make a tree of files of several owners")
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder = Path(os.environ.get("ZZ_VM_DISKS") or shared)
    disk = folder / "vm.qcow2"
    with FileLock(folder / "vm.lock"):
        if not disk.exists():
            make_disk(disk, tmp_path_factory.mktemp("vmdisk"))
    return disk


def _without(why: str) -> Path:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def make_disk(disk: Path, scratch: Path) -> None:
    """Make it, in some minutes. It has its name once it is whole."""
    id = str(uuid.uuid4())
    root = scratch / "root"
    try:
        _install(root)
        _configure(root, id)
        _plant(root / PLANTED)
        raw = scratch / "disk.raw"
        with raw.open("wb") as out:
            out.truncate(_MEBIBYTES << 20)
        subprocess.run(["sfdisk", "--quiet", raw], input=_TABLE, text=True, check=True)
        kibibytes = (_MEBIBYTES * 2048 - _ROOT - 2048) // 2
        words: list[str | Path] = ["mke2fs", "-q", "-F", "-t", "ext4", "-U", id, "-L", "root", "-d", root]
        words += ["-E", f"offset={_ROOT * _SECTOR},root_owner=0:0", raw, f"{kibibytes}k"]
        subprocess.run(words, check=True)
        _make_bootable(raw, scratch, id)
        draft = disk.with_suffix(".draft")
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, draft], check=True)
        draft.chmod(0o444)
        draft.rename(disk)
    finally:
        shutil.rmtree(scratch)


def _install(root: Path) -> None:
    words = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(_PACKAGES)}"]
    words += ["--aptopt=Apt::Install-Recommends false"]
    words += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc")]
    # Before the kernel comes, so that its initial RAM disk is packed quickly.
    words += ['--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d"']
    words += ['--essential-hook=echo COMPRESS=zstd >"$1/etc/initramfs-tools/conf.d/compress"']
    subprocess.run([*words, SUITE, root], check=True)


def _configure(root: Path, id: str) -> None:
    for name, text in {
        "etc/fstab": f"UUID={id} / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n",
        "etc/hostname": "localhost\n",
        "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "etc/machine-id": "",
        "etc/cloud/cloud.cfg.d/95_here.cfg": _CLOUD,
        "boot/grub/grub.cfg": _MENU.format(id=id),
        "etc/systemd/system/systemd-networkd-wait-online.service.d/here.conf": _PATIENCE,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    units = ("systemd-networkd", "systemd-resolved", "ssh", "serial-getty@ttyS0.service")
    subprocess.run(["chroot", root, "systemctl", "--quiet", "enable", *units], check=True)
    idle = ("e2scrub_reap.service", "e2scrub_all.timer", "apt-daily.timer", "apt-daily-upgrade.timer")
    subprocess.run(["chroot", root, "systemctl", "--quiet", "mask", *idle], check=True)
    for link, kernel in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        if not (root / link).is_symlink():
            (root / link).symlink_to(next((root / "boot").glob(kernel)).relative_to(root))


def _plant(folder: Path) -> None:
    """What a reader of disks must read as it is."""
    folder.mkdir(parents=True)
    (folder / ODD).write_bytes(b"odd\0\xff\n")
    (folder / "secret").write_text("nobody's\n")
    (folder / "secret").chmod(0o640)
    os.chown(folder / "secret", 1234, 70000)
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o4755)
    (folder / "link").symlink_to(ODD)
    os.mkfifo(folder / "pipe")
    with (folder / "sparse").open("wb") as out:
        out.truncate(5 << 30)


def _make_bootable(raw: Path, scratch: Path, id: str) -> None:
    early = scratch / "early.cfg"
    early.write_text(_EARLY.format(id=id))
    core, efi, esp = (scratch / name for name in ("core.img", "BOOTX64.EFI", "esp.img"))
    words: list[str | Path] = ["grub-mkimage", "-p", "/boot/grub", "-c", early]
    subprocess.run([*words, "-O", "i386-pc", "-o", core, "biosdisk", *_MODULES.split()], check=True)
    subprocess.run([*words, "-O", "x86_64-efi", "-o", efi, *_MODULES.split(), "efi_gop"], check=True)
    first, rest = bytearray(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()), bytearray(core.read_bytes())
    assert len(rest) <= _BIOS_SECTORS * _SECTOR
    # What grub-bios-setup does: say where the image begins, look at no drive number, and where the image
    # goes on.
    struct.pack_into("<Q", first, 0x5C, _BIOS)
    first[0x66:0x68] = b"\x90\x90"
    struct.pack_into("<Q", rest, 0x1F4, _BIOS + 1)
    with esp.open("wb") as out:
        out.truncate(_ESP_SECTORS * _SECTOR)
    subprocess.run(["mkfs.vfat", "-n", "ESP", esp], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["mmd", "-i", esp, "::EFI", "::EFI/BOOT"], check=True)
    subprocess.run(["mcopy", "-i", esp, efi, "::EFI/BOOT/BOOTX64.EFI"], check=True)
    with raw.open("r+b") as out:
        for sector, data in ((0, first[:440]), (_BIOS, rest), (_ESP, esp.read_bytes())):
            out.seek(sector * _SECTOR)
            out.write(data)
