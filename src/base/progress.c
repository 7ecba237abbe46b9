/* progress.c - a thread that waits a second, then writes the line once a second until it is told to stop. */
#include "base/progress.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t stop = PTHREAD_COND_INITIALIZER;
static pthread_t thread;
static const char *doing; /* under lock; NULL: stop */
static void (*detail)(void *user, char *text, size_t capacity);
static void *detail_user;
static bool running; /* the caller's: a thread is there to be joined */

static void *show(void *unused)
{
    (void)unused;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    pthread_mutex_lock(&lock);
    for (int seconds = 0; doing;) {
        until.tv_sec++;
        while (doing && pthread_cond_timedwait(&stop, &lock, &until) == 0) {
        }
        seconds++;
        char more[64] = "";
        if (doing && detail) detail(detail_user, more, sizeof more);
        if (doing)
            fprintf(stderr, "\r%s, %d s%s\033[K ", doing, seconds, more);
        else if (seconds > 1)
            fputs("\r\033[K", stderr);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

void progress_start(const char *what, void (*add)(void *user, char *text, size_t capacity), void *user)
{
    if (running || !isatty(STDERR_FILENO)) return;
    doing = what;
    detail = add;
    detail_user = user;
    running = pthread_create(&thread, NULL, show, NULL) == 0;
}

void progress_stop(void)
{
    if (!running) return;
    pthread_mutex_lock(&lock);
    doing = NULL;
    pthread_cond_signal(&stop);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    running = false;
}
