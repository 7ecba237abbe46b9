/* main.c - the commands, and the only place that ends the program. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/output.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

const struct command command_table[] = {
    {"run", FOR_RUN, "MODEL [-p TEXT | -f FILE] [OPTIONS]", "answer a prompt, or chat",
     "Answers the prompt and prints the reply as it is made; afterwards one line on standard error says what it cost: "
     "the time to load, tokens per second of prompt and reply, how fast the weights were read and what share of this "
     "machine's memory bandwidth that is, and the peak of memory used.\n\n"
     "Without a prompt it reads one from a pipe, or chats at a terminal. MODEL is the path of a GGUF file (any file of "
     "a sharded set) or of a Hugging Face folder (config.json, tokenizer.json, safetensors), or a short name: "
     "'smollm2' is "
     "what tools/fetch-model gets.",
     1, 1, command_run},
    {"info", FOR_INFO, "MODEL|SHAPE|URL|HUB-NAME [--tensors] [--ctx N] [--json]",
     "say what a model is and what memory it needs",
     "Prints architecture, parameters, context, tokenizer, the share of each number format, and the memory that a "
     "session needs. Reads the metadata only. SHAPE is a published model by name, such as llama-3.1-70b, in the format "
     "that --format names: 'stile bench --shapes' lists them, and nothing is needed to describe them. Of a URL, or of "
     "a "
     "name at the model hub ('org/repo:Q4_K_M', or with a file's name behind the colon), a few megabytes are read. The "
     "hub is https://huggingface.co, or what HF_ENDPOINT says; HF_TOKEN is sent to it, by https, and to nobody else.",
     1, 1, command_info},
    {"tokenize", FOR_TOKENIZE, "MODEL [TEXT | -f FILE] [--ids]", "show the tokens of a text",
     "Prints each token's id and the text it stands for, as 'stile run --raw' would give them to the model: with the "
     "beginning token that the vocabulary asks for, and with texts such as <|im_end|> read as control tokens. Without "
     "TEXT it reads from a pipe.",
     1, 2, command_tokenize},
    {"bench", FOR_BENCH, "MODEL... | --shape NAME | --compare A.json B.json", "measure how fast models run here",
     "Measures prefill (pp512: tokens per second of a prompt of 512) and decode (tg128: of 128 tokens one by one), the "
     "way llama-bench does, and prints the median with what it is uncertain by, how fast memory was read for it, and "
     "what share of this machine's bandwidth that is. Each test is warmed up and repeated until its median is known "
     "well enough; several models take turns. What disturbed the measuring is said. Options that take N,... measure "
     "every combination. With --shape no file is needed: random weights of a published model's shape are made in "
     "memory."
     "\n\n"
     "Ctrl-C ends it with what was measured so far.",
     0, OPTIONS_ARGUMENTS_MAX, command_bench},
    {"probe", FOR_PROBE, "[--thorough] [--disk PATH] [--cached] [--json]", "measure what this machine can do",
     "Measures how fast memory is read, written and copied, with one thread and with more, in small and in large "
     "pages; "
     "how long a load takes from each cache; how fast the kernels multiply; and how fast files are read where the "
     "models "
     "are. Takes about 20 seconds. The result is kept in the cache folder: 'stile bench' shows shares of it, and "
     "'stile run' says what share of the read bandwidth a reply used.\n\n"
     "Ctrl-C ends it; what was measured until then is shown, but not kept.",
     0, 0, command_probe},
    {"plan", FOR_PLAN, "MODEL|SHAPE|URL|HUB-NAME [--machine NAME] [OPTIONS] | --audit",
     "say how fast a model will run, here or elsewhere, before it does",
     "Reads only the header of a model and says whether it fits, where each part of it will lie, how much memory that "
     "takes, and how fast prompts and replies will be, with what limits them and how far off the prediction may be; "
     "then what would help most. The machine is what 'stile probe' measured; where it never did, the most important "
     "things are measured in some seconds. SHAPE is a published model by name, such as llama-3.1-70b "
     "('stile bench --shapes' lists them); URL and HUB-NAME are as in 'stile help info'. With --machine the same is "
     "said of a computer that "
     "one may not own, from data sheets and what published engines are known to make of them; --all-machines and "
     "--all-formats rank what there is.\n\n"
     "'stile run' and 'stile bench' keep what was predicted of them and what came of it: --audit shows how far "
     "predictions are off here, and off what others published.",
     0, 1, command_plan},
    {"quality", FOR_QUALITY, "MODEL [-f TEXT] [--reference MODEL|LOGITS | --sweep LIST]",
     "measure how well a model predicts a text, and what a number format costs",
     "Evaluates a text window by window and prints the perplexity, computed as llama.cpp's tool does, so that numbers "
     "can "
     "be compared. With --reference, a second model with the same vocabulary predicts the same text beside it, and the "
     "table says how far the model is from that one: Kullback-Leibler divergence, how often both find the same token "
     "most likely, and how the probabilities of the text's own tokens differ, each with its standard error. With "
     "--save-logits the reference runs once for many comparisons. Tasks are questions answered by likelihood.\n\n"
     "--sweep makes the model in many formats, one after the other, in a temporary folder, and prints what each takes, "
     "costs and gives: 'stile quality model-bf16.gguf --sweep q8_0,q6_k,q4_k_m,nvfp4 --svg formats.svg'.\n\n"
     "Without -f and --tasks it takes a text and questions that come with stile, for a first look. Ctrl-C ends it with "
     "what was measured so far.",
     1, 1, command_quality},
    {"quantize", FOR_QUANTIZE, "MODEL OUT --format NAME | --target-size SIZE [OPTIONS]",
     "make a model smaller: write it in another format",
     "Writes the model's weights in another number format, as a GGUF file that other programs read too. The formats "
     "are those that published files are named after: q4_k_m and the like are mixes, which give more bits to the "
     "tensors that suffer most; --recipe says it tensor by tensor. With --target-size, --target-bpw or --fit it is "
     "measured what each format costs each tensor, and those are used with which the whole loses least. Norms and "
     "routers stay in F32. An importance matrix (--imatrix) makes every format better, and those below 3 bits usable. "
     "Weights that were quantized before can be read, but what was lost then stays lost.\n\n"
     "Memory needed is some MB for each thread, whatever the size of the model, and the same command makes the same "
     "bytes with any number of threads. --method gptq needs more, and minutes to hours, and begins again where it was "
     "interrupted; it helps mxfp4, nvfp4 and q2_k, and can harm others: 'stile quality --reference' tells. Until the "
     "file is whole it is called OUT.partial, which nothing opens; after Ctrl-C or worse, --resume goes on where it "
     "stopped.\n\n"
     "  stile quantize model-f16.gguf model-q4_k_m.gguf --format q4_k_m\n"
     "  stile quantize model-f16.gguf out.gguf --format iq3_s --imatrix model.imatrix\n"
     "  stile quantize model-f16.gguf out.gguf --format q4_0 --recipe '*ffn_down*=q6_k,blk.0.*=q8_0'\n"
     "  stile quantize model-f16.gguf out.gguf --target-size 4GB --imatrix model.imatrix\n"
     "  stile quantize model-f16.gguf out.gguf --format nvfp4 --method gptq -f notes.txt\n"
     "  stile quantize llama-3.1-8b --format nvfp4 --dry-run",
     1, 2, command_quantize},
    {"calibrate", FOR_CALIBRATE, "MODEL [-f TEXT] [-o FILE] [OPTIONS]",
     "find out which weights of a model matter, before it is quantized",
     "Runs a text through the model and keeps, for every input of every matrix, how large it is on average (an "
     "importance matrix). What quantizes the model afterwards rounds the weights with care that meet large inputs: the "
     "same size, less loss, most of all below 4 bits. The text should be like what the model will be used for; 50 to "
     "500 KB of it are plenty. The file is in llama.cpp's form, of windows cut as its tool cuts them.\n\n"
     "  stile calibrate smollm2 -f notes.txt -o smollm2.imatrix.gguf\n"
     "  stile calibrate model-bf16.gguf --chunks 100\n\n"
     "All windows go through one layer, then through the next: the weights are read about once, and a model that is "
     "larger than memory takes not much longer. Ctrl-C ends it, and no file is written.",
     1, 1, command_calibrate},
    {"help", FOR_HELP, "[COMMAND]", "explain a command", "Explains a command and its options.", 0, 1, command_help},
    {NULL, 0, NULL, NULL, NULL, 0, 0, NULL},
};

static int dispatch(int argc, char **argv, uint64_t start_ns)
{
    if (argc < 2) {
        help_overview();
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("stile %s\n", stile_version());
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        help_overview();
        return EXIT_OK;
    }
    const struct command *command = command_find(argv[1]);
    if (!command) return EXIT_USAGE;
    struct options options = options_defaults();
    options.start_ns = start_ns;
    int status = options_parse(command, argc - 2, argv + 2, &options);
    if (status != EXIT_OK) return status;
    if (options.help) {
        help_command(command);
        return EXIT_OK;
    }
    return command->run(&options);
}

int main(int argc, char **argv)
{
    uint64_t start_ns = clock_ns();
    signal(SIGPIPE, SIG_DFL); /* a reader that went away ends us quietly, whatever our parent ignored */
    /* Only so that the line editor knows UTF-8; numbers stay as in C. */
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1) setlocale(LC_CTYPE, "C.UTF-8");
    int status = dispatch(argc, argv, start_ns);
    if (fflush(stdout) != 0 || ferror(stdout)) status = cli_fail("cannot write standard output: %s", strerror(errno));
    exit(status);
}
