/* memory.h - how much memory this process may have.   SPDX-License-Identifier: MIT */
#ifndef HM_MEMORY_H
#define HM_MEMORY_H

#include "base/base.h"

/* Bytes that this process can have in all, what it has already included: the least of what the machine has free or can free
 * (MemAvailable), what the process's control groups leave (1 and 2, theirs above too; file pages can be given back and do not
 * count as used) and limit (0: none). UINT64_MAX: the system says nothing. */
uint64_t hm_memory_available(uint64_t limit);
/* The same from another root of /proc and /sys, for tests; "" is the machine's own. */
uint64_t hm_memory_available_at(const char *root, uint64_t limit);
/* ENOMEM: "this would need N GiB of memory<what>, M are available". */
himmel_status hm_memory_fits(uint64_t needed, const char *what, uint64_t available, himmel_error *err);

#endif
