/* encode_check - what the quantizers lose and how long they take, beside llama.cpp's if its library is named.
 *
 *     encode_check [--peer libggml-base.so] [--model FILE.gguf] [-n ELEMENTS] [--isa NAME] [FORMAT...]
 *
 * Numbers: Student's t with 4 degrees of freedom, Laplace with outliers, and weights of a model, decoded and rounded to
 * BF16. Each without importance and with one that is heavy-tailed over the columns. Printed: sum(importance * error^2)
 * over sum(importance * x^2), as a root; the ratio of the sums to the peer's; nanoseconds per element on one core, the
 * best of several in alternation, and the ratio (above 1: faster than the peer).
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "file/gguf.h"
#include "format/encode.h"
#include "format/encode_tables.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

typedef size_t peer_quantize(int type, const float *x, void *out, int64_t start, int64_t n_rows, int64_t n_per_row,
                             const float *importance);

enum { REPEATS = 3 };

struct data {
    const char *name;
    size_t n, row; /* a multiple of the row */
    float *x;
    float *importance; /* one per element, the same in each row */
};

static const struct encode_table *table;

static uint64_t random_state = 1;

static double uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)((random_state >> 11) + 1) * 0x1p-53;
}

static double normal(void)
{
    double radius = sqrt(-2 * log(uniform()));
    return radius * cos(6.283185307179586 * uniform());
}

static double student(void)
{
    double chi = 0;
    for (int i = 0; i < 4; i++)
        chi += pow(normal(), 2);
    return 0.02 * normal() / sqrt(chi / 4);
}

static double laplace(void)
{
    double sign = uniform() < 0.5 ? -1 : 1, outlier = uniform() < 0.002 ? 12 : 1;
    return 0.014 * sign * outlier * -log(uniform());
}

static void *must(void *pointer, const char *what)
{
    if (pointer) return pointer;
    fprintf(stderr, "encode_check: %s\n", what);
    exit(1);
}

static struct data data_new(const char *name, size_t n, size_t row)
{
    struct data data = {name, n / row * row, row, malloc(n * sizeof(float)), malloc(n * sizeof(float))};
    must(data.x && data.importance ? data.x : NULL, "no memory");
    for (size_t i = 0; i < data.n; i++)
        data.importance[i] = i < row ? (float)exp(1.5 * normal()) : data.importance[i - row];
    return data;
}

static struct data data_random(const char *name, size_t n, double (*draw)(void))
{
    struct data data = data_new(name, n, 4096);
    for (size_t i = 0; i < data.n; i++)
        data.x[i] = f32_from_bf16(bf16_from_f32((float)draw()));
    return data;
}

/* Evenly from all matrices. */
static struct data data_model(const char *path, size_t n)
{
    enum { ROW = 1536 };
    struct stile_error error;
    struct gguf *gguf;
    if (gguf_open(&gguf, path, &error) < 0) must(NULL, error.message);
    struct data data = data_new("model", n, ROW);
    uint64_t n_rows = 0, next = 0, seen = 0, taken = 0;
    for (size_t t = 0; t < gguf->n_tensors; t++)
        n_rows += gguf->tensors[t].n_dims < 2 ? 0 : gguf->tensors[t].n_elements / ROW;
    for (size_t t = 0; t < gguf->n_tensors; t++) {
        const struct gguf_tensor *tensor = &gguf->tensors[t];
        const struct format_info *info = format_info(tensor->format);
        uint64_t rows = tensor->n_dims < 2 ? 0 : tensor->n_elements / ROW;
        for (; next < seen + rows && taken < data.n / ROW; taken++) {
            const uint8_t *bytes = tensor->data;
            float *x = data.x + taken * ROW;
            info->decode(bytes + (next - seen) * ROW / info->block_elements * info->block_bytes,
                         ROW / info->block_elements, x);
            for (int i = 0; i < ROW; i++)
                x[i] = f32_from_bf16(bf16_from_f32(x[i]));
            next = (taken + 1) * n_rows * ROW / data.n;
        }
        seen += rows;
    }
    data.n = taken * ROW;
    gguf_close(gguf);
    return data;
}

static double weighted_error(const struct data *data, const float *y, const float *importance, double scale)
{
    double error = 0, all = 0;
    for (size_t i = 0; i < data->n; i++) {
        double w = importance ? (double)importance[i] : 1, x = (double)data->x[i];
        error += w * pow(x - scale * (double)y[i], 2);
        all += w * x * x;
    }
    return error / all;
}

static double seconds_since(uint64_t start)
{
    return (double)(clock_ns() - start) * 1e-9;
}

static void check(enum format format, const struct data *data, bool weighted, peer_quantize *peer)
{
    const struct format_info *info = format_info(format);
    const float *importance = weighted ? data->importance : NULL;
    uint8_t *blocks = must(malloc(data->n / info->block_elements * info->block_bytes), "no memory");
    uint8_t *theirs = must(malloc(data->n / info->block_elements * info->block_bytes), "no memory");
    float *y = must(malloc(data->n * sizeof *y), "no memory");
    double best = 1e9, best_theirs = 1e9, peer_error = 0;
    struct data scaled = *data;
    float scale = format == FORMAT_NVFP4 ? format_nvfp4_tensor_scale(data->x, data->n) : 1;
    scaled.x = must(malloc(data->n * sizeof *y), "no memory");
    for (size_t i = 0; i < data->n; i++)
        scaled.x[i] = data->x[i] / scale;
    for (int r = 0; r < REPEATS; r++) {
        uint64_t start = clock_ns();
        table->encode(format, scaled.x, data->n, importance, blocks);
        best = fmin(best, seconds_since(start));
        if (!peer) continue;
        start = clock_ns();
        peer((int)format, data->x, theirs, 0, (int64_t)(data->n / data->row), (int64_t)data->row, importance);
        best_theirs = fmin(best_theirs, seconds_since(start));
    }
    format_decode(format, blocks, data->n, y);
    double error = weighted_error(data, y, importance, (double)scale);
    if (peer) {
        format_decode(format, theirs, data->n, y);
        peer_error = weighted_error(data, y, importance, 1);
    }
    printf("%-8s %-8s %-9s %.5f", info->name, data->name, weighted ? "imatrix" : "-", sqrt(error));
    if (peer) printf("  error x %.4f", error / peer_error);
    printf("  %7.2f ns", best * 1e9 / (double)data->n);
    if (peer) printf("  speed x %.2f", best_theirs / best);
    printf("\n");
    fflush(stdout);
    free(scaled.x);
    free(blocks);
    free(theirs);
    free(y);
}

static void select_isa(const char *isa)
{
    for (int t = 0; encode_table_at(t); t++)
        if (!strcmp(isa, encode_table_at(t)->isa)) table = encode_table_at(t);
    must(!strcmp(isa, table->isa) ? &random_state : NULL, "no such instruction set here");
}

static peer_quantize *peer_of(const char *path)
{
    union {
        void *object;
        peer_quantize *call;
    } symbol;
    void *library = must(dlopen(path, RTLD_NOW), "the peer's library cannot be loaded");
    symbol.object = must(dlsym(library, "ggml_quantize_chunk"), "the peer has no ggml_quantize_chunk");
    return symbol.call;
}

int main(int argc, char **argv)
{
    const char *model = NULL;
    peer_quantize *peer = NULL;
    size_t n = 1 << 18;
    int i = 1;
    table = encode_table_at(0);
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (!strcmp(argv[i], "--peer")) peer = peer_of(argv[i + 1]);
        if (!strcmp(argv[i], "--model")) model = argv[i + 1];
        if (!strcmp(argv[i], "--isa")) select_isa(argv[i + 1]);
        if (!strcmp(argv[i], "-n")) n = strtoull(argv[i + 1], NULL, 10);
    }
    struct data data[3] = {data_random("student", n, student), data_random("laplace", n, laplace)};
    if (model) data[2] = data_model(model, n);
    for (uint32_t id = 0; id < FORMAT_COUNT; id++) {
        const struct format_info *info = format_info(id);
        bool encodes = info && info->decode && info->block_elements > 1, wanted = encodes && i == argc;
        for (int k = i; k < argc && encodes; k++)
            wanted |= !strcasecmp(argv[k], info->name);
        for (int d = 0; wanted && d < (model ? 3 : 2); d++) {
            check((enum format)id, &data[d], false, peer);
            check((enum format)id, &data[d], true, peer);
        }
    }
    for (int d = 0; d < (model ? 3 : 2); d++) {
        free(data[d].x);
        free(data[d].importance);
    }
    return 0;
}
