/* watermark.h - the invisible watermark: 96 bits in the luma of every generated frame.   SPDX-License-Identifier: MIT
 *   payload -CRC, convolutional code-> chips of a public pattern, one tile of it repeated over the frame, the same in
 *   every frame; strength by local deviation.   frames -pooled-> canvas -scale, offset-> one tile -> chips -> payload
 * Blind: reading needs neither the original nor a key, so anyone can read it, and anyone can write it: a payload
 * counts as genuine only together with a signed manifest that names it. Survives coding, scaling, cropping to about
 * half of each side, changes of brightness, dropped frames; docs/watermark.md has figures and limits. */
#ifndef HM_WATERMARK_H
#define HM_WATERMARK_H

#include "media/far.h"
#include "media/scale.h"

enum {
    HM_WM_TAG = 0x68d,     /* 12 bits that say himmel */
    HM_WM_VERSION = 1,     /* 4 bits; the only one that is read */
    HM_WM_BYTES = 12,      /* tag, version, film id, issuer id: 96 bits, high bit first */
    HM_WM_HEX = 2 * HM_WM_BYTES + 1,
    HM_WM_MAX_FINDINGS = 16
};

typedef struct {
    uint8_t film_id[6];    /* the first bytes of hm_film_id */
    uint8_t issuer_id[4];  /* the first bytes of the identity's issuer_id */
} hm_wm_payload;

/* The payload with tag and version, as bytes and as the lower-case hex digits that a manifest names (alg
 * "org.himmel.watermark.1"). */
void hm_wm_pack(const hm_wm_payload *p, uint8_t out[HM_WM_BYTES]);
void hm_wm_hex(const hm_wm_payload *p, char out[HM_WM_HEX]);
/* false: the tag or the version is another's. */
bool hm_wm_unpack(hm_wm_payload *p, const uint8_t in[HM_WM_BYTES]);

/* ---- writing ---- */

typedef struct hm_watermark hm_watermark;
/* For frames of w x h (each 16..8192). n_threads: 0 = all. ENOMEM; EINVAL names the size. One caller at a time. */
himmel_status hm_watermark_new(hm_watermark **out, int w, int h, const hm_wm_payload *p, int n_threads,
                               himmel_error *err);
void hm_watermark_free(hm_watermark *m); /* NULL is fine */
/* Into f (of that size), in place. YUV420: luma alone; RGB8: all three alike, which is the same. alpha [h][w] (may be
 * NULL): share of each pixel that is new, 0 = leave it as it is. Depends on f, alpha and payload only, not on what
 * came before nor on the number of threads. Changes by at most 1 code value RMS where the local deviation is below 1,
 * and a frame's PSNR stays above 42 dB. */
void hm_watermark_embed(hm_watermark *m, const hm_frame *f, const uint8_t *alpha);

/* ---- reading ---- */

typedef struct {
    hm_wm_payload payload;
    double from, to;       /* seconds of the frames that carry it, as given to add */
    double confidence;     /* 0..1: share of the code's energy that agrees with the payload; above 0.6 is usual */
    double scale;          /* size of the marked picture before it was cropped or padded; 1 = as it was made */
    bool mirrored;
} hm_wm_finding;

/* Parts of a film may carry different payloads (an extended film): one finding for each run of seconds. */
typedef struct {
    hm_wm_finding found[HM_WM_MAX_FINDINGS];
    int n;                 /* 0 = no watermark was found */
    double false_alarm;    /* bound on the probability that unmarked frames give any finding at all; below 1e-7 */
} hm_wm_report;

typedef struct hm_wm_detector hm_wm_detector;
himmel_status hm_wm_detector_new(hm_wm_detector **out, himmel_error *err);
void hm_wm_detector_free(hm_wm_detector *d); /* NULL is fine */
/* One frame of any size (16..8192 a side; all frames of one detector alike), shown at that second, in order; a single
 * picture is one frame at 0. Every third frame of a film is enough. EINVAL: size; ENOMEM. */
himmel_status hm_wm_detector_add(hm_wm_detector *d, const hm_frame *f, double seconds, himmel_error *err);
/* What the frames so far carry. ENOMEM only; nothing found is not an error. */
himmel_status hm_wm_detector_find(hm_wm_detector *d, hm_wm_report *out, himmel_error *err);

/* All of that for a picture or film file. Errors are those of the decoder. */
himmel_status hm_watermark_read(hm_wm_report *out, const char *path, himmel_error *err);
/* The same with frames that another process decodes; NULL: here. */
himmel_status hm_watermark_read_by(hm_wm_report *out, const hm_reader *by, const char *path, himmel_error *err);

#endif
