/* The table of shapes against its data, the mixes against the rules, and models made up: they open, have the tensors
 * and formats they should, evaluate to logits of a sensible size, and are the same bytes every time. */
#include "base/clock.h"
#include "model/mix.h"
#include "model/model.h"
#include "model/shapes.h"
#include "model/synthetic.h"
#include "stile.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/stile-synthetic-XXXXXX";

static const char *file_path(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- shapes -------------------------------------------------------------------------------------- */

static double cell_number(const char *cell, double empty)
{
    return *cell ? strtod(cell, NULL) : empty;
}

/* "512:5of6" */
static void check_window(const struct shape *s, const char *pattern)
{
    unsigned window, n, period;
    char rest;
    assert_string_equal(s->pattern, pattern);
    if (sscanf(pattern, "%u:%uof%u%c", &window, &n, &period, &rest) != 3) window = period = 0;
    assert_int_equal(s->window, window);
    assert_int_equal(s->window_period, period);
}

static void shapes_are_those_of_the_data(void **state)
{
    (void)state;
    enum { COLUMNS = 21 };
    static const char header[] = "id,name,arch,params_total_b,params_active_b,n_layers,d_model,d_ff,n_heads,n_kv_heads,"
                                 "head_dim,vocab,n_experts,n_experts_used,d_ff_expert,n_shared_experts,"
                                 "sliding_window_pattern,context,tied_embeddings,notes,source\n";
    FILE *file = fopen("data/models.csv", "r");
    assert_non_null(file);
    char line[4096];
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, header);
    size_t n = 0;
    for (; fgets(line, sizeof line, file); n++) {
        char *cells[COLUMNS], *at = line;
        for (int i = 0; i < COLUMNS; i++) {
            cells[i] = strsep(&at, ",\n");
            assert_non_null(cells[i]);
        }
        assert_true(n < n_shapes);
        const struct shape *s = &shapes[n];
        const char *texts[] = {s->id, s->name, s->arch, s->notes, s->source};
        const int text_cells[] = {0, 1, 2, 19, 20};
        for (int i = 0; i < 5; i++)
            assert_string_equal(texts[i], cells[text_cells[i]]);
        const uint32_t numbers[] = {s->n_layers,        s->d_model, s->d_ff,      s->n_heads,        s->n_kv_heads,
                                    s->head_dim,        s->n_vocab, s->n_experts, s->n_experts_used, s->d_ff_expert,
                                    s->n_shared_experts};
        for (int i = 0; i < 11; i++)
            assert_true(numbers[i] == cell_number(cells[5 + i], 0));
        assert_true(s->n_params_m == round(1000 * cell_number(cells[3], 0)));
        assert_true(s->n_params_active_m == round(1000 * cell_number(cells[4], 0)));
        assert_true(s->n_ctx == cell_number(cells[17], 0));
        assert_true(s->tied_embeddings == cell_number(cells[18], -1));
        check_window(s, cells[16]);
        assert_ptr_equal(shape_find(s->id), s);
    }
    fclose(file);
    assert_int_equal(n, n_shapes);
    assert_ptr_equal(shape_find("LLAMA-3.1-8B"), shape_find("llama-3.1-8b"));
    assert_null(shape_find("llama-3.1"));
    print_message("%zu shapes\n", n);
}

/* ---- mixes --------------------------------------------------------------------------------------- */

static const struct hparams h_1b = {.family = FAMILY_LLAMA, .n_layers = 16, .n_heads = 32, .n_kv_heads = 8};

static void expect_format(const char *mix, enum mix_class class, const struct hparams *h, uint32_t layer, uint64_t cols,
                          enum format format)
{
    enum format found = mix_format(mix_find(mix), class, h, layer, cols, false);
    if (found != format)
        fail_msg("%s, class %d, layer %u, %llu columns: %s, not %s", mix, (int)class, layer, (unsigned long long)cols,
                 format_info(found)->name, format_info(format)->name);
}

/* Formats of published files of these shapes, worked out by hand from the rules. */
static void mixes_follow_the_rules(void **state)
{
    (void)state;
    /* q4_k_m, 16 layers: the first two, the last two, and every third of those between */
    static const char more[] = "1100100100100111";
    for (uint32_t i = 0; i < 16; i++) {
        enum format format = more[i] == '1' ? FORMAT_Q6_K : FORMAT_Q4_K;
        expect_format("q4_k_m", MIX_FFN_DOWN, &h_1b, i, 8192, format);
        expect_format("Q4_K", MIX_ATTN_V, &h_1b, i, 2048, format);
        expect_format("q4_k_m", MIX_ATTN_OUTPUT, &h_1b, i, 2048, FORMAT_Q4_K);
        expect_format("q4_k_s", MIX_ATTN_V, &h_1b, i, 2048, i < 4 ? FORMAT_Q5_K : FORMAT_Q4_K);
        expect_format("q4_k_s", MIX_FFN_DOWN, &h_1b, i, 2048, i < 2 ? FORMAT_Q5_K : FORMAT_Q4_K);
        expect_format("q3_k_m", MIX_ATTN_V, &h_1b, i, 2048, i < 2 ? FORMAT_Q5_K : FORMAT_Q4_K);
        expect_format("q3_k_m", MIX_FFN_DOWN, &h_1b, i, 2048, i < 1 ? FORMAT_Q5_K : FORMAT_Q4_K);
    }
    expect_format("q4_k_m", MIX_OUTPUT, &h_1b, 0, 2048, FORMAT_Q6_K);
    expect_format("q4_0", MIX_OUTPUT, &h_1b, 0, 2048, FORMAT_Q6_K);
    expect_format("q8_0", MIX_OUTPUT, &h_1b, 0, 2048, FORMAT_Q8_0);
    expect_format("bf16", MIX_OUTPUT, &h_1b, 0, 2048, FORMAT_BF16);
    expect_format("iq2_xs", MIX_OUTPUT, &h_1b, 0, 2048, FORMAT_Q5_K);
    expect_format("iq2_xs", MIX_EMBEDDING, &h_1b, 0, 2048, FORMAT_Q2_K);
    expect_format("q4_k_m", MIX_EMBEDDING, &h_1b, 0, 2048, FORMAT_Q4_K);
    expect_format("nvfp4", MIX_OTHER, &h_1b, 0, 2048, FORMAT_NVFP4);
    expect_format("nvfp4", MIX_OUTPUT, &h_1b, 0, 2048, FORMAT_Q6_K);
    expect_format("q2_k", MIX_ATTN_V, &h_1b, 0, 2048, FORMAT_Q4_K);
    struct hparams h = h_1b;
    h.n_kv_heads = 16;
    expect_format("q2_k", MIX_ATTN_V, &h, 0, 2048, FORMAT_Q3_K);
    expect_format("iq4_nl", MIX_ATTN_V, &h, 0, 2048, FORMAT_IQ4_NL);
    h.n_layers = 80;
    expect_format("q3_k_m", MIX_ATTN_V, &h, 40, 8192, FORMAT_Q5_K);
    h.family = FAMILY_QWEN2;
    expect_format("q3_k_m", MIX_ATTN_V, &h, 40, 8192, FORMAT_Q4_K);
    /* rows that are not whole blocks: SmolLM2-135M has 576 columns */
    expect_format("q4_k_m", MIX_OTHER, &h_1b, 0, 576, FORMAT_Q5_0);
    expect_format("q4_k_m", MIX_ATTN_V, &h_1b, 0, 576, FORMAT_Q8_0);
    expect_format("q4_k_m", MIX_OUTPUT, &h_1b, 0, 576, FORMAT_Q8_0);
    expect_format("q4_0", MIX_OUTPUT, &h_1b, 0, 576, FORMAT_Q8_0);
    expect_format("iq1_s", MIX_OTHER, &h_1b, 0, 576, FORMAT_IQ4_NL);
    expect_format("q2_k", MIX_OTHER, &h_1b, 0, 100, FORMAT_F16);
    expect_format("nvfp4", MIX_OTHER, &h_1b, 0, 96, FORMAT_F16);
    /* mixtures: Mixtral's eight experts have rules of their own, other numbers only where there are few bits */
    h = h_1b;
    h.n_experts = 8;
    for (int i = 0; i < 2; i++, h.n_experts = 128) {
        bool eight = h.n_experts == 8;
        expect_format("q4_k_m", MIX_ATTN_V, &h, 0, 2048, eight ? FORMAT_Q8_0 : FORMAT_Q6_K);
        expect_format("q4_k_m", MIX_ATTN_K, &h, 0, 2048, eight ? FORMAT_Q8_0 : FORMAT_Q4_K);
        expect_format("q4_k_m", MIX_ATTN_OUTPUT, &h, 0, 2048, eight ? FORMAT_Q5_K : FORMAT_Q4_K);
        expect_format("q4_k_m", MIX_EXPERTS, &h, 0, 2048, FORMAT_Q4_K);
        expect_format("q4_k_m", MIX_EXPERTS_DOWN, &h, 0, 768, FORMAT_Q6_K);
        expect_format("q4_k_m", MIX_EXPERTS_DOWN, &h, 2, 768, FORMAT_Q4_K);
        expect_format("q2_k", MIX_EXPERTS_DOWN, &h, 0, 768, eight ? FORMAT_Q5_K : FORMAT_Q3_K);
        expect_format("q2_k_s", MIX_EXPERTS_DOWN, &h, 9, 768, FORMAT_Q2_K);
        expect_format("q2_k_s", MIX_ATTN_OUTPUT, &h, 9, 768, FORMAT_Q2_K);
        expect_format("q6_k", MIX_ATTN_K, &h, 9, 2048, eight ? FORMAT_Q8_0 : FORMAT_Q6_K);
        expect_format("iq2_xs", MIX_ATTN_V, &h, 0, 2048, FORMAT_Q4_K);
        expect_format("iq2_xs", MIX_ATTN_K, &h, 0, 2048, eight ? FORMAT_Q4_K : FORMAT_IQ2_XS);
        expect_format("mxfp4", MIX_EXPERTS, &h, 0, 2048, FORMAT_MXFP4);
        expect_format("mxfp4", MIX_EXPERTS_DOWN, &h, 0, 768, FORMAT_MXFP4);
        expect_format("mxfp4", MIX_ATTN_V, &h, 0, 2048, FORMAT_Q8_0);
        expect_format("mxfp4", MIX_EMBEDDING, &h, 0, 2048, FORMAT_Q8_0);
        expect_format("bf16", MIX_ATTN_V, &h, 0, 2048, FORMAT_BF16);
    }
    assert_null(mix_find("q4_k_x"));
    assert_null(mix_find(""));
}

/* ---- models -------------------------------------------------------------------------------------- */

/* Rows that fill every block: a layer of each kind, as small as that allows. */
static struct shape tiny_shape(const char *arch)
{
    struct shape shape = {.id = "tiny",
                          .name = "Tiny",
                          .arch = arch,
                          .n_layers = 1,
                          .d_model = 256,
                          .d_ff = 256,
                          .n_heads = 4,
                          .n_kv_heads = 2,
                          .head_dim = 64,
                          .n_vocab = 1000,
                          .n_ctx = 8192,
                          .pattern = "",
                          .notes = "",
                          .source = ""};
    if (strcmp(arch, "gemma3") == 0) {
        shape.window = 4;
        shape.window_period = 2;
        shape.n_layers = 2; /* the first slides, the second sees everything */
    }
    if (strcmp(arch, "mixtral") == 0 || strcmp(arch, "qwen3moe") == 0) {
        shape.d_ff = 0;
        shape.d_ff_expert = 256;
        shape.n_experts = strcmp(arch, "mixtral") == 0 ? 8 : 128;
        shape.n_experts_used = shape.n_experts == 8 ? 2 : 8;
    }
    shape.tied_embeddings = strcmp(arch, "qwen2") != 0;
    return shape;
}

static struct synthetic *create(const struct shape *shape, const char *mix, uint64_t seed)
{
    struct synthetic *synthetic = NULL;
    struct stile_error error = {0};
    if (synthetic_create(&synthetic, shape, mix, seed, &error) != 0) fail_msg("%s", error.message);
    return synthetic;
}

static void write_model(const struct shape *shape, const char *mix, const char *path)
{
    struct synthetic *synthetic = create(shape, mix, 1);
    struct stile_error error = {0};
    if (synthetic_write(synthetic, path, NULL, &error) != 0) fail_msg("%s", error.message);
    struct stat is;
    assert_int_equal(stat(path, &is), 0);
    assert_int_equal(is.st_size, synthetic_size_bytes(synthetic));
    assert_true(is.st_blocks * 512 >= is.st_size); /* no holes */
    synthetic_free(synthetic);
}

struct logits {
    double deviation, largest;
};

/* Evaluates n tokens; the last logits. */
static struct logits evaluate(const char *path, int n, char formats[128])
{
    struct stile_error error = {0};
    struct stile_model *model;
    struct stile_session *session;
    if (stile_model_open(&model, path, &error) != 0) fail_msg("%s", error.message);
    struct stile_session_options options = {.n_ctx = (uint32_t)n};
    if (stile_session_create(&session, model, &options, &error) != 0) fail_msg("%s", error.message);
    uint32_t n_vocab = stile_model_info(model)->n_vocab;
    int32_t *tokens = malloc((size_t)n * sizeof *tokens);
    for (int i = 0; i < n; i++)
        tokens[i] = (int32_t)((uint32_t)(i * 7919 + 13) % n_vocab);
    if (stile_eval(session, tokens, (size_t)n, &error) != 0) fail_msg("%s", error.message);
    const float *logits = stile_logits(session);
    struct logits result = {0};
    for (uint32_t i = 0; i < n_vocab; i++) {
        assert_true(isfinite(logits[i]));
        result.deviation += (double)logits[i] * (double)logits[i] / n_vocab;
        result.largest = fmax(result.largest, fabs((double)logits[i]));
    }
    result.deviation = sqrt(result.deviation);
    struct stile_format_share shares[8];
    size_t n_shares = stile_model_formats(model, shares, 8);
    *formats = 0;
    for (size_t i = 0; i < n_shares && i < 8; i++)
        snprintf(formats + strlen(formats), 128 - strlen(formats), " %s", shares[i].format);
    free(tokens);
    stile_session_free(session);
    stile_model_close(model);
    return result;
}

static void every_mix_runs(void **state)
{
    (void)state;
    const struct shape shape = tiny_shape("llama");
    const char *path = file_path("mix.gguf");
    char names[400], formats[128], *at = names, *name;
    mix_names(names, sizeof names);
    int n = 0;
    for (; (name = strsep(&at, ",")); n++) {
        name += *name == ' ';
        write_model(&shape, name, path);
        struct logits logits = evaluate(path, 8, formats);
        print_message("%-8s logits %.2f, largest %.1f: %s\n", name, logits.deviation, logits.largest, formats);
        assert_true(logits.deviation > 0.5 && logits.deviation < 5 && logits.largest < 25);
    }
    assert_int_equal(n, 34);
    unlink(path);
}

static void every_family_runs(void **state)
{
    (void)state;
    static const char *const families[] = {"llama", "mistral", "qwen2", "qwen3", "gemma3", "qwen3moe", "mixtral"};
    const char *path = file_path("family.gguf");
    char formats[128];
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const struct shape shape = tiny_shape(families[i]);
        write_model(&shape, "q8_0", path);
        struct logits logits = evaluate(path, 40, formats);
        print_message("%-8s logits %.2f, largest %.1f\n", families[i], logits.deviation, logits.largest);
        assert_true(logits.deviation > 0.5 && logits.deviation < 5 && logits.largest < 25);
    }
    unlink(path);
}

static enum format format_of(const struct gguf *gguf, const char *name)
{
    const struct gguf_tensor *tensor = gguf_find_tensor(gguf, name);
    if (!tensor) fail_msg("no tensor %s", name);
    return tensor->format;
}

/* In memory: the file's bytes, opened. */
static struct model *open_in_memory(const struct shape *shape, const char *mix)
{
    struct synthetic *synthetic = create(shape, mix, 1);
    struct stile_error error = {0};
    struct gguf *gguf;
    struct model *model;
    if (synthetic_open(synthetic, NULL, &gguf, &error) != 0) fail_msg("%s", error.message);
    synthetic_free(synthetic);
    if (model_create(&model, gguf, &error) != 0) fail_msg("%s", error.message);
    return model;
}

static void tensors_have_their_formats(void **state)
{
    (void)state;
    struct shape shape = tiny_shape("llama");
    shape.n_layers = 16;
    shape.n_heads = 8;
    shape.head_dim = 32;
    struct model *model = open_in_memory(&shape, "q4_k_m");
    const struct gguf *gguf = model->gguf;
    static const char more[] = "1100100100100111";
    assert_int_equal(format_of(gguf, "token_embd.weight"), FORMAT_Q6_K);
    assert_null(gguf_find_tensor(gguf, "output.weight"));
    for (int i = 0; i < 16; i++) {
        char name[64];
        enum format format = more[i] == '1' ? FORMAT_Q6_K : FORMAT_Q4_K;
        snprintf(name, sizeof name, "blk.%d.ffn_down.weight", i);
        assert_int_equal(format_of(gguf, name), format);
        snprintf(name, sizeof name, "blk.%d.attn_v.weight", i);
        assert_int_equal(format_of(gguf, name), format);
        snprintf(name, sizeof name, "blk.%d.ffn_up.weight", i);
        assert_int_equal(format_of(gguf, name), FORMAT_Q4_K);
        snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", i);
        assert_int_equal(format_of(gguf, name), FORMAT_F32);
    }
    model_free(model);
}

/* Root mean square of the decoded elements. */
static double size_of_weights(const struct weight *weight)
{
    double sum = 0;
    float *row = malloc(weight->cols * sizeof *row);
    assert_non_null(row);
    for (uint64_t r = 0; r < weight->rows; r++) {
        format_decode(weight->format, (const uint8_t *)weight->data + r * weight->row_bytes, weight->cols, row);
        for (uint64_t c = 0; c < weight->cols; c++)
            sum += (double)row[c] * (double)row[c];
    }
    free(row);
    return (double)weight->scale * sqrt(sum / (double)(weight->rows * weight->cols));
}

static void weights_are_of_the_right_size(void **state)
{
    (void)state;
    static const char *const mixes[] = {"bf16", "nvfp4", "q4_0", "iq2_xs"};
    struct shape shape = tiny_shape("qwen2");
    for (int i = 0; i < 4; i++) {
        struct model *model = open_in_memory(&shape, mixes[i]);
        double embd = size_of_weights(&model->globals[ROLE_TOKEN_EMBD]);
        double up = size_of_weights(model_weight(model, 0, ROLE_FFN_UP));
        assert_true(fabs(embd * 16 - 1) < 0.12); /* 1 / sqrt(256) */
        assert_true(fabs(up * 16 - 1) < 0.12);
        const struct weight *scaled = model_weight(model, 0, ROLE_FFN_UP);
        assert_int_equal(scaled->scale != 1, scaled->format == FORMAT_NVFP4);
        assert_non_null(model_weight(model, 0, ROLE_ATTN_K_BIAS)->floats);
        assert_non_null(model->globals[ROLE_OUTPUT].tensor);
        model_free(model);
    }
}

/* No two rows of an embedding of three blocks a row are the same. */
static int larger_first(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return *x < *y ? 1 : -1;
}

/* What random tokens choose is as uneven as synthetic.h says. */
static void some_experts_are_popular(void **state)
{
    (void)state;
    enum { N_TOKENS = 2000, N_EXPERTS = 128, N_USED = 8, WIDTH = 256 };
    const struct shape shape = tiny_shape("qwen3moe");
    struct model *model = open_in_memory(&shape, "q4_0");
    const float *router = model_weight(model, 0, ROLE_FFN_ROUTER)->data;
    uint32_t counts[N_EXPERTS] = {0};
    uint64_t random = 1;
    for (int t = 0; t < N_TOKENS; t++) {
        float x[WIDTH], scores[N_EXPERTS] = {0};
        for (int k = 0; k < WIDTH; k++) { /* nearly normal */
            x[k] = -2;
            for (int i = 0; i < 4; i++, random = random * 6364136223846793005u + 1442695040888963407u)
                x[k] += (float)(random >> 40) * 0x1p-24f;
        }
        for (int e = 0; e < N_EXPERTS; e++)
            for (int k = 0; k < WIDTH; k++)
                scores[e] += x[k] * router[e * WIDTH + k];
        for (int i = 0; i < N_USED; i++) {
            int best = 0;
            for (int e = 1; e < N_EXPERTS; e++)
                if (scores[e] > scores[best]) best = e;
            counts[best]++;
            scores[best] = -INFINITY;
        }
    }
    qsort(counts, N_EXPERTS, sizeof *counts, larger_first);
    double share[3] = {0}; /* of an eighth, a quarter, half of the experts */
    for (int e = 0; e < N_EXPERTS; e++)
        for (int i = 0; i < 3; i++)
            if (e < N_EXPERTS >> (3 - i)) share[i] += (double)counts[e] / (N_TOKENS * N_USED);
    print_message("choices of 1/8, 1/4, 1/2 of the experts: %.2f %.2f %.2f\n", share[0], share[1], share[2]);
    assert_true(fabs(share[0] - 0.43) < 0.05 && fabs(share[1] - 0.62) < 0.05 && fabs(share[2] - 0.81) < 0.05);
    assert_true(counts[N_EXPERTS - 1] > 0);
    model_free(model);
}

static void rows_differ(void **state)
{
    (void)state;
    struct shape shape = tiny_shape("llama");
    shape.d_model = 768;
    shape.n_vocab = 20000;
    struct model *model = open_in_memory(&shape, "q4_k_s");
    const struct weight *weight = &model->globals[ROLE_TOKEN_EMBD];
    uint64_t *hashes = malloc(weight->rows * sizeof *hashes), n_same = 0;
    assert_non_null(hashes);
    for (uint64_t r = 0; r < weight->rows; r++) {
        const uint8_t *row = (const uint8_t *)weight->data + r * weight->row_bytes;
        hashes[r] = 14695981039346656037u;
        for (uint64_t i = 0; i < weight->row_bytes; i++)
            hashes[r] = (hashes[r] ^ row[i]) * 1099511628211u;
        for (uint64_t before = r > 2000 ? r - 2000 : 0; before < r; before++)
            n_same += hashes[before] == hashes[r];
    }
    assert_int_equal(n_same, 0);
    free(hashes);
    model_free(model);
}

static void *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    void *bytes = malloc(*n);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

static void bytes_depend_on_the_seed_alone(void **state)
{
    (void)state;
    const struct shape shape = tiny_shape("qwen3");
    const char *path = file_path("bytes.gguf");
    uint8_t *bytes[3];
    size_t n[3];
    for (int i = 0; i < 3; i++) {
        struct synthetic *synthetic = create(&shape, "q5_k_m", i < 2 ? 7 : 8);
        assert_int_equal(synthetic_write(synthetic, path, NULL, NULL), 0);
        bytes[i] = read_file(path, &n[i]);
        if (i == 0) { /* memory holds the same */
            struct gguf *gguf;
            assert_int_equal(synthetic_open(synthetic, NULL, &gguf, NULL), 0);
            for (size_t t = 0; t < gguf->n_tensors; t++) {
                const struct gguf_tensor *tensor = &gguf->tensors[t];
                assert_memory_equal(tensor->data, bytes[0] + tensor->offset_bytes, tensor->size_bytes);
            }
            assert_string_equal(gguf->path, "(synthetic tiny q5_k_m)");
            gguf_close(gguf);
        }
        synthetic_free(synthetic);
    }
    assert_int_equal(n[0], n[1]);
    assert_int_equal(n[0], n[2]);
    assert_memory_equal(bytes[0], bytes[1], n[0]);
    assert_true(memcmp(bytes[0], bytes[2], n[0]) != 0);
    for (int i = 0; i < 3; i++)
        free(bytes[i]);
    unlink(path);
}

static void vocabulary_encodes_and_decodes(void **state)
{
    (void)state;
    static const char text[] = "bako tezumi\nNa\xc3\xafve caf\xc3\xa9, 12345 <|im_end|> \xf0\x9f\x99\x82";
    struct shape shape = tiny_shape("llama");
    shape.n_vocab = 25000;
    shape.n_layers = 1;
    const char *path = file_path("vocabulary.gguf");
    write_model(&shape, "q4_0", path);
    struct stile_error error = {0};
    struct stile_model *model;
    if (stile_model_open(&model, path, &error) != 0) fail_msg("%s", error.message);
    int32_t *tokens;
    size_t n, n_bytes = 0;
    assert_int_equal(stile_tokenize(model, text, strlen(text), 0, &tokens, &n, &error), 0);
    char back[256];
    for (size_t i = 0; i < n; i++) {
        size_t part;
        const char *bytes = stile_token_bytes(model, tokens[i], false, &part);
        assert_true(n_bytes + part <= sizeof back);
        memcpy(back + n_bytes, bytes, part);
        n_bytes += part;
    }
    assert_int_equal(n_bytes, strlen(text));
    assert_memory_equal(back, text, n_bytes);
    stile_free(tokens);
    /* whole words are tokens: of two syllables, and of three after a space */
    assert_int_equal(stile_tokenize(model, "bako", 4, 0, &tokens, &n, &error), 0);
    assert_int_equal(n, 1);
    stile_free(tokens);
    assert_int_equal(stile_tokenize(model, "<|im_end|>", 10, STILE_PARSE_SPECIAL, &tokens, &n, &error), 0);
    assert_int_equal(n, 1);
    assert_int_equal(tokens[0], 24999);
    assert_true(stile_token_is_end(model, tokens[0]));
    size_t n_printed = 1;
    stile_token_bytes(model, 24998, false, &n_printed); /* <|im_start|> */
    assert_int_equal(n_printed, 0);
    stile_free(tokens);
    assert_string_equal(stile_model_info(model)->name, "Synthetic Tiny q4_0");
    assert_non_null(stile_model_info(model)->chat_template);
    stile_model_close(model);
    unlink(path);
}

/* Every dense shape of the families that stile runs can be planned; its size is near what its parameters say. */
static void published_shapes_have_their_size(void **state)
{
    (void)state;
    int n_planned = 0, n_refused = 0;
    for (size_t i = 0; i < n_shapes; i++) {
        struct synthetic *synthetic;
        struct stile_error error = {0};
        int code = synthetic_create(&synthetic, &shapes[i], "bf16", 1, &error);
        if (code != 0) {
            assert_int_equal(code, STILE_ERROR_UNSUPPORTED);
            assert_non_null(strstr(error.message, shapes[i].id));
            n_refused++;
            continue;
        }
        double parameters = (double)synthetic_size_bytes(synthetic) / 2e6;
        if (fabs(parameters / shapes[i].n_params_m - 1) > 0.03)
            fail_msg("%s: %g million parameters", shapes[i].id, parameters);
        synthetic_free(synthetic);
        n_planned++;
    }
    print_message("%d shapes planned, %d refused\n", n_planned, n_refused);
    assert_int_equal(n_planned, 32);
}

static void expect_refusal(struct shape shape, const char *mix, int code, const char *part)
{
    struct synthetic *synthetic = NULL;
    struct stile_error error = {0};
    int got = synthetic_create(&synthetic, &shape, mix, 1, &error);
    if (got != code || !strstr(error.message, part))
        fail_msg("wanted %d \"%s\", got %d \"%s\"", code, part, got, error.message);
    assert_null(synthetic);
}

static void senseless_shapes_are_refused(void **state)
{
    (void)state;
    struct shape good = tiny_shape("llama"), bad = good;
    expect_refusal(good, "q4_k_x", STILE_ERROR_ARGUMENT, "nvfp4");
    expect_refusal(*shape_find("gpt-oss-20b"), "q4_0", STILE_ERROR_UNSUPPORTED, "gpt-oss");
    bad = *shape_find("mixtral-8x7b");
    bad.n_experts_used = 9;
    expect_refusal(bad, "q4_0", STILE_ERROR_ARGUMENT, "experts used");
    bad = *shape_find("qwen3-30b-a3b");
    bad.n_shared_experts = 1;
    expect_refusal(bad, "q4_0", STILE_ERROR_ARGUMENT, "shared experts");
    bad = good;
    expect_refusal(*shape_find("gemma-4-31b"), "q4_0", STILE_ERROR_UNSUPPORTED, "gemma4");
    bad.n_layers = 0;
    expect_refusal(bad, "q4_0", STILE_ERROR_ARGUMENT, "layers");
    bad = good;
    bad.n_vocab = 258;
    expect_refusal(bad, "q4_0", STILE_ERROR_ARGUMENT, "vocabulary");
    bad = good;
    bad.n_kv_heads = 3;
    expect_refusal(bad, "q4_0", STILE_ERROR_ARGUMENT, "heads");
    bad = good;
    bad.head_dim = 63;
    expect_refusal(bad, "q4_0", STILE_ERROR_ARGUMENT, "heads");
    bad = good;
    bad.n_vocab = 259;
    synthetic_free(create(&bad, "q4_0", 1));
}

static int n_reports;
static uint64_t last_done;

static int count_reports(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    assert_true(done_bytes >= last_done && done_bytes <= total_bytes);
    last_done = done_bytes;
    return ++n_reports == *(int *)user;
}

static size_t files_in_folder(void)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void failure_leaves_nothing_behind(void **state)
{
    (void)state;
    struct shape shape = tiny_shape("llama");
    shape.n_vocab = 100000;
    struct synthetic *synthetic = create(&shape, "f32", 1);
    struct stile_error error = {0};
    struct gguf *gguf = NULL;
    int stop_at = 2;
    struct synthetic_options options = {.on_progress = count_reports, .user = &stop_at};
    assert_int_equal(synthetic_write(synthetic, file_path("stopped.gguf"), &options, &error), STILE_ERROR_CANCELLED);
    assert_non_null(strstr(error.message, "stopped.gguf"));
    n_reports = 0;
    last_done = 0;
    assert_int_equal(synthetic_open(synthetic, &options, &gguf, &error), STILE_ERROR_CANCELLED);
    assert_null(gguf);
    assert_int_equal(synthetic_write(synthetic, "/nonexistent/x.gguf", NULL, &error), STILE_ERROR_IO);
    assert_int_equal(synthetic_write(synthetic, folder, NULL, &error), STILE_ERROR_IO); /* not over a folder */
    assert_int_equal(synthetic_write(synthetic, "/dev/full/x.gguf", NULL, &error), STILE_ERROR_IO);
    assert_int_equal(files_in_folder(), 0);
    /* and to the end: the last report says all */
    n_reports = 0;
    last_done = 0;
    stop_at = 0;
    assert_int_equal(synthetic_write(synthetic, file_path("whole.gguf"), &options, &error), 0);
    assert_true(n_reports > 3);
    assert_true(last_done == synthetic_size_bytes(synthetic));
    assert_int_equal(files_in_folder(), 1);
    unlink(file_path("whole.gguf"));
    synthetic_free(synthetic);
}

static void smollm2_is_made_quickly_and_runs(void **state)
{
    (void)state;
    const char *path = file_path("smollm2.gguf");
    uint64_t begin_ns = clock_ns();
    write_model(shape_find("smollm2-135m"), "q4_k_m", path);
    double seconds = (double)(clock_ns() - begin_ns) * 1e-9;
    char formats[128];
    struct logits logits = evaluate(path, 64, formats);
    print_message("%.2f s; logits %.2f, largest %.1f: %s\n", seconds, logits.deviation, logits.largest, formats);
    assert_true(logits.deviation > 0.5 && logits.deviation < 5 && logits.largest < 25);
    unlink(path);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_those_of_the_data),
        cmocka_unit_test(mixes_follow_the_rules),
        cmocka_unit_test(every_mix_runs),
        cmocka_unit_test(every_family_runs),
        cmocka_unit_test(tensors_have_their_formats),
        cmocka_unit_test(weights_are_of_the_right_size),
        cmocka_unit_test(some_experts_are_popular),
        cmocka_unit_test(rows_differ),
        cmocka_unit_test(bytes_depend_on_the_seed_alone),
        cmocka_unit_test(vocabulary_encodes_and_decodes),
        cmocka_unit_test(published_shapes_have_their_size),
        cmocka_unit_test(senseless_shapes_are_refused),
        cmocka_unit_test(failure_leaves_nothing_behind),
        cmocka_unit_test(smollm2_is_made_quickly_and_runs),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
