# The libraries that --nv and --rocm bring from outside. Variables given with --env are set right after this file.
if [ -n "$(ls /.singularity.d/libs 2>/dev/null)" ]; then
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/.singularity.d/libs"
fi
