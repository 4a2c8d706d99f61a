/* responder.c - what the load is compared with: a server that does nothing but answer. Prints its port.   SPDX-License-Identifier: MIT
 * A poll gets a body of the size of a Video object, a stream of events stays open and silent. */
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static ssize_t silence(void *user, uint64_t pos, char *buf, size_t max)
{
    (void)user, (void)pos, (void)buf, (void)max;
    return 0;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                                  const char *data, size_t *n, void **state)
{
    static char body[700];
    (void)user, (void)method, (void)version, (void)data, (void)n;
    if (!*state) {
        *state = body;
        return MHD_YES;
    }
    memset(body, ' ', sizeof body);
    if (strstr(url, "/events")) {
        struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1024, silence, NULL, NULL);
        MHD_queue_response(c, 200, r);
        MHD_destroy_response(r);
        MHD_suspend_connection(c);
        return MHD_YES;
    }
    struct MHD_Response *r = MHD_create_response_from_buffer(sizeof body, body, MHD_RESPMEM_PERSISTENT);
    MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return MHD_YES;
}

int main(void)
{
    struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, NULL,
                                            MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_CONNECTION_LIMIT, 2000u, MHD_OPTION_END);
    if (!d) return 1;
    printf("%d\n", MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    for (;;) pause();
}
