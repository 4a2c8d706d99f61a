/* wan.c - which comparison a fixture of Wan takes.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include "wan.h"

parity_fn *parity_wan(const char *kind)
{
    static const struct {
        const char *kind;
        parity_fn *fn;
    } kinds[] = {{"sched", parity_wan_sched}, {"dit", parity_wan_dit}, {"t5", parity_t5}, {"gguf", parity_wan_gguf},
                 {"vae", parity_wan_vae},     {"clip", parity_wan_clip}, {"e2e", parity_wan_e2e}};
    for (size_t i = 0; i < HM_COUNT(kinds); i++)
        if (!strcmp(kind, kinds[i].kind)) return kinds[i].fn;
    return NULL;
}

himmel_status wan_sibling(const parity *p, const char *name, hm_st **out, himmel_error *err)
{
    char path[4096];
    const char *own = hm_st_path(p->st), *slash = strrchr(own, '/');
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - own) : 0, own, name);
    return hm_st_open(out, path, err);
}
