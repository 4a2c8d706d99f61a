/* assets.c - the studio: the files of web/, inside the program.   SPDX-License-Identifier: MIT */
#include <string.h>

#include "server/wire.h"

/* The assembler reads the file; HM_WEB is the folder. */
#define ASSET(symbol, file)                                                                       \
    __asm__(".pushsection .rodata\n" #symbol ":\n.incbin \"" HM_WEB "/" file "\"\n" #symbol "_end:\n.byte 0\n.popsection\n"); \
    extern const char symbol[], symbol##_end[]

ASSET(hm_web_index, "index.html");
ASSET(hm_web_style, "style.css");
ASSET(hm_web_app, "app.js");
ASSET(hm_web_api, "api.js");
ASSET(hm_web_cards, "cards.js");
ASSET(hm_web_edit, "edit.js");
ASSET(hm_web_words, "words.js");
ASSET(hm_web_icon, "icon.svg");

static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
                             "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

static bool get_asset(hm_call *c)
{
    static const struct { const char *path, *from, *to; } files[] = {
        {"/index.html", hm_web_index, hm_web_index_end}, {"/style.css", hm_web_style, hm_web_style_end}, {"/app.js", hm_web_app, hm_web_app_end},
        {"/api.js", hm_web_api, hm_web_api_end}, {"/cards.js", hm_web_cards, hm_web_cards_end}, {"/edit.js", hm_web_edit, hm_web_edit_end},
        {"/words.js", hm_web_words, hm_web_words_end}, {"/icon.svg", hm_web_icon, hm_web_icon_end}};
    const char *path = !strcmp(c->path, "/") ? "/index.html" : !strcmp(c->path, "/favicon.ico") ? "/icon.svg" : c->path;
    for (size_t i = 0; i < HM_COUNT(files); i++)
        if (!strcmp(path, files[i].path)) {
            hm_answer_header(c, "Content-Security-Policy", "%s", policy);
            hm_answer_header(c, "Cache-Control", "no-cache");
            return hm_answer_bytes(c, 200, hm_type_of_file(path), files[i].from, (size_t)(files[i].to - files[i].from));
        }
    return hm_answer_error(c, 404, NULL, "unknown_url", "there is nothing at %.120s", c->path);
}

const hm_route hm_studio_routes[] = {{"GET", "/", HM_SCOPE_NONE, get_asset}, {"GET", "/*", HM_SCOPE_NONE, get_asset}, {NULL, NULL, HM_SCOPE_NONE, NULL}};
