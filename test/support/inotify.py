"""Watches paths with inotify and prints what the kernel says, one JSON line per event.

usage: inotify.py PATH[:MASK,MASK...]...      masks by their names without IN_; default: everything
first line: {"ready": true}; an event: {"path", "mask": [names], "name", "t": seconds of CLOCK_MONOTONIC}
Symlinks are followed, as every ordinary watcher does.
"""
import ctypes
import json
import os
import struct
import sys
import time

BITS = {
    "ACCESS": 0x1, "MODIFY": 0x2, "ATTRIB": 0x4, "CLOSE_WRITE": 0x8, "CLOSE_NOWRITE": 0x10, "OPEN": 0x20,
    "MOVED_FROM": 0x40, "MOVED_TO": 0x80, "CREATE": 0x100, "DELETE": 0x200, "DELETE_SELF": 0x400,
    "MOVE_SELF": 0x800, "UNMOUNT": 0x2000, "Q_OVERFLOW": 0x4000, "IGNORED": 0x8000, "ISDIR": 0x40000000,
}
EVERYTHING = 0xFFF
HEADER = struct.Struct("iIII")


def say(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def names_of(mask):
    return [name for name, bit in BITS.items() if mask & bit]


def watch(libc, queue, argument):
    path, _, masks = argument.partition(":")
    mask = sum(BITS[name] for name in masks.split(",")) if masks else EVERYTHING
    number = libc.inotify_add_watch(queue, os.fsencode(path), mask)
    if number < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return number, path


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_CLOEXEC)
    paths = {}
    for argument in sys.argv[1:]:
        number, path = watch(libc, queue, argument)
        paths[number] = path
    say({"ready": True})
    while True:
        data = os.read(queue, 1 << 16)
        now = time.monotonic()
        at = 0
        while at < len(data):
            number, mask, _, length = HEADER.unpack_from(data, at)
            name = data[at + HEADER.size : at + HEADER.size + length].rstrip(b"\0").decode()
            say({"path": paths.get(number, ""), "mask": names_of(mask), "name": name, "t": now})
            at += HEADER.size + length


main()
