#!/usr/bin/env python3
"""Network namespaces whose packets to one another take a given time: for kernels without netem.

usage: link.py <prefix> <count> <one-way delay in ms>

Makes the namespaces <prefix>1 … <prefix>N; each has a TUN interface with the address 10.99.0.<i>/24, and this process
carries the IP packets between them, each one later by the delay, in order, none lost. Every protocol is delayed alike,
also those whose sockets live in native code. Prints READY, runs until its standard input ends, removes what it made.
"""
import ctypes, fcntl, heapq, os, select, signal, struct, subprocess, sys, time

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
MTU = 1400

prefix, count, delay = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000
libc = ctypes.CDLL("libc.so.6", use_errno=True)
home = os.open("/proc/self/ns/net", os.O_RDONLY)


def enter(namespace):
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def open_namespace(index):
    name = f"{prefix}{index}"
    run("ip", "netns", "add", name)
    namespace = os.open(f"/run/netns/{name}", os.O_RDONLY)
    enter(namespace)
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"tun0", IFF_TUN | IFF_NO_PI))
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "set", "tun0", "mtu", str(MTU), "up", "txqueuelen", "2000")
        run("ip", "address", "add", f"10.99.0.{index}/24", "dev", "tun0")
    finally:
        enter(home)
        os.close(namespace)
    return tun


def carry(tuns):
    source = {tun: index for index, tun in tuns.items()}
    flying, serial = [], 0
    while True:
        now = time.monotonic()
        while flying and flying[0][0] <= now:
            _, _, target, packet = heapq.heappop(flying)
            try:
                os.write(tuns[target], packet)
            except BlockingIOError:
                pass  # as a full queue of a router
        # select, not epoll: its time-out is in microseconds
        wait = max(0, flying[0][0] - time.monotonic()) if flying else None
        ready, _, _ = select.select([0, *source], [], [], wait)
        if 0 in ready and os.read(0, 4096) == b"":
            return
        for tun in ready:
            if tun == 0:
                continue
            for _ in range(64):
                try:
                    packet = os.read(tun, 2048)
                except BlockingIOError:
                    break
                if packet[0] >> 4 == 4 and packet[16:19] == b"\x0a\x63\x00" and packet[19] in tuns:
                    serial += 1
                    heapq.heappush(flying, (time.monotonic() + delay, serial, packet[19], packet))


def leave(*_):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing may interrupt the clean-up
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


signal.signal(signal.SIGINT, leave)
signal.signal(signal.SIGTERM, leave)
made = 0
try:
    tuns = {}
    for i in range(1, count + 1):
        made = i
        tuns[i] = open_namespace(i)
    print("READY", flush=True)
    carry(tuns)
finally:
    for i in range(1, made + 1):
        subprocess.run(["ip", "netns", "delete", f"{prefix}{i}"], stderr=subprocess.DEVNULL)
