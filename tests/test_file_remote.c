/* Files of web servers, good and bad: a server in a thread answers each question by a script. */
#include "base/clock.h"
#include "file/remote.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILE_BYTES = 3000000, REQUESTS_MAX = 64, SCRIPT_MAX = 8, MORE = -1 };

/* ---- the server --------------------------------------------------------------------------------- */

enum after { KEEP, CLOSE, RESET, SILENCE };

/* One answer. In `head`, FROM, LAST and SIZE stand for the numbers of the range that was asked for; a body of MORE bytes
 * is the range, one of any other size begins at its first byte. The last answer of a script is given again and again. */
struct answer {
    const char *head; /* without the last, empty line */
    long n_body;      /* or MORE */
    enum after after;
};

static struct {
    struct answer script[SCRIPT_MAX]; /* a copy: the server looks at it a little longer than the test */
    size_t n_script;
    atomic_bool busy; /* with a connection */
    atomic_size_t n_requests;
    atomic_ullong n_sent;
    char requests[REQUESTS_MAX][2048];
    int listener;
    char url[64];
    pthread_t thread;
} server;

static char byte_at(uint64_t at)
{
    return (char)((at * 2654435761u) >> 13);
}

static void put_head(struct buffer *out, const char *head, const char *request)
{
    const char *range = strstr(request, "Range: bytes=");
    unsigned long long numbers[] = {0, FILE_BYTES - 1, FILE_BYTES};
    static const char *const names[] = {"FROM", "LAST", "SIZE"};
    if (range) sscanf(range, "Range: bytes=%llu-%llu", &numbers[0], &numbers[1]);
    if (numbers[1] >= FILE_BYTES) numbers[1] = FILE_BYTES - 1;
    for (; *head; head++) {
        size_t i = 0;
        while (i < 3 && strncmp(head, names[i], 4) != 0)
            i++;
        if (i == 3) {
            buffer_char(out, *head);
        } else {
            buffer_printf(out, "%llu", numbers[i]);
            head += 3;
        }
    }
    buffer_string(out, "\r\n\r\n");
}

static bool send_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes += sent;
        n -= (size_t)sent;
        server.n_sent += (size_t)sent;
    }
    return true;
}

static bool send_body(int fd, const struct answer *answer, const char *request)
{
    static char piece[1 << 16];
    unsigned long long from = 0, last = FILE_BYTES - 1;
    const char *range = strstr(request, "Range: bytes=");
    if (range && strstr(answer->head, " 206")) sscanf(range, "Range: bytes=%llu-%llu", &from, &last);
    if (last >= FILE_BYTES) last = FILE_BYTES - 1;
    uint64_t left = answer->n_body == MORE ? last + 1 - from : (uint64_t)answer->n_body;
    while (left > 0) {
        size_t n = left < sizeof piece ? (size_t)left : sizeof piece;
        for (size_t i = 0; i < n; i++)
            piece[i] = byte_at(from + i);
        if (!send_all(fd, piece, n)) return false;
        from += n;
        left -= n;
    }
    return true;
}

/* Answers the requests of a connection; false when it is to end. */
static bool answer_one(int fd)
{
    char request[2048];
    size_t n = 0;
    request[0] = '\0';
    while (!strstr(request, "\r\n\r\n")) {
        ssize_t got = n + 1 < sizeof request ? recv(fd, request + n, sizeof request - 1 - n, 0) : 0;
        if (got <= 0) return false;
        n += (size_t)got;
        request[n] = '\0';
    }
    size_t i = server.n_requests;
    const struct answer *answer = &server.script[i < server.n_script ? i : server.n_script - 1];
    if (i < REQUESTS_MAX) strcpy(server.requests[i], request);
    server.n_requests++;
    struct buffer head = {0};
    if (*answer->head) put_head(&head, answer->head, request);
    bool open = send_all(fd, head.data ? head.data : "", head.n) && send_body(fd, answer, request);
    buffer_free(&head);
    if (answer->after == SILENCE) recv(fd, request, 1, 0); /* until the other side hangs up */
    if (answer->after == RESET) setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    return open && answer->after == KEEP;
}

static void *serve(void *unused)
{
    int fd;
    while ((fd = accept(server.listener, NULL, NULL)) >= 0) {
        server.busy = true;
        while (answer_one(fd)) {
        }
        close(fd);
        server.busy = false;
    }
    return unused;
}

static int start_server(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server.listener, (struct sockaddr *)&address, n) != 0 || listen(server.listener, 8) != 0 ||
        getsockname(server.listener, (struct sockaddr *)&address, &n) != 0)
        return -1;
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return pthread_create(&server.thread, NULL, serve, NULL);
}

static int stop_server(void **state)
{
    (void)state;
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listener);
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------------ */

static volatile int cancelled;
static uint32_t stall_ms = 20000;

static struct remote *remote_new(const char *token)
{
    struct remote *remote = NULL;
    struct remote_options options = {
        .token = token, .token_home = server.url, .cancel = &cancelled, .stall_ms = stall_ms, .retry_ms = 1};
    assert_int_equal(remote_create(&remote, &options, NULL), 0);
    return remote;
}

static void wait_for_server(void)
{
    while (server.busy)
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static void play(const struct answer *script, size_t n)
{
    wait_for_server();
    assert_true(n <= SCRIPT_MAX);
    memcpy(server.script, script, n * sizeof *script);
    server.n_script = n;
    server.n_requests = 0;
    server.n_sent = 0;
}

/* Opens the file and reads the first n bytes in two pieces, which must be right; 0 or the error. */
static int read_file(uint64_t n, struct stile_error *error)
{
    struct remote *remote = remote_new("secret");
    struct gguf_source source = remote_source(remote, "?x=1");
    char path[128];
    uint64_t size_bytes = 0, half = n / 2;
    uint8_t *bytes = malloc(n);
    snprintf(path, sizeof path, "%s/file.gguf", server.url);
    int code = source.open(source.user, path, &size_bytes, error);
    if (code == 0) code = source.read(source.user, 0, half, bytes, error);
    if (code == 0) code = source.read(source.user, half, n - half, bytes + half, error);
    if (code == 0) {
        assert_int_equal(size_bytes, FILE_BYTES);
        for (uint64_t i = 0; i < n; i++)
            if ((char)bytes[i] != byte_at(i)) fail_msg("byte %llu is wrong", (unsigned long long)i);
    }
    free(bytes);
    remote_free(remote);
    return code;
}

#define PLAY(...) \
    play((const struct answer[]){__VA_ARGS__}, sizeof((struct answer[]){__VA_ARGS__}) / sizeof(struct answer))
#define RANGE "HTTP/1.1 206 Partial\r\nContent-Range: bytes FROM-LAST/SIZE\r\n"
#define GOOD                                   \
    {                                          \
        RANGE "Connection: close", MORE, CLOSE \
    }
#define EMPTY(status)                                       \
    {                                                       \
        "HTTP/1.1 " status "\r\nContent-Length: 0", 0, KEEP \
    }

static void reads(uint64_t n, size_t n_requests)
{
    struct stile_error error = {0};
    if (read_file(n, &error) != 0) fail_msg("%s", error.message);
    assert_int_equal(server.n_requests, n_requests);
}

static void fails(int code, const char *says, size_t n_requests)
{
    struct stile_error error = {0};
    assert_int_equal(read_file(1500000, &error), code);
    if (!strstr(error.message, says)) fail_msg("'%s' lacks '%s'", error.message, says);
    if (!strstr(error.message, "/file.gguf: ")) fail_msg("'%s' names no file", error.message);
    assert_null(strstr(error.message, "x=1"));
    assert_int_equal(server.n_requests, n_requests);
}

/* ---- the tests ---------------------------------------------------------------------------------- */

static void ranges(void **state)
{
    (void)state;
    PLAY(GOOD);
    reads(1000, 1);
    assert_non_null(strstr(server.requests[0], "GET /file.gguf?x=1 HTTP/1.1\r\n"));
    assert_non_null(strstr(server.requests[0], "Range: bytes=0-1048575\r\n"));
    assert_null(strstr(server.requests[0], "Authorization")); /* no https */
    assert_null(strstr(server.requests[0], "secret"));
    reads(1500000, 3);
    assert_non_null(strstr(server.requests[2], "Range: bytes=1048576-1499999\r\n"));
    PLAY({RANGE "Content-Length: 1048576", MORE, KEEP}, {RANGE "Content-Length: 451424", MORE, KEEP});
    reads(1500000, 2);
    PLAY(GOOD);
    reads(FILE_BYTES, 3);
    assert_true(server.n_sent < FILE_BYTES + 1000);
}

static void servers_without_ranges(void **state)
{
    (void)state;
    PLAY({"HTTP/1.1 200 OK\r\nContent-Length: SIZE", MORE, CLOSE});
    reads(1000, 1);
    reads(1500000, 3);
    PLAY({"HTTP/1.1 200 OK", MORE, CLOSE});
    fails(STILE_ERROR_MALFORMED, "does not say how long the file is", 1);
    /* 40 GB are hung up on */
    PLAY({"HTTP/1.1 200 OK\r\nContent-Length: 40000000000", 40000000000, CLOSE});
    struct stile_error error = {0};
    struct remote *remote = remote_new(NULL);
    struct gguf_source source = remote_source(remote, "");
    uint64_t size_bytes = 0;
    assert_int_equal(source.open(source.user, server.url, &size_bytes, &error), 0);
    assert_int_equal(size_bytes, 40000000000);
    remote_free(remote);
    assert_true(server.n_sent < 64 << 20); /* what was on the way */
}

static void answers_that_stop_early_are_gone_on_with(void **state)
{
    (void)state;
    PLAY({RANGE "Content-Length: 1048576", 400000, CLOSE}, {RANGE "Content-Length: 648576", 100000, RESET}, GOOD);
    reads(1000, 3);
    assert_non_null(strstr(server.requests[1], "Range: bytes=400000-1048575\r\n"));
    PLAY({RANGE "Content-Length: 100000", 100000, KEEP}); /* allowed, but five times is enough */
    fails(STILE_ERROR_IO, "sends 500000 of 1048576 bytes and stops", 5);
    PLAY({RANGE "Content-Length: 1048576", 0, CLOSE});
    fails(STILE_ERROR_IO, "", 5);
    PLAY({"", 0, RESET});
    fails(STILE_ERROR_IO, "", 5);
    PLAY({"", 0, CLOSE}, {"", 0, RESET}, GOOD);
    reads(1000, 3);
}

static void answers_that_contradict(void **state)
{
    (void)state;
    static const struct {
        const char *head, *says;
    } cases[] = {
        {"HTTP/1.1 206 Partial\r\nContent-Length: 1000", "without saying which part"},
        {"HTTP/1.1 206 Partial\r\nContent-Range: bytes FROM-LAST/*", "without saying which part"},
        {"HTTP/1.1 206 Partial\r\nContent-Range: bytes 1-1000/SIZE", "sends those from 1"},
        {"HTTP/1.1 206 Partial\r\nContent-Range: bytes LAST-FROM/SIZE", "without saying which part"},
        {"HTTP/1.1 206 Partial\r\nContent-Range: bytes FROM-LAST/10", "without saying which part"},
        {"HTTP/1.1 206 Partial\r\nContent-Range: bytes FROM-LAST/99999999999999999999", "without saying which part"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0", "the file is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        PLAY({cases[i].head, i < 6 ? 1000 : 0, CLOSE});
        fails(STILE_ERROR_MALFORMED, cases[i].says, 1);
    }
    PLAY(GOOD, {"HTTP/1.1 206 Partial\r\nContent-Range: bytes FROM-LAST/2999999", MORE, CLOSE});
    fails(STILE_ERROR_MALFORMED, "changed while it was read", 2);
    PLAY({"HTTP/1.1 206 Partial\r\nContent-Range: bytes FROM-LAST/SIZE", 1000000000, CLOSE}); /* has no end */
    reads(1000, 1);
    assert_true(server.n_sent < 64 << 20);
}

static void headers_without_end(void **state)
{
    (void)state;
    struct buffer head = {0};
    buffer_string(&head, "HTTP/1.1 206 Partial");
    for (int i = 0; i < 10000; i++)
        buffer_printf(&head, "\r\nX-%d: %060d", i, i);
    PLAY({head.data, MORE, CLOSE});
    fails(STILE_ERROR_MALFORMED, "bytes of HTTP headers", 1);
    wait_for_server();
    buffer_free(&head);
}

static void statuses(void **state)
{
    (void)state;
    PLAY(EMPTY("404 Not Found"));
    fails(STILE_ERROR_IO, "HTTP status 404: there is no such file", 1);
    PLAY(EMPTY("401 Unauthorized"));
    fails(STILE_ERROR_IO, "HF_TOKEN", 1);
    PLAY({"HTTP/1.1 403 Forbidden", 1000000, CLOSE});
    fails(STILE_ERROR_IO, "HTTP status 403", 1);
    PLAY(EMPTY("416 Range Not Satisfiable"));
    fails(STILE_ERROR_IO, "416", 1);
    PLAY(EMPTY("429 Too Many Requests"), EMPTY("503 Busy"), EMPTY("500 Oops"), GOOD);
    reads(1000, 4);
    PLAY(EMPTY("503 Busy"));
    fails(STILE_ERROR_IO, "HTTP status 503", 5);
    PLAY({"HTTP/1.1 429 Too Many\r\nRetry-After: 3600\r\nContent-Length: 0", 0, KEEP});
    fails(STILE_ERROR_IO, "HTTP status 429: too many requests", 1);
    PLAY({"HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0", 0, KEEP}, GOOD);
    uint64_t begin_ns = clock_ns();
    reads(1000, 2);
    assert_true(clock_ns() - begin_ns > 900000000);
    PLAY({"SSH-2.0-OpenSSH", 0, CLOSE});
    struct stile_error error = {0};
    assert_int_equal(read_file(1000, &error), STILE_ERROR_IO);
}

static void redirects(void **state)
{
    (void)state;
    PLAY({"HTTP/1.1 302 Found\r\nLocation: /a\r\nContent-Length: 0", 0, KEEP},
         {"HTTP/1.1 307 Moved\r\nLocation: b?c=d\r\nContent-Length: 0", 0, KEEP}, GOOD);
    reads(1500000, 4);
    assert_non_null(strstr(server.requests[2], "GET /b?c=d HTTP"));
    assert_non_null(strstr(server.requests[3], "GET /b?c=d HTTP"));
    /* the link went stale: from the beginning */
    PLAY({"HTTP/1.1 302 Found\r\nLocation: /a\r\nContent-Length: 0", 0, KEEP}, GOOD, EMPTY("403 Expired"),
         {"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0", 0, KEEP}, GOOD);
    reads(1500000, 5);
    assert_non_null(strstr(server.requests[3], "GET /file.gguf?x=1 HTTP"));
    PLAY({"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0", 0, KEEP});
    fails(STILE_ERROR_MALFORMED, "more than 10 times", 11);
    PLAY({"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0", 0, KEEP});
    fails(STILE_ERROR_IO, "rotocol", 1);
    PLAY({"HTTP/1.1 302 Found\r\nContent-Length: 0", 0, KEEP});
    fails(STILE_ERROR_IO, "HTTP status 302", 1);
}

static void silence(void **state)
{
    (void)state;
    stall_ms = 500;
    static const struct answer scripts[] = {{"", 0, SILENCE}, {RANGE "X: y", 1000, SILENCE}};
    for (size_t i = 0; i < 2; i++) {
        play(&scripts[i], 1);
        uint64_t begin_ns = clock_ns();
        fails(STILE_ERROR_IO, "silent for 0.5 s", 1);
        assert_true(clock_ns() - begin_ns < 5000000000);
    }
    stall_ms = 20000;
}

static void *cancel_soon(void *unused)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    cancelled = 1;
    return unused;
}

static void cancelling(void **state)
{
    (void)state;
    pthread_t thread;
    PLAY({"", 0, SILENCE});
    struct remote *remote = NULL;
    struct remote_options options = {.cancel = &cancelled};
    struct buffer body = {0};
    struct stile_error error = {0};
    assert_int_equal(remote_create(&remote, &options, NULL), 0);
    pthread_create(&thread, NULL, cancel_soon, NULL);
    uint64_t begin_ns = clock_ns();
    assert_int_equal(remote_get(remote, server.url, &body, &error), STILE_ERROR_CANCELLED);
    assert_true(clock_ns() - begin_ns < 3000000000);
    pthread_join(thread, NULL);
    cancelled = 0;
    PLAY({"HTTP/1.1 429 Wait\r\nRetry-After: 20\r\nContent-Length: 0", 0, KEEP}); /* in the pause between two tries */
    pthread_create(&thread, NULL, cancel_soon, NULL);
    assert_int_equal(remote_get(remote, server.url, &body, &error), STILE_ERROR_CANCELLED);
    assert_true(clock_ns() - begin_ns < 5000000000);
    pthread_join(thread, NULL);
    cancelled = 0;
    remote_free(remote);
    buffer_free(&body);
}

static void whole_answers(void **state)
{
    (void)state;
    struct remote *remote = remote_new(NULL);
    struct buffer body = {.limit = 1000};
    struct stile_error error = {0};
    PLAY({"HTTP/1.1 200 OK\r\nContent-Length: 1000", 600, CLOSE},
         {"HTTP/1.1 200 OK\r\nContent-Length: 1000", 1000, CLOSE});
    assert_int_equal(remote_get(remote, server.url, &body, &error), 0);
    assert_int_equal(body.n, 1000);
    assert_int_equal(body.data[999], byte_at(999));
    assert_int_equal(server.n_requests, 2);
    assert_null(strstr(server.requests[0], "Range:"));
    buffer_free(&body);
    body.limit = 1000;
    PLAY({"HTTP/1.1 200 OK", 1000000000, CLOSE});
    assert_int_equal(remote_get(remote, server.url, &body, &error), STILE_ERROR_MALFORMED);
    assert_non_null(strstr(error.message, "longer than 1000 bytes"));
    assert_true(server.n_sent < 64 << 20);
    buffer_free(&body);
    PLAY(EMPTY("200 OK"));
    assert_int_equal(remote_get(remote, server.url, &body, &error), STILE_ERROR_MALFORMED);
    assert_int_equal(remote_get(remote, "http://127.0.0.1:1/", &body, &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, "http://127.0.0.1:1/: "));
    assert_int_equal(remote_get(remote, "ftp://127.0.0.1/", &body, &error), STILE_ERROR_IO);
    assert_int_equal(remote_get(remote, "http://", &body, &error), STILE_ERROR_IO);
    buffer_free(&body);
    remote_free(remote);
}

static void small_things(void **state)
{
    (void)state;
    uint64_t begin, end, total;
    assert_true(remote_parse_range("bytes 0-99/1000", &begin, &end, &total));
    assert_true(begin == 0 && end == 100 && total == 1000);
    assert_true(remote_parse_range("Bytes 5-5/6", &begin, &end, &total));
    static const char *const wrong[] = {"",
                                        "bytes",
                                        "bytes ",
                                        "bytes 0-99",
                                        "bytes 0-99/",
                                        "bytes 0-99/*",
                                        "bytes */1000",
                                        "bytes 0-99/99",
                                        "bytes 9-8/99",
                                        "bytes -1-8/99",
                                        "bytes 0-8/99x",
                                        "bytes 0-8/9223372036854775808",
                                        "bytes 0 - 8/99",
                                        "bits 0-8/99"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (remote_parse_range(wrong[i], &begin, &end, &total)) fail_msg("'%s' was accepted", wrong[i]);
    assert_true(remote_same_server("https://a.b/x", "HTTPS://A.B:443/y?z"));
    assert_false(remote_same_server("https://a.b/", "http://a.b/"));
    assert_false(remote_same_server("https://a.b/", "https://a.b:444/"));
    assert_false(remote_same_server("https://a.b/", "https://a.b.c/"));
    assert_false(remote_same_server("https://a.b@c/", "https://a.b/"));
    assert_false(remote_same_server("", ""));
    struct remote *remote = NULL;
    struct remote_options options = {.token = "a\r\nHost: b", .token_home = "https://a"};
    assert_int_equal(remote_create(&remote, &options, NULL), STILE_ERROR_ARGUMENT);
    assert_null(remote);
}

int main(void)
{
    signal(SIGPIPE, SIG_DFL); /* as in the program */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(servers_without_ranges),
        cmocka_unit_test(answers_that_stop_early_are_gone_on_with),
        cmocka_unit_test(answers_that_contradict),
        cmocka_unit_test(headers_without_end),
        cmocka_unit_test(statuses),
        cmocka_unit_test(redirects),
        cmocka_unit_test(silence),
        cmocka_unit_test(cancelling),
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(small_things),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
