/* zip.h - a folder of files as a zip archive, made while it is sent.   SPDX-License-Identifier: MIT */
#ifndef HM_ZIP_H
#define HM_ZIP_H

#include "base/base.h"

typedef struct hm_zip hm_zip;
hm_zip *hm_zip_new(void); /* NULL: out of memory */
void hm_zip_free(hm_zip *z);
/* Entries in order, names up to 127 bytes. A file that is not there, or has 4 GiB or more, is left out. text is taken. False: out of
 * memory. */
bool hm_zip_file(hm_zip *z, const char *name, const char *path);
bool hm_zip_text(hm_zip *z, const char *name, char *text);
/* The next bytes of the archive, 0: it is complete, or hm_zip_failed(). */
size_t hm_zip_read(hm_zip *z, void *buf, size_t max);
bool hm_zip_failed(const hm_zip *z);

#endif
