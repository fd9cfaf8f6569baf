# shellcheck shell=sh
# The driver's modules are there, and when they were built is nobody's concern.
[ -n "$(find /lib/modules -name 'nvidia-current.ko*')" ] || { echo "imagefactory: NVIDIA's modules were not built"; exit 1; }
find /var/lib/dkms -name log -prune -exec rm -rf {} +
