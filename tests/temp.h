/* temp.h - a folder of a test's own, and small files in it.   SPDX-License-Identifier: MIT */
#ifndef HM_TEST_TEMP_H
#define HM_TEST_TEMP_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/tmp/himmel-test-XXXXXX";

static inline bool make_dir(void) { return mkdtemp(dir) != NULL; }

static inline bool remove_dir(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command) == 0;
}

/* The path of a file in it; good until 64 others were asked for. */
static inline const char *in_dir(const char *name)
{
    static char path[64][128];
    static int turn;
    char *p = path[turn++ % 64];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

#endif
