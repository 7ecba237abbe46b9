#include "lab/limit.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* there SIGPIPE has to be ignored, should the child be killed */
#endif

enum { READ_NS = 50 * 1000 * 1000 };

struct limit {
    pid_t child;
    int socket;
    double cpu_s;
};

struct question {
    uint32_t n_threads;
    bool pace; /* all of it, or only reading */
};

struct answer {
    struct stile_pace pace;
    double cpu_s;
};

/* ---- the child ------------------------------------------------------------------------------ */

/* Answers until the other end is closed. */
static void serve(int socket)
{
    struct stile_meter *meter = NULL;
    uint32_t n_threads = 0;
    struct question asked;
    while (recv(socket, &asked, sizeof asked, MSG_WAITALL) == (ssize_t)sizeof asked) {
        struct answer answer = {.cpu_s = 0};
        if (asked.n_threads != n_threads) {
            stile_meter_free(meter);
            meter = NULL;
            n_threads = asked.n_threads;
            if (stile_meter_create(&meter, n_threads, NULL) == STILE_OK) stile_meter_read(meter, READ_NS);
        }
        if (meter && asked.pace) stile_meter_pace(meter, &answer.pace);
        if (meter && !asked.pace) answer.pace.read_bytes_per_s = stile_meter_read(meter, READ_NS);
        answer.cpu_s = (double)clock_cpu_ns() / 1e9;
        if (send(socket, &answer, sizeof answer, MSG_NOSIGNAL) != (ssize_t)sizeof answer) break;
    }
    stile_meter_free(meter);
}

/* ---- this process --------------------------------------------------------------------------- */

struct limit *limit_start(void)
{
    int ends[2];
    struct limit *limit = calloc(1, sizeof *limit);
    if (!limit || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return free(limit), NULL;
    limit->child = fork();
    limit->socket = ends[0];
    if (limit->child == 0) {
        close(ends[0]);
        signal(SIGINT, SIG_IGN); /* Ctrl-C is for the parent, whose end is ours */
        serve(ends[1]);
        _exit(0);
    }
    close(ends[1]);
    if (limit->child > 0) return limit;
    close(ends[0]);
    free(limit);
    return NULL;
}

void limit_stop(struct limit *limit)
{
    if (!limit) return;
    close(limit->socket);
    while (waitpid(limit->child, NULL, 0) < 0 && errno == EINTR) {
    }
    free(limit);
}

static bool ask(struct limit *limit, uint32_t n_threads, bool pace, struct stile_pace *out)
{
    struct answer answer;
    struct question question;
    memset(&question, 0, sizeof question); /* the gaps, too */
    question.n_threads = n_threads;
    question.pace = pace;
    *out = (struct stile_pace){.n_threads = 0};
    if (!limit || send(limit->socket, &question, sizeof question, MSG_NOSIGNAL) != (ssize_t)sizeof question)
        return false;
    char *at = (char *)&answer;
    for (size_t got = 0; got < sizeof answer;) {
        ssize_t n = recv(limit->socket, at + got, sizeof answer - got, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        got += (size_t)n;
    }
    limit->cpu_s = answer.cpu_s;
    *out = answer.pace;
    return true;
}

double limit_read_rate(struct limit *limit, uint32_t n_threads)
{
    struct stile_pace pace;
    return ask(limit, n_threads, false, &pace) ? pace.read_bytes_per_s : 0;
}

bool limit_pace(struct limit *limit, uint32_t n_threads, struct stile_pace *pace)
{
    return ask(limit, n_threads, true, pace) && pace->n_threads > 0;
}

double limit_cpu_s(const struct limit *limit)
{
    return limit ? limit->cpu_s : 0;
}

/* ---- arithmetic ----------------------------------------------------------------------------- */

void limit_arithmetic(const struct stile_probe *probe, uint32_t n_threads, const char *isa,
                      const struct stile_profile_entry *entries, size_t n, double *macs, double *time_s)
{
    /* kernels of another day or instruction set have other limits */
    bool same = strcmp(probe->isa, isa) == 0 && strcmp(probe->commit, stile_commit()) == 0;
    for (size_t i = 0; i < n; i++) {
        const struct stile_profile_entry *entry = &entries[i];
        if (entry->cost.macs == 0 || !*entry->name) continue;
        const struct stile_measurement *rate =
            same ? stile_probe_find(probe, STILE_MATMUL, n_threads, 0, entry->format) : NULL;
        *macs += (double)entry->cost.macs;
        if (!rate || rate->best <= 0)
            *time_s = -1;
        else if (*time_s >= 0)
            *time_s += (double)entry->cost.macs / rate->best;
    }
}
