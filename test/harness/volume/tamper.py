"""What a container that is root does to its volume. Usage: tamper.py DEED VOLUME."""
import ctypes
import fcntl
import os
import struct
import sys
import time

deed, root = sys.argv[1:3]
os.chdir(root)
FS_IOC_SETFLAGS, IMMUTABLE = 0x40086602, 0x10


def touch(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


def flag(path, flags):
    fd = os.open(path, os.O_RDONLY)
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack('l', flags))
    os.close(fd)


def sparse():
    """Larger than memory has room for, and of no size on the tmpfs."""
    for slot in ('..slot-a', '..slot-b', '.'):
        for name in ('password', 'huge'):
            if os.path.isdir(slot) and (slot != '.' or not os.path.islink(name)):
                fd = os.open(f'{slot}/{name}', os.O_CREAT | os.O_WRONLY)
                os.ftruncate(fd, 1_900_000_000)
                os.close(fd)


def full():
    """Every byte and every inode taken: by what is ours, and by what is not."""
    with open('..slot-a/password' if os.path.isdir('..slot-a') else 'password', 'wb', 0) as file:
        fill(file)
    try:
        for count in range(100_000):
            touch(f'junk-{count}')
    except OSError:
        pass


def fill(file):
    try:
        while True:
            file.write(b'x' * 65536)
    except OSError:
        pass


def deep():
    """Ten thousand levels, or as many as there are inodes, each with a file."""
    os.mkdir('deep')
    os.chdir('deep')
    try:
        for _ in range(10_000):
            touch('file')
            os.mkdir('d')
            os.chdir('d')
    except OSError:
        pass


def names():
    """Names that are no text, and kinds that are no file."""
    for place in (b'.', b'..slot-a', b'..slot-b'):
        if not os.path.isdir(place):
            continue
        for name in (b'\xff\xfe', b'new\nline', '\U0001f512'.encode(), b'back\\slash', b'n' * 255, b'..odd', b'\xef\xbf\xbd', b'%s %n'):
            touch(place + b'/' + name)
        os.mkdir(place + b'/\xff-dir')
        touch(place + b'/\xff-dir/\xff')
        os.mkfifo(place + b'/fifo')
        os.symlink('/etc/passwd', place + b'/link')


def kinds():
    """Other things in the places of ours."""
    for slot in ('..slot-a', '..slot-b'):
        os.unlink(f'{slot}/user')
        os.unlink(f'{slot}/password')
    os.mkfifo('..slot-a/password')
    os.symlink('/etc/passwd', '..slot-b/password')
    os.mkdir('..slot-a/user')
    os.unlink('..data')
    os.mkdir('..data')
    touch('..data/x')
    os.mkdir('..data_tmp')
    touch('..data_tmp/x')


def links():
    """One inode for both slots, and one more name at the top."""
    os.unlink('..slot-b/password')
    os.link('..slot-a/password', '..slot-b/password')
    os.link('..slot-a/user', 'again')


def modes():
    for slot in ('..slot-a', '..slot-b'):
        os.chmod(f'{slot}/password', 0o6777)
        os.chown(f'{slot}/password', 0, 0)
        os.utime(f'{slot}/password', (2**33, 2**33))
        os.chmod(slot, 0)


def away():
    """Slots that are elsewhere."""
    os.rename('..slot-a', 'a')
    os.symlink('a', '..slot-a')
    os.rename('..slot-b', 'b')
    os.symlink('/etc', '..slot-b')


def immutable():
    flag('..slot-a/password', IMMUTABLE)
    flag('..slot-b', IMMUTABLE)


def mutable():
    flag('..slot-b', 0)
    flag('..slot-a/password', 0)


def lease():
    """A non-blocking open of the file fails; any other open to write waits for us, up to 45 s."""
    held = []
    for slot in ('..slot-a', '..slot-b'):
        fd = os.open(f'{slot}/password', os.O_RDONLY)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        held.append(fd)
    print('held', flush=True)
    time.sleep(600)


{deed: work for deed, work in globals().items() if callable(work)}[deed]()
