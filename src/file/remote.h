/* remote.h - files of web servers, of which only the beginning is read: HTTP ranges, by libcurl.
 *
 * A server is as much a stranger as a file: what it says is checked, what it sends is bounded by what was asked for, and
 * one that ignores ranges is hung up on when enough has come. Redirects are followed, though never from https to http;
 * certificates are verified; proxies are taken from the environment as libcurl does. Connections that break and servers
 * that are busy are tried again a few times, going on from where the file stopped coming.
 * Errors name the URL: IO for the network and what servers refuse, MALFORMED for answers that contradict themselves,
 * CANCELLED. A remote belongs to one thread at a time.
 */
#ifndef STILE_FILE_REMOTE_H
#define STILE_FILE_REMOTE_H

#include "base/buffer.h"
#include "file/gguf.h"

struct remote;

/* Strings must outlive the remote. Zero in any field means "the default". */
struct remote_options {
    const char *token;          /* sent to the server of token_home alone, and by https alone; default: none */
    const char *token_home;     /* a URL */
    const char *certificates;   /* file with those to trust; default: the system's */
    const volatile int *cancel; /* looked at about once a second: when it becomes non-zero, reading ends */
    uint32_t stall_ms;          /* give up on a server that is silent, or hardly speaks, for so long; default 30 s */
    uint32_t retry_ms;          /* wait so long before the first new try, twice as long before the next; default 1 s */
};

int remote_create(struct remote **remote, const struct remote_options *options, struct stile_error *error);
void remote_free(struct remote *remote);

/* Appends a whole answer of at most body->limit bytes to the empty `body`. */
int remote_get(struct remote *remote, const char *url, struct buffer *body, struct stile_error *error);

/* For gguf_open_source, with URLs as paths; `query` ("?download=true", or "") is put behind each of them when it is asked
 * for. Valid as long as the remote and the query. */
struct gguf_source remote_source(struct remote *remote, const char *query);

/* Does it begin with http:// or https://? */
bool remote_is_url(const char *name);
/* Have these URLs the same scheme, host and port? */
bool remote_same_server(const char *url, const char *other);
/* "bytes 0-99/1000", as Content-Range has it; `end` is one past the last byte. False for anything else, an unknown total
 * included. */
bool remote_parse_range(const char *text, uint64_t *begin, uint64_t *end, uint64_t *total);

#endif
