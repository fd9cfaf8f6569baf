#!/bin/sh
# Runs last in the machine that becomes the image: away with all that tells of this one.
set -eu
user=$CLOUD_USER
systemctl stop docker.socket docker.service containerd.service unattended-upgrades.service rsyslog.service 2>/dev/null || :
cloud-init clean --logs --seed
rm -f /etc/xrdp/*/*.pem /etc/xrdp/*.pem /etc/xrdp/rsakeys.ini /etc/ssl/private/*
rm -f /etc/ssh/ssh_host_* /etc/netplan/50-cloud-init.yaml
rm -f /etc/machine-id /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
: >/etc/machine-id
rm -rf "/home/$user"/.ssh "/home/$user"/.bash_history "/home/$user"/.cache "/home/$user"/.sudo_as_admin_successful
rm -rf /root/.ssh /root/.bash_history /root/.cache /root/.docker
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /var/cache/apt/*.bin /var/tmp/* /var/lib/systemd/timers/*
rm -rf /var/log/journal/* /run/log/journal/* /var/crash/* /var/lib/systemd/coredump/*
find /var/log -type f -delete
fstrim --all || :
sync
