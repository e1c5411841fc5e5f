"""Reads the files of a volume over and over, as applications do, and counts what it should never see.

usage: soak-reader.py ROOT READS GRACE_SECONDS NAME...
Each file describes itself: its generation in 8 digits, its length in 8 digits, then the generation repeated.
Half of the rounds open each file by its path; the other half resolve ..data once and read the set beneath.
Prints one JSON line: reads, torn (a file not whole, read within the grace), backwards (an older generation after a
newer one, by path, both read within the grace), mixed (a set of several generations, read within the grace), late (torn or mixed, by a reader
slower than the grace: a loaded machine may hold it up between two reads, and more is not promised), generations
(different ones seen).
"""
import json
import os
import sys
import time

CHUNK = 4096


def read(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        data = os.read(fd, CHUNK)
        while more := os.read(fd, CHUNK):
            data += more
        return data
    finally:
        os.close(fd)


def is_whole(data):
    body = len(data) - 16
    return body >= 0 and int(data[8:16]) == len(data) and data[16:] == (data[:8] * (body // 8 + 1))[:body]


def main():
    root, wanted, grace, names = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
    paths = [os.path.join(root, name) for name in names]
    seen = {"reads": 0, "torn": 0, "backwards": 0, "mixed": 0, "late": 0}
    generations = set()
    newest = [b""] * len(paths)
    while seen["reads"] < wanted:
        for index, path in enumerate(paths):
            began = time.monotonic()
            data = read(path)
            is_late = time.monotonic() - began >= grace
            if not is_whole(data):
                seen["late" if is_late else "torn"] += 1
            # Held up between open and read for longer than the grace it may meet what is not visible by path yet.
            if not is_late:
                seen["backwards"] += data[:8] < newest[index]
                newest[index] = data[:8]
        generations.add(newest[0])
        began = time.monotonic()
        slot = os.path.join(root, os.readlink(os.path.join(root, "..data")))
        together = [read(os.path.join(slot, name)) for name in names]
        took = time.monotonic() - began
        is_torn = any(not is_whole(data) for data in together)
        if is_torn or len({data[:8] for data in together}) > 1:
            seen["late" if took >= grace else "torn" if is_torn else "mixed"] += 1
        seen["reads"] += 2 * len(paths)
    print(json.dumps({**seen, "generations": len(generations)}))


main()
