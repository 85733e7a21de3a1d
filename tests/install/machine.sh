# shellcheck shell=bash
# Makes the machine of machine.py and waits in it. Run in new namespaces, with the machine's folder:
#   unshare --mount --net --pid --uts --ipc --fork --kill-child bash machine.sh FOLDER [SYSTEM]
# SYSTEM is the root of another Debian; without it, the programs and settings of this one are seen, and can be changed.
# PYTHON is the folder of a Python that is to be seen as well.
set -euo pipefail
folder=$1 system=${2:-}
mount --make-rprivate /
mkdir -p "$folder/root" "$folder/var"
if [ -n "$system" ]; then
    mkdir -p "$folder/changed" "$folder/work"
    mount -t overlay overlay -o "lowerdir=$system,upperdir=$folder/changed,workdir=$folder/work" "$folder/root"
    cd "$folder/root"
else
    mount --bind "$folder/root" "$folder/root"
    cd "$folder/root"
    mkdir -p etc usr var opt root tmp srv home mnt media
    chmod 1777 tmp
    for name in bin sbin lib lib32 lib64; do
        [ ! -L "/$name" ] || ln -sfn "usr/$name" "$name"
    done
    for name in etc usr; do
        mkdir -p "$folder/changed-$name" "$folder/work-$name"
        mount -t overlay overlay -o "lowerdir=/$name,upperdir=$folder/changed-$name,workdir=$folder/work-$name" "$name"
    done
    rm -rf usr/local
    mkdir -p usr/local/bin usr/local/sbin usr/local/lib var/lib var/log var/backups var/cache var/tmp
    ln -sfn /run var/run
    if [ ! -d "./$PYTHON" ]; then
        mkdir -p "./$PYTHON"
        mount --bind "$PYTHON" "./$PYTHON"
    fi
fi
mkdir -p proc sys dev run old var/lib/docker ikoma "$folder/docker"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs none run
mount --bind "$folder/docker" var/lib/docker # Docker's layers cannot lie on an overlay
mount --bind "$folder/ikoma" ikoma
pivot_root . old
cd /
umount -l old
rmdir old
hostname fresh
ip link set lo up
touch /run/ready
# The first process takes the orphans.
trap : CHLD
while :; do
    sleep 3600 &
    wait $! || true
done
