#!/bin/sh
# flirt finds by how much an image was moved.
set -eu

python /tests/phantom.py moved
flirt -in moving -ref fixed -out back -omat back.mat -dof 6 -nosearch
python /tests/phantom.py matrix back.mat
