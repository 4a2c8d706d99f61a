/* hub.h - weights from the Hugging Face hub, or any address, onto the disk.   SPDX-License-Identifier: MIT
 *   name -> the repository's files with sizes and hashes -> FILE.part, going on where it ends -> hash -> FILE
 * Nothing gets its name before its hash is right. The token goes to the hub alone, not to where it sends us on. Proxies are
 * those of libcurl (HTTPS_PROXY, NO_PROXY). */
#ifndef HM_HUB_H
#define HM_HUB_H

#include "base/base.h"

typedef struct {
    char *path; /* in the repository */
    uint64_t size; /* 0: not known */
    char sha256[65], git_sha1[41]; /* one of them is "" */
} hm_hub_file;

typedef struct {
    const char *endpoint; /* "https://huggingface.co" */
    const char *token;    /* NULL: none */
    const char *revision; /* NULL: main */
    const char *sha256;   /* that the one file must have; NULL: as the hub says */
    int (*on_bytes)(void *user, const char *path, uint64_t done, uint64_t size); /* some times a second; not 0 stops */
    void *user;
} hm_hub;

typedef struct {
    char repo[256];    /* "org/name"; "" of an address that is not the hub's */
    char wanted[1024]; /* file or folder that was named; "" = none */
    char commit[128], licence[160], url[2048]; /* url: of an address */
    hm_hub_file *file; /* of wanted; all, if that is "" */
    size_t n;
} hm_hub_list;

/* name: org/repo, org/repo/file, org/repo/folder, or their address at the hub, or another address (then sha256 must be set).
 * EINVAL: not a name, or no such file; EIO: the hub's answer, with what to do about it. */
himmel_status hm_hub_look(hm_hub_list *out, const hm_hub *h, const char *name, himmel_error *err);
void hm_hub_free(hm_hub_list *l);
/* File i of the list to `to`, whose folder is there. ECANCELLED leaves to.part, from which the next call goes on; *had (may be
 * NULL): to was there already, with the right hash. EIO: what failed, and EFORMAT: another hash, which leaves nothing. */
himmel_status hm_hub_fetch(const hm_hub *h, const hm_hub_list *l, size_t i, const char *to, bool *had, himmel_error *err);

#endif
