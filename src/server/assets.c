/* assets.c - the studio: the files of web/, inside the program.   SPDX-License-Identifier: MIT */
#include <string.h>

#include "server/wire.h"

/* Every file once: name of its symbol, name in web/ and in the address. */
#define FILES(X)                                                                                                  \
    X(index, "index.html")                                                                                 \
    X(style, "style.css")                                                                                  \
    X(app, "app.js")                                                                                       \
    X(api, "api.js")                                                                                       \
    X(board, "board.js")                                                                                   \
    X(cards, "cards.js")                                                                                   \
    X(compose, "compose.js")                                                                               \
    X(dom, "dom.js")                                                                                       \
    X(film, "film.js")                                                                                     \
    X(mask, "mask.js")                                                                                     \
    X(queue, "queue.js")                                                                                   \
    X(tools, "tools.js")                                                                                   \
    X(verify, "verify.js")                                                                                 \
    X(words, "words.js")                                                                                   \
    X(icon, "icon.svg")

/* The assembler reads the file; HM_WEB is the folder. */
#define ASSET(symbol, file)                                                                                       \
    __asm__(".pushsection .rodata\nhm_web_" #symbol ":\n.incbin \"" HM_WEB "/" file                                \
            "\"\nhm_web_" #symbol "_end:\n.byte 0\n.popsection\n");                                                \
    extern const char hm_web_##symbol[], hm_web_##symbol##_end[];
#define ENTRY(symbol, file) {"/" file, hm_web_##symbol, hm_web_##symbol##_end},
FILES(ASSET)

static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
                             "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
                             "frame-ancestors 'none'";

static bool get_asset(hm_call *c)
{
    static const struct { const char *path, *from, *to; } files[] = {FILES(ENTRY)};
    const char *path = !strcmp(c->path, "/") ? "/index.html" : c->path;
    if (!strcmp(path, "/favicon.ico")) path = "/icon.svg";
    for (size_t i = 0; i < HM_COUNT(files); i++)
        if (!strcmp(path, files[i].path)) {
            hm_answer_header(c, "Content-Security-Policy", "%s", policy);
            hm_answer_header(c, "Cache-Control", "no-cache");
            return hm_answer_bytes(c, 200, hm_type_of_file(path), files[i].from, (size_t)(files[i].to - files[i].from));
        }
    return hm_answer_error(c, 404, NULL, "unknown_url", "there is nothing at %.120s", c->path);
}

const hm_route hm_studio_routes[] = {{"GET", "/", HM_SCOPE_NONE, get_asset}, {"GET", "/*", HM_SCOPE_NONE, get_asset}, {NULL, NULL, HM_SCOPE_NONE, NULL}};
