#!/bin/sh
# fslmaths calculates, fslstats counts, and the standard brain is there.
set -eu

python /tests/phantom.py ball
echo "ball $(fslstats ball -V)"
fslmaths ball -mul 2 -add 5 scaled
echo "range $(fslstats scaled -R)"
# The upper half: the voxels above the middle of the third axis.
fslmaths ball -roi 0 -1 0 -1 48 48 0 -1 half
echo "half $(fslstats half -V)"
echo "standard brain $(fslstats "$FSLDIR/data/standard/MNI152_T1_2mm_brain_mask" -V)"
