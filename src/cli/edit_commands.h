/* edit_commands.h - the editing commands: what they take and what their help says.   SPDX-License-Identifier: MIT */
#ifndef HM_CLI_EDIT_COMMANDS_H
#define HM_CLI_EDIT_COMMANDS_H

#include "cli/cli.h"

typedef enum {
    EDIT_ANIMATE,
    EDIT_EXTEND,
    EDIT_INPAINT,
    EDIT_OUTPAINT,
    EDIT_REMIX,
    EDIT_LOOP,
    EDIT_BLEND,
    EDIT_INTERPOLATE,
    EDIT_STORYBOARD,
    EDIT_CUT,
    EDIT_UPSCALE
} edit_id;

typedef struct {
    edit_id id;
    const char *name;
    int min_inputs, max_inputs; /* first words of the line; the rest is the prompt */
    const char *options;        /* " of its own ", in blanks */
    const char *wants;          /* said when inputs are missing */
    const char *help;
} edit_command;

const edit_command *edit_find(const char *name); /* NULL: none */

#endif
