"""Reads a secret again whenever it changes: inotify by the standard library alone.

usage: watch.py FILE
"""
import ctypes
import os
import sys

IN_MODIFY = 0x00000002

libc = ctypes.CDLL(None, use_errno=True)


def changes(path):
    """Yields once at the start and after every change. The one watch is good for the volume's life."""
    inotify = libc.inotify_init1(os.O_CLOEXEC)
    if libc.inotify_add_watch(inotify, os.fsencode(path), IN_MODIFY) < 0:
        raise OSError(ctypes.get_errno(), "inotify_add_watch", path)
    yield
    while os.read(inotify, 4096):
        yield


def main(path):
    secret = None
    for _ in changes(path):
        with open(path, "rb") as file:
            fresh = file.read()
        if fresh == secret:
            continue  # One change can cause two events.
        secret = fresh
        print(f"loaded {len(secret)} bytes", flush=True)


main(sys.argv[1])
