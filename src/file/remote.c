#include "file/remote_private.h"

#include "base/clock.h"

#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    REDIRECTS_MAX = 10,
    STALL_MS = 30000,
    STALL_BYTES_PER_S = 1000, /* slower than this is silence */
    RETRY_MS = 1000,
    RETRY_AFTER_S_MAX = 30,       /* a server that asks for more patience is reported instead */
    DISCARD_BYTES_MAX = 64 << 10, /* of error pages, so that the connection can be used again */
    HEADER_BYTES_MAX = 256 << 10,
};

/* ---- small things ------------------------------------------------------------------------------- */

static bool read_number(const char **at, uint64_t *value)
{
    char *end;
    if (!isdigit((unsigned char)**at)) return false;
    unsigned long long number = strtoull(*at, &end, 10);
    if (number > INT64_MAX) return false;
    *at = end;
    *value = number;
    return true;
}

bool remote_parse_range(const char *text, uint64_t *begin, uint64_t *end, uint64_t *total)
{
    uint64_t first, last, all;
    if (strncasecmp(text, "bytes ", 6) != 0) return false;
    text += 6;
    if (!read_number(&text, &first) || *text++ != '-' || !read_number(&text, &last) || *text++ != '/' ||
        !read_number(&text, &all) || *text)
        return false;
    if (first > last || last >= all) return false;
    *begin = first;
    *end = last + 1;
    *total = all;
    return true;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part, unsigned flags)
{
    char *x = NULL, *y = NULL;
    bool same = curl_url_get(a, part, &x, flags) == CURLUE_OK && curl_url_get(b, part, &y, flags) == CURLUE_OK &&
                strcasecmp(x, y) == 0;
    curl_free(x);
    curl_free(y);
    return same;
}

bool remote_same_server(const char *url, const char *other)
{
    CURLU *a = curl_url(), *b = curl_url();
    bool same = a && b && curl_url_set(a, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_set(b, CURLUPART_URL, other, 0) == CURLUE_OK && same_part(a, b, CURLUPART_SCHEME, 0) &&
                same_part(a, b, CURLUPART_HOST, 0) && same_part(a, b, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    curl_url_cleanup(a);
    curl_url_cleanup(b);
    return same;
}

static bool is_https(const char *url)
{
    return strncasecmp(url, "https://", 8) == 0;
}

bool remote_is_url(const char *name)
{
    return is_https(name) || strncasecmp(name, "http://", 7) == 0;
}

static bool is_cancelled(const struct remote *remote)
{
    return remote->options.cancel && *remote->options.cancel;
}

/* ---- libcurl's calls ---------------------------------------------------------------------------- */

static size_t on_header(char *line, size_t size, size_t n, void *user)
{
    struct transfer *t = user;
    char text[256];
    (void)size; /* 1 */
    t->n_header += n;
    if (t->n_header > HEADER_BYTES_MAX) {
        snprintf(t->wrong, sizeof t->wrong, "more than %d bytes of HTTP headers", HEADER_BYTES_MAX);
        return 0;
    }
    size_t n_text = n < sizeof text ? n : sizeof text - 1;
    memcpy(text, line, n_text);
    text[n_text] = '\0';
    while (n_text > 0 && isspace((unsigned char)text[n_text - 1]))
        text[--n_text] = '\0';
    char *value = strchr(text, ':');
    if (strncmp(text, "HTTP/", 5) == 0) t->has_range = false; /* what came before belonged to another answer */
    if (!value) return n;
    *value++ = '\0';
    while (isspace((unsigned char)*value))
        value++;
    const char *number = value;
    uint64_t seconds;
    if (strcasecmp(text, "content-range") == 0)
        t->has_range = remote_parse_range(value, &t->range_begin, &t->range_end, &t->total);
    else if (strcasecmp(text, "retry-after") == 0 && read_number(&number, &seconds))
        t->retry_after_s = seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX;
    return n;
}

/* Looks at status and headers, before the first byte of the body: what is to become of it? */
static void judge(struct transfer *t)
{
    struct remote *remote = t->remote;
    curl_off_t length = -1;
    t->judged = true;
    curl_easy_getinfo(remote->curl, CURLINFO_RESPONSE_CODE, &t->status);
    curl_easy_getinfo(remote->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->keep = t->status == 200 || (t->status == 206 && t->ranged);
    if (!t->keep || !t->ranged) return;
    if (t->status == 200) {
        remote->unranged = true;
        t->n_skip = t->body->n;
        t->total = length >= 0 ? (uint64_t)length : 0;
        if (length < 0) snprintf(t->wrong, sizeof t->wrong, "the server does not say how long the file is");
    } else if (!t->has_range) {
        snprintf(t->wrong, sizeof t->wrong,
                 "the server sends a part of the file without saying which part of how much");
    } else if (t->range_begin != t->body->n) {
        snprintf(t->wrong, sizeof t->wrong, "asked for the bytes from %zu on, the server sends those from %" PRIu64,
                 t->body->n, t->range_begin);
    }
    if (!*t->wrong && remote->size_bytes > 0 && t->total != remote->size_bytes)
        snprintf(t->wrong, sizeof t->wrong,
                 "the file had %" PRIu64 " bytes, now %" PRIu64 " (it changed while it was read: try again)",
                 remote->size_bytes, t->total);
    if (*t->wrong) return;
    remote->size_bytes = t->total;
    if (t->end > t->total) t->end = t->total;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *user)
{
    enum { STOP = 0 }; /* anything but n */
    struct transfer *t = user;
    size_t n_given = n;
    (void)size; /* 1 */
    if (!t->judged) judge(t);
    if (*t->wrong || t->enough) return STOP;
    if (!t->keep) {
        t->n_discarded += n;
        return t->n_discarded > DISCARD_BYTES_MAX ? STOP : n;
    }
    size_t skipped = t->n_skip < n ? (size_t)t->n_skip : n;
    t->n_skip -= skipped;
    bytes += skipped;
    n -= skipped;
    if (t->ranged && n > t->end - t->body->n) n = (size_t)(t->end - t->body->n);
    buffer_add(t->body, bytes, n);
    if (t->body->failed) return STOP;
    t->enough = t->ranged && t->body->n == t->end;
    return t->enough && t->status == 200 && t->end < t->total ? STOP : n_given;
}

static int on_progress(void *user, curl_off_t download_total, curl_off_t downloaded, curl_off_t upload_total,
                       curl_off_t uploaded)
{
    struct transfer *t = user;
    uint64_t now_ns = clock_ns(), stall_ms = t->remote->options.stall_ms, n = (uint64_t)downloaded;
    (void)download_total;
    (void)upload_total;
    (void)uploaded;
    t->cancelled = is_cancelled(t->remote);
    if (now_ns - t->watch_begin_ns > stall_ms * 1000000) {
        t->stalled = n - t->watch_bytes < STALL_BYTES_PER_S * stall_ms / 1000 + 1;
        t->watch_begin_ns = now_ns;
        t->watch_bytes = n;
    }
    return t->cancelled || t->stalled;
}

/* ---- one question ------------------------------------------------------------------------------- */

/* A server that hung up must not end the program: some TLS libraries write without asking for that. */
static CURLcode perform_quietly(CURL *curl)
{
    sigset_t pipe_signal, before, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    CURLcode code = curl_easy_perform(curl);
    if (!sigismember(&pending, SIGPIPE)) sigtimedwait(&pipe_signal, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static CURLcode ask(struct transfer *t, const char *url)
{
    struct remote *remote = t->remote;
    const struct remote_options *o = &remote->options;
    CURL *curl = remote->curl;
    char range[64];
    t->status = 0;
    t->judged = t->keep = t->enough = t->has_range = t->stalled = false;
    t->n_skip = t->n_discarded = t->n_header = t->watch_bytes = 0;
    t->retry_after_s = 0;
    t->watch_begin_ns = clock_ns();
    remote->said[0] = '\0';
    snprintf(range, sizeof range, "%zu-%" PRIu64, t->body->n, t->end - 1);
    bool with_token = remote->token_header && is_https(url) && remote_same_server(url, o->token_home);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_RANGE, t->ranged ? range : NULL);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, with_token ? remote->token_header : NULL);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    CURLcode code = perform_quietly(curl);
    if (!t->judged && code == CURLE_OK) judge(t); /* an answer without a body */
    return code;
}

CURLcode remote_ask(struct transfer *t, const char *url, char **reached)
{
    CURLcode code = ask(t, url);
    for (int n = 0; t->status >= 300 && t->status < 400 && !t->cancelled && !t->stalled; n++) {
        char *next = NULL;
        curl_easy_getinfo(t->remote->curl, CURLINFO_REDIRECT_URL, &next);
        if (!next) break;
        const char *from = *reached ? *reached : url;
        if (n == REDIRECTS_MAX)
            snprintf(t->wrong, sizeof t->wrong, "sent on more than %d times, in the end to %.100s", n, next);
        else if (is_https(from) && !is_https(next))
            snprintf(t->wrong, sizeof t->wrong, "the server sends on from https to %.100s, which is not safe", next);
        if (*t->wrong) break;
        char *copy = strdup(next);
        free(*reached);
        *reached = copy;
        if (!copy) return CURLE_OUT_OF_MEMORY;
        code = ask(t, copy);
    }
    return code;
}

static const char *status_advice(long status)
{
    switch (status) {
    case 401:
    case 403:
        return "not allowed: the model may be private, or its terms must be agreed to first, or there is none of this "
               "name (HF_TOKEN is for what your account at a model hub may read)";
    case 404:
    case 410: return "there is no such file or model (is the name right?)";
    case 416: return "the file is empty, or became shorter (try again)";
    case 429: return "too many requests (try again later)";
    default: return status >= 500 ? "the server has a problem (try again later)" : "not the answer that was expected";
    }
}

static const char *failure_advice(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: return " (is there a network? https_proxy names a proxy)";
    case CURLE_PEER_FAILED_VERIFICATION: return " (SSL_CERT_FILE names a file of certificates to trust)";
    default: return "";
    }
}

/* Those that another try may mend. */
static bool is_passing(const struct transfer *t, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
    case CURLE_WRITE_ERROR: return t->status == 429 || t->status == 408 || t->status >= 500;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
    }
}

int remote_explain(const struct transfer *t, CURLcode code, struct stile_error *error)
{
    const struct remote *remote = t->remote;
    if (t->cancelled) return error_set(error, STILE_ERROR_CANCELLED, "%s: stopped", t->name);
    if (*t->wrong) return error_set(error, STILE_ERROR_MALFORMED, "%s: %s", t->name, t->wrong);
    if (t->stalled)
        return error_set(error, STILE_ERROR_IO, "%s: the server was silent for %g s, or as good as (try again later)",
                         t->name, remote->options.stall_ms / 1e3);
    if (t->body->failed)
        return t->body->limit > 0 && t->body->n + CURL_MAX_WRITE_SIZE > t->body->limit
                   ? error_set(error, STILE_ERROR_MALFORMED, "%s: the answer is longer than %zu bytes", t->name,
                               t->body->limit)
                   : error_memory(error, t->body->n, t->name);
    if (code == CURLE_OUT_OF_MEMORY) return error_memory(error, strlen(t->name), "a request");
    if (code != CURLE_OK && code != CURLE_WRITE_ERROR)
        return error_set(error, STILE_ERROR_IO, "%s: %s%s", t->name,
                         *remote->said ? remote->said : curl_easy_strerror(code), failure_advice(code));
    if (t->keep) return 0;
    return error_set(error, STILE_ERROR_IO, "%s: HTTP status %ld: %s", t->name, t->status, status_advice(t->status));
}

bool remote_retry(const struct transfer *t, CURLcode code, int n_tries)
{
    const struct remote *remote = t->remote;
    uint64_t wait_ms = (uint64_t)remote->options.retry_ms << (n_tries - 1);
    if (t->cancelled || !is_passing(t, code) || n_tries >= REMOTE_TRIES_MAX || t->retry_after_s > RETRY_AFTER_S_MAX)
        return false;
    if (wait_ms < t->retry_after_s * 1000ull) wait_ms = t->retry_after_s * 1000ull;
    for (uint64_t end_ns = clock_ns() + wait_ms * 1000000; clock_ns() < end_ns && !is_cancelled(remote);)
        nanosleep(&(struct timespec){.tv_nsec = wait_ms < 50 ? 1000000 : 50000000}, NULL);
    return true;
}

int remote_get(struct remote *remote, const char *url, struct buffer *body, struct stile_error *error)
{
    for (int n_tries = 1;; n_tries++) {
        struct transfer t = {.remote = remote, .name = url, .body = body};
        char *reached = NULL;
        body->n = 0;
        CURLcode code = remote_ask(&t, url, &reached);
        free(reached);
        int failed = remote_explain(&t, code, error);
        if (!failed && body->n == 0) failed = error_set(error, STILE_ERROR_MALFORMED, "%s: the answer is empty", url);
        if (!failed || !remote_retry(&t, code, n_tries)) return failed;
    }
}

/* ---- beginning and end -------------------------------------------------------------------------- */

static void initialise(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int set_token(struct remote *remote, struct stile_error *error)
{
    const char *token = remote->options.token;
    if (!token || !*token || !remote->options.token_home) return 0;
    for (const char *c = token; *c; c++)
        if (!isgraph((unsigned char)*c)) /* a new line would be a header of its own */
            return error_set(error, STILE_ERROR_ARGUMENT, "the access token holds a space, a new line or the like");
    struct buffer header = {0};
    buffer_printf(&header, "Authorization: Bearer %s", token);
    if (!header.failed) remote->token_header = curl_slist_append(NULL, header.data);
    buffer_free(&header);
    return remote->token_header ? 0 : error_memory(error, strlen(token), "a request");
}

static void set_options(struct remote *remote)
{
    CURL *curl = remote->curl;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "stile/" STILE_VERSION);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, remote->said);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)remote->options.stall_ms);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    if (remote->options.certificates) curl_easy_setopt(curl, CURLOPT_CAINFO, remote->options.certificates);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

int remote_create(struct remote **out, const struct remote_options *options, struct stile_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise);
    struct remote *remote = calloc(1, sizeof *remote);
    CURL *curl = curl_easy_init();
    if (!remote || !curl) {
        free(remote);
        curl_easy_cleanup(curl);
        return error_memory(error, sizeof *remote, "a connection");
    }
    *remote = (struct remote){.options = *options, .curl = curl, .query = ""};
    if (remote->options.stall_ms == 0) remote->options.stall_ms = STALL_MS;
    if (remote->options.retry_ms == 0) remote->options.retry_ms = RETRY_MS;
    set_options(remote);
    int failed = set_token(remote, error);
    if (failed) {
        remote_free(remote);
        return failed;
    }
    *out = remote;
    return 0;
}

void remote_free(struct remote *remote)
{
    if (!remote) return;
    remote_file_close(remote);
    curl_slist_free_all(remote->token_header);
    curl_easy_cleanup(remote->curl);
    free(remote);
}
