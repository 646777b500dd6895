/* SPDX-License-Identifier: MIT */

#include "json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <uco/uco.h>

/* The build tells which peers it found, and their versions. */
#ifndef BENCH_PEERS
#define BENCH_PEERS ""
#endif

static struct {
    FILE *file;
    unsigned entries; /* one for each comparison's metric */
} json;

static void
string_write(const char *text)
{
    fputc('"', json.file);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', json.file);
        if ((unsigned char) *text >= ' ')
            fputc(*text, json.file);
    }
    fputc('"', json.file);
}

static void
member_write(const char *name, const char *text)
{
    fprintf(json.file, "\"%s\": ", name);
    string_write(text);
    fputs(", ", json.file);
}

static void
number_write(const char *name, double value)
{
    if (isfinite(value))
        fprintf(json.file, "\"%s\": %.6g, ", name, value);
    else
        fprintf(json.file, "\"%s\": null, ", name);
}

void
json_open(const char *path, const struct setting *setting)
{
    time_t now = time(NULL);
    char date[32];

    json.file = fopen(path, "we");
    if (json.file == NULL)
        bench_die("%s: %s", path, strerror(errno));
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    fputs("{", json.file);
    member_write("benchmark", setting->benchmark);
    member_write("title", setting->title);
    fputs("\n\"format\": 1, ", json.file);
    member_write("date", date);
    member_write("uco", uco_version());
    member_write("processor", setting->processor);
    fprintf(json.file, "\"processors\": %u, ", setting->processors);
    member_write("system", setting->system);
    member_write("compiler", setting->compiler);
    member_write("peers", BENCH_PEERS);
    fprintf(json.file, "\n\"quick\": %s, \"rounds\": %u, \"comparisons\": [",
            setting->quick ? "true" : "false", setting->rounds);
    fflush(json.file);
}

static void
standing_write(const struct comparison *comparison, size_t subject, size_t metric)
{
    const double *values = comparison_values(comparison, subject, metric);
    struct standing standing = comparison_standing(comparison, subject, metric);

    number_write("median", standing.median);
    number_write("best", standing.best);
    number_write("worst", standing.worst);
    number_write("low", standing.low);
    number_write("high", standing.high);
    number_write("ratio", standing.ratio);
    number_write("to_peer", standing.to_peer);
    fputs("\"samples\": [", json.file);
    for (unsigned i = 0; i < comparison->rounds; i++) {
        fputs(i > 0 ? ", " : "", json.file);
        if (isfinite(values[i]))
            fprintf(json.file, "%.6g", values[i]);
        else
            fputs("null", json.file);
    }
    fputs("]", json.file);
}

static void
subject_write(const struct comparison *comparison, size_t subject, size_t metric)
{
    static const char *const roles[] = {
        [ROLE_FLOOR] = "floor",
        [ROLE_UCO] = "uco",
        [ROLE_PEER] = "peer",
        [ROLE_OTHER] = "other",
    };
    const struct bench_subject *of = &comparison->subjects[subject];

    fprintf(json.file, "%s\n    {", subject > 0 ? "," : "");
    member_write("name", of->name);
    member_write("role", roles[comparison_role(comparison, subject)]);
    if (of->run == NULL) {
        fputs("\"skipped\": ", json.file);
        string_write(of->without != NULL ? of->without : "");
    } else if (comparison->wrong[subject]) {
        fputs("\"wrong\": true", json.file);
    } else {
        standing_write(comparison, subject, metric);
    }
    fputs("}", json.file);
}

void
json_add(const struct comparison *comparison)
{
    if (json.file == NULL)
        return;
    for (size_t m = 0; m < comparison->metric_count; m++) {
        const struct bench_metric *metric = &comparison->metrics[m];

        fprintf(json.file, "%s\n  {", json.entries++ > 0 ? "," : "");
        member_write("what", comparison->what);
        member_write("metric", metric->name);
        member_write("unit", metric->unit);
        member_write("better", metric->more_is_better ? "more" : "less");
        fprintf(json.file, "\"rounds\": %u, \"subjects\": [", comparison->rounds);
        for (size_t i = 0; i < comparison->subject_count; i++)
            subject_write(comparison, i, m);
        fputs("]}", json.file);
    }
    fflush(json.file);
}

bool
json_close(bool correct)
{
    bool written;

    if (json.file == NULL)
        return true;
    fprintf(json.file, "\n], \"correct\": %s}\n", correct ? "true" : "false");
    written = ferror(json.file) == 0;
    return fclose(json.file) == 0 && written;
}
