/* story.h - storyboards: a JSON file of cards.   SPDX-License-Identifier: MIT */
#ifndef HM_CLI_STORY_H
#define HM_CLI_STORY_H

#include "cli/cli.h"

typedef struct {
    void *json;              /* holds the strings */
    char *pictures[HIMMEL_MAX_CARDS];
    himmel_card card[HIMMEL_MAX_CARDS];
    size_t n;
    const char *prompt;      /* NULL: none */
    double seconds;          /* 0: not said */
} cli_story;
/* {"seconds": 12, "prompt": "...", "cards": [{"at": 0, "prompt": "...", "picture": "a.png"}, ...]}; paths count from the
 * folder of the file. false: a sentence in err. */
bool story_read(cli_story *s, const char *path, himmel_error *err);
void story_free(cli_story *s);

#endif
