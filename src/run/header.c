/* Opening only the header of a model, wherever it is. */
#include "base/clock.h"
#include "file/hub.h"
#include "run/loaded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *environment(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

/* A shape in a format. */
static int open_shape(struct stile_model **model, const char *shape, const char *format, struct stile_error *error)
{
    struct synthetic *synthetic;
    struct gguf *gguf;
    char name[256];
    uint64_t begin_ns = clock_ns();
    int failed = loaded_synthetic(&synthetic, shape, format, error);
    if (failed) return failed;
    failed = synthetic_open_header(synthetic, &gguf, error);
    synthetic_free(synthetic);
    snprintf(name, sizeof name, "%s in %s", shape, format);
    return failed ? failed : loaded_create(model, name, gguf, begin_ns, error);
}

static int refuse_user(const char *url, struct stile_error *error)
{
    const char *host = strstr(url, "://") + 3;
    if (!memchr(host, '@', strcspn(host, "/?#"))) return 0;
    return error_set(error, STILE_ERROR_ARGUMENT,
                     "a URL with a user name in it is not supported: it would end up in messages and records");
}

/* `url` is changed: cut before its query, and made that of the file where it is that of the file's page at the hub. */
static int open_url(struct stile_model **model, struct remote *remote, const char *home, char *url,
                    struct stile_error *error)
{
    static const char page[] = "/blob/", file[] = "/resolve/";
    struct buffer path = {0};
    struct gguf *gguf;
    uint64_t begin_ns = clock_ns();
    char query[1024] = "";
    url[strcspn(url, "#")] = '\0';
    size_t n = strcspn(url, "?");
    if (strlen(url + n) >= sizeof query)
        return error_set(error, STILE_ERROR_ARGUMENT, "%.200s: what follows the ? is too long", url);
    strcpy(query, url + n);
    url[n] = '\0';
    int failed = refuse_user(url, error);
    if (failed) return failed;
    const char *at = remote_same_server(url, home) ? strstr(url, page) : NULL;
    buffer_add(&path, url, at ? (size_t)(at - url) : n);
    if (at) buffer_printf(&path, "%s%s", file, at + strlen(page));
    if (path.failed) return error_memory(error, n, "a URL");
    struct gguf_source source = remote_source(remote, query);
    failed = gguf_open_source(&gguf, path.data, &source, error);
    if (!failed) failed = loaded_create(model, path.data, gguf, begin_ns, error);
    buffer_free(&path);
    return failed;
}

/* A URL, or a name at the hub. */
static int open_remote(struct stile_model **model, const char *name, const struct stile_header_options *options,
                       struct stile_error *error)
{
    const char *home = environment("HF_ENDPOINT", HUB_HOME);
    struct remote_options how = {
        .token = environment("HF_TOKEN", NULL),
        .token_home = home,
        .certificates = environment("SSL_CERT_FILE", NULL),
        .cancel = options ? options->cancel : NULL,
    };
    struct remote *remote;
    char *url = NULL;
    if (!remote_is_url(home))
        return error_set(error, STILE_ERROR_ARGUMENT, "HF_ENDPOINT is \"%.200s\", not a URL such as " HUB_HOME, home);
    int failed = refuse_user(home, error);
    if (!failed) failed = remote_create(&remote, &how, error);
    if (failed) return failed;
    if (!remote_is_url(name))
        failed = hub_find(remote, home, name, &url, error);
    else if (!(url = strdup(name)))
        failed = error_memory(error, strlen(name), "a URL");
    if (!failed) failed = open_url(model, remote, home, url, error);
    free(url);
    remote_free(remote);
    return failed;
}

int stile_model_open_header(struct stile_model **model, const char *name, const struct stile_header_options *options,
                            struct stile_error *error)
{
    const char *format = options && options->format ? options->format : "q4_k_m";
    char path[4096];
    int failed;
    if (remote_is_url(name) || (access(name, F_OK) != 0 && hub_is_name(name)))
        failed = open_remote(model, name, options, error);
    else if (shape_find(name) && stile_model_find(name, path, sizeof path, NULL) != 0)
        failed = open_shape(model, name, format, error);
    else
        failed = stile_model_open(model, name, error);
    if (!failed) (*model)->header_only = true;
    return failed;
}
