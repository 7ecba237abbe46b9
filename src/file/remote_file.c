/* remote_file.c - the beginning of a file, as far as it is asked for. */
#include "file/remote_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_BYTES = 1 << 20,            /* of the first file; */
    FIRST_OTHER_BYTES = 256 << 10,    /* and of the others of a set, which have no vocabulary */
    UNRANGED_BYTES = 16 << 20,        /* a server without ranges begins anew each time: twice at most, as a rule */
    FILE_START_BYTES_MAX = 128 << 20, /* far above what the GGUF reader asks for */
};

void remote_file_close(struct remote *remote)
{
    free(remote->url);
    free(remote->reached);
    buffer_free(&remote->start);
    remote->url = remote->reached = NULL;
    remote->size_bytes = 0;
    remote->unranged = false;
    remote->start = (struct buffer){.limit = FILE_START_BYTES_MAX};
}

/* Has the file's first `end` bytes come, or all there are. */
static int file_extend(struct remote *remote, uint64_t end, struct stile_error *error)
{
    int n_tries = 0;
    if (remote->unranged && end > remote->start.n && end < UNRANGED_BYTES) end = UNRANGED_BYTES;
    while (remote->start.n < end && (remote->size_bytes == 0 || remote->start.n < remote->size_bytes)) {
        struct transfer t = {
            .remote = remote, .name = remote->name, .body = &remote->start, .ranged = true, .end = end};
        bool elsewhere = remote->reached;
        CURLcode code = remote_ask(&t, elsewhere ? remote->reached : remote->url, &remote->reached);
        int failed = remote_explain(&t, code, error);
        if (!failed && remote->size_bytes == 0)
            return error_set(error, STILE_ERROR_MALFORMED, "%s: the file is empty", remote->name);
        if (!failed && t.enough) continue;
        n_tries++;
        if (!failed) { /* less than was asked for: that is allowed, but must end some time */
            failed = error_set(error, STILE_ERROR_IO, "%s: the server sends %zu of %" PRIu64 " bytes and stops",
                               remote->name, remote->start.n, end);
            if (n_tries < REMOTE_TRIES_MAX) continue;
        }
        if (elsewhere && t.status >= 400 && t.status < 500 && t.status != 429) {
            /* links that redirects give may be good for a short time only */
            free(remote->reached);
            remote->reached = NULL;
            if (n_tries < REMOTE_TRIES_MAX) continue;
        }
        if (!remote_retry(&t, code, n_tries)) return failed;
    }
    return 0;
}

static int source_open(void *user, const char *path, uint64_t *size_bytes, struct stile_error *error)
{
    struct remote *remote = user;
    size_t n = strlen(path) + strlen(remote->query) + 1;
    remote_file_close(remote);
    remote->name = path;
    remote->url = malloc(n);
    if (!remote->url) return error_memory(error, n, "a URL");
    snprintf(remote->url, n, "%s%s", path, remote->query);
    int failed = file_extend(remote, remote->n_files == 0 ? FIRST_BYTES : FIRST_OTHER_BYTES, error);
    remote->n_files++;
    *size_bytes = remote->size_bytes;
    return failed;
}

static int source_read(void *user, uint64_t at, uint64_t n, uint8_t *bytes, struct stile_error *error)
{
    struct remote *remote = user;
    int failed = file_extend(remote, at + n, error);
    if (!failed) memcpy(bytes, remote->start.data + at, n);
    return failed;
}

struct gguf_source remote_source(struct remote *remote, const char *query)
{
    remote->query = query;
    return (struct gguf_source){.user = remote, .open = source_open, .read = source_read};
}
