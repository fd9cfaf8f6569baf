#!/bin/sh
# FSL comes from conda. This notes the release, as upstream's installer does, and proves that what scripts
# look for below FSLDIR is there.
set -eu

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# FEAT's reports and other people's programs read it here.
echo 6.0.7.22 >"$FSLDIR/etc/fslversion"

for file in bin/fslmaths bin/bet2 bin/flirt data/standard/MNI152_T1_2mm_brain_mask.nii.gz; do
    [ -e "$FSLDIR/$file" ] || fail "there is no $FSLDIR/$file"
done
