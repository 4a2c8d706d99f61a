/* bell.h - how himmel keys, another process, has the server look at the journal at once.   SPDX-License-Identifier: MIT
 * DIR/bell is a named pipe that the server alone reads; who rings it learns whether there is a server. */
#ifndef HM_BELL_H
#define HM_BELL_H

#include "base/base.h"

himmel_status hm_bell_new(int *bell, const char *data, himmel_error *err);
bool hm_bell_wait(int bell, int ms); /* true: somebody rang */
void hm_bell_free(int bell);
bool hm_bell_ring(const char *data); /* false: no server uses this folder */

#endif
