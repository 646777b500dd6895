# SPDX-License-Identifier: MIT
"""Installs the build into a directory, then compiles, links and runs programs with nothing but what pkg-config tells.

usage: installed.py MESON BUILD PKG-CONFIG [--compile SOURCE COMPILER...]...
"""

import os
import shutil
import subprocess
import sys
import tempfile


def run(command, **environment):
    print("$", *command, flush=True)
    done = subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed ({done.returncode}):\n{done.stdout}")
    return done.stdout


def find(directory, name):
    """The folder below a directory that has such a file."""
    for folder, _, names in os.walk(directory):
        if name in names:
            return folder
    sys.exit(f"{name} was not installed")


def compilations(arguments):
    """(source, compiler) of each --compile."""
    while arguments:
        source, *rest = arguments[1:]
        end = rest.index("--compile") if "--compile" in rest else len(rest)
        yield source, rest[:end]
        arguments = rest[end:]


def main():
    meson, build, pkg_config = sys.argv[1:4]

    with tempfile.TemporaryDirectory() as directory:
        root = os.path.join(directory, "root")
        run([meson, "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", root])
        libraries = find(root, "libuco.so")

        # A copy of the static libraries alone: next to the shared ones the linker would take those.
        archives = os.path.join(directory, "archives")
        os.mkdir(archives)
        for name in os.listdir(libraries):
            if name.endswith(".a"):
                shutil.copy(os.path.join(libraries, name), archives)

        def flags(*arguments):
            return run(
                [pkg_config, *arguments],
                PKG_CONFIG_PATH=find(root, "uco.pc"),
                PKG_CONFIG_SYSROOT_DIR=root,
            ).split()

        cflags = flags("--cflags", "uco-http")
        shared = flags("--libs", "uco-http")
        # All of libuco-http's own needs, but libcurl as it comes: few systems have what a static libcurl needs.
        static = ["-L" + archives]
        static += [flag for flag in shared + flags("--libs", "--static", "uco") if flag[:2] != "-L"]
        static += flags("--libs", "libcurl")

        for source, compiler in compilations(sys.argv[4:]):
            for name, libs in (("shared", shared), ("static", static)):
                program = os.path.join(directory, os.path.basename(source) + "." + name)
                run([*compiler, "-Wall", "-Wextra", "-Werror", *cflags, source, "-o", program, *libs])
                output = run([program], LD_LIBRARY_PATH=libraries if name == "shared" else "")
                if output != "[3, 11]\n":
                    sys.exit(f"{program} printed {output!r}")


main()
