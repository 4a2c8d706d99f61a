/* watermark_internal.h - what writing and reading the invisible watermark share.   SPDX-License-Identifier: MIT
 * The pattern is a square tile, two of them to the geometric mean of a frame's sides, repeated from the
 * frame's centre. It is made in the frequency domain: cells are the integer frequencies (cycles a tile) of a ring;
 * each has a real and an imaginary chip of value +-1. One cell in six is the same in every film (sync), the others
 * carry the code's bits, each bit in about eleven chips spread over all frequencies. Amplitude falls with 1/frequency,
 * as that of pictures does, and faster below the size of a coder's blocks. */
#ifndef HM_WATERMARK_INTERNAL_H
#define HM_WATERMARK_INTERNAL_H

#include "provenance/watermark.h"

enum {
    HM_WM_TILES = 2,
    HM_WM_F_MIN = 3,                              /* cycles a tile */
    HM_WM_F_MAX = 48,
    HM_WM_GRID = 128,                             /* samples a side of the tile when it is read; > 2 F_MAX */
    HM_WM_MAX_CELLS = 3700,
    HM_WM_RINGS = 12,
    HM_WM_INFO = 8 * HM_WM_BYTES + 24,            /* payload and CRC-24 */
    HM_WM_MEMORY = 14,                            /* of the code, bits; as many zeros end the message */
    HM_WM_STEPS = HM_WM_INFO + HM_WM_MEMORY,
    HM_WM_CODED = 4 * HM_WM_STEPS,
    HM_WM_CHECK_BITS = 12 + 4 + 24                /* tag, version, CRC: what noise has to guess */
};

/* ---- watermark_code.c ---- */
/* Code bits, +1 or -1. */
void hm_wm_encode(const uint8_t payload[HM_WM_BYTES], int8_t coded[HM_WM_CODED]);
/* The likeliest message for soft values (> 0: +1; any scale) whose CRC, tag and version are right, of the few likeliest;
 * *tried grows by their number. false: none. work: scratch of hm_wm_decode_bytes(). */
bool hm_wm_decode(const float soft[HM_WM_CODED], uint8_t payload[HM_WM_BYTES], void *work, int *tried);
size_t hm_wm_decode_bytes(void);

/* ---- watermark_pattern.c ---- */
typedef struct {
    int8_t fx, fy;     /* fx > 0, or fx = 0 and fy > 0: the other half of the plane is its conjugate */
    int8_t sign[2];    /* of the real and the imaginary chip */
    int16_t bit[2];    /* code bits of the chips; -1 = sync */
    uint8_t ring;      /* 0..RINGS-1, by the logarithm of the frequency */
    float f;
} hm_wm_cell;

typedef struct {
    hm_wm_cell cell[HM_WM_MAX_CELLS];
    int n, n_sync;
} hm_wm_layout;
/* The same for everybody and always. */
void hm_wm_layout_make(hm_wm_layout *l);

/* Pixels (or canvas samples) a tile of a whole picture of w x h. */
double hm_wm_tile_side(int w, int h);
/* The tile, of `side` pixels, as n x n samples (n a power of two > 2 F_MAX) of mean square 1; waves too short for pixels
 * are left out. re, im: [n*n]; the result is in re. */
void hm_wm_tile(const hm_wm_layout *l, const int8_t coded[HM_WM_CODED], double side, int n, float *re, float *im);

/* In place, n x n, n a power of two <= 1024, unscaled: sum over x of v e^(-+ 2 pi i k x / n). */
void hm_wm_fft2(float *re, float *im, int n, bool inverse);

/* ---- watermark_search.c ---- */
/* Pooled evidence: residual of the luma, each sample divided by its local noise. Sides of at most CANVAS_SIDE. */
enum { HM_WM_CANVAS_SIDE = 4096 };
typedef struct { float *v; int w, h; float pixels; } hm_wm_canvas; /* pixels of the frame a sample */
/* How the marked picture lies in the canvas. */
typedef struct {
    double tile_x, tile_y;  /* canvas samples a tile */
    double dx, dy;          /* offset of the tile, in grid samples */
    double z;               /* how far the sync cells stand above chance, in deviations */
} hm_wm_pose;

typedef struct hm_wm_search hm_wm_search; /* layout and work space */
hm_wm_search *hm_wm_search_new(void);     /* NULL: out of memory */
void hm_wm_search_free(hm_wm_search *s);
/* The pose at these tile sides: offset of the best match, z. f_max: cells up to there count. */
void hm_wm_match(hm_wm_search *s, const hm_wm_canvas *c, double tile_x, double tile_y, double f_max, hm_wm_pose *out);
/* Hill climb over sides and offsets from a pose near the truth. */
void hm_wm_refine(hm_wm_search *s, const hm_wm_canvas *c, hm_wm_pose *p);
/* Soft code bits (> 0: +1) at a pose, exactly. even: all frequencies count alike, else by what the sync cells show. */
void hm_wm_soft(hm_wm_search *s, const hm_wm_canvas *c, const hm_wm_pose *p, bool even, float soft[HM_WM_CODED]);
/* Decode them; *attempts grows by the messages that were tried. false: the check bits are wrong. */
bool hm_wm_message(hm_wm_search *s, const float soft[HM_WM_CODED], uint8_t payload[HM_WM_BYTES], double *confidence,
                   int *attempts);
/* Both, in two tries. */
bool hm_wm_read(hm_wm_search *s, const hm_wm_canvas *c, const hm_wm_pose *p, uint8_t payload[HM_WM_BYTES],
                double *confidence, int *attempts);
/* How far soft bits stand above chance for this payload, in deviations (Student's t). Only bits that depend on the film's
 * id count: films of one issuer have the others in common. */
double hm_wm_evidence(const float soft[HM_WM_CODED], const uint8_t payload[HM_WM_BYTES]);
/* Take a payload out of soft bits, so that one under it can be read. */
void hm_wm_remove(float soft[HM_WM_CODED], const uint8_t payload[HM_WM_BYTES]);

/* ---- watermark_hunt.c ---- */
typedef struct {
    hm_wm_pose pose;
    bool mirrored;
} hm_wm_view;
typedef struct {
    hm_wm_search *s;
    double side;            /* canvas samples a tile, if the picture is whole */
    int attempts;           /* messages tried so far */
    /* what the last hunt came to */
    hm_wm_view view;        /* pose.z 0: none was worth reading */
    uint8_t payload[HM_WM_BYTES];
    double confidence;
} hm_wm_hunt;
/* Any scale, mirrored or not; c is scratch. */
bool hm_wm_hunt_all(hm_wm_hunt *h, const hm_wm_canvas *c);
/* The picture as it was made: not cropped, not mirrored. */
bool hm_wm_hunt_whole(hm_wm_hunt *h, const hm_wm_canvas *c);
void hm_wm_mirror(const hm_wm_canvas *c);

#endif
