/* world_cache.h - the cache mode of himmel-world.   SPDX-License-Identifier: MIT */
#ifndef WORLD_CACHE_H
#define WORLD_CACHE_H

#include "train/cache.h"

/* Shards of o->n_shards x o->shard_n scenes with o->captions tokenised captions each, by model's codec and tokenizer (tok and
 * text_len of o are filled in). Says on stderr how it goes. */
himmel_status hm_world_cache(const char *model, hm_cache_opts *o, himmel_error *err);

#endif
