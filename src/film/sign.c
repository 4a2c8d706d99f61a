/* sign.c - Content Credentials of a generation.   SPDX-License-Identifier: MIT */
#include "film/sign.h"

#include <stdlib.h>
#include <string.h>

#include "media/encode.h"
#include "provenance/timestamp.h"

himmel_status hm_signer_open(hm_signer *s, himmel_ctx *ctx, const himmel_request *req, himmel_error *err)
{
    *s = (hm_signer){.ctx = ctx, .req = req};
    himmel_status rc = HIMMEL_OK;
    pthread_mutex_lock(&ctx->lock);
    if (!ctx->identity) rc = hm_identity_open(&ctx->identity, ctx->identity_dir, err);
    pthread_mutex_unlock(&ctx->lock);
    s->identity = ctx->identity;
    hm_buf probe = {0};
    if (!rc && *ctx->time_server) rc = hm_stamp_fetch(&probe, ctx->time_server, (const uint8_t *)"himmel", 6, err);
    hm_buf_free(&probe);
    return rc;
}

/* Everything that the bytes of the film depend on, one setting a line; free it. NULL: out of memory. */
static char *request_text(const hm_signer *s)
{
    const himmel_request *r = s->req;
    const char *negative = r->negative ? r->negative : "", *prompt = r->prompt ? r->prompt : "";
    const char *settings = s->settings ? s->settings : "";
    hm_str t = {.cap = strlen(prompt) + strlen(negative) + strlen(settings) + strlen(s->ctx->loras) + 1024};
    t.data = malloc(t.cap);
    if (!t.data) return NULL;
    hm_str_addf(&t, "himmel %s %s %s %d\n", HIMMEL_VERSION, hm_media_version(), s->ctx->isa, s->ctx->threads);
    hm_str_addf(&t, "kind %d\nsize %dx%d\nseconds %.17g\nfps %d/%d\ncrf %d\n", (int)r->kind, r->width, r->height, r->seconds,
                r->fps_num, r->fps_den, r->crf);
    hm_str_addf(&t, "seed %llu\nsteps %d\nguidance %.17g\nmark %d\n", (unsigned long long)r->seed, r->steps,
                r->guidance, r->visible_mark);
    if (r->quality) hm_str_addf(&t, "quality %d\n", r->quality);
    if (r->step_cache > 0) hm_str_addf(&t, "step cache %.17g\n", r->step_cache);
    if (*s->ctx->loras) hm_str_addf(&t, "loras %s\n", s->ctx->loras);
    if (s->ctx->int8) hm_str_addf(&t, "precision int8\n");
    hm_str_addf(&t, "prompt %s\nnegative %s\n%s", prompt, negative, settings);
    return t.data;
}

static hm_credit credit(const hm_signer *s, const char *request)
{
    const himmel_request *r = s->req;
    const himmel_ctx *ctx = s->ctx;
    const hm_himmel1 *m = ctx->model; /* NULL: a released model */
    const bool open = r->sign_prompt != 0;
    return (hm_credit){.model = m ? m->name : ctx->facts.name,
                       .model_version = m ? m->version : ctx->facts.family,
                       .model_sha256 = m ? m->sha256 : ctx->sha256,
                       .data_sha256 = m ? hm_st_meta(m->st, "himmel.data_manifest_sha256") : NULL,
                       .request = request,
                       .prompt = open ? r->prompt : NULL,
                       .seed = open ? &r->seed : NULL,
                       .mining = r->mining == HIMMEL_MINING_ALLOWED     ? HM_MINING_ALLOWED
                                 : r->mining == HIMMEL_MINING_FORBIDDEN ? HM_MINING_FORBIDDEN
                                                                        : HM_MINING_UNSAID,
                       .visible_mark = r->visible_mark != 0,
                       .time_server = *s->ctx->time_server ? s->ctx->time_server : NULL,
                       .watermark = *s->watermark ? s->watermark : NULL,
                       .sources = s->sources,
                       .n_sources = s->n_sources,
                       .reader = &s->reader,
                       .action = s->action};
}

himmel_status hm_signer_mark(hm_signer *s, int w, int h, hm_watermark **out, himmel_error *err)
{
    uint8_t film_id[32] = {0};
    hm_wm_payload p;
    char *request = request_text(s);
    if (!request) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", s->req->output);
    const hm_credit c = credit(s, request);
    hm_film_id(&c, s->identity, film_id);
    free(request);
    memcpy(p.film_id, film_id, sizeof p.film_id);
    memcpy(p.issuer_id, s->identity->issuer_id, sizeof p.issuer_id);
    hm_wm_hex(&p, s->watermark);
    return hm_watermark_new(out, w, h, &p, s->ctx->threads, err);
}

himmel_status hm_signer_seal(void *user, const uint8_t *in, size_t n, uint8_t **out, size_t *n_out, himmel_error *err)
{
    const hm_signer *s = user;
    char *request = request_text(s);
    if (!request) return hm_fail(err, HIMMEL_ENOMEM, "%s: out of memory", s->req->output);
    const hm_credit c = credit(s, request);
    hm_buf sealed;
    const himmel_status rc = hm_credit_sign(&sealed, s->req->output, in, n, &c, s->identity, err);
    free(request);
    *out = sealed.data, *n_out = sealed.len;
    return rc;
}
