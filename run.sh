#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs what is missing (on Debian), builds uco, and runs the tour, the tests or the benchmarks.

set -eu

cd "$(dirname -- "$(readlink -f -- "$0")")"

usage() {
    cat <<'END'
usage: ./run.sh COMMAND [ARGUMENT...]

  tour               build the tour and run it
  test [ARGUMENT...] build and run all tests; arguments go to `meson test`,
                     as in: ./run.sh test --suite core
  bench [--peers] [--quick] [--rounds N] [NAME...]
                     build and run the benchmarks, all or those named (as in:
                     ./run.sh bench switch yield), and report in build/bench:
                     report.html and report.json
                     --peers   install Go, boost.fiber and the others that uco can
                               be compared with (those that are here take part
                               in any case), and nginx, to fetch from
                     --quick   a look at orders of magnitude: a hundredth of the
                               work, two rounds
                     --rounds  how many rounds (1 to 999) instead of 9
  lint               look at the sources: clang-format, clang-tidy, cppcheck and
                     shellcheck, as .clang-format, .clang-tidy and .ci/cppcheck.txt
                     say; what clang-tidy finds is only told
  coverage           run the tests of the library, and report in build/coverage
                     what they reach: index.html, report.txt, and missed.txt,
                     which names the lines and branches that they do not
  install [COMMAND]  only install what is missing for tour, test (unless told
                     otherwise), bench, peers, lint, coverage or ci, which is what
                     .ci/run uses
  help               this text

What is missing is installed by apt-get on Debian, as root or by sudo; on other
systems its name is shown. Builds are kept in build/. With CI=true in the
environment, warnings are errors.
END
}

# Every package that anything here needs: by which command, its name on Debian 12, and what shows
# that it is there already, from wherever it came. (Recommended packages are not installed: so gcc's
# libc6-dev and the cross compiler's stand here.) What has a colon is not installed but unpacked: into
# build/arm64 what is for that architecture, and into build/native a server, which, installed, would
# start now and with the machine.
needs() {
    cat <<'END'
tour  gcc                    program   cc gcc clang
tour  libc6-dev              package
tour  meson                  meson
tour  ninja-build            program   ninja
tour  pkg-config             program   pkg-config
tour  libcurl4-openssl-dev   module    libcurl >= 7.88
tour  libssl-dev             module    openssl >= 3.0
tour  liburing-dev           module    liburing >= 2.3
test  g++                    program   c++ g++ clang++
test  check                  module    check >= 0.15
test  libsubunit-dev         module    libsubunit
test  openssl                program   openssl
test  libhttp-parser-dev     package
test  nginx:native           server    usr/sbin/nginx
peers g++                    program   c++ g++ clang++
peers golang-go              program   go
peers libboost-context-dev   package
peers libboost-fiber-dev     package
peers libuv1-dev             module    libuv
peers libst-dev              package
peers libpth-dev             package
peers nginx:native           server    usr/sbin/nginx
peers curl                   program   curl
peers python3-aiohttp        package
peers python3-httpx          package
peers python3-uvloop         package
peers python3                program   python3
lint  clang                  program   clang
lint  clang-format           program   clang-format
lint  clang-tidy             program   clang-tidy
lint  cppcheck               program   cppcheck
lint  shellcheck             program   shellcheck
cover gcovr                  program   gcovr
ci    wrk                    program   wrk
ci    curl                   program   curl
ci    netcat-openbsd         program   nc
ci    clang                  program   clang
ci    libclang-rt-14-dev     package
ci    strace                 program   strace
ci    valgrind               program   valgrind
ci    gcc-aarch64-linux-gnu  program   aarch64-linux-gnu-gcc
ci    libc6-dev-arm64-cross  package
ci    qemu-user              program   qemu-aarch64
ci    check:arm64            unpacked  usr/lib/aarch64-linux-gnu/libcheck_pic.a
ci    libsubunit-dev:arm64   unpacked  usr/lib/aarch64-linux-gnu/libsubunit.a
ci    libsubunit0:arm64      unpacked  usr/lib/aarch64-linux-gnu/libsubunit.so.0
END
}

say() {
    printf 'uco: %s\n' "$*" >&2
}

die() {
    say "$@"
    exit 1
}

# Runs a command with its output in a file, which is shown when it fails.
quietly() {
    log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null || {
        cat "$log" >&2
        return 1
    }
}

# Sets $meson to one that works and is new enough: a PATH may lead to one whose Python is gone.
find_meson() {
    for meson in meson /usr/bin/meson; do
        version=$("$meson" --version 2>/dev/null) || continue
        oldest=$(printf '%s\n' 1.0.1 "$version" | sort -V | head -n 1)
        [ "$oldest" = 1.0.1 ] && return 0
    done
    return 1
}

# is_there PACKAGE KIND [NAME...]: programs of which one will do, or a module and its least version.
is_there() {
    package=$1
    kind=$2
    shift 2

    case $kind in
    meson)
        find_meson
        ;;
    program)
        for program in "$@"; do
            command -v "$program" >/dev/null && return 0
        done
        return 1
        ;;
    module)
        pkg-config --exists "$*" 2>/dev/null
        ;;
    package)
        # Where there is no dpkg, nobody can tell: the build will.
        ! command -v dpkg-query >/dev/null ||
            dpkg-query -W -f "\${db:Status-Status}\n" "$package" 2>/dev/null | grep -qx installed
        ;;
    unpacked)
        [ -e "build/arm64/$1" ]
        ;;
    server)
        [ -x "/$1" ] || [ -x "build/native/$1" ] || command -v "${1##*/}" >/dev/null
        ;;
    esac
}

missing_for() {
    case $1 in
    test) groups='tour test' ;;
    lint) groups='tour lint' ;;
    coverage) groups='tour test cover' ;;
    ci) groups='tour test lint cover ci' ;;
    peers) groups='tour peers' ;;
    *) groups=tour ;;
    esac

    needs | while read -r group package kind names; do
        case " $groups " in
        *" $group "*)
            # shellcheck disable=SC2086  # several names
            is_there "$package" "$kind" $names || printf '%s ' "$package"
            ;;
        esac
    done
}

apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@"
}

# A source that cannot be reached may not be the one that is needed, so the installation is tried all the same.
apt_install() {
    apt update || true
    apt install --no-install-recommends "$@"
}

# apt with lists of its own: the system stays as it is, and nobody need be root.
apt_aside() {
    apt-get -q -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" \
        -o APT::Sandbox::User=root -o Acquire::Languages=none -o Dir::State::status=/dev/null \
        -o "Dir::State=$state" -o "Dir::Cache=$state" "$@"
}

# unpack FOLDER ARCHITECTURE PACKAGE...: into build/FOLDER, without what they depend on.
unpack() {
    folder=build/$1
    architecture=$2
    shift 2
    state=$PWD/build/apt-$architecture
    rm -rf "$state"
    mkdir -p "$state/lists/partial" "$state/archives/partial" "$folder"

    apt_aside update || true
    (cd "$state/archives" && apt_aside download "$@") || return 1
    for file in "$state"/archives/*.deb; do
        dpkg-deb -x "$file" "$folder" || return 1
    done
    rm -rf "$state"
}

install_for() {
    mkdir -p build

    missing=$(missing_for "$1")
    missing=${missing% }
    [ -n "$missing" ] || return 0
    installed=
    arm64=
    native=
    for package in $missing; do
        case $package in
        *:arm64) arm64="$arm64 $package" ;;
        *:native) native="$native ${package%:native}" ;;
        *) installed="$installed $package" ;;
        esac
    done

    grep -qx 'ID=debian' /etc/os-release 2>/dev/null ||
        die "please install first what Debian 12 calls: $missing"
    sudo=
    if [ -n "$installed" ] && [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "please install first, as root: apt-get install$installed"
        sudo=sudo
    fi

    say "installing $missing"
    # shellcheck disable=SC2086  # several packages
    if [ -n "$installed" ]; then
        quietly build/install.log apt_install $installed || die "apt-get failed; its output is above"
    fi
    # shellcheck disable=SC2086
    if [ -n "$arm64" ]; then
        quietly build/install.log unpack arm64 arm64 $arm64 || die "apt-get failed; its output is above"
    fi
    # shellcheck disable=SC2086
    if [ -n "$native" ]; then
        quietly build/install.log unpack native "$(dpkg --print-architecture)" $native ||
            die "apt-get failed; its output is above"
    fi

    hash -r
    missing=$(missing_for "$1")
    [ -z "$missing" ] || die "installed, but still not usable: $missing"
}

configure() {
    directory=$1
    shift

    if [ -d "$directory" ]; then
        "$meson" setup --reconfigure "$directory" "$@" >"$directory.log" 2>&1 </dev/null && return 0
        # Made by another meson, or for a tree that has since moved.
        rm -rf "$directory"
    fi
    quietly "$directory.log" "$meson" setup "$directory" "$@"
}

# build NAME [MESON OPTION...]: in build/NAME.
build() {
    name=$1
    shift

    find_meson
    say "configuring build/$name"
    configure "build/$name" -Dhttp=enabled "$@" || die "configuring failed; meson's output is above"
    say "compiling build/$name"
    quietly "build/$name.log" "$meson" compile -C "build/$name" || die "compiling failed; the output is above"
}

tour() {
    install_for tour
    build tour -Dbuildtype=release -Dtests=disabled
    build/tour/examples/tour "$@"
}

run_tests() {
    werror=false
    [ "${CI:-}" = true ] && werror=true

    install_for test
    build test -Dtests=enabled -Dbench=$werror -Dwerror=$werror
    say "testing"
    "$meson" test -C build/test --no-rebuild --print-errorlogs "$@"
}

# Another version of clang-format puts some lines otherwise, and is not asked.
lint_format() {
    case $(clang-format --version) in
    *' version 14.'*) ;;
    *)
        say "clang-format is not version 14: the sources' form is not looked at"
        return 0
        ;;
    esac
    find src include test bench examples -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
}

lint_cppcheck() {
    mkdir -p build/lint/cppcheck
    cppcheck --quiet --error-exitcode=1 -j "$(nproc)" --cppcheck-build-dir=build/lint/cppcheck \
        --enable=warning,performance,portability --inconclusive --std=c11 --library=posix --library=gnu \
        --suppressions-list=.ci/cppcheck.txt --suppress=missingIncludeSystem -Iinclude -Isrc -D_GNU_SOURCE \
        -D__x86_64__=1 -D__linux__=1 -D__GNUC__=12 -DUCO_TLS=1 -DUCO_IO_URING=1 "-DUCO_VERSION=\"0\"" src
}

# Four files a process, as many processes at once as there are processors.
lint_tidy() {
    find src -name '*.c' ! -name '*_missing.c' -print0 |
        xargs -0 -n 4 -P "$(nproc)" clang-tidy --quiet --warnings-as-errors='*' -p build/lint
}

lint() {
    status=0

    install_for lint
    find_meson
    # clang-tidy knows clang's options only.
    export CC=clang
    configure build/lint -Dhttp=enabled -Dtls=enabled -Dio_uring=enabled -Dtests=disabled -Dexamples=false ||
        die "configuring failed; meson's output is above"
    say "clang-format"
    lint_format || status=1
    say "shellcheck"
    shellcheck run.sh .ci/run || status=1
    say "cppcheck"
    lint_cppcheck || status=1
    # Not all that it says has been looked at, so it fails nothing.
    if [ "${CI:-}" != true ]; then
        say "clang-tidy"
        lint_tidy >build/lint.log 2>&1 || say "build/lint.log has what clang-tidy says"
    fi
    [ "$status" -eq 0 ] || die "there is something to be put right"
}

coverage_report() {
    gcovr --root . --object-directory build/gcov build/gcov --filter 'src/(base|core|task|sync|io|http)/' \
        --exclude-unreachable-branches --exclude-lines-by-pattern "$never" --exclude-branches-by-pattern "$never" "$@"
}

# Counts of children that a test ends by force would be lost: see test/support/coverage.c.
coverage() {
    # What ends the program when uco itself is wrong, so that no test can reach it.
    never='.*(UCO__ASSERT|uco__panic|__builtin_unreachable)\(.*'

    install_for coverage
    build gcov -Dbuildtype=debug -Db_coverage=true -Dtests=enabled -Dexamples=false -Ddefault_library=static \
        -Dc_args=-fprofile-update=atomic
    find build/gcov -name '*.gcda' -delete
    say "testing"
    # Counted without optimisation, all takes longer.
    export CK_TIMEOUT_MULTIPLIER="${CK_TIMEOUT_MULTIPLIER:-4}"
    "$meson" test -C build/gcov --no-rebuild --print-errorlogs --timeout-multiplier 4 --suite base --suite core --suite task \
        --suite sync --suite io --suite http "$@" || die "what a failed test did is not counted"
    rm -rf build/coverage
    mkdir -p build/coverage
    say "reporting in build/coverage"
    coverage_report --html-details build/coverage/index.html --txt build/coverage/report.txt \
        --json-summary build/coverage/summary.json --json build/coverage/all.json
    python3 test/support/coverage.py build/coverage
}

# The names of all benchmarks, without bench_.
bench_names() {
    for source in bench/bench_*.c; do
        name=${source##*/bench_}
        printf '%s ' "${name%.c}"
    done
}

# bench_check NAME: dies when there is none.
bench_check() {
    case " $(bench_names)" in
    *" $1 "*) ;;
    *) die "there is no benchmark '$1', but there are these: $(bench_names)" ;;
    esac
}

bench_check_rounds() {
    case $1 in
    '' | 0* | *[!0-9]* | ????*) die "--rounds wants a number from 1 to 999" ;;
    esac
}

# bench_run NAME [OPTION...]: adds its figures to the files of the report; false when it failed.
bench_run() {
    program=build/release/bench/bench_$1
    figures=build/bench/bench_$1.json
    say "bench_$1"
    shift

    files="$files $figures"
    rm -f "$figures"
    "$program" "$@" --json "$figures"
}

bench() {
    wanted=bench
    options=
    names=
    files=
    status=0

    while [ $# -gt 0 ]; do
        case $1 in
        --peers) wanted=peers ;;
        --quick) options="$options --quick" ;;
        --rounds)
            bench_check_rounds "${2:-}"
            options="$options --rounds $2"
            shift
            ;;
        -*) die "bench has no option '$1'" ;;
        *)
            bench_check "${1#bench_}"
            case "$names " in
            *" ${1#bench_} "*) ;;
            *) names="$names ${1#bench_}" ;;
            esac
            ;;
        esac
        shift
    done

    install_for "$wanted"
    build release -Dbuildtype=release -Dtests=disabled -Dexamples=false -Dbench=true
    mkdir -p build/bench
    for name in ${names:-$(bench_names)}; do
        # shellcheck disable=SC2086  # several options
        bench_run "$name" $options || status=1
    done
    # shellcheck disable=SC2086  # several files
    python3 bench/report.py --into build/bench $files || status=1
    say "build/bench/report.html has the charts"
    return "$status"
}

command=${1:-help}
[ $# -eq 0 ] || shift

case $command in
tour) tour "$@" ;;
test) run_tests "$@" ;;
bench) bench "$@" ;;
lint) lint ;;
coverage) coverage "$@" ;;
install)
    case ${1:-test} in
    tour | test | bench | peers | lint | coverage | ci) install_for "${1:-test}" ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    ;;
help | -h | --help) usage ;;
*)
    say "there is no command '$command'"
    usage >&2
    exit 2
    ;;
esac
