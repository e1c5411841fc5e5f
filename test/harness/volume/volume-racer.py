"""A container with write access to its volume that swaps what stands in it, as fast as it can, for links that lead out.

Usage: volume-racer.py VOLUME OUTSIDE. Runs until it is killed; prints how often it swapped, once a second.
"""
import ctypes
import os
import random
import sys
import time

root, outside = sys.argv[1:3]
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_EXCHANGE = -100, 2
OUTSIDE_NAMES = os.listdir(outside)
# As in a container, whose own walks through its links stay within its own root.
os.chroot(root)
os.chdir('/')


def path(name):
    return '/' + name


def attempt(work, *args):
    try:
        work(*args)
    except OSError:
        pass


def exchange(one, other):
    return libc.renameat2(AT_FDCWD, path(one).encode(), AT_FDCWD, path(other).encode(), RENAME_EXCHANGE) == 0


def make_decoys():
    """A directory whose files have the names of those outside, and links to take its place."""
    for folder in ('decoy', 'decoy/deep', '..slot-a/decoy'):
        attempt(os.mkdir, path(folder))
        for name in OUTSIDE_NAMES:
            attempt(lambda: os.close(os.open(path(f'{folder}/{name}'), os.O_CREAT | os.O_WRONLY)))
    for link in ('link', 'link2', '..slot-a/link'):
        attempt(os.symlink, outside, path(link))


PAIRS = [
    ('decoy', 'link'),
    ('decoy/deep', 'link2'),
    ('..slot-a/decoy', '..slot-a/link'),
    ('..slot-a', 'link'),
    ('..slot-b', 'link2'),
    ('..slot-a', '..slot-b'),
    ('..slot-a/password', 'link'),
    ('..data', 'link'),
    ('password', 'link2'),
]
OTHERS = [
    lambda: os.symlink(outside, path('..data_tmp')),
    lambda: os.mkdir(path('..data_tmp')),
    lambda: os.symlink(outside, path('..new-password')),
    lambda: os.link(path('..slot-a/password'), path('..slot-b/again')),
    lambda: os.unlink(path('password')),
    lambda: os.rename(path('..slot-b'), path('away')),
    lambda: os.mkfifo(path('..slot-b/user')),
]

swapped, told = 0, time.monotonic()
while True:
    make_decoys()
    for _ in range(50):
        pair = random.choice(PAIRS)
        if exchange(*pair):
            swapped += 1
            exchange(*pair)
    if random.random() < 0.2:
        attempt(random.choice(OTHERS))
    if random.random() < 0.1:
        exchange(*random.choice(PAIRS))
    if time.monotonic() - told > 0.2:
        told = time.monotonic()
        print(swapped, flush=True)
