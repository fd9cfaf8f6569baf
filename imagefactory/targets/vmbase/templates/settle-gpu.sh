# shellcheck shell=sh
# Runs before settle.sh, in a system with NVIDIA's driver: its modules are there, and when they were built is
# nobody's concern.
[ -n "$(find /lib/modules -name 'nvidia-current.ko*')" ] || { echo "imagefactory: NVIDIA's modules were not built"; exit 1; }
find /var/lib/dkms -name log -prune -exec rm -rf {} +
# A GPU has them loaded when it is found; without one it takes long, and fails, at each start.
ln -sf /dev/null /etc/modules-load.d/nvidia.conf
