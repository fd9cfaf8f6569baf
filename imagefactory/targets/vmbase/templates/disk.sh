# shellcheck shell=sh
# The tree in root/ as a disk, disk.raw: partitions as Debian's cloud images have them, GRUB for BIOS and for
# UEFI, the root file system last, so that it can grow. The system's own programs write it, without loop
# devices and mounts of it.
#
# The sectors are 512 bytes; 14 is for GRUB's core image, 15 the EFI system partition.
boot_start=2048 boot_size=6144
esp_start=8192 esp_size=32768
root_start=40960
used=$(du --summarize --block-size=1024 root | cut -f 1)
root_kib=$(((used * 6 / 5 + 262144) / 1024 * 1024))
total_sectors=$((root_start + root_kib * 2 + 2048))

# It sees the tree twice: as its system, and as what it copies.
mkdir out view
mount --rbind root view
mount -t tmpfs none view/mnt
mkdir view/mnt/root view/mnt/out
mount --bind root view/mnt/root
mount --bind out view/mnt/out
mount -t proc proc view/proc
mount --rbind /dev view/dev
inside() {
  env -i PATH="$PATH" LANG=C.UTF-8 TZ=UTC SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
    E2FSPROGS_FAKE_TIME="$SOURCE_DATE_EPOCH" chroot view "$@" 3>&-
}

find root -xdev -newermt "@$SOURCE_DATE_EPOCH" -print0 |
  xargs -0 -r touch --no-dereference --date="@$SOURCE_DATE_EPOCH"

truncate --size="$((total_sectors * 512))" out/disk.raw
inside sfdisk --quiet /mnt/out/disk.raw <<PARTITIONS
label: gpt
label-id: $DISK_ID
14 : start=$boot_start, size=$boot_size, type=21686148-6449-6E6F-744E-656564454649, uuid=$BOOT_ID
15 : start=$esp_start, size=$esp_size, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=$ESP_ID
1 : start=$root_start, size=$((root_kib * 2)), type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$ROOT_ID
PARTITIONS

offset=$((root_start * 512))
inside mke2fs -q -F -t ext4 -L root -U "$ROOT_FS" -d /mnt/root \
  -E "hash_seed=$ROOT_FS,offset=$offset,root_owner=0:0,nodiscard" /mnt/out/disk.raw "${root_kib}k"
# When files were last read, and changed here, is nobody's concern.
disk="/mnt/out/disk.raw?offset=$offset"
last=$(inside debugfs -R stats "$disk" 2>/dev/null | awk '
  /^Inode count:/ { all = $3 } /^Free inodes:/ { print all - $3; exit }')
date=$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S)
awk -v last="$last" -v date="$date" 'BEGIN {
  for (inode = 2; inode <= last; inode = inode == 2 ? 11 : inode + 1)
    printf "set_inode_field <%d> ctime %s\nset_inode_field <%d> atime %s\n", inode, date, inode, date
}' >out/times
inside debugfs -w -f /mnt/out/times "$disk" >out/said 2>&1 || { tail -n 5 out/said; exit 1; }

modules='part_gpt ext2 fat search search_fs_uuid configfile normal linux serial terminal echo test'
cat >out/early.cfg <<CONFIG
search --no-floppy --fs-uuid --set=root $ROOT_FS
set prefix=(\$root)/boot/grub
configfile /boot/grub/grub.cfg
CONFIG
# shellcheck disable=SC2086  # words
inside grub-mkimage -O i386-pc -p /boot/grub -c /mnt/out/early.cfg -o /mnt/out/core.img biosdisk $modules
# shellcheck disable=SC2086
inside grub-mkimage -O x86_64-efi -p /boot/grub -c /mnt/out/early.cfg -o /mnt/out/BOOTX64.EFI $modules all_video efi_gop
inside python3 -I -S - /mnt/out/disk.raw /mnt/out/core.img /usr/lib/grub/i386-pc/boot.img "$boot_start" "$boot_size" \
  </in/bios.py

truncate --size="$((esp_size * 512))" out/esp.img
inside mkfs.vfat --invariant -n ESP /mnt/out/esp.img >/dev/null
touch --date="@$SOURCE_DATE_EPOCH" out/BOOTX64.EFI
inside mmd -i /mnt/out/esp.img ::EFI ::EFI/BOOT
inside mcopy -m -i /mnt/out/esp.img /mnt/out/BOOTX64.EFI ::EFI/BOOT/BOOTX64.EFI
dd if=out/esp.img of=out/disk.raw bs=1M seek="$((esp_start / 2048))" conv=notrunc,sparse status=none
