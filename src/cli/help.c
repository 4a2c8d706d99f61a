/* help.c - what the program says about itself.   SPDX-License-Identifier: MIT */
#include <string.h>

#include "cli/cli.h"

static const char main_help[] =
    "himmel makes short films of skies from words, on plain CPUs, with a model of its own.\n"
    "\n"
    "  himmel \"sunset over a calm sea, a red balloon drifts by\" -o film.mp4\n"
    "  himmel image \"aurora above snowy mountains\" -o picture.png\n"
    "  himmel \"Gewitter \xc3\xbc""ber der Stadt bei Nacht\" --seconds 5 --size 720p -o gewitter.mp4\n"
    "\n"
    "Film and image\n"
    "  -o, --output FILE     film: .mp4; image: .png .jpg .jpeg .webp      (film.mp4, image.png)\n"
    "  -s, --size WxH        even sides from 64 to 2048; 1080p 720p 480p 360p (1920x1080; image 1024x576)\n"
    "      --seconds N       length of a film, 1 to 60                     (10)\n"
    "      --fps N           frames a second, 24 or 30000/1001, 1 to 120   (24)\n"
    "      --crf N           1 (large and exact) to 40 (small and coarse)  (19)\n"
    "      --quality N       of .jpg and .webp, 1 (small and coarse) to 100 (no loss that is seen)\n"
    "      --seed N          same seed, same film                          (a new one each time)\n"
    "      --steps N         more steps, finer result, 1 to 200            (25)\n"
    "      --guidance N      how strictly to follow the prompt, 1 to 20    (4.5)\n"
    "      --step-cache N    released models: leave out passes foreseen to change less, 0 to 1 (0, exact; try 0.05)\n"
    "      --negative TEXT   what to keep away from\n"
    "      --sound           a soundtrack made from the words: wind, sea, rain, thunder, night\n"
    "  -n, --variations N    several at once: film-1.mp4, film-2.mp4 ...\n"
    "      --expand          fill in what the prompt leaves open and print the full prompt\n"
    "      --no-visible-mark leave out the small himmel sign in the corner\n"
    "      --sign-prompt     put prompt and seed into the signed Content Credentials too\n"
    "      --mining WHAT     allowed or forbidden: may others train on it (said in the Content Credentials)\n"
    "\n"
    "While it works\n"
    "      --preview         draw frames in the terminal\n"
    "      --json            one JSON object a line on standard output\n"
    "      --resume FILE     save what the sampler has done in FILE.0 ..., and go on from there if the last try was cut off\n"
    "      --plan            only say what it would cost\n"
    "  -v, --verbose         plan and memory too       -q, --quiet   errors only\n"
    "  Ctrl-C stops within a step and leaves no half file.\n"
    "\n"
    "Machine\n"
    "  -m, --model FILE      weights, or the index or folder of their shards (himmel-1.safetensors found beside the program); also HIMMEL_MODEL\n"
    "  -w, --with FILE       what a released model needs beside it: text encoder, tokenizer, upscaler (again for more)\n"
    "      --lora FILE[:N]   a LoRA merged into a released model with strength N (1); again for more\n"
    "      --precision P     bf16, or int8: Wan and LTX-Video faster in half the memory, coarser   (bf16)\n"
    "  -t, --threads N       of the networks (all cores); part of what the bytes depend on\n"
    "      --no-cache        encode the words anew; else what a text encoder said is kept in $XDG_CACHE_HOME/himmel or ~/.cache/himmel\n"
    "      --max-memory MIB  refuse what would need more (what is free)\n"
    "      HIMMEL_ISA        baseline, avx2 or avx512: use no more than that\n"
    "\n"
    "      HIMMEL_IDENTITY_DIR  folder of the signing identity  ($XDG_CONFIG_HOME/himmel, ~/.config/himmel)\n"
    "      HIMMEL_TIME_SERVER   http://... of an RFC 3161 server that stamps every result\n"
    "\n"
    "Editing: himmel animate, extend, inpaint, outpaint, remix, loop, blend, interpolate, storyboard, cut, upscale\n"
    "         (himmel help animate ...)\n"
    "Other commands: himmel verify FILE... [--json], himmel identity show|new|import|trust\n"
    "                himmel serve, keys, info, pull, convert, world, train, eval, version, help [serve|image|world|...]\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.\n";

static const char image_help[] =
    "himmel image \"a prompt\" -o picture.png     .jpg, .jpeg and .webp too; 1024x576 unless --size is given\n"
    "\n"
    "Options are those of films, less --seconds and --fps: see himmel help.\n";

static const char world_help[] =
    "himmel world WHAT [--option value ...]      renders the skyscapes that himmel-1 is trained on\n"
    "\n"
    "himmel world alone names what there is. Footage is deterministic by --seed.\n";

static const char train_help[] =
    "himmel train WHAT [--option value ...]      trains a part of himmel-1 on our own footage\n"
    "\n"
    "  basis     the linear basis of the codec          cache     footage as coefficients\n"
    "  text      tokenizer and text encoder             dit       the transformer\n"
    "  refiner   the network that makes it 1080p        probe     the judge of himmel eval\n"
    "  join      one file from parts\n"
    "\n"
    "himmel train alone names them all; --json gives progress as JSON lines. Ctrl-C stops after a checkpoint.\n";

static const char eval_help[] =
    "himmel eval WHAT [--option value ...]       measures: reconstruction, prompt adherence, motion, seams\n"
    "\n"
    "himmel eval alone names what there is.\n";

static const char serve_help[] =
    "himmel serve [--data DIR] [--port N]        the Videos and Images API, and a studio in the browser\n"
    "\n"
    "      --data DIR        journal, films, uploads                       (himmel-data)\n"
    "      --port N          0: any free one                               (8080)\n"
    "      --bind ADDRESS    other than this machine: needs a key and TLS  (127.0.0.1)\n"
    "      --tls-cert FILE, --tls-key FILE     PEM\n"
    "      --behind-proxy    another program does TLS and checks Host\n"
    "      --cors ORIGIN     the one other origin whose pages may call\n"
    "      --fetch-from URL  image_url may lead there, as https://example.org (again for more; else: nowhere)\n"
    "      --alias NAME      one more model name that means himmel-1 (again for more)\n"
    "      --max-queue N     jobs that may wait (1000)     --max-upload MIB  (256)\n"
    "      --min-free MIB    of the disk; below, no new work is taken (256)\n"
    "      --model FILE, --threads N           as for films\n"
    "\n"
    "himmel keys new NAME [--data DIR] [--scopes create,read,admin] [--days N] [--max-films N] [--max-seconds N]\n"
    "                     [--max-concurrent N]    prints a key, once; limits count for 24 hours\n"
    "himmel keys invite NAME --uses N [--days N] [--key-days N] [options of new]    a code that N people turn into keys\n"
    "himmel keys list | log NAME | revoke NAME [--data DIR]\n"
    "himmel webhooks new URL [--key NAME] | list | remove NUMBER [--data DIR]    told when a film has its end\n"
    "\n"
    "As long as there is no key, everybody on this machine is the owner. docs/serving.md has the API.\n";

static const char convert_help[] =
    "himmel convert IN OUT.safetensors --to bf16|int8|f16|f32    weights in another number format\n"
    "himmel convert IN OUT.gguf --to q8_0|bf16|f16|f32           as a GGUF file\n"
    "\n"
    "IN is a safetensors or GGUF file, or the index or folder of shards; one file comes out. Tensors of whole numbers and the\n"
    "metadata stay (in GGUF as text). q8_0 makes blocks of 8-bit numbers of the large linear layers, 34 bytes for 32 numbers; first\n"
    "and last layers, norms, tables and autoencoders stay as they are. int8 makes of a transformer what --precision int8 computes with: the\n"
    "same films, half of bf16's bytes, nothing to round at the start. Memory does not grow with the file. Its SHA-256 is printed as\n"
    "sha256sum prints it.\n";

static const char pull_help[] =
    "himmel pull ORG/NAME                        what a repository of the Hugging Face hub has: files, sizes, licence\n"
    "himmel pull ORG/NAME/FILE, ORG/NAME/FOLDER  gets one file, or all of a folder (shards and their index)\n"
    "himmel pull ADDRESS                         a file's address at the hub, or any other with --sha256\n"
    "\n"
    "  -o, --output FILE     of one file                   --dir DIR   where files go, under their own names (here)\n"
    "      --revision REV    branch, tag or commit (main)  --sha256 HEX   what the file must have (as the hub says)\n"
    "      --endpoint URL    another hub; also HF_ENDPOINT   -y, --yes   agree: size and licence are shown first\n"
    "      --json, -q\n"
    "\n"
    "A download that is cut off goes on where it ended, from FILE.part; a file has its name only when its hash is right.\n"
    "HF_TOKEN opens what needs an account, HTTPS_PROXY and NO_PROXY are obeyed.\n";

static const char models_help[] =
    "himmel-1 was trained from nothing on footage that himmel renders itself: it knows skyscapes only.\n"
    "For people, animals, rooms, streets and everything else, large open-weight models exist:\n"
    "\n"
    "  LTX-Video   https://github.com/Lightricks/LTX-Video    2 billion parameters and more\n"
    "  Wan 2.x     https://github.com/Wan-Video               1.3 to 14 billion parameters\n"
    "\n"
    "himmel-1's transformer has the architecture of LTX-Video. LTX-Video's own checkpoints open too (docs/ltx-video.md):\n"
    "  himmel --model ltxv-2b-0.9.8-distilled.safetensors --with t5xxl_bf16.safetensors --with spiece.model \"a cat\"\n"
    "Wan 2.1 and 2.2 open as safetensors or GGUF files, the second expert of 2.2 A14B as one more --with (docs/wan.md):\n"
    "  himmel --model wan2.1_t2v_1.3B_bf16.safetensors --with wan_2.1_vae.safetensors --with umt5_xxl_fp16.safetensors \"a cat\"\n"
    "himmel animate picture.png --model ... begins with a picture, where the weights take one (LTX-Video; Wan I2V, FLF2V, TI2V, VACE).\n"
    "himmel info FILE says what a file is, what else it needs, and what memory and time a film would take.\n";

int cmd_help(int argc, char **argv)
{
    static const struct { const char *name, *text; } topics[] = {{"image", image_help}, {"world", world_help},
        {"train", train_help}, {"eval", eval_help}, {"models", models_help}, {"serve", serve_help}, {"keys", serve_help}, {"webhooks", serve_help}, {"film", main_help}, {"convert", convert_help}, {"pull", pull_help}};
    if (argc < 1) {
        fputs(main_help, stdout);
        return EXIT_DONE;
    }
    if (is_edit(argv[0])) return cmd_edit_help(argv[0]);
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        if (!strcmp(argv[0], topics[i].name)) {
            fputs(topics[i].text, stdout);
            return EXIT_DONE;
        }
    fprintf(stderr, "himmel: no help on %.80s (image, serve, world, train, eval, models)\n", argv[0]);
    return EXIT_USAGE;
}
