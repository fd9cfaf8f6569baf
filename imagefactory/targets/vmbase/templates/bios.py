"""Writes GRUB for BIOS onto a disk, as grub-bios-setup does: boot.img into the first sector, core.img from
sector START on, each told where the next part is (GRUB's sources, include/grub/i386/pc/boot.h, diskboot.h).

    python3 - DISK CORE BOOT START SIZE
"""

import struct
import sys
from pathlib import Path

SECTOR = 512
CODE = 440  # bytes of the first sector before the partition table of old
KERNEL_SECTOR = 0x5C  # where core.img starts
DRIVE_CHECK = 0x66  # a jump that only floppy disks need
BLOCK_LIST = 0x1F4  # where the rest of core.img starts

disk, core, boot, start, size = sys.argv[1:]
sector = int(start)
first, rest = bytearray(Path(boot).read_bytes()), bytearray(Path(core).read_bytes())
if len(rest) > int(size) * SECTOR:
    sys.exit(f"GRUB's core image takes {len(rest)} bytes, and there is room for {int(size) * SECTOR}")
struct.pack_into("<Q", first, KERNEL_SECTOR, sector)
first[DRIVE_CHECK : DRIVE_CHECK + 2] = b"\x90\x90"
struct.pack_into("<Q", rest, BLOCK_LIST, sector + 1)
with Path(disk).open("r+b") as file:
    file.write(first[:CODE])
    file.seek(sector * SECTOR)
    file.write(rest)
