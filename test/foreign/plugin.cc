/* SPDX-License-Identifier: MIT */
/* A C++ library that a C program loads, and that keeps its exceptions to itself. */
#include <cstdint>
#include <cstdio>
#include <stdexcept>

extern "C" __attribute__((visibility("default"))) int
plugin_rethrows(int (*between)(), const char *text, char *caught, size_t size);

/* Throws an exception with the text, calls between() inside the catch block, and gives the text of
 * what is thrown again then. */
int
plugin_rethrows(int (*between)(), const char *text, char *caught, size_t size)
{
    int r = -1;

    try {
        try {
            throw std::runtime_error(text);
        } catch (...) {
            r = between();
            throw;
        }
    } catch (const std::exception &error) {
        std::snprintf(caught, size, "%s", error.what());
    }
    return r;
}
