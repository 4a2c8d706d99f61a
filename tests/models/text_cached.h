/* text_cached.h - the text encoder's cache; included where W, H, N, OK and usual() are there.   SPDX-License-Identifier: MIT */
/* The film's fingerprint with the cache in `cache`; *gflop: what the text took. */
static double cached_film(const hm_model *m, const char *cache, const char *prompt, double *gflop)
{
    seen s;
    hm_model_cost c;
    himmel_error err = {0};
    hm_model_job job = usual(&s);
    job.text_cache = cache, job.prompt = prompt;
    OK(!hm_model_run(m, &job, &c, &err));
    *gflop = c.text_gflop;
    return s.sum;
}

/* The second film of the same words gives the same bytes without the encoder's file, which is cut off after its head: whoever read
 * one of its numbers would end this program (SIGBUS). m was opened with `encoder`, which is lost. */
static void text_cache(const hm_model *m, const char *encoder, const char *cache)
{
    double plain, first, other, second;
    const double sum = cached_film(m, NULL, "a cat", &plain);
    OK(cached_film(m, cache, "a cat", &first) == sum && first == plain && plain > 0);
    OK(cached_film(m, cache, "another", &other) != sum && other > 0 && other < plain); /* the negative prompt is known */
    OK(!truncate(encoder, 4096));
    OK(cached_film(m, cache, "a cat", &second) == sum && second == 0);
}
