/* identity_files.h - what identity.c shares with the commands.   SPDX-License-Identifier: MIT */
#ifndef HM_IDENTITY_FILES_H
#define HM_IDENTITY_FILES_H

#include "provenance/identity.h"

enum { HM_ID_PATH = 4096 };
/* dir/name; EINVAL: too long. */
himmel_status hm_id_path(char out[HM_ID_PATH], const char *dir, const char *name, himmel_error *err);
/* mkdir -p, for the user only. */
himmel_status hm_id_folder(const char *dir, himmel_error *err);
/* A new key with its root and leaf; name NULL or "" = a random one. alg: HM_ED25519, HM_ES256, HM_ES384. */
himmel_status hm_id_make(hm_identity **out, const char *name, int alg, himmel_error *err);
/* A PEM file of key and chain. */
himmel_status hm_id_read(hm_identity **out, const char *path, himmel_error *err);
/* Into dir as identity.pem (0600) and root.pem; replace: instead of what is there. */
himmel_status hm_id_store(const hm_identity *id, const char *dir, bool replace, himmel_error *err);

#endif
