/* edit_commands.c - the editing commands: what they take and what their help says.   SPDX-License-Identifier: MIT */
#include "cli/edit_commands.h"

#include <string.h>

static const edit_command commands[] = {
    {EDIT_ANIMATE, "animate", 1, 1, " last fit reference ", "animate wants a picture: himmel animate picture.png \"the camera pans left\"",
     "himmel animate PICTURE [\"prompt\"]              a picture becomes the first frame of a film\n\n"
     "      --last FILE       a picture that the film ends with\n"
     "      --seconds N       1 to 60                                       (5; a released model: its own)\n"},
    {EDIT_EXTEND, "extend", 1, 1, " after before fit reference ", "extend wants a film: himmel extend film.mp4 --after 5",
     "himmel extend FILM [\"prompt\"]                  the film goes on, or begins earlier\n\n"
     "      --after N         new seconds behind it, up to 56               (5)\n"
     "      --before N        new seconds in front of it, up to 56          (0)\n"
     "Its own frames are passed through.\n"},
    {EDIT_INPAINT, "inpaint", 1, 1, " mask box fit reference ", "inpaint wants a film or picture: himmel inpaint film.mp4 --box 100,50,300,200 \"clear sky\"",
     "himmel inpaint FILE \"prompt\"                   a part of a film or picture is made anew\n\n"
     "      --mask FILE       picture or film of the same size: white may change\n"
     "      --box X,Y,W,H     in pixels, or X,Y,W,H@FROM-TO with seconds\n"
     "Outside, every pixel stays as it was.\n"},
    {EDIT_OUTPAINT, "outpaint", 1, 1, " reference ", "outpaint wants a film or picture: himmel outpaint film.mp4 --size 1920x1080",
     "himmel outpaint FILE --size WxH [\"prompt\"]     what lies around a film or picture is added\n"},
    {EDIT_REMIX, "remix", 1, 1, " strength fit reference ", "remix wants a film or picture: himmel remix film.mp4 \"the same at night\"",
     "himmel remix FILE \"prompt\"                     a film or picture made anew along its lines\n\n"
     "      --strength S      subtle, mild, strong, or 0.01 (nearly the same) to 1 (only the prompt)  (mild)\n"
     "  -n, --variations N    several: image-1.png, image-2.png ...\n"},
    {EDIT_LOOP, "loop", 0, 1, " fit reference ", "loop wants a film or a prompt: himmel loop film.mp4",
     "himmel loop FILM [\"prompt\"]                    new seconds lead from its end back to its start\n"
     "himmel loop \"prompt\"                           a film that can be played over and over\n\n"
     "      --seconds N       of the way back, up to 8 (2); from a prompt: of the whole film, from 2 (8)\n"},
    {EDIT_BLEND, "blend", 2, 2, " fit reference ", "blend wants two films: himmel blend a.mp4 b.mp4 --seconds 2",
     "himmel blend FILM FILM [\"prompt\"]              new seconds lead from one film to the other\n\n"
     "      --seconds N       of the way, up to 8                           (2)\n"},
    {EDIT_INTERPOLATE, "interpolate", 2, HIMMEL_MAX_CARDS, " fit reference ", "interpolate wants pictures or films: himmel interpolate a.png b.png",
     "himmel interpolate FILE FILE...                a film through pictures, or films with new seconds between\n\n"
     "      --seconds N       pictures: of the film (3 each); films: of each gap, up to 8 (1)\n"},
    {EDIT_STORYBOARD, "storyboard", 1, 1, " fit reference ", "storyboard wants a file of cards: himmel storyboard story.json",
     "himmel storyboard STORY.json                   one film through cards\n\n"
     "{\"seconds\": 12, \"cards\": [\n"
     "  {\"at\": 0, \"prompt\": \"dawn over the sea\", \"picture\": \"start.png\"},\n"
     "  {\"at\": 6, \"prompt\": \"a thunderstorm comes\"}]}\n\n"
     "A card's prompt holds until the next one, its picture is shown at its second.\n"},
    {EDIT_CUT, "cut", 1, HIMMEL_MAX_CLIPS, " from to fit ", "cut wants a film: himmel cut film.mp4 --from 2 --to 5",
     "himmel cut FILM [FILM...]                      parts of films, one behind the other\n\n"
     "      --from N, --to N  seconds that are kept of each; or film.mp4@2-5 film.mp4@8-\n"},
    {EDIT_UPSCALE, "upscale", 1, 1, " fit ", "upscale wants a film or picture: himmel upscale film.mp4 --size 1080p",
     "himmel upscale FILE [--size WxH]               larger, with finer detail from the refiner (twice as large)\n"},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static const char tail[] =
    "\n"
    "  -o, --output FILE     film.mp4, or image.png where a picture is made\n"
    "  -s, --size WxH        of the result                                 (as the first input)\n"
    "      --fps N           of the result                                 (as the first input)\n"
    "      --fit crop|pad    inputs of another shape: cut off, or black around (crop)\n"
    "      --model --with    a released model, as far as its weights can: docs/editing.md\n"
    "      --reference FILE  a picture of who or what it is about (Wan VACE)\n"
    "      --seed --steps --guidance --negative -n --json --preview -q ...: see himmel help. docs/editing.md has examples.\n";

const edit_command *edit_find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

bool is_edit(const char *name)
{
    return edit_find(name) != NULL;
}

int cmd_edit_help(const char *name)
{
    const edit_command *c = edit_find(name);
    printf("%s%s", c->help, tail);
    return EXIT_DONE;
}
