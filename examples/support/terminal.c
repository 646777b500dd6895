/* SPDX-License-Identifier: MIT */

/*
 * The colouring knows words, literals and comments, and no more: enough to lead the eye through
 * twenty lines. A comment of C may go over several lines, which is the only state that is kept
 * between them.
 */

#include "terminal.h"

#include <ctype.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const c_keywords[] = {
    "bool",    "break",    "case",   "char",   "const",    "continue",  "default", "do",
    "double",  "else",     "enum",   "false",  "for",      "if",        "int",     "long",
    "NULL",    "return",   "size_t", "sizeof", "static",   "struct",    "switch",  "true",
    "typedef", "unsigned", "void",   "while",  "intptr_t", "pthread_t",
};

static const char *const python_keywords[] = {
    "and", "as", "async", "await", "def", "else",   "for",  "from",  "if",   "import",
    "in",  "is", "None",  "not",   "or",  "return", "with", "while", "True", "False",
};

static bool
colours(FILE *out)
{
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    if (no_color != NULL && no_color[0] != '\0')
        return false;
    if (terminal == NULL || strcmp(terminal, "dumb") == 0)
        return false;
    return isatty(fileno(out)) == 1;
}

const char *
ink(FILE *out, enum ink which)
{
    static const char *const sequences[] = {
        [INK_OFF] = "\033[0m",      [INK_TITLE] = "\033[1m",  [INK_DIM] = "\033[2m",
        [INK_GOOD] = "\033[32m",    [INK_BAD] = "\033[1;31m", [INK_KEYWORD] = "\033[34m",
        [INK_CALL] = "\033[36m",    [INK_TEXT] = "\033[32m",  [INK_NUMBER] = "\033[35m",
        [INK_COMMENT] = "\033[90m",
    };

    return colours(out) ? sequences[which] : "";
}

static bool
has_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

const char *
mark(bool good)
{
    if (has_utf8())
        return good ? "\u2713" : "\u2717";
    return good ? "ok" : "NO";
}

void
rule_print(FILE *out, int columns)
{
    const char *piece = has_utf8() ? "\u2500" : "-";

    for (int i = 0; i < columns; i++)
        fputs(piece, out);
}

static bool
is_word(char c)
{
    return isalnum((unsigned char) c) || c == '_';
}

static size_t
word_length(const char *text)
{
    size_t n = 0;

    while (is_word(text[n]))
        n++;
    return n;
}

static bool
is_keyword(enum language language, const char *word, size_t length)
{
    const char *const *list = language == LANGUAGE_C ? c_keywords : python_keywords;
    size_t count = language == LANGUAGE_C ? COUNT(c_keywords) : COUNT(python_keywords);

    for (size_t i = 0; i < count; i++) {
        if (strlen(list[i]) == length && memcmp(list[i], word, length) == 0)
            return true;
    }
    return false;
}

static enum ink
word_ink(enum language language, const char *word, size_t length)
{
    if (isdigit((unsigned char) word[0]))
        return INK_NUMBER;
    if (is_keyword(language, word, length))
        return INK_KEYWORD;
    if (language == LANGUAGE_C && (strncmp(word, "uco_", 4) == 0 || strncmp(word, "UCO_", 4) == 0))
        return INK_CALL;
    return INK_OFF;
}

static size_t
string_length(const char *text)
{
    size_t n = 1;

    while (text[n] != '\0' && text[n] != '\n' && text[n] != text[0])
        n += text[n] == '\\' && text[n + 1] != '\0' ? 2 : 1;
    return text[n] == text[0] ? n + 1 : n;
}

/* From within a comment to its end, or to the line's. */
static size_t
comment_length(const char *text, bool *in_comment)
{
    size_t line = strcspn(text, "\n");
    const char *end = strstr(text, "*/");

    *in_comment = end == NULL || (size_t) (end - text) >= line;
    return *in_comment ? line : (size_t) (end + 2 - text);
}

/* The length of the token that the code begins with: at least 1, and of one line. */
static size_t
token_length(enum language language, const char *text, bool *in_comment, enum ink *which)
{
    size_t length;

    *which = INK_OFF;
    if (text[0] == '\n')
        return 1;

    *which = INK_COMMENT;
    if (*in_comment)
        return comment_length(text, in_comment);
    if (language == LANGUAGE_C && strncmp(text, "/*", 2) == 0)
        return 2 + comment_length(text + 2, in_comment);
    if (language == LANGUAGE_PYTHON && text[0] == '#')
        return strcspn(text, "\n");

    *which = INK_TEXT;
    if (text[0] == '"' || text[0] == '\'')
        return string_length(text);

    length = word_length(text);
    *which = length > 0 ? word_ink(language, text, length) : INK_OFF;
    return length > 0 ? length : 1;
}

void
code_print(FILE *out, enum language language, const char *code, int indent)
{
    bool in_comment = false;
    bool at_start = true;

    while (code[0] != '\0') {
        enum ink which;
        size_t length = token_length(language, code, &in_comment, &which);

        if (at_start && code[0] != '\n')
            fprintf(out, "%*s", indent, "");
        at_start = code[0] == '\n';
        if (which == INK_OFF)
            fprintf(out, "%.*s", (int) length, code);
        else
            fprintf(out, "%s%.*s%s", ink(out, which), (int) length, code, ink(out, INK_OFF));
        code += length;
    }
}
