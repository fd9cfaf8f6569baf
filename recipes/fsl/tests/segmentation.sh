#!/bin/sh
# fast tells two tissues apart; a voxel counts as much as fast takes it to hold of a tissue.
set -eu

python /tests/phantom.py tissues
fast -t 1 -n 2 -o seg tissues
for tissue in 0:outer 1:inner; do
    # The mean of all voxels that are not zero, their number, and their volume.
    fslstats "seg_pve_${tissue%%:*}" -M -V >found
    read -r mean _ volume <found
    echo "${tissue#*:} $(echo "$mean * $volume" | bc -l)"
done
