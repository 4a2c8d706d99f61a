/* fuzz_story.c - storyboards: a JSON file of cards.   SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* memfd_create: a file without a disk */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/story.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    const int fd = memfd_create("story", 0);
    if (fd < 0) return 0;
    for (size_t at = 0; at < size;) {
        const ssize_t n = write(fd, data + at, size - at);
        if (n <= 0) break;
        at += (size_t)n;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    cli_story s = {0};
    himmel_error err = {0};
    if (!story_read(&s, path, &err) && !*err.message) abort();
    for (size_t i = 0; i < s.n && !*err.message; i++)
        if (!s.card[i].prompt && !s.card[i].picture) abort();
    story_free(&s);
    close(fd);
    return 0;
}
