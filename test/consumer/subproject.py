# SPDX-License-Identifier: MIT
"""Builds a project that has uco as a meson subproject, and runs its program.

usage: subproject.py MESON SOURCE-ROOT
"""

import os
import subprocess
import sys
import tempfile

# Options unlike uco's own, to see that uco's sources keep theirs.
PROJECT = """
project('consumer', 'c', default_options: ['c_std=c99', 'default_library=static'])
uco = dependency('uco', fallback: 'uco')
executable('consumer', 'consumer.c', dependencies: uco)
"""

PROGRAM = """
#include <stdio.h>
#include <uco/uco.h>
static intptr_t body(void *arg) { (void) arg; puts(uco_version()); return uco_sleep(0.01); }
int main(void) { return uco_run(body, NULL) != 0; }
"""


def run(*command):
    print("$", *command, flush=True)
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed ({done.returncode}):\n{done.stdout}")
    return done.stdout


def main():
    meson, root = sys.argv[1:]

    with tempfile.TemporaryDirectory() as directory:
        for name, text in (("meson.build", PROJECT), ("consumer.c", PROGRAM)):
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(text)
        os.mkdir(os.path.join(directory, "subprojects"))
        os.symlink(root, os.path.join(directory, "subprojects", "uco"))

        build = os.path.join(directory, "build")
        setup = run(meson, "setup", build, directory, "--wrap-mode=forcefallback", "-Duco:http=disabled")
        warnings = [line for line in setup.splitlines() if "WARNING" in line]
        if warnings:
            sys.exit("meson warns:\n" + "\n".join(warnings))
        run(meson, "compile", "-C", build)
        shared = [name for _, _, names in os.walk(build) for name in names if ".so" in name]
        if shared:
            sys.exit(f"the project asked for static libraries and got {shared}")
        print(run(os.path.join(build, "consumer")))


main()
