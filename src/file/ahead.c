#include "file/ahead.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef MADV_POPULATE_READ

/* Eight requests of a few large pages each: fewer left a disk idle, more brought nothing. */
enum { N_READERS = 8, PIECE_BYTES = 8 << 20 };

struct ahead {
    struct map *const *maps;
    size_t n_maps;
    atomic_size_t next; /* piece, counted through all maps */
    atomic_bool stop;
    bool here;          /* which pieces are asked for: those in memory already, or */
    atomic_bool others; /* the others, which were met */
    pthread_t readers[N_READERS];
    int n_readers;
};

/* Piece i of all maps; false past the last. */
static bool piece_of(const struct ahead *ahead, size_t i, void **data, size_t *n)
{
    for (size_t m = 0; m < ahead->n_maps; m++) {
        uint64_t size = map_size_bytes(ahead->maps[m]), pieces = (size + PIECE_BYTES - 1) / PIECE_BYTES;
        if (i >= pieces) {
            i -= (size_t)pieces;
            continue;
        }
        uint64_t begin = (uint64_t)i * PIECE_BYTES, rest = size - begin;
        *data = (void *)(map_data(ahead->maps[m]) + begin);
        *n = rest < PIECE_BYTES ? (size_t)rest : PIECE_BYTES;
        return true;
    }
    return false;
}

/* A file that is in memory usually is there as a whole, so a piece's first and last page tell enough. */
static bool is_here(void *data, size_t n)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE), last = (n - 1) / page_bytes * page_bytes;
    unsigned char first_here = 0, last_here = 0;
    if (mincore(data, 1, &first_here) != 0 || mincore((char *)data + last, 1, &last_here) != 0) return true;
    return first_here & last_here & 1;
}

static void *read_pieces(void *argument)
{
    struct ahead *ahead = argument;
    void *data;
    size_t n;
    while (!atomic_load(&ahead->stop) && piece_of(ahead, atomic_fetch_add(&ahead->next, 1), &data, &n)) {
        if (is_here(data, n) != ahead->here)
            atomic_store(&ahead->others, true);
        else if (madvise(data, n, MADV_POPULATE_READ) != 0)
            break; /* refused by an old kernel, or the file was cut: whoever needs the bytes will see */
    }
    return NULL;
}

static void start_readers(struct ahead *ahead)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited: signals are for the program's own threads */
    while (ahead->n_readers < N_READERS &&
           pthread_create(&ahead->readers[ahead->n_readers], NULL, read_pieces, ahead) == 0)
        ahead->n_readers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void join_readers(struct ahead *ahead)
{
    while (ahead->n_readers > 0)
        pthread_join(ahead->readers[--ahead->n_readers], NULL);
}

struct ahead *ahead_start(struct map *const *maps, size_t n)
{
    struct ahead *ahead = calloc(1, sizeof *ahead);
    if (!ahead) return NULL;
    ahead->maps = maps;
    ahead->n_maps = n;
    ahead->here = true;
    start_readers(ahead);
    join_readers(ahead);
    if (atomic_load(&ahead->others)) {
        atomic_store(&ahead->next, 0);
        ahead->here = false;
        start_readers(ahead);
    }
    if (ahead->n_readers > 0) return ahead;
    free(ahead);
    return NULL;
}

void ahead_stop(struct ahead *ahead)
{
    if (!ahead) return;
    atomic_store(&ahead->stop, true);
    join_readers(ahead);
    free(ahead);
}

#else

struct ahead *ahead_start(struct map *const *maps, size_t n)
{
    (void)maps;
    (void)n;
    return NULL;
}

void ahead_stop(struct ahead *ahead)
{
    (void)ahead;
}

#endif
