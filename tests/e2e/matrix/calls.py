# Makes system calls as it is told, a line for each task, and says of each call how long it took and how it ended. Not a
# thread of the test: what hangs in a call can only be ended with its process.
import os, sys, time


class Failed(Exception):
    pass


def call(name, work, *arguments):
    begun = time.monotonic()
    try:
        result, number = work(*arguments), 0
    except OSError as error:
        result, number = None, error.errno
    print("call", name, "%.6f" % (time.monotonic() - begun), number, flush=True)
    if number:
        raise Failed(number)
    return result


def stat(path):
    print("size", call("stat", os.stat, path).st_size)


def names(path):
    print("names", len(call("list", os.listdir, path)))


def read(path, kept):
    file = call("open", os.open, path, os.O_RDONLY)
    try:
        with open(kept, "wb") as target:
            while block := call("read", os.read, file, 1 << 17):
                target.write(block)
    finally:
        call("close", os.close, file)


def write(path, source):
    content = open(source, "rb").read()
    file = call("create", os.open, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    offset = 0
    try:
        while offset < len(content):
            offset += call("write", os.write, file, content[offset : offset + (1 << 17)])
            print("taken", offset)
    finally:
        call("close", os.close, file)


def write_backwards(path, source):
    content = open(source, "rb").read()
    file = call("create", os.open, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        for offset in reversed(range(0, len(content), 1 << 17)):
            call("write", os.pwrite, file, content[offset : offset + (1 << 17)], offset)
    finally:
        call("close", os.close, file)


def change(old, new, gone):
    failed = None
    for name, work in ("rename", lambda: os.rename(old, new)), ("unlink", lambda: os.unlink(gone)):
        try:
            call(name, work)
        except Failed as error:
            failed = failed or error
    if failed:
        raise failed


tasks = {"stat": stat, "names": names, "read": read, "write": write, "write_backwards": write_backwards, "change": change}
for line in sys.stdin:
    task, *arguments = line.rstrip("\n").split("\t")
    number = 0
    try:
        tasks[task](*arguments)
    except Failed as error:
        number = error.args[0]
    print("done", number, flush=True)
