/* lockdown.h - a process gives up what it does not need to look at one file.   SPDX-License-Identifier: MIT */
#ifndef HM_LOCKDOWN_H
#define HM_LOCKDOWN_H

#include "base/base.h"

/* For good: no network, no program, no writing, `seconds` of computing, 4 GiB of memory; only: the one file that can be opened,
 * NULL: any, for reading. What the kernel does not have is left out (hm_lockdown_lacks). False: it refused. */
bool hm_lockdown(const char *only, int seconds);
/* Which of its means this kernel does not have, NULL: none. */
const char *hm_lockdown_lacks(void);

#endif
