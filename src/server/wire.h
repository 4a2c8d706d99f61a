/* wire.h - jobs as the wire format has them.   SPDX-License-Identifier: MIT */
#ifndef HM_WIRE_H
#define HM_WIRE_H

#include "server/http.h"

/* The Video object, all 13 keys, and "himmel": seed, steps, eta_seconds, queue_position ... */
json_t *hm_wire_video(hm_server *srv, const hm_job *j);
/* Likewise of a job that runs, at this moment of it. */
json_t *hm_wire_video_at(hm_server *srv, const hm_job *j, const hm_running *r);
/* The header that says when to ask again; r NULL: it does not run yet. */
void hm_answer_poll_after(hm_call *c, const hm_running *r);
/* The object as an answer, with the time after which polling makes sense. */
bool hm_answer_video(hm_call *c, const hm_job *j);
/* The job c->id of that kind ("": any), if the caller may see it. False: answered with 404. */
bool hm_find_job(hm_call *c, const char *kind, hm_job *out);
int64_t hm_account_seen(const hm_call *c); /* for the journal: own jobs, or all for an admin that asks for all=true */
const char *hm_type_of_file(const char *path);

#endif
