#!/bin/sh
# DeepLabCut comes from pip. This fits it to an image that nobody can write to, and adds two commands.
set -eu

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# What Python programs keep in a home folder is not to reach the image.
HOME=$PWD
export HOME

venv=/opt/venv
bin=/opt/deeplabcut/bin
mkdir -p "$bin"

"$venv/bin/python" /recipe/files/adapt.py

# DeepLabCut calls the command ffmpeg to cut videos; a program of that kind came along with imageio-ffmpeg.
ffmpeg=$("$venv/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
case $ffmpeg in
    "$venv"/*) ln -s "$ffmpeg" "$bin/ffmpeg" ;;
    *) fail "imageio-ffmpeg brought no ffmpeg, but names ${ffmpeg:-nothing}" ;;
esac

if [ -x "$venv/bin/jupyter" ]; then
    install -m 755 /recipe/files/notebook "$bin/notebook"
fi

# The folders are asked for as a user would: a patch that does not count fails here.
answer=$(DEEPLABCUT_WEIGHTS=/weights "$venv/bin/python" -c '
from deeplabcut.pose_estimation_pytorch.models.backbones.base import HuggingFaceWeightsMixin
from deeplabcut.pose_estimation_pytorch.modelzoo.utils import get_snapshot_folder_path
print(get_snapshot_folder_path(), HuggingFaceWeightsMixin().backbone_weight_folder)')
[ "$answer" = "/weights/superanimal /weights/backbones" ] || fail "weights would go to $answer"
