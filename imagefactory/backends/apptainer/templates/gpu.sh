/bin/sh /etc/imagefactory/gpu.sh
