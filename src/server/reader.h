/* reader.h - inputs of edits are decoded, and their credentials read, in locked-down processes of their own.   SPDX-License-Identifier: MIT
 *   worker -socket- himmel read-locked PATH (one for each opening of a file) -libav- file */
#ifndef HM_READER_H
#define HM_READER_H

#include <sys/types.h>

enum { HM_MAX_READERS = 256 };

typedef struct {
    pid_t pid[HM_MAX_READERS];
    int n;
} hm_readers;

/* himmel_edit.reader; readers is a hm_readers. One thread at a time. */
int hm_reader_open(void *readers, const char *path);
/* Those that are left end now. */
void hm_readers_end(hm_readers *r);

#endif
