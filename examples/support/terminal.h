/* SPDX-License-Identifier: MIT */
#ifndef TERMINAL_H
#define TERMINAL_H

/* Colours, marks and code for a terminal; plain text for everything else, and where NO_COLOR is
 * set. */

#include <stdbool.h>
#include <stdio.h>

enum ink {
    INK_OFF,
    INK_TITLE,
    INK_DIM,
    INK_GOOD,
    INK_BAD,
    INK_KEYWORD,
    INK_CALL, /* uco's own names */
    INK_TEXT, /* string literals */
    INK_NUMBER,
    INK_COMMENT,
};

/** The escape sequence that switches to an ink, or "" where there are no colours. */
const char *ink(FILE *out, enum ink which);

/** A check mark or a cross; words where the locale has neither. */
const char *mark(bool good);

/** A line across the page, of so many columns, in the locale's best character. */
void rule_print(FILE *out, int columns);

enum language { LANGUAGE_C, LANGUAGE_PYTHON };

/** Lines of code, each with its newline, indented by so many spaces. */
void code_print(FILE *out, enum language language, const char *code, int indent);

#endif
