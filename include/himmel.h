/* himmel.h - the only public header of libhimmel: a prompt becomes a film.   SPDX-License-Identifier: MIT */
#ifndef HIMMEL_H
#define HIMMEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HIMMEL_API __attribute__((visibility("default")))

typedef enum {
    HIMMEL_OK = 0,
    HIMMEL_EINVAL = -1,     /* an argument is out of range; the sentence names it */
    HIMMEL_ENOMEM = -2,     /* out of memory, or the plan does not fit */
    HIMMEL_EIO = -3,        /* reading or writing a file failed */
    HIMMEL_EFORMAT = -4,    /* a file is not what its name or its header says */
    HIMMEL_EMODEL = -5,     /* weights do not fit the model */
    HIMMEL_ECANCELLED = -6, /* a callback asked to stop */
    HIMMEL_EINTERNAL = -7   /* a library underneath failed unexpectedly */
} himmel_status;

/* One sentence that says what failed, where, with which value. Filled by whoever knows why. */
typedef struct {
    himmel_status code;
    char message[512];
} himmel_error;

#ifdef __cplusplus
}
#endif
#endif
