#!/bin/sh
# Becomes process 1 of a board, in namespaces of its own: mounts its tree, makes it the root, starts sshd.
#   start.sh FOLDER LOWER_LAYERS HOST_NAME ADDRESS
# What is mounted here is seen by nobody else and ends with the last process of the board.
set -eu
folder=$1 lower=$2 host_name=$3 address=$4
echo ready
# The host's end of the network comes next; when the host's process dies before, this ends with it.
read -r word && [ "$word" = go ] || exit 1

mount --make-rprivate /
# Writes of a board stay in memory: nothing is left of them afterwards.
mount -t tmpfs -o size=2g,mode=755 board "$folder/memory"
mkdir "$folder/memory/upper" "$folder/memory/work" "$folder/memory/root"
root=$folder/memory/root
mount -t overlay -o "lowerdir=$lower,upperdir=$folder/memory/upper,workdir=$folder/memory/work" board "$root"

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# What is set there holds for the whole machine: not for a board to change, not even by accident.
for name in sys sysrq-trigger; do
    [ -e "$root/proc/$name" ] || continue
    mount --bind "$root/proc/$name" "$root/proc/$name"
    mount -o remount,bind,ro "$root/proc/$name"
done
for name in cpuinfo meminfo; do mount --bind "$folder/proc/$name" "$root/proc/$name"; done
mount --bind "$folder/sys" "$root/sys"
mount -o remount,bind,ro "$root/sys"
mount --bind "$folder/replay" "$root/opt/replay"
mount -o remount,bind,ro "$root/opt/replay"
mount -t tmpfs -o mode=755,size=64m run "$root/run"
mount -t tmpfs -o mode=755,size=1m dev "$root/dev"
for name in null zero full random urandom tty; do
    : > "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/run/sshd"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,size=256m shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

hostname "$host_name"
ip link set lo up
ip address add "$address" dev eth0
ip link set eth0 up

# The host's files are out of reach from here on.
mkdir "$root/run/host"
cd "$root"
pivot_root . run/host
exec chroot . /bin/sh -c 'umount -l /run/host && rmdir /run/host && exec /usr/sbin/sshd -D -e' </dev/null
