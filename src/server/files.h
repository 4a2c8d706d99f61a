/* files.h - the folders under the data folder.   SPDX-License-Identifier: MIT
 *   results/ID.mp4 .png (finished)  results/ID.thumb.webp  results/ID.sheet.jpg  inputs/ID-0.mp4 (of jobs with no end yet)
 *   work/ (unfinished, emptied at the start)  saved/ID.0 (state of the sampler of jobs with no end yet)  characters/ID.mp4
 * Names are made from ids that the server made: letters, digits, underscore. */
#ifndef HM_FILES_H
#define HM_FILES_H

#include "base/base.h"

enum { HM_PATH = 4096 };

/* Make data and what is in it. EIO says which folder cannot be made. */
himmel_status hm_files_init(const char *data, himmel_error *err);
/* data/folder/ID + ending */
void hm_file(char out[HM_PATH], const char *data, const char *folder, const char *id, const char *ending);
bool hm_id_valid(const char *id); /* 1..63 of a-z 0-9 _ */
/* "video_" and 32 random hex digits. */
void hm_new_id(char *out, size_t cap, const char *prefix);
/* Onto the disk, then from its unfinished name to its final one. */
himmel_status hm_publish(const char *from, const char *to, himmel_error *err);
/* Remove data/folder/ID* (ID followed by anything but an id's letters). */
void hm_remove_all(const char *data, const char *folder, const char *id);
/* Remove all files of a folder for whose id keep() is false. keep NULL: all. */
void hm_sweep(const char *data, const char *folder, bool (*keep)(void *user, const char *id), void *user);
/* The first of results/ID.mp4 .png .jpg .webp that is there; false: none. */
bool hm_result_path(char out[HM_PATH], const char *data, const char *id);
/* Free bytes of the disk under data. */
uint64_t hm_disk_free(const char *data);

#endif
