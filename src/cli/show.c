/* show.c - progress, pictures in the terminal, events as JSON.   SPDX-License-Identifier: MIT
 * On a terminal one line is drawn over and over, below the picture if there is one; elsewhere a line now and
 * then. */
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void show_init(shower *s, const cli_args *a)
{
    *s = (shower){.json = a->json, .quiet = a->quiet, .preview = a->preview};
    s->out = a->json ? stdout : stderr;
    s->tty = !a->json && isatty(fileno(stderr));
}

static int columns(void)
{
    struct winsize w;
    if (ioctl(fileno(stderr), TIOCGWINSZ, &w) || w.ws_col < 20) return 80;
    return w.ws_col > 200 ? 200 : w.ws_col;
}

void cli_json_string(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') fprintf(f, "\\%c", c);
        else if (c < 32 || c == 127) fprintf(f, "\\u%04x", c);
        else fputc(c, f);
    }
    fputc('"', f);
}

void show_error(bool json, const himmel_error *err)
{
    static const char *const names[] = {"ok",     "invalid", "memory",    "io",
                                        "format", "model",   "cancelled", "internal"};
    fprintf(stderr, "himmel: %s\n", err->message);
    if (!json) return;
    const int i = err->code <= 0 && err->code >= HIMMEL_EINTERNAL ? -(int)err->code : 7;
    printf("{\"event\":\"error\",\"code\":\"%s\",\"message\":", names[i]);
    cli_json_string(stdout, err->message);
    printf("}\n");
    fflush(stdout);
}

void show_line_end(shower *s)
{
    if (s->bar) fprintf(s->out, "\r\033[K");
    s->bar = false;
    fflush(s->out);
}

static void duration(char *buf, size_t cap, double seconds)
{
    if (seconds < 0) snprintf(buf, cap, "-:--");
    else snprintf(buf, cap, "%d:%02d", (int)(seconds + 0.5) / 60, (int)(seconds + 0.5) % 60);
}

/* "sample  ━━━━━━━━╌╌╌╌╌╌  12/25  0:41 left" */
static void draw_bar(shower *s, const himmel_progress *p)
{
    char left[16];
    duration(left, sizeof left, p->eta_seconds);
    const int room = columns() - 44, width = room < 8 ? 8 : room > 48 ? 48 : room;
    const int full = (int)(p->fraction * width + 0.5);
    fprintf(s->out, "\r\033[K%-7s ", p->phase);
    for (int i = 0; i < width; i++) fputs(i < full ? "\xe2\x94\x81" : "\xe2\x95\x8c", s->out);
    fprintf(s->out, " %3.0f %%  %lld/%lld  %s left", 100 * p->fraction, (long long)p->step,
            (long long)p->n_steps, left);
    s->bar = true;
    fflush(s->out);
}

static void plain_line(shower *s, const himmel_progress *p)
{
    const long tenth = p->n_steps > 0 ? (long)(10 * p->step / p->n_steps) : (long)p->step;
    const bool other = strcmp(s->phase, p->phase) != 0;
    if (!other && tenth == s->tenth && !*p->note) return;
    s->tenth = tenth;
    snprintf(s->phase, sizeof s->phase, "%s", p->phase);
    char left[16];
    duration(left, sizeof left, p->eta_seconds);
    if (p->step == 0 && !*p->note) return;
    fprintf(s->out, "%s %lld/%lld%s%s%s%s\n", p->phase, (long long)p->step, (long long)p->n_steps,
            *p->note ? "  " : "", p->note, p->eta_seconds < 0 ? "" : "  left ",
            p->eta_seconds < 0 ? "" : left);
    fflush(s->out);
}

static void json_line(shower *s, const himmel_progress *p)
{
    fprintf(s->out,
            "{\"event\":\"progress\",\"phase\":\"%s\",\"step\":%lld,\"steps\":%lld,"
            "\"fraction\":%.4f,\"eta\":%.1f",
            p->phase, (long long)p->step, (long long)p->n_steps, p->fraction, p->eta_seconds);
    if (*p->note) {
        fputs(",\"note\":", s->out);
        cli_json_string(s->out, p->note);
    }
    fputs("}\n", s->out);
    fflush(s->out);
}

int show_progress(void *user, const himmel_progress *p)
{
    shower *s = user;
    if (s->json) json_line(s, p);
    else if (s->quiet) (void)0;
    else if (!s->tty) plain_line(s, p);
    else {
        const double now = clock_seconds();
        if (*p->note) {
            show_line_end(s);
            fprintf(s->out, "%s\n", p->note);
        }
        if (now - s->last > 0.1 || p->step == p->n_steps) {
            s->last = now;
            draw_bar(s, p);
        }
    }
    return stop_asked() || (s->json && ferror(s->out)); /* nobody reads any more: stop */
}

/* Mean colour of the pixels that a character half covers. */
static void mean_colour(const himmel_picture *p, int x0, int x1, int y0, int y1, unsigned c[3])
{
    unsigned long sum[3] = {0}, n = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++, n++)
            for (int k = 0; k < 3; k++)
                sum[k] += p->rgb[3 * ((size_t)y * (size_t)p->width + (size_t)x) + (size_t)k];
    for (int k = 0; k < 3; k++) c[k] = n ? (unsigned)(sum[k] / n) : 0;
}

int show_preview(void *user, const himmel_picture *p)
{
    shower *s = user;
    if (s->json || (!s->tty && p->rough)) return stop_asked(); /* in a file: frames of the film only */
    const int room = columns() - 2 < 72 ? columns() - 2 : 72, cols = p->width < room ? p->width : room;
    int rows = (int)((double)p->height * cols / p->width / 2 + 0.5);
    rows = rows < 1 ? 1 : rows > 40 ? 40 : rows;
    FILE *f = stderr;
    if (s->tty) show_line_end(s);
    if (s->tty && s->preview_rows) fprintf(f, "\033[%dA", s->preview_rows);
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < cols; c++) {
            unsigned up[3], down[3];
            const int x0 = c * p->width / cols, x1 = (c + 1) * p->width / cols, half = 2 * rows;
            mean_colour(p, x0, x1, 2 * r * p->height / half, (2 * r + 1) * p->height / half, up);
            mean_colour(p, x0, x1, (2 * r + 1) * p->height / half, (2 * r + 2) * p->height / half, down);
            fprintf(f, "\033[38;2;%u;%u;%um\033[48;2;%u;%u;%um\xe2\x96\x80", up[0], up[1], up[2], down[0],
                    down[1], down[2]);
        }
        fprintf(f, "\033[0m\033[K\n");
    }
    s->preview_rows = rows;
    fflush(f);
    return stop_asked();
}
