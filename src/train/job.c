/* job.c - what every long job does: report steps, write its log.   SPDX-License-Identifier: MIT */
#include <stdarg.h>

#include "train/train.h"

bool hm_job_step(const hm_job *job, const char *phase, int64_t step, int64_t total, double eta_s, const char *note)
{
    if (!job->fn) return false;
    const himmel_progress p = {.phase = phase, .step = step, .n_steps = total,
                               .fraction = total > 0 ? (double)step / (double)total : 0, .eta_seconds = eta_s,
                               .note = note ? note : ""};
    return job->fn(job->user, &p) != 0;
}

void hm_log(FILE *log, const char *fmt, ...)
{
    if (!log) return;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(log, fmt, ap);
    va_end(ap);
    fflush(log);
}
