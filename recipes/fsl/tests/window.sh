#!/bin/sh
# FSLeyes draws a ball, first into a picture and then into its window, both on a virtual screen.
set -eu

screen() {
    xvfb-run --auto-servernum --server-args='-screen 0 1280x1024x24' "$@"
}

python /tests/phantom.py ball
screen fsleyes render --scene ortho --hideCursor --hideLabels --size 900 300 --outfile picture.png ball.nii.gz
screen fsleyes --scene ortho --hideCursor --hideLabels --runscript /tests/save-window.py ball.nii.gz
python /tests/phantom.py bright picture picture.png
python /tests/phantom.py bright window window.png
