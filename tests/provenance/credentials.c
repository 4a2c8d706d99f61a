/* credentials.c - himmel-credentials IDENTITY FILE...: what himmel verify says of each file's Content Credentials, a line of JSON
 * each, without the hunt for watermarks, which takes most of its time.   SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "provenance/identity_files.h"
#include "provenance/verify.h"

int main(int argc, char **argv)
{
    X509_STORE *trust = argc > 2 ? hm_trust_open(argv[1], NULL) : NULL;
    int rc = trust ? 0 : 1;
    for (int i = 2; i < argc && !rc; i++) {
        hm_map map;
        if (hm_map_open(&map, argv[i], NULL)) rc = 1;
        if (rc) break;
        json_t *report = hm_credentials_check(map.data, map.len, trust, NULL);
        char *text = report ? json_dumps(report, JSON_COMPACT) : NULL;
        if (!text || puts(text) < 0) rc = 1;
        free(text);
        json_decref(report);
        hm_map_close(&map);
    }
    X509_STORE_free(trust);
    return rc;
}
