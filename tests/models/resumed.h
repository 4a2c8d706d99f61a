/* resumed.h - a film that is stopped after any step goes on to the same bytes; included where W, H, N, OK and usual() are there.
 * SPDX-License-Identifier: MIT */
typedef struct {
    float *state[2]; /* of each run of the sampler */
    size_t n[2];
    int step[2], run, loads, first; /* first: the step that the last load gave */
    uint8_t words[32];
} shelf;

static int shelf_load(void *user, const uint8_t words[32], int n_steps, float *state, size_t n)
{
    shelf *s = user;
    s->loads++;
    if (!s->state[s->run]) return 0;
    OK(n == s->n[s->run] && !memcmp(words, s->words, 32) && s->step[s->run] <= n_steps);
    memcpy(state, s->state[s->run], n * sizeof *state);
    return s->first = s->step[s->run];
}

static void shelf_save(void *user, const uint8_t words[32], int step, bool last, const float *state, size_t n)
{
    shelf *s = user;
    (void)last;
    if (!s->state[s->run]) s->state[s->run] = malloc(n * sizeof *state);
    memcpy(s->state[s->run], state, n * sizeof *state);
    memcpy(s->words, words, 32);
    s->n[s->run] = n, s->step[s->run] = step;
}

static void shelf_end(void *user) { ((shelf *)user)->run++; }

/* n_steps of all passes. */
static void resumed(const hm_model *m, int steps, int n_steps, double step_cache)
{
    seen s;
    hm_model_cost c;
    himmel_error err = {0};
    hm_model_job job = usual(&s);
    job.steps = steps, job.step_cache = step_cache;
    OK(!hm_model_run(m, &job, &c, &err));
    const double whole = s.sum;
    for (int at = 1; at <= n_steps; at++) {
        shelf here = {.run = 0};
        const hm_kept kept = {.user = &here, .load = shelf_load, .save = shelf_save, .end = shelf_end};
        job = usual(&s);
        job.steps = steps, job.step_cache = step_cache, job.kept = &kept, s.stop_at = at;
        OK(hm_model_run(m, &job, &c, &err) == HIMMEL_ECANCELLED && !s.next);
        here.run = 0;
        job = usual(&s);
        job.steps = steps, job.step_cache = step_cache, job.kept = &kept;
        OK(!hm_model_run(m, &job, &c, &err));
        OK(s.sum == whole && s.next == N && here.first > 0);
        for (int i = 0; i < 2; i++) free(here.state[i]);
    }
}
