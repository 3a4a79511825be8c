#!/bin/sh
# The first program on a booted medium: everything that must be there, then the station. No login, no systemd.
# Speed matters: the station starts at once, drivers load beside it; the station waits for devices itself.
export PATH=/usr/sbin:/usr/bin HOME=/ LANG=C.UTF-8 LC_ALL=C.UTF-8 TZ=UTC
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/usr/lib/python3/dist-packages IMSM_NO_PLATFORM=1

# What a person presses while the machine starts must not end what starts here: perhaps nobody comes by again. The station
# gets its keys raw later. SysRq is off by the kernel's line already, where the boot menu had a say.
trap '' INT QUIT TSTP
mount -a
echo 0 >/proc/sys/kernel/sysrq
echo 0 >/proc/sys/kernel/ctrl-alt-del

say() {
    { # beside the rest: a screen that somebody holds still (Scroll Lock) takes nothing, and would hold up all else
        echo "<5>unbrick: $*" >/dev/kmsg
        echo "unbrick: $*" 2>/dev/null >/dev/ttyS0
        echo "unbrick: $*" >/dev/console
    } &
}

has_too_little_memory() {
    while read -r key kib _; do
        [ "$key" = MemTotal: ] && [ "$kib" -lt 440000 ] && return
    done </proc/meminfo
    return 1
}

# What a failing disk makes the kernel say would hide what a person must read; one menu entry asks for it.
read -r options </proc/cmdline
case " $options " in *" quiet "*) echo 1 >/proc/sys/kernel/printk ;; esac
say "first program started"

(
    # Not sooner: while the kernel starts, it would stop at every module that it thinks might be of use.
    ln -s ../bin/kmod /usr/sbin/modprobe
    /usr/lib/systemd/systemd-udevd --daemon 2>/dev/kmsg  # its greeting would be the first thing that a person reads
    udevadm trigger --action=add @SUBSYSTEMS@
    modprobe -a -q -b @MODULES@
    mount -t efivarfs -o nosuid,noexec,nodev efivarfs /sys/firmware/efi/efivars 2>/dev/null
    ip link set lo up
    udevadm control --ping  # it answers once it has taken up all that was announced; until it is done it keeps a file
    : >/run/unbrick-drivers-loaded
) &

while :; do
    setsid -c python3 -S -s -m unbrick.station </dev/tty1 >/dev/tty1 2>&1
    code=$?
    say "stopped: the program ended with code $code"
    printf '\n\nThe program stopped. Press Enter to start the machine again.\n' >/dev/tty1
    has_too_little_memory && printf 'This computer has too little memory: 512 MB are needed.\n' >/dev/tty1
    read -r _ </dev/tty1
    say "restarting"
    sync
    reboot -f
done
