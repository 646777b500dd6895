# SPDX-License-Identifier: MIT
"""What uco does not support is refused when it is configured, and the message says why.

usage: refused.py MESON ROOT COMPILER...

Nothing is linked for the other machine, so that its C library need not be here.
"""

import pathlib
import subprocess
import sys
import tempfile

CROSS = """
[binaries]
c = {compiler}
ar = 'ar'
pkgconfig = 'pkg-config'

[built-in options]
c_args = {arguments}

[properties]
needs_exe_wrapper = true
skip_sanity_check = true

[host_machine]
system = '{system}'
cpu_family = '{family}'
cpu = '{family}'
endian = 'little'
"""

# What is asked for, with which compiler options, and what the answer must contain.
CASES = [
    ("linux", "x86", ["-m32"], "uco needs a 64-bit target: thousands of coroutine stacks do not fit"),
    ("freebsd", "x86_64", [], "uco needs Linux (epoll, eventfd, futexes); this is a build for freebsd."),
]


def main():
    meson, root, *compiler = sys.argv[1:]
    problems = 0

    for system, family, arguments, message in CASES:
        with tempfile.TemporaryDirectory() as folder:
            cross = pathlib.Path(folder, "cross.ini")
            cross.write_text(
                CROSS.format(compiler=compiler, arguments=arguments, system=system, family=family), encoding="utf-8"
            )
            done = subprocess.run(
                [meson, "setup", f"{folder}/build", root, "--cross-file", cross],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        if done.returncode == 0 or message not in done.stdout:
            print(f"{system}, {family}: status {done.returncode}, not '{message}':\n{done.stdout}")
            problems += 1
    print(f"{len(CASES)} builds refused" if problems == 0 else f"{problems} problems")
    return 1 if problems else 0


sys.exit(main())
