#!/bin/sh
# bet finds the brain in a head that is made of balls.
set -eu

python /tests/phantom.py head
bet head brain -m
echo "brain $(fslstats brain_mask -V)"
python /tests/phantom.py share kept brain_mask.nii.gz brain_truth.nii.gz
python /tests/phantom.py share skull brain_mask.nii.gz skull_truth.nii.gz
