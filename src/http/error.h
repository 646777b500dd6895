/* SPDX-License-Identifier: MIT */
#ifndef UCO_HTTP_ERROR_H
#define UCO_HTTP_ERROR_H

/* What went wrong: curl's results as errors, and errors in words. */

struct uco__http_exchange;
struct uco__task;

/* A hop's transfer has ended with curl's result: 0 or the nearest error; sets `transient`. */
int uco__http_transfer_error(struct uco__http_exchange *exchange);

/* For uco_http_error(): the URL, what it was redirected to, and what went wrong. Without memory
 * there are no words. */
void uco__http_explain(struct uco__http_exchange *exchange, const char *asked, int error);
/* For errors that are not an exchange's: "URL: why: error". */
void uco__http_explain_words(struct uco__task *task, const char *url, const char *why, int error);

#endif
