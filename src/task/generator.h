/* SPDX-License-Identifier: MIT */
#ifndef UCO_TASK_GENERATOR_H
#define UCO_TASK_GENERATOR_H

/* Generators: what the loop tells them. */

#include <uco/generator.h>

struct uco__runtime;

/* Frees what creators left behind. */
void uco__generators_done(struct uco__runtime *runtime);

#endif
