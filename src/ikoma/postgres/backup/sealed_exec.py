"""Becomes another program, without a network, without rights and unable to start a program: `UID PROGRAM ARGUMENTS…`.

Run as a program of its own, it first gives up what that one must not have, and what it cannot give up ends it: the
program never runs with more. The kernel refuses it every socket but those of this machine (AF_UNIX) and every new
process. That needs no rights, so it also holds in a unit or a container that may make no namespaces; where they may be
made, it has a network of its own besides, with nothing in it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys

FAILED = 125
"""Exit code where it cannot be sealed; the reason is what it says."""

_CLONE_NEWNET = 0x40000000
_SET_PDEATHSIG, _SET_SECCOMP, _SET_NO_NEW_PRIVS = 1, 22, 38
_MODE_FILTER = 2
_AF_UNIX = 1

_MACHINES = {
    # audit architecture, socket(2), and what is refused: clone, fork, vfork, ptrace, process_vm_writev, io_uring_setup
    # (which makes sockets of its own), clone3.
    "x86_64": (0xC000003E, 41, (56, 57, 58, 101, 311, 425, 435)),
    "aarch64": (0xC00000B7, 198, (220, 117, 271, 425, 435)),
}
_FOREIGN_CALLS = 0x40000000
"""From here on x86 numbers calls of another kind (x32)."""

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM


def main() -> None:
    """Seal this process and become the program."""
    user, program = int(sys.argv[1]), sys.argv[2:]
    try:
        give_up_rights(user)
        os.execv(program[0], program)  # noqa: S606 - a list, and no shell
    except OSError as error:
        print(f"{error.strerror}: {error.filename or program[0]}", file=sys.stderr)  # noqa: T201 - its one answer
        sys.exit(FAILED)


def give_up_rights(user: int) -> None:
    """Give up network, rights and new processes, for good.

    Raises:
        OSError: something of it could not be given up.
    """
    filtering = make_filter(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    libc.unshare(_CLONE_NEWNET)  # where that may not be done, the filter alone holds
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _set_control(libc, _SET_PDEATHSIG, signal.SIGKILL)  # to become another user takes it away
    _set_control(libc, _SET_NO_NEW_PRIVS, 1)
    content = ctypes.create_string_buffer(filtering, len(filtering))
    told = struct.pack("HxxxxxxP", len(filtering) // 8, ctypes.addressof(content))
    _set_control(libc, _SET_SECCOMP, _MODE_FILTER, ctypes.create_string_buffer(told, len(told)))


def make_filter(machine: str) -> bytes:
    """The kernel's filter of system calls, for a machine as uname names it.

    Raises:
        OSError: its system calls are not known here.
    """
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, "the system calls of this machine are not known", machine)
    architecture, socket, refused = _MACHINES[machine]
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL)]
    lines += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _FOREIGN_CALLS), (_RETURN, 0, 0, _KILL)]
    for number in refused:
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    lines += [(_EQUAL, 1, 0, socket), (_RETURN, 0, 0, _ALLOW)]
    lines += [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 1, 0, _AF_UNIX), (_RETURN, 0, 0, _REFUSE)]
    lines += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _set_control(libc: ctypes.CDLL, option: int, value: int, more: ctypes.Array[ctypes.c_char] | None = None) -> None:
    zero = ctypes.c_ulong(0)
    if libc.prctl(option, ctypes.c_ulong(value), zero if more is None else more, zero, zero) != 0:
        failed = ctypes.get_errno()
        raise OSError(failed, os.strerror(failed), f"prctl {option}")


if __name__ == "__main__":
    main()
