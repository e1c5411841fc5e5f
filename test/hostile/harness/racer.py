"""A container's program that keeps exchanging directories of its volume with links that lead elsewhere.

Arguments: where the links lead, how many files each directory gets, then DIRECTORY:NAME for each that is exchanged.
It holds the volume open, as a container does that has it mounted, and so never reaches what lies beneath the mount.
Directories that were deleted are made again.
"""
import ctypes, os, sys

libc = ctypes.CDLL(None, use_errno=True)
RENAME_EXCHANGE, SYS_RENAMEAT2 = 2, 316 if os.uname().machine == "x86_64" else 276
outside, count = sys.argv[1], int(sys.argv[2])
names = os.listdir(outside)[:count]
places = []
for word in sys.argv[3:]:
    directory, name = word.rsplit(":", 1)
    places.append((os.open(directory, os.O_RDONLY | os.O_DIRECTORY), name))


def quietly(make, *args, **more):
    try:
        return make(*args, **more)
    except OSError:
        return None


def lay_out(directory, name):
    quietly(os.mkdir, name, dir_fd=directory)
    quietly(os.symlink, outside, f"{name}.link", dir_fd=directory)
    for wanted in (name, f"{name}.link"):
        inner = quietly(os.open, wanted, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        if inner is None:
            continue
        for file in names:
            fd = quietly(os.open, file, os.O_CREAT | os.O_EXCL, dir_fd=inner)
            if fd is not None:
                os.close(fd)
        os.close(inner)


while True:
    for directory, name in places:
        lay_out(directory, name)
        one, other = name.encode(), f"{name}.link".encode()
        for _ in range(200):
            libc.syscall(SYS_RENAMEAT2, directory, one, directory, other, RENAME_EXCHANGE)
