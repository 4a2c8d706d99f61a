/* step_cached.h - a model's film with passes left out; included where W, H, N, OK and usual() are there.   SPDX-License-Identifier: MIT */
/* Steps that are left out: threshold 0 is the plain film, a tiny one computes all and gives the same bytes, a large one saves
 * passes at a bounded error. */
static void step_cache(const hm_model *m, double bound)
{
    enum { STEPS = 10, ALL = 3 * W * H };
    static float exact[ALL], fast[ALL];
    static const double thresholds[] = {0, 1e-9, 0.2, 1};
    double sum = 0, last = 0;
    int passes = 0;
    for (int k = 0; k < 4; k++) {
        seen s;
        hm_model_cost c;
        himmel_error err = {0};
        hm_model_job job = usual(&s);
        job.steps = STEPS, job.step_cache = thresholds[k];
        s.first = k ? fast : exact;
        const himmel_status rc = hm_model_run(m, &job, &c, &err);
        if (rc) fprintf(stderr, "%s\n", err.message);
        OK(!rc && s.next == N && s.in_range);
        double error = 0, size = 0;
        for (int i = 0; i < ALL && k; i++) error += fabs((double)fast[i] - (double)exact[i]), size += fabs((double)exact[i]);
        if (!k) sum = s.sum, passes = c.passes;
        if (k < 2) OK(s.sum == sum && c.passes == passes && !c.passes_skipped && passes >= STEPS);
        if (k < 2) continue;
        printf("threshold %g: %d of %d passes left out, mean error of the first frame %.4f of its mean\n", thresholds[k], c.passes_skipped, passes, error / size);
        OK(c.passes + c.passes_skipped == passes && c.passes_skipped >= last);
        OK(error < bound * size && (error > 0) == (c.passes_skipped > 0));
        last = c.passes_skipped;
    }
    OK(last >= 0.25 * passes);
}
