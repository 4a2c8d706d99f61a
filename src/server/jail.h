/* jail.h - what strangers send is looked at in a locked-down child.   SPDX-License-Identifier: MIT */
#ifndef HM_JAIL_H
#define HM_JAIL_H

#include "base/base.h"

typedef struct hm_jail hm_jail;
/* Before the program has threads: a keeper is split off, which makes one child for each file. */
himmel_status hm_jail_new(hm_jail **out, himmel_error *err);
void hm_jail_free(hm_jail *j);
/* As himmel_probe, in a child that can read and compute, and nothing else. EFORMAT also: it took too long or too much
 * memory, or the child was killed. Any thread. */
himmel_status hm_jail_probe(hm_jail *j, const char *path, himmel_media *out, himmel_error *err);
/* As himmel_verify; *json is freed with free(). */
himmel_status hm_jail_verify(hm_jail *j, const char *path, const char *identity, himmel_verdict *out, himmel_error *err);

#endif
