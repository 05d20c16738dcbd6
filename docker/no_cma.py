"""Run a command as under a seccomp profile that refuses cross-memory attach (x86_64 Linux).

    python no_cma.py COMMAND [arguments]

process_vm_readv and process_vm_writev then fail with EPERM, as under profiles of Docker and of
clusters: MPICH crashes there unless MPIR_CVAR_CH4_CMA_ENABLE=0, which the image sets.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
READV, WRITEV = 310, 311  # numbers of the calls on x86_64
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return


class Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def refuse() -> None:
    """For this process and all that it starts."""
    code = [
        (LOAD, 0, 0, 0),  # the number of the call
        (EQUAL, 2, 0, READV),
        (EQUAL, 1, 0, WRITEV),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = Program(len(code), ctypes.addressof(filter))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"prctl: {os.strerror(code)}")


if platform.machine() != "x86_64":
    sys.exit("no_cma.py: x86_64 only")
refuse()
os.execvp(sys.argv[1], sys.argv[1:])
