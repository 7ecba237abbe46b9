/* Hugging Face folders that are not as they should be, or say what stile does not do: one change to a whole folder of
 * tests/golden/make_folders.py each, and the error that it must give. */
#include "model/folder.h"
#include "model/model.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_BYTES = 512, FILE_BYTES_MAX = 1 << 20 };

static const char *golden_dir = "build/golden";
static char copy[] = "/tmp/stile_test_folder_XXXXXX";

static char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(FILE_BYTES_MAX);
    *n = fread(bytes, 1, FILE_BYTES_MAX - 1, file);
    bytes[*n] = '\0';
    fclose(file);
    return bytes;
}

static void write_file(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static void each_file(const char *folder, void (*act)(const char *from, const char *to))
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) {
        char from[PATH_BYTES], to[PATH_BYTES];
        if (entry->d_name[0] == '.') continue;
        snprintf(from, sizeof from, "%s/%s", folder, entry->d_name);
        snprintf(to, sizeof to, "%s/%s", copy, entry->d_name);
        act(from, to);
    }
    closedir(dir);
}

static void copy_file(const char *from, const char *to)
{
    size_t n;
    char *bytes = read_file(from, &n);
    write_file(to, bytes, n);
    free(bytes);
}

static void remove_file(const char *from, const char *to)
{
    (void)from;
    unlink(to);
}

/* The model of the copy; 0 or the error. */
static int open_copy(struct stile_error *error)
{
    struct gguf *gguf;
    struct model *model;
    int code = folder_or_file_open(&gguf, copy, error);
    if (code == 0) code = model_create(&model, gguf, error);
    if (code == 0) model_free(model);
    return code;
}

struct change {
    const char *folder, *file;
    const char *from; /* NULL: the file goes away */
    const char *to;
    int code;
    const char *says;
};

static void change_file(const struct change *change)
{
    char path[PATH_BYTES];
    size_t n;
    snprintf(path, sizeof path, "%s/%s", copy, change->file);
    unlink(change->from ? "" : path);
    if (!change->from) return;
    char *text = read_file(path, &n), *at = strstr(text, change->from);
    if (!at) fail_msg("%s: no %s in %s", change->folder, change->from, change->file);
    char *changed = malloc(n + strlen(change->to) + 1);
    int length = sprintf(changed, "%.*s%s%s", (int)(at - text), text, change->to, at + strlen(change->from));
    write_file(path, changed, (size_t)length);
    free(text);
    free(changed);
}

static void try(const struct change *change)
{
    char folder[PATH_BYTES];
    struct stile_error error = {0};
    snprintf(folder, sizeof folder, "%s/folders/%s", golden_dir, change->folder);
    each_file(folder, copy_file);
    change_file(change);
    int code = open_copy(&error);
    if (code != change->code || !strstr(error.message, change->says))
        fail_msg("%s: %s: %s: %d %s", change->folder, change->file, change->to ? change->to : "gone", code,
                 error.message);
    if (code != 0) assert_true(strncmp(error.message, copy, strlen(copy)) == 0);
    each_file(folder, remove_file);
}

#define BAD  STILE_ERROR_MALFORMED
#define NOT  STILE_ERROR_UNSUPPORTED
#define CONF "config.json"
#define TOK  "tokenizer.json"

static void configurations(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {"llama_f32", CONF, NULL, NULL, STILE_ERROR_IO, "it is missing"},
        {"llama_f32", CONF, "{", "[{", BAD, "config.json: line"},
        {"llama_f32", CONF, "\"model_type\": \"llama\"", "\"model_type\": \"llama4\"", NOT,
         "\"llama4\" is not supported"},
        {"llama_f32", CONF, "\"model_type\": \"llama\",", "", BAD, "no model_type"},
        {"llama_f32", CONF, "\"model_type\"", "\"model_type\": 1, \"model_type\"", BAD, "duplicate"},
        {"llama_f32", CONF, "ForCausalLM", "ForSequenceClassification", NOT, "no model that generates"},
        {"llama_f32", CONF, "\"silu\"", "\"relu\"", NOT, "hidden_act \"relu\""},
        {"llama_f32", CONF, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 0", BAD, "num_hidden_layers"},
        {"llama_f32", CONF, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4294967299", BAD, "num_hidden_layers"},
        {"llama_f32", CONF, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4", BAD, "layers.3"},
        {"llama_f32", CONF, "\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2", NOT, "layers.2"},
        {"llama_f32", CONF, "\"num_hidden_layers\": 3,", "", BAD, "num_hidden_layers is missing"},
        {"llama_f32", CONF, "\"hidden_size\": 34", "\"hidden_size\": 36", BAD, "embed_tokens"},
        {"llama_f32", CONF, "\"head_dim\": 10", "\"head_dim\": 11", BAD, "heads of 11"},
        {"llama_f32", CONF, "\"head_dim\": 10", "\"head_dim\": 12", BAD, "attn_q.weight: shape"},
        {"llama_f32", CONF, "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4", BAD, "head_count_kv"},
        {"llama_f32", CONF, "\"rms_norm_eps\": ", "\"rms_norm_eps\": -", BAD, "rms_norm_eps"},
        {"llama_f32", CONF, "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"dynamic\"}", NOT, "\"dynamic\""},
        {"llama_f32", CONF, "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"linear\"}", BAD, "no factor"},
        {"llama_f32", CONF, "\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"llama3\"}", BAD,
         "low_freq_factor"},
        {"llama_f32", CONF, "\"rope_scaling\": null", "\"mlp_bias\": true", NOT, "mlp_bias"},
        {"llama_f32", CONF, "\"rope_scaling\": null", "\"quantization_config\": {}", NOT, "quantization_config"},
        {"llama_f32", CONF, "\"rope_scaling\": null", "\"partial_rotary_factor\": 0.5", NOT, "partial_rotary_factor"},
        {"llama_f32", CONF, "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": 1", BAD,
         "neither true nor false"},
        {"llama_tied", CONF, "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", BAD, "output.weight"},
        {"qwen2", CONF, "\"rope_scaling\": null", "\"use_sliding_window\": true, \"sliding_window\": 9", NOT,
         "use_sliding_window"},
        {"qwen3_moe", CONF, "\"norm_topk_prob\": true", "\"norm_topk_prob\": false", NOT, "norm_topk_prob"},
        {"qwen3_moe", CONF, "\"norm_topk_prob\": true", "\"norm_topk_prob\": true, \"mlp_only_layers\": [1]", NOT,
         "some layers only"},
        {"qwen3_moe", CONF, "\"num_experts\": 11", "\"num_experts\": 12", BAD, "experts.11"},
        {"qwen3_moe", CONF, "\"num_experts\": 11", "\"num_experts\": 10", NOT, "experts.10"},
        {"qwen3_moe", CONF, "\"num_experts_per_tok\": 3", "\"num_experts_per_tok\": 12", BAD, "expert_used_count"},
        {"gemma3_types", CONF, "\"query_pre_attn_scalar\": 14", "\"query_pre_attn_scalar\": 15", NOT, "query_pre_attn"},
        {"gemma3_types", CONF, "\"sliding_attention\"", "\"full_attention\"", NOT, "layer_types"},
        {"gemma3_types", CONF, "\"full_attention\"", "\"linear_attention\"", NOT, "layer_types"},
        {"gemma3_types", CONF, "\"full_attention\"", "\"full_attention\", \"full_attention\"", BAD,
         "names 5 of 4 layers"},
        {"llama_f32", "model.safetensors", NULL, NULL, STILE_ERROR_IO, "model.safetensors"},
        {"llama_bf16", "model-00002-of-00003.safetensors", NULL, NULL, STILE_ERROR_IO, "00002-of"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        try(&changes[i]);
}

static void tokenizers(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {"llama_f32", TOK, NULL, NULL, STILE_ERROR_IO, "it is missing"},
        {"llama_f32", TOK, "\"BPE\"", "\"Unigram\"", NOT, "\"Unigram\""},
        {"llama_f32", TOK, "\"dropout\": null", "\"dropout\": 0.1", NOT, "dropout"},
        {"llama_f32", TOK, "\"vocab\": {", "\"vocab\": [], \"x\": {", BAD, "model.vocab"},
        {"llama_f32", TOK, "\"!\": 0", "\"!\": 293", BAD, "\"!\" is not a number below the 293"},
        {"llama_f32", TOK, "\"!\": 0", "\"!\": -1", BAD, "\"!\" is not a number"},
        {"llama_f32", TOK, "\"!\": 0", "\"!\": 1", BAD, "have the same id"},
        {"llama_f32", TOK, "\"content\"", "\"contents\"", BAD, "added_tokens[0]"},
        {"llama_f32", TOK, "\"merges\": [", "\"merges\": [[\"a\"], ", BAD, "model.merges[0]"},
        {"llama_f32", TOK, "\"merges\": [", "\"merges\": [[\"a\", \"b c\"], ", BAD, "model.merges[0]"},
        {"llama_f32", TOK, "\"merges\": [", "\"merges\": 1, \"x\": [", BAD, "model.merges is not"},
        {"llama_f32", TOK, "\"ignore_merges\": true", "\"ignore_merges\": false", 0, ""},
        {"llama_f32", TOK, "{1,3}", "{1,4}", NOT, "no way of cutting text"},
        {"llama_f32", TOK, "\"Isolated\"", "\"Contiguous\"", NOT, "\"Split\" is not supported"},
        {"llama_f32", TOK, "\"Split\"", "\"BertPreTokenizer\"", NOT, "\"BertPreTokenizer\" is not supported"},
        {"llama_f32", TOK, "\"add_prefix_space\": false", "\"add_prefix_space\": true", NOT, "\"ByteLevel\""},
        {"qwen2", TOK, "\"ignore_merges\": false", "\"ignore_merges\": true", NOT, "no way of cutting text"},
        {"qwen2", TOK, "\"normalizer\": null", "\"normalizer\": {\"type\": \"NFC\"}", 0, ""},
        {"qwen2", TOK, "\"normalizer\": null", "\"normalizer\": {\"type\": \"Lowercase\"}", NOT, "Lowercase"},
        {"mistral_spm", TOK, "\"prepend\": \"\xE2\x96\x81\"", "\"prepend\": \"x\"", NOT, "normalizer"},
        {"mistral_spm", TOK, "\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"Whitespace\"}", NOT,
         "Whitespace"},
        /* merges that no scores give */
        {"mistral_spm", TOK, "\"merges\": [\"\xE2\x96\x81 t\", ", "\"merges\": [", NOT, "not all the ways"},
        {"mistral_spm", TOK, "\"merges\": [", "\"merges\": [\"h e\", ", NOT, "not all the ways"},
        {"mistral_spm", TOK, "\"merges\": [\"\xE2\x96\x81 t\"", "\"merges\": [\"\xE2\x96\x81t\"", BAD, "not a pair"},
        {"mistral_spm", "tokenizer_config.json", "{", "{\"add_bos_token\": \"yes\", ", BAD, "add_bos_token"},
        {"mistral_spm", "tokenizer_config.json", "{", "{\"chat_template\": [{\"name\": \"tool_use\"}], ", 0, ""},
        {"mistral_spm", "tokenizer_config.json", NULL, NULL, 0, ""},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        try(&changes[i]);
}

/* What is no file, and what is no folder. */
static void odd_places(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    struct gguf *gguf;
    struct stile_error error;
    snprintf(path, sizeof path, "%s/config.json", copy);
    assert_false(folder_is_model(copy));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(folder_open(&gguf, copy, &error), STILE_ERROR_IO);
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(folder_open(&gguf, copy, &error), STILE_ERROR_IO);
    unlink(path);
    assert_int_equal(folder_open(&gguf, "/nowhere", &error), STILE_ERROR_IO);
    assert_int_equal(folder_or_file_open(&gguf, "/nowhere", &error), STILE_ERROR_IO);
}

/* The template beside the configuration, and the ends that generation_config.json adds. */
static void more_files(void **state)
{
    (void)state;
    static const struct change nothing = {"llama_f32", "tokenizer_config.json", "{", "{", 0, ""};
    static const char ends[] = "{\"eos_token_id\": [7, 5, 6]}", jinja[] = "{{ messages }}";
    char folder[PATH_BYTES], path[PATH_BYTES];
    struct gguf *gguf;
    struct stile_error error = {0};
    uint64_t id = 0;
    const char *text = NULL;
    snprintf(folder, sizeof folder, "%s/folders/%s", golden_dir, nothing.folder);
    each_file(folder, copy_file);
    snprintf(path, sizeof path, "%s/generation_config.json", copy);
    write_file(path, ends, strlen(ends));
    snprintf(path, sizeof path, "%s/chat_template.jinja", copy);
    write_file(path, jinja, strlen(jinja));
    if (folder_open(&gguf, copy, &error) != 0) fail_msg("%s", error.message);
    assert_int_equal(gguf_get_string(gguf, "tokenizer.chat_template", &text, &error), 0);
    assert_string_equal(text, jinja);
    assert_int_equal(gguf_get_u64(gguf, "tokenizer.ggml.eos_token_id", 0, 300, &id, &error), 0);
    assert_int_equal(id, 273); /* as tokenizer_config.json says */
    gguf_get_u64(gguf, "tokenizer.ggml.eot_token_id", 0, 300, &id, &error);
    assert_int_equal(id, 7);
    gguf_get_u64(gguf, "tokenizer.ggml.eom_token_id", 0, 300, &id, &error);
    assert_int_equal(id, 5);
    gguf_close(gguf);
    each_file(copy, remove_file);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(copy) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    each_file(copy, remove_file);
    return rmdir(copy);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations),
        cmocka_unit_test(tokenizers),
        cmocka_unit_test(odd_places),
        cmocka_unit_test(more_files),
    };
    if (argc > 1) golden_dir = argv[1];
    return cmocka_run_group_tests_name("folders", tests, setup, teardown);
}
