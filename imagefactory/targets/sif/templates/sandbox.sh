#!/bin/sh
# Runs one command ("$@") in namespaces of its own, whose folders end with it: a home, a working folder, /tmp and
# an output, with bounds; and no network but loopback.
# With ATTACHED it runs on the caller's terminal, and all else that is written here is left out.
# Reads: ROOM (an empty folder), IMAGE, CALLER (uid:gid), WORK_BYTES, ROOM_BYTES, OUTPUT_BYTES, FOLDER (or nothing: the working folder),
# BINDS (name:source, one a line), EXPECT (files, one a line).
# Writes: the status and the free blocks of work, tmp, home and output; the sizes of the expected files; the output.
# shellcheck disable=SC2153  # ROOM is the caller's
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin # the caller's may lead to what is covered here
uid=${CALLER%:*} gid=${CALLER#*:}
room=$ROOM
owned="uid=$uid,gid=$gid,mode=0755"
mount -t tmpfs -o mode=0755 none "$room"
cd "$room"
mkdir work home tmp out binds
: >image.sif
mount --bind "$IMAGE" image.sif
if [ -n "$FOLDER" ]; then
    mount --bind "$FOLDER" work
else
    mount -t tmpfs -o "size=$WORK_BYTES,$owned" none work
fi
mount -t tmpfs -o "size=$ROOM_BYTES,$owned" none home
mount -t tmpfs -o "size=$ROOM_BYTES,mode=1777" none tmp
mount -t tmpfs -o "size=$WORK_BYTES,$owned" none out
printf '%s' "$BINDS" | while IFS=: read -r name source; do
    mkdir "binds/$name"
    mount --bind "$source" "binds/$name"
done
# The machine knows the caller, as a cluster does; the first line that fits counts.
{ echo "researcher:x:$uid:$gid::/mnt/home:/bin/sh" && cat /etc/passwd; } >passwd
{ echo "researchers:x:$gid:" && cat /etc/group; } >group
{ echo "127.0.1.1 container" && cat /etc/hosts; } >hosts
# Last, for what is bound may be in these. Nobody keeps a list of it: root's can't be written to by ordinary users.
mount --no-mtab --move "$room" /mnt
room=/mnt
mount --bind passwd /etc/passwd
mount --bind group /etc/group
mount --bind hosts /etc/hosts
mount --bind tmp /tmp
mount --bind tmp /var/tmp
[ ! -d /dev/shm ] || mount -t tmpfs -o "size=$ROOM_BYTES,mode=1777" none /dev/shm # else what is left there stays
hostname container # the file of the kernel's is root's alone
ip link set lo up
cd /mnt/work

status=0
if [ -n "${ATTACHED:-}" ]; then
    "$@" || status=$?
    exit "$status"
fi
"$@" >$room/out/all 2>&1 </dev/null || status=$?

free() { stat -f -c %a $room/"$1"; }
echo "$status $(free work) $(free tmp) $(free home) $(free out)"
printf '%s' "$EXPECT" | while IFS= read -r file; do
    if [ -f "./$file" ]; then printf '%s ' "$(wc -c <"./$file")"; else printf -- '- '; fi
done
echo
tail -c "$OUTPUT_BYTES" $room/out/all
