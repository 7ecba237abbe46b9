#include "file/ahead.h"

#include "base/threads.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef MADV_POPULATE_READ

/* Eight requests of a few large pages each: fewer left a disk idle, more brought nothing. Of more disks than that, the
 * last ones share their readers. */
enum { N_READERS = 8, PIECE_BYTES = 8 << 20, DISKS_MAX = 8 };

/* The maps of one disk, whose readers keep it busy however slow the others are. */
struct queue {
    struct ahead *ahead;
    dev_t disk;
    atomic_size_t next; /* piece, counted through these maps */
};

struct ahead {
    struct map *const *maps;
    size_t n_maps;
    uint8_t *queue_of; /* (n_maps) */
    struct queue queues[DISKS_MAX];
    uint8_t n_queues;
    atomic_bool stop;
    bool here;          /* which pieces are asked for: those in memory already, or */
    atomic_bool others; /* the others, which were met */
    pthread_t readers[N_READERS * DISKS_MAX];
    int n_readers;
};

/* Sorts the maps by the disks they lie on; false when memory is out. */
static bool find_disks(struct ahead *ahead)
{
    struct stat is;
    ahead->queue_of = calloc(ahead->n_maps + 1, 1);
    for (size_t m = 0; ahead->queue_of && m < ahead->n_maps; m++) {
        uint8_t q = 0;
        dev_t disk = fstat(map_fd(ahead->maps[m]), &is) == 0 ? is.st_dev : 0;
        while (q < ahead->n_queues && ahead->queues[q].disk != disk)
            q++;
        if (q == DISKS_MAX)
            q = DISKS_MAX - 1;
        else if (q == ahead->n_queues)
            ahead->queues[ahead->n_queues++] = (struct queue){.ahead = ahead, .disk = disk};
        ahead->queue_of[m] = q;
    }
    return ahead->queue_of;
}

/* Piece i of the maps of a queue; false past the last. */
static bool piece_of(const struct queue *queue, size_t i, void **data, size_t *n)
{
    const struct ahead *ahead = queue->ahead;
    for (size_t m = 0; m < ahead->n_maps; m++) {
        if (&ahead->queues[ahead->queue_of[m]] != queue) continue;
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
    struct queue *queue = argument;
    struct ahead *ahead = queue->ahead;
    void *data;
    size_t n;
    while (!atomic_load(&ahead->stop) && piece_of(queue, atomic_fetch_add(&queue->next, 1), &data, &n)) {
        if (is_here(data, n) != ahead->here)
            atomic_store(&ahead->others, true);
        else if (madvise(data, n, MADV_POPULATE_READ) != 0)
            break; /* refused by an old kernel, or the file was cut: whoever needs the bytes will see */
    }
    return NULL;
}

static void start_readers(struct ahead *ahead)
{
    sigset_t before;
    threads_block_signals(&before);
    for (int q = 0; q < ahead->n_queues; q++)
        atomic_store(&ahead->queues[q].next, 0);
    /* in turns, so that each disk has a reader where there cannot be as many threads */
    while (ahead->n_readers < N_READERS * ahead->n_queues &&
           pthread_create(&ahead->readers[ahead->n_readers], NULL, read_pieces,
                          &ahead->queues[ahead->n_readers % ahead->n_queues]) == 0)
        ahead->n_readers++;
    threads_restore_signals(&before);
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
    if (find_disks(ahead)) {
        start_readers(ahead);
        join_readers(ahead);
    }
    if (atomic_load(&ahead->others)) {
        ahead->here = false;
        start_readers(ahead);
    }
    if (ahead->n_readers > 0) return ahead;
    ahead_stop(ahead);
    return NULL;
}

void ahead_stop(struct ahead *ahead)
{
    if (!ahead) return;
    atomic_store(&ahead->stop, true);
    join_readers(ahead);
    free(ahead->queue_of);
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
