# shellcheck shell=sh
# Runs in the new system, as the last of its installation: what its packages leave to whoever installs them,
# and away with all that tells of this machine and this moment.
systemctl --quiet enable systemd-networkd.service
# What NFS before version 4 needs is started with it, and listens no earlier. Nobody here has disks in common with
# an NFS server.
for unit in rpcbind.socket rpcbind.service nfs-blkmap.service; do
    if systemctl --quiet is-enabled "$unit"; then systemctl --quiet disable "$unit"; fi
done
systemctl --quiet mask e2scrub_all.timer e2scrub_reap.service man-db.timer
# ssh is for the network alone; systemd would have it listen to the machine's host too, and complain where it can't.
if [ -e /usr/lib/systemd/system-generators/systemd-ssh-generator ]; then
    mkdir -p /etc/systemd/system-generators
    ln -s /dev/null /etc/systemd/system-generators/systemd-ssh-generator
fi
# What nobody asked for goes one day with what needs it, such as a kernel when newer ones are there.
# shellcheck disable=SC2046  # words
apt-mark -qq auto $(dpkg-query --show --showformat='${Package} ${Priority}\n' | awk '$2 != "required" { print $1 }')
# shellcheck disable=SC2086  # words
apt-mark -qq manual $PACKAGES
[ -e /vmlinuz ] || ln -s "$(cd / && printf '%s\n' boot/vmlinuz-* | tail -n 1)" /vmlinuz
[ -e /initrd.img ] || ln -s "$(cd / && printf '%s\n' boot/initrd.img-* | tail -n 1)" /initrd.img
# Its caches are those of what is installed: the first boot need not make them anew.
: >/etc/.updated
: >/var/.updated
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/ssh/ssh_host_* /etc/resolv.conf /etc/.pwd.lock /etc/*-
rm -f /var/lib/systemd/random-seed /var/lib/dpkg/*-old /var/cache/debconf/*-old
ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
rm -rf /var/cache/ldconfig/* /var/cache/apt/* /var/lib/apt/lists/* /var/log/journal
rm -rf /var/lib/cloud/* /run/* /tmp/* /var/tmp/*
find /var/log -type f -delete
