/* make_model.c - writes a weights file of random numbers, for the tests of the program: make_model FILE
 * [full] SPDX-License-Identifier: MIT */
#include "film/tiny_model.h"

int main(int argc, char **argv)
{
    himmel_error err = {0};
    if (argc < 2) return 2;
    const hm_himmel1_config c = argc > 2 ? hm_himmel1_config_default() : tiny_config();
    if (tiny_model_write(argv[1], &c, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return 0;
}
