#!/bin/sh
# Runs one command ("$@") in namespaces of its own, whose folders end with it: a home, a working folder, /tmp and
# an output, with bounds; and no network but loopback.
# Reads: IMAGE, CALLER (uid:gid), WORK_BYTES, ROOM_BYTES, OUTPUT_BYTES, FOLDER (or nothing: the working folder),
# BINDS (name:source, one a line), EXPECT (files, one a line).
# Writes: the status and the free blocks of work, tmp, home and output; the sizes of the expected files; the output.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin # the caller's may lead to what is covered here
uid=${CALLER%:*} gid=${CALLER#*:} room=/mnt
owned="uid=$uid,gid=$gid,mode=0755"
mount -t tmpfs -o mode=0755 none $room
mkdir $room/work $room/home $room/tmp $room/out $room/binds
: >$room/image.sif
mount --bind "$IMAGE" $room/image.sif
if [ -n "$FOLDER" ]; then
    mount --bind "$FOLDER" $room/work
else
    mount -t tmpfs -o "size=$WORK_BYTES,$owned" none $room/work
fi
mount -t tmpfs -o "size=$ROOM_BYTES,$owned" none $room/home
mount -t tmpfs -o "size=$ROOM_BYTES,mode=1777" none $room/tmp
mount -t tmpfs -o "size=$WORK_BYTES,$owned" none $room/out
printf '%s' "$BINDS" | while IFS=: read -r name source; do
    mkdir "$room/binds/$name"
    mount --bind "$source" "$room/binds/$name"
done
# The machine knows the caller, as a cluster does; the first line that fits counts.
{ echo "researcher:x:$uid:$gid::$room/home:/bin/sh" && cat /etc/passwd; } >$room/passwd
{ echo "researchers:x:$gid:" && cat /etc/group; } >$room/group
mount --bind $room/passwd /etc/passwd
mount --bind $room/group /etc/group
# Last, for what is bound may be there.
mount --bind $room/tmp /tmp
mount --bind $room/tmp /var/tmp
ip link set lo up
cd $room/work

status=0
"$@" >$room/out/all 2>&1 </dev/null || status=$?

free() { stat -f -c %a $room/"$1"; }
echo "$status $(free work) $(free tmp) $(free home) $(free out)"
printf '%s' "$EXPECT" | while IFS= read -r file; do
    if [ -f "./$file" ]; then printf '%s ' "$(wc -c <"./$file")"; else printf -- '- '; fi
done
echo
tail -c "$OUTPUT_BYTES" $room/out/all
