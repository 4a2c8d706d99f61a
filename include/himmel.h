/* himmel.h - the only public header of libhimmel: a prompt becomes a film.   SPDX-License-Identifier: MIT
 *
 *     himmel_ctx *ctx;
 *     himmel_error err;
 *     if (himmel_open(&ctx, NULL, NULL, &err)) { puts(err.message); return 1; }
 *     himmel_request req = himmel_request_default();
 *     req.prompt = "sunset over a calm sea, camera pans left";
 *     req.output = "film.mp4";
 *     if (himmel_generate(ctx, &req, NULL, &err)) puts(err.message);
 *     himmel_close(ctx);
 *
 * Strings are UTF-8 and borrowed for the call. Structs come from their _default() function, so that fields
 * can be appended later. Nothing here prints, exits or reads the environment. */
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

/* ---- context: a model, shared and read-only ---- */

typedef struct himmel_ctx himmel_ctx;

typedef struct {
    const char *path;
    double strength; /* 1: as trained */
} himmel_lora;

typedef struct {
    int threads;     /* for computing, 0 = all cores, at most 1024; same threads, same bytes */
    const char *identity; /* folder of the signing identity, made at the first film; NULL = ~/.config/himmel */
    const char *const *with; /* further files of a released model: text encoder, tokenizer, upscaler; at most 7 */
    int n_with;
    const himmel_lora *loras; /* merged into the weights of a released model; at most 8 */
    int n_loras;
    const char *time_server; /* RFC 3161, http://...: stamps every result; NULL = none, and same request, same bytes */
    const char *cache; /* folder for what text encoders of released models said, 256 MiB at most, made when needed; NULL = none */
    uint64_t max_memory; /* bytes that a film may need; 0 = what the machine and the process's control group have free */
    const char *precision; /* of a released transformer's linear layers: "bf16" (NULL) or "int8": faster, half the memory, coarser */
} himmel_options;

HIMMEL_API himmel_options himmel_options_default(void);

/* "0.1.0": version of the library; static storage. */
HIMMEL_API const char *himmel_version(void);

/* Use no more of the machine than "baseline", "avx2" or "avx512", in the whole process, for good. Call it before anything
 * else. EINVAL: another name, or too late. */
HIMMEL_API himmel_status himmel_limit_isa(const char *name, himmel_error *err);

/* Open a weights file, the index of several (model.safetensors.index.json) or the folder with it. path NULL searches himmel-1.safetensors in: weights/ beside the folder of the
 * executable, weights/ in the working directory, share/himmel/ beside the folder of the executable. opts NULL
 * = defaults. HIMMEL_OK: *out is the caller's, himmel_close() releases it (NULL is fine). Otherwise *out is
 * NULL and err (may be NULL) says why: EIO cannot read, EFORMAT not a safetensors file, EMODEL not himmel-1.
 * Many threads may use one context. */
HIMMEL_API himmel_status himmel_open(himmel_ctx **out, const char *path, const himmel_options *opts,
                                     himmel_error *err);
HIMMEL_API void himmel_close(himmel_ctx *ctx);

typedef struct {
    const char *name;         /* "himmel-1" */
    const char *path;         /* the weights file */
    const char *sha256;       /* of the whole weights file, 64 hex digits; of an index and its shards one after the other */
    const char *licence;      /* of the weights, e.g. "CC0-1.0" */
    const char *data_sha256;  /* of the training data's manifest, "" if the file has none */
    const char *config;       /* JSON from the file's header; "" of a released model */
    const char *isa;          /* instruction set that the matrix library dispatches to */
    uint64_t file_bytes;
    uint64_t n_params;        /* numbers in the file's tensors, tokenizer left out */
    int threads;
    const char *family;       /* "himmel", "ltx-video" */
    const char *missing;      /* what else is needed for a film, as a sentence; "" = nothing */
    const char *loras;        /* what was merged: "NAME:STRENGTH:SHA-256, ..."; "" = nothing */
    const char *precision;    /* "bf16" or "int8", as opened */
    uint64_t weight_bytes;    /* of all weights as a film uses them: int8 where they are */
} himmel_model_info;

/* What is open; strings live as long as ctx. */
HIMMEL_API himmel_status himmel_info(himmel_ctx *ctx, himmel_model_info *info, himmel_error *err);

/* The bf16 matrix multiplications that this machine does now with ctx's threads, in 1e9 operations a second
 * (a multiplication and an addition are two). Measured at the first call, 0.2 s. "Share of peak" is relative
 * to this. */
HIMMEL_API double himmel_peak_gflops(himmel_ctx *ctx);

/* ---- progress ---- */

typedef struct {
    const char *phase;   /* "text", "sample", "film"; training: its own names; static storage */
    int64_t step, n_steps; /* step of n_steps are done; n_steps 0 = not known */
    double fraction;     /* of the whole job, 0..1 */
    double eta_seconds;  /* until the whole job is done, < 0 = not known */
    const char *note;    /* "" or a line worth reading (training: losses); for the call only */
} himmel_progress;

/* Called on the thread that started the job, after each step. Not 0: stop; the job returns HIMMEL_ECANCELLED
 * within one step and leaves no file behind. */
typedef int himmel_progress_fn(void *user, const himmel_progress *p);

typedef struct {
    const uint8_t *rgb;  /* [height][width][3], sRGB; for the call only */
    int width, height;
    double seconds;      /* its time in the film */
    int rough;           /* 1: an estimate while sampling, 0: a frame of the film */
} himmel_picture;

/* A small picture of what is being made, some times a second at most. Not 0: stop, as above. */
typedef int himmel_preview_fn(void *user, const himmel_picture *pic);

/* ---- weights files ---- */

typedef struct {
    size_t n_tensors, n_converted;
    uint64_t file_bytes;
    char sha256[65]; /* of the new file */
} himmel_converted;

/* Weights (a safetensors or GGUF file, an index or folder of shards) as one safetensors or GGUF file, by the ending of output, its
 * floating-point tensors as "bf16", "f16" or "f32", the others and the metadata as they were. "q8_0" (GGUF only): the large linear
 * layers as GGUF's blocks of 32 numbers of 8 bits with a scale, first and last layers, norms, tables and autoencoders as they
 * were. "int8" (safetensors, transformers of released models): their blocks' linear layers as precision int8 rounds them. Goes
 * tensor by tensor: memory does not grow with the file. output is written beside its place and renamed. on_progress and out may
 * be NULL. EINVAL: another type or ending, a number that the type cannot hold, or weights whose scales lie in other
 * tensors; EIO, EFORMAT: input. */
HIMMEL_API himmel_status himmel_convert(const char *input, const char *output, const char *type, himmel_progress_fn *on_progress,
                                        void *user, himmel_converted *out, himmel_error *err);

/* ---- generation ---- */

typedef enum { HIMMEL_FILM, HIMMEL_IMAGE } himmel_kind;

enum {
    HIMMEL_MIN_SIDE = 64,
    HIMMEL_MAX_SIDE = 2048,
    HIMMEL_MAX_STEPS = 200,
    HIMMEL_MAX_FPS = 120,
    HIMMEL_MAX_CRF = 40,
    HIMMEL_MAX_PROMPT = 4096 /* bytes */
};

/* May others train on the result or mine it? Goes into the signed Content Credentials (cawg.training-mining). */
typedef enum { HIMMEL_MINING_UNSAID, HIMMEL_MINING_ALLOWED, HIMMEL_MINING_FORBIDDEN } himmel_mining;

typedef struct {
    himmel_kind kind;
    const char *prompt;    /* English or German, 1..HIMMEL_MAX_PROMPT bytes */
    const char *negative;  /* what to keep away from; NULL or "" = nothing said */
    const char *output;    /* film: .mp4; image: .png .jpg .jpeg .webp; replaced only when complete */
    int width, height;     /* pixels, even, HIMMEL_MIN_SIDE..HIMMEL_MAX_SIDE */
    double seconds;        /* 1..HIMMEL_MAX_SECONDS; over 10 in windows that see each other's ends; images: not used */
    int fps_num, fps_den;  /* frames a second as a fraction, 1..HIMMEL_MAX_FPS; images: not used */
    uint64_t seed;         /* same seed, request, build, instruction set and threads: same bytes */
    int steps;             /* of the sampler, 1..HIMMEL_MAX_STEPS */
    double guidance;       /* 1 = off (twice as fast) .. 20 = insist on the prompt */
    int visible_mark;      /* 1: the small himmel sign in the corner */
    himmel_progress_fn *on_progress; /* may be NULL */
    himmel_preview_fn *on_preview;   /* may be NULL */
    void *user;            /* handed to both */
    int sign_prompt;       /* 1: prompt and seed go into the signed Content Credentials too */
    himmel_mining mining;
    /* NULL, or a path: the sampler's state is saved in files path.0, path.1 ... some times a second, and the same request
     * goes on from there to the same bytes, whatever ended the last attempt. Removed once the film is complete. */
    const char *keep;
    int crf;               /* H.264 rate factor, 1 (large and exact)..HIMMEL_MAX_CRF (small and coarse); images: not used */
    int sound;             /* 1: films get a soundtrack made from the words: wind, sea, rain, thunder, night */
    double step_cache;     /* released models: 0 = every pass is computed, .. 1: leave out those foreseen to change less (docs/wan.md) */
    int quality;           /* of JPEG and WebP pictures: 1 (small and coarse)..100; 0: no loss that is seen; others: not used */
} himmel_request;

/* A film of 1920x1080, 10 s, 24 fps, seed 0, 25 steps, guidance 4.5, rate factor 19, with the mark; prompt and output NULL. */
HIMMEL_API himmel_request himmel_request_default(void);
/* The same with the size, length, frame rate, steps, guidance and negative prompt that the open model was made for. */
HIMMEL_API himmel_request himmel_request_for(const himmel_ctx *ctx, himmel_kind kind);

/* Is req something that can be made? HIMMEL_EINVAL names the field and the value. No context needed, nothing
 * is written. */
HIMMEL_API himmel_status himmel_check(const himmel_request *req, himmel_error *err);

typedef struct {
    int n_frames;                     /* of the file */
    int blocks_x, blocks_y, blocks_t; /* the transformer's grid; blocks_t counts the still and the seconds */
    int base_width, base_height;      /* small film */
    uint64_t peak_bytes;              /* most memory at a time, weights included */
    double gflop_sample, gflop_film;  /* 1e9 operations in the two phases */
    double seconds;                   /* estimate on this machine */
    uint64_t stays_bytes;             /* of peak_bytes what cannot be dropped and read again, as mapped weights can */
    uint64_t available_bytes;         /* what this process can have in all */
} himmel_plan_info;

/* What req would cost, before anything is computed. Errors as himmel_check; ENOMEM: stays_bytes are more than
 * available_bytes; the sentence has both, and plan is filled in all the same. */
HIMMEL_API himmel_status himmel_plan(himmel_ctx *ctx, const himmel_request *req, himmel_plan_info *plan,
                                     himmel_error *err);

enum { HIMMEL_N_PHASES = 6 };
typedef struct {
    const char *name;  /* "text", "sample", "decode", "refine", "scale", "encode"; static storage */
    double seconds;    /* wall time of the calling thread; the encoder works beside it */
    double gflop;      /* matrix operations, 0 where there are none */
} himmel_phase;

typedef struct {
    int width, height, n_frames;
    uint64_t file_bytes;
    uint64_t arena_bytes; /* most working memory of the networks at a time */
    double seconds;       /* whole call */
    himmel_phase phase[HIMMEL_N_PHASES];
    int passes, passes_skipped; /* of released models' transformers: computed, and left out by step_cache */
} himmel_result;

/* Make one film or image. Blocks. result may be NULL. The file is written beside req->output and renamed when
 * it is complete. EINVAL as himmel_check; EIO: output cannot be written; ENOMEM: does not fit; ECANCELLED: a
 * callback wanted it. On any error no file is left and an older output is untouched. Several threads may
 * generate from one context. */
HIMMEL_API himmel_status himmel_generate(himmel_ctx *ctx, const himmel_request *req, himmel_result *result,
                                         himmel_error *err);

/* ---- editing: films and pictures that are there already (docs/editing.md) ---- */

typedef struct {
    const char *path;  /* film or picture, at most 4096 pixels a side */
    double from, to;   /* the part of a film that is used, seconds; to 0: to its end */
} himmel_clip;

typedef struct {
    double at;           /* seconds; ascending */
    const char *picture; /* shown then, NULL: none */
    const char *prompt;  /* holds from then on, NULL: the one before goes on */
} himmel_card;

typedef enum {
    HIMMEL_EDIT_NEW,    /* a new film of request.seconds through cards: animate, storyboard, interpolate pictures */
    HIMMEL_EDIT_JOIN,   /* clips in order with new seconds before, between and after: extend, blend, loop, trim, join */
    HIMMEL_EDIT_CHANGE, /* clips[0] itself: inpaint, outpaint, remix */
    HIMMEL_EDIT_UPSCALE /* clips[0] larger: what is in it stays, the refiner adds finer detail */
} himmel_edit_mode;

typedef enum { HIMMEL_FIT_CROP, HIMMEL_FIT_PAD } himmel_fit;

enum { HIMMEL_MAX_SECONDS = 60, HIMMEL_MAX_CLIPS = 32, HIMMEL_MAX_CARDS = 32 };
/* Strengths of a remix that have names; mild where none is asked for. */
#define HIMMEL_STRENGTH_SUBTLE 0.3
#define HIMMEL_STRENGTH_MILD 0.6
#define HIMMEL_STRENGTH_STRONG 0.95

typedef struct {
    himmel_edit_mode mode;
    const himmel_clip *clips; /* JOIN: 1..HIMMEL_MAX_CLIPS films, CHANGE, UPSCALE: one film or picture */
    size_t n_clips;
    double before, between, after; /* JOIN: new seconds; between at most 8, the others 56 */
    int loop;                 /* JOIN: 1: `after` (at most 8) leads back to the first frame */
    const himmel_card *cards; /* NEW: up to HIMMEL_MAX_CARDS */
    size_t n_cards;
    /* CHANGE: what may change: the white of mask (a picture or film of the size of the input), or a box in pixels of
     * the input, all the time or from..to seconds (box_to 0: to the end), or (outpaint) what the input does not cover.
     * The rest stays as it is to the pixel. */
    const char *mask;
    double box[4];            /* x, y, width, height; width 0: no box */
    double box_from, box_to;
    int outpaint;
    double strength;          /* CHANGE without any of these: 0.01 = nearly the same .. 1 = only the prompt; HIMMEL_STRENGTH_* */
    himmel_fit fit;           /* inputs of other shape than the result: cut off or put black around (outpaint: fill it) */
    int mask_holes;           /* 1: what may change is what is fully transparent in mask, not its white */
    const char *reference;    /* NULL, or a picture of who or what new frames are about: Wan's VACE takes one, others are EINVAL */
    /* NULL, or inputs are decoded and their credentials read elsewhere: a connected stream socket, closed here, to a process that runs
     * himmel_read_serve(socket, path) for this one opening of path; -1: there is none. */
    int (*reader)(void *reader_user, const char *path);
    void *reader_user;
} himmel_edit;

HIMMEL_API himmel_edit himmel_edit_default(void);

/* Make one film or picture from others. In req, width and height 0 and fps_num 0 follow the first input, prompt may be
 * NULL (extending and outpainting: that of the first input, if himmel made it), seconds counts for NEW only. Frames of
 * clips go through untouched (before the mark and encoding), and so does their sound.
 * Released models do NEW at the frames that they take pictures for (size 0 is then as many pixels as they were made for, in
 * the shape of the first picture, and rate 0 theirs), JOIN where they take clips or pictures to go on from and lead to, and
 * CHANGE where they can start from a film; EINVAL says what a model cannot do. UPSCALE is himmel-1's.
 * Otherwise as himmel_generate; EFORMAT, EIO: an input cannot be read; EINVAL names the field, the file and the value. */
HIMMEL_API himmel_status himmel_edit_run(himmel_ctx *ctx, const himmel_request *req, const himmel_edit *edit,
                                         himmel_result *result, himmel_error *err);

/* The other end of himmel_edit.reader: reads path for whoever asks at fd, until they close it. */
HIMMEL_API void himmel_read_serve(int fd, const char *path);

/* ---- looking into films and pictures ---- */

typedef struct {
    int width, height;
    int fps_num, fps_den;  /* 0/1 for a picture */
    double seconds;        /* as the file says; 0: a picture, or not known */
    int transparent;       /* 1: a picture, some pixels of which are fully transparent */
} himmel_media;

/* What is in a film or picture; its first frame is decoded. EIO, EFORMAT: it cannot be read. */
HIMMEL_API himmel_status himmel_probe(const char *path, himmel_media *out, himmel_error *err);
/* n stills of a film or picture, evenly over its length, in rows of `columns`, each `width` pixels wide, as one picture
 * to output (.png .jpg .jpeg .webp). EINVAL: more than 400, or a sheet wider or higher than 16384 pixels. */
HIMMEL_API himmel_status himmel_stills(const char *path, int n, int columns, int width, const char *output, himmel_error *err);
/* A picture of on_preview to a file: .png .jpg .jpeg .webp. */
HIMMEL_API himmel_status himmel_write_picture(const himmel_picture *pic, const char *path, himmel_error *err);

/* ---- prompts ---- */

/* The words of prompt that himmel-1 has never seen, as "piano, cat" into buf (cut to cap, always terminated).
 * Returns how many there are. */
HIMMEL_API size_t himmel_unknown_words(const char *prompt, char *buf, size_t cap);
/* What himmel-1 knows, in one line: "skies, seas, mountains ..."; static storage. */
HIMMEL_API const char *himmel_known_words(void);
/* Fill in what the prompt leaves open (time of day, weather, camera ...; the same for the same seed) and
 * write the full prompt in the prompt's language into buf. EINVAL: empty, broken UTF-8, or buf too small. */
HIMMEL_API himmel_status himmel_expand(const char *prompt, uint64_t seed, char *buf, size_t cap,
                                       himmel_error *err);

/* ---- where files come from (docs/provenance.md) ---- */

typedef enum { HIMMEL_LAYER_ABSENT, HIMMEL_LAYER_FOUND, HIMMEL_LAYER_BROKEN } himmel_layer;

typedef struct {
    himmel_layer credentials; /* signed Content Credentials (C2PA), ours or another tool's */
    int trusted;              /* 1: their signer leads to a root in the identity folder */
    int made_by_machine;      /* 1: they say that a generative model made the file, or part of it */
    himmel_layer watermark;   /* himmel's invisible mark in the picture: FOUND or ABSENT */
    int disagree;             /* 1: the layers contradict each other */
    char *json;               /* everything, as one JSON object on one line: docs/provenance.md */
} himmel_verdict;

/* What a file says about itself and whether that holds. identity as in himmel_options. EIO: path cannot be read; a
 * broken file is a verdict, not an error. HIMMEL_OK: himmel_verdict_free() releases *out. */
HIMMEL_API himmel_status himmel_verify(const char *path, const char *identity, himmel_verdict *out,
                                       himmel_error *err);
HIMMEL_API void himmel_verdict_free(himmel_verdict *verdict);

typedef struct {
    char name[280], issuer[280];
    char algorithm[16];    /* "Ed25519", "ES256" ... */
    char valid_until[16];  /* 2036-11-22 */
    char fingerprint[65];  /* SHA-256 of the certificate */
    char issuer_id[9];     /* what films carry of it: first bytes of the SHA-256 of the public key */
    char folder[4096];
    int self_signed;       /* 1: made by himmel: valid, trusted by nobody until they take root.pem */
} himmel_identity;

/* The identity that signs; made if there is none. EIO, EFORMAT: the folder or what is in it cannot be used. */
HIMMEL_API himmel_status himmel_identity_show(const char *identity, himmel_identity *out, himmel_error *err);
/* A new key and certificates. name NULL = a random one; algorithm NULL = Ed25519 (same film, same bytes), or ES256,
 * ES384. EINVAL: there is one already and replace is 0. */
HIMMEL_API himmel_status himmel_identity_new(const char *identity, const char *name, const char *algorithm, int replace,
                                             himmel_error *err);
/* A PEM file of a private key, its certificate and those above it becomes the identity. */
HIMMEL_API himmel_status himmel_identity_import(const char *identity, const char *path, int replace,
                                                himmel_error *err);
/* Files signed under this root certificate (PEM) are trusted from now on. */
HIMMEL_API himmel_status himmel_identity_trust(const char *identity, const char *path, himmel_error *err);

/* ---- long jobs: training, evaluation, footage ---- */

typedef struct {
    const char *key;    /* without dashes: "steps" */
    const char *value;  /* "" for a bare switch */
} himmel_option;

/* himmel_train("basis|text|dit|refiner|probe"), himmel_eval("..."), himmel_world("..."): what to do, then
 * options by name. An unknown what or option, or a value out of range, is EINVAL with a sentence that lists
 * what there is. on_progress may be NULL; it stops the job between steps, after a checkpoint where the job
 * has one. */
HIMMEL_API himmel_status himmel_train(const char *what, const himmel_option *opts, size_t n_opts,
                                      himmel_progress_fn *on_progress, void *user, himmel_error *err);
HIMMEL_API himmel_status himmel_eval(const char *what, const himmel_option *opts, size_t n_opts,
                                     himmel_progress_fn *on_progress, void *user, himmel_error *err);
HIMMEL_API himmel_status himmel_world(const char *what, const himmel_option *opts, size_t n_opts,
                                      himmel_progress_fn *on_progress, void *user, himmel_error *err);

#ifdef __cplusplus
}
#endif
#endif
