/* SPDX-License-Identifier: MIT */

/* The program form of a scene: compiled once for each, with -DSCENE=scene_client and so on. */

#include "scene.h"

#include <locale.h>
#include <stdlib.h>

int
main(void)
{
    /* Scenes do on purpose what debug mode aborts for. */
    unsetenv("UCO_DEBUG");
    setlocale(LC_ALL, "");
    setvbuf(stdout, NULL, _IOLBF, 0);
    return SCENE(stdout);
}
