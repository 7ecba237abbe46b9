/* remote_private.h - what the files of the remote reader share.
 *
 *   remote.c       one question to a server and its answer, by libcurl     remote_file.c   a file, piece by piece
 */
#ifndef STILE_FILE_REMOTE_PRIVATE_H
#define STILE_FILE_REMOTE_PRIVATE_H

#include "file/remote.h"

#include <curl/curl.h>

struct remote {
    struct remote_options options;
    CURL *curl;
    struct curl_slist *token_header; /* NULL: no token */
    char said[CURL_ERROR_SIZE];      /* libcurl's own words for the last failure */
    /* the file that is open */
    char *url;           /* with query; NULL: none */
    char *reached;       /* where redirects led; NULL: nowhere else */
    const char *name;    /* for messages */
    uint64_t size_bytes; /* 0: not known yet */
    bool unranged;       /* the server ignores ranges */
    struct buffer start; /* its first bytes */
    uint32_t n_files;    /* opened so far */
    const char *query;
};

/* One question and its answer. */
struct transfer {
    struct remote *remote;
    const char *name; /* for messages */
    struct buffer *body;
    bool ranged;
    uint64_t end; /* ranged: bytes from body->n up to here are wanted */
    /* of the answer: */
    long status;
    bool judged, keep, enough;
    bool has_range;
    uint64_t range_begin, range_end, total;
    uint64_t n_skip; /* bytes before the wanted ones */
    uint64_t n_discarded, n_header;
    uint32_t retry_after_s;
    char wrong[200]; /* why the answer cannot be right; "" */
    bool cancelled, stalled;
    uint64_t watch_begin_ns, watch_bytes; /* since when, and what came until then */
};

/* ---- remote.c ---- */

enum { REMOTE_TRIES_MAX = 5 };

/* Asks there, and wherever that leads; *reached (freed and set) is where it ended when that is elsewhere. */
CURLcode remote_ask(struct transfer *t, const char *url, char **reached);
/* What was wrong with the answer; 0 when what came is good, however much that is. */
int remote_explain(const struct transfer *t, CURLcode code, struct stile_error *error);
/* Waits before another try, the n_tries-th having failed; false when there should be none. */
bool remote_retry(const struct transfer *t, CURLcode code, int n_tries);

/* ---- remote_file.c ---- */

void remote_file_close(struct remote *remote);

#endif
