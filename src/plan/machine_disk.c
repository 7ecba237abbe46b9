/* machine_disk.c - how fast files are read, by reading one. */
#include "base/clock.h"
#include "base/threads.h"
#include "file/reader.h"
#include "plan/machine_measure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#else
#include <sys/mount.h>
#include <sys/param.h>
#endif

#ifndef O_DIRECT
#define O_DIRECT 0
#endif

enum {
    ALIGNMENT = 4096,
    LARGE_PAGE_BYTES = 2 << 20,
    FREE_SHARE = 8 /* at most an eighth of what is free is written */
};
static const uint64_t size_bytes_min = 4 << 20;

/* ---- where ---------------------------------------------------------------------------------- */

#ifdef __linux__
static const struct {
    uint32_t magic; /* statfs(2) */
    const char *name;
    bool in_memory;
} file_systems[] = {
    {0xef53, "ext4", false},     {0x58465342, "xfs", false},     {0x9123683e, "btrfs", false},
    {0xf2f52010, "f2fs", false}, {0x794c7630, "overlay", false}, {0x2fc12fc1, "zfs", false},
    {0x6969, "nfs", false},      {0x01021997, "9p", false},      {0x65735546, "fuse", false},
    {0xff534d42, "cifs", false}, {0x4d44, "fat", false},         {0x2011bab0, "exfat", false},
    {0x01021994, "tmpfs", true}, {0x858458f6, "ramfs", true},
};

/* Names the file system; true when it is memory. */
static bool name_file_system(int fd, char *name, size_t capacity)
{
    struct statfs status;
    snprintf(name, capacity, "unknown");
    if (fstatfs(fd, &status) != 0) return false;
    snprintf(name, capacity, "0x%lx", (unsigned long)status.f_type & 0xffffffff);
    for (size_t i = 0; i < sizeof file_systems / sizeof *file_systems; i++) {
        if (file_systems[i].magic != (uint32_t)status.f_type) continue;
        snprintf(name, capacity, "%s", file_systems[i].name);
        return file_systems[i].in_memory;
    }
    return false;
}
#else
static bool name_file_system(int fd, char *name, size_t capacity)
{
    struct statfs status;
    snprintf(name, capacity, "%s", fstatfs(fd, &status) == 0 ? status.f_fstypename : "unknown");
    return false;
}
#endif

/* The same file once more, for reads past the page cache. An unnamed file can be reached by its descriptor. */
static int open_direct(const char *path, int fd)
{
#ifdef __linux__
    char own[40];
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    int direct = open(own, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (direct >= 0) return direct;
    return path ? open(path, O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;
#else
    int direct = path ? open(path, O_RDONLY | O_CLOEXEC) : dup(fd);
    if (direct >= 0) fcntl(direct, F_NOCACHE, 1);
    return direct;
#endif
}

/* A file in the folder that no name leads to: it is gone with its descriptor. */
static int open_unnamed(const char *folder)
{
#ifdef O_TMPFILE
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
#endif
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/.stile-probe-XXXXXX", folder);
    if (n < 0 || (size_t)n >= sizeof path) return errno = ENAMETOOLONG, -1;
    int named = mkstemp(path);
    if (named >= 0) unlink(path);
    return named;
}

/* Fills the file with bytes that do not compress. Returns how many became of it, all on the disk; errno says why when it
 * is less than a disk allows. */
static uint64_t fill(int fd, char *block, uint64_t size_bytes_max, uint64_t time_ns, const volatile int *cancel)
{
    uint64_t begin_ns = clock_ns(), done = 0, state = begin_ns | 1, *words = (uint64_t *)(void *)block;
    while (done < size_bytes_max && clock_ns() - begin_ns < time_ns && !(cancel && *cancel)) {
        for (size_t i = 0; i < MACHINE_DISK_BLOCK_MAX / sizeof *words; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            words[i] = state;
        }
        ssize_t n = pwrite(fd, block, MACHINE_DISK_BLOCK_MAX, (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 || n != MACHINE_DISK_BLOCK_MAX) break;
        done += MACHINE_DISK_BLOCK_MAX;
        if (done % (32 << 20) == 0) fdatasync(fd); /* so that the time is the disk's */
    }
    fdatasync(fd);
    return done;
}

static bool refuse(struct stile_probe *probe, const char *why, int error_number)
{
    snprintf(probe->disk_note, sizeof probe->disk_note, "%s%s%.100s", why, error_number ? ": " : "",
             error_number ? strerror(error_number) : "");
    return false;
}

/* Makes the file in the folder that fd is of. */
static bool write_file(struct machine_disk *disk, const char *folder, uint64_t size_bytes_max, uint64_t time_ns,
                       const volatile int *cancel, struct stile_probe *probe)
{
    struct statvfs status;
    if (statvfs(folder, &status) != 0) return refuse(probe, "the folder cannot be asked for its free space", errno);
    uint64_t free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    if (size_bytes_max > free_bytes / FREE_SHARE) size_bytes_max = free_bytes / FREE_SHARE;
    size_bytes_max = size_bytes_max / MACHINE_DISK_BLOCK_MAX * MACHINE_DISK_BLOCK_MAX;
    if (size_bytes_max < size_bytes_min) return refuse(probe, "too little space is free to measure in", 0);
    disk->fd = open_unnamed(folder);
    if (disk->fd < 0) return refuse(probe, "no file can be made there", errno);
    errno = 0;
    disk->size_bytes = fill(disk->fd, disk->buffers, size_bytes_max, time_ns, cancel);
    if (disk->size_bytes < size_bytes_min) return refuse(probe, "too little could be written to measure with", errno);
    return true;
}

static bool open_file(struct machine_disk *disk, const char *path, const struct stat *status, struct stile_probe *probe)
{
    disk->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (disk->fd < 0) return refuse(probe, "the file cannot be opened", errno);
    disk->size_bytes = (uint64_t)status->st_size / ALIGNMENT * ALIGNMENT;
    if (disk->size_bytes < size_bytes_min) return refuse(probe, "the file is too small to measure with", 0);
    return true;
}

static bool open_disk(struct machine_disk *disk, const char *path, uint64_t size_bytes_max, uint64_t time_ns,
                      const volatile int *cancel, struct stile_probe *probe)
{
    struct stat status;
    int where = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (where < 0 || fstat(where, &status) != 0) {
        int number = errno;
        if (where >= 0) close(where);
        return refuse(probe, "it cannot be opened", number);
    }
    bool in_memory = name_file_system(where, probe->disk_kind, sizeof probe->disk_kind);
    close(where);
    if (in_memory) return refuse(probe, "this file system is in memory, not on a disk", 0);
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) return refuse(probe, "neither a folder nor a file", 0);
    size_t n_bytes = (size_t)MACHINE_DISK_BLOCK_MAX * MACHINE_DISK_THREADS_MAX;
    disk->buffers = aligned_alloc(LARGE_PAGE_BYTES, n_bytes);
    if (!disk->buffers) return refuse(probe, "out of memory", 0);
#ifdef MADV_HUGEPAGE
    /* as weights are read (run/tiers.c): scattered small pages make many more, and slower, requests of a direct read */
    madvise(disk->buffers, n_bytes, MADV_HUGEPAGE);
#endif
    bool folder = S_ISDIR(status.st_mode);
    bool ok =
        folder ? write_file(disk, path, size_bytes_max, time_ns, cancel, probe) : open_file(disk, path, &status, probe);
    if (!ok) return false;
    disk->fd_direct = open_direct(folder ? NULL : path, disk->fd);
    if (disk->fd_direct < 0) refuse(probe, "this file system has no direct reads", 0);
    return true;
}

bool machine_disk_open(struct machine_disk *disk, const char *path, uint64_t size_bytes_max, uint64_t time_ns,
                       const volatile int *cancel, struct stile_probe *probe)
{
    *disk = (struct machine_disk){.fd_direct = -1, .fd = -1};
    snprintf(probe->disk_path, sizeof probe->disk_path, "%s", path);
    probe->disk_kind[0] = probe->disk_note[0] = '\0';
    if (open_disk(disk, path, size_bytes_max, time_ns, cancel, probe)) return true;
    machine_disk_close(disk);
    return false;
}

void machine_disk_close(struct machine_disk *disk)
{
    if (disk->fd_direct >= 0) close(disk->fd_direct);
    if (disk->fd >= 0) close(disk->fd);
    free(disk->buffers);
    *disk = (struct machine_disk){.fd_direct = -1, .fd = -1};
}

/* ---- reading -------------------------------------------------------------------------------- */

struct reading {
    const struct machine_disk *disk;
    int fd;
    bool random;
    size_t block_bytes;
    uint64_t n_blocks, seed, end_ns;
    atomic_ullong next, n_read; /* blocks */
    atomic_bool failed;
};

static void read_blocks(void *argument, int i, int n)
{
    struct reading *r = argument;
    char *buffer = (char *)r->disk->buffers + (size_t)i * MACHINE_DISK_BLOCK_MAX;
    uint64_t state = r->seed + (uint64_t)i * 0x9e3779b97f4a7c15u;
    (void)n;
    do {
        state = state * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
        uint64_t block = r->random ? (state >> 20) % r->n_blocks : atomic_fetch_add(&r->next, 1);
        if (!r->random && block >= r->n_blocks && r->fd == r->disk->fd) return; /* now they would be in the cache */
        ssize_t got = pread(r->fd, buffer, r->block_bytes, (off_t)(block % r->n_blocks * r->block_bytes));
        if (got == (ssize_t)r->block_bytes)
            atomic_fetch_add(&r->n_read, 1);
        else if (got >= 0 || errno != EINTR)
            atomic_store(&r->failed, true);
    } while (clock_ns() < r->end_ns && !atomic_load(&r->failed));
}

double machine_disk_pass(const struct machine_disk *disk, struct threads *threads, enum stile_quantity quantity,
                         size_t block_bytes, uint64_t time_ns)
{
    struct reading reading = {.disk = disk,
                              .fd = quantity == STILE_DISK_BUFFERED ? disk->fd : disk->fd_direct,
                              .random = quantity == STILE_DISK_RANDOM,
                              .block_bytes = block_bytes,
                              .n_blocks = block_bytes ? disk->size_bytes / block_bytes : 0,
                              .seed = clock_ns()};
    if (reading.fd < 0 || reading.n_blocks == 0 || block_bytes > MACHINE_DISK_BLOCK_MAX) return 0;
    if (threads_count(threads) > MACHINE_DISK_THREADS_MAX) return 0;
#ifdef POSIX_FADV_DONTNEED
    if (reading.fd == disk->fd) posix_fadvise(disk->fd, 0, 0, POSIX_FADV_DONTNEED);
#endif
    uint64_t begin_ns = clock_ns();
    reading.end_ns = begin_ns + time_ns;
    threads_run(threads, read_blocks, &reading);
    uint64_t spent_ns = clock_ns() - begin_ns + 1;
    if (atomic_load(&reading.failed)) return 0;
    return (double)atomic_load(&reading.n_read) * (double)block_bytes * 1e9 / (double)spent_ns;
}

/* ---- streaming ------------------------------------------------------------------------------ */

enum { PIECE_BYTES = 16 << 20, N_PIECES = 4, ARRIVALS_MAX = 256 };

/* Begins to read the piece that follows, into its part of the buffers. */
static void start_piece(struct reader *reader, const struct machine_disk *disk, struct reader_read *read, int i,
                        uint64_t *at)
{
    uint64_t n_pieces = disk->size_bytes / PIECE_BYTES;
    *read = (struct reader_read){.offset = *at % n_pieces * PIECE_BYTES,
                                 .size_bytes = PIECE_BYTES,
                                 .buffer = (char *)disk->buffers + (size_t)i * (PIECE_BYTES + LARGE_PAGE_BYTES)};
    ++*at;
    reader_start(reader, read);
}

static int by_rate(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What came by a time, since the beginning. */
struct arrival {
    uint64_t time_ns, n_bytes;
};

/* The median of the rates of short stretches, overlapping: now and then others make a disk wait. Among the seconds of a
 * pass that is little, in so short a measurement it would be much. */
static double usual_rate(const struct arrival *arrivals, int n)
{
    enum { STRETCH = 4 };
    double rates[ARRIVALS_MAX];
    int n_rates = 0;
    if (n == 0) return 0;
    for (int i = STRETCH; i < n; i++) {
        const struct arrival *from = &arrivals[i - STRETCH], *to = &arrivals[i];
        rates[n_rates++] = (double)(to->n_bytes - from->n_bytes) * 1e9 / (double)(to->time_ns - from->time_ns + 1);
    }
    if (n_rates < STRETCH) return (double)arrivals[n - 1].n_bytes * 1e9 / (double)(arrivals[n - 1].time_ns + 1);
    qsort(rates, (size_t)n_rates, sizeof *rates, by_rate);
    return rates[n_rates / 2];
}

/* Keeps several pieces under way, as a pass over weights does. */
static double stream(struct reader *reader, const struct machine_disk *disk, uint64_t at, uint64_t time_ns)
{
    struct reader_read reads[N_PIECES];
    struct reader_stats stats;
    struct arrival arrivals[ARRIVALS_MAX];
    uint64_t begin_ns = clock_ns(), spent_ns = 0;
    int n = 0;
    bool ok = true;
    for (int i = 0; i < N_PIECES; i++)
        start_piece(reader, disk, &reads[i], i, &at);
    for (int i = 0, n_waiting = N_PIECES; n_waiting > 0; i = (i + 1) % N_PIECES) {
        ok = reader_wait(reader, &reads[i], NULL) == STILE_OK && ok;
        if (n_waiting == N_PIECES) { /* the last ones have less beside them */
            reader_stats(reader, &stats);
            spent_ns = clock_ns() - begin_ns;
            if (n < ARRIVALS_MAX) arrivals[n++] = (struct arrival){spent_ns, stats.read_bytes};
        }
        if (ok && n_waiting == N_PIECES && spent_ns < time_ns)
            start_piece(reader, disk, &reads[i], i, &at);
        else
            n_waiting--;
    }
    return ok ? usual_rate(arrivals, n) : 0;
}

double machine_disk_stream(const struct machine_disk *disk, bool cached, uint64_t offset, uint64_t time_ns)
{
    char own[40];
    struct reader *reader;
    const struct reader_options options = {.way = cached ? READER_CACHED : READER_DIRECT};
    if (disk->size_bytes < PIECE_BYTES || (!cached && disk->fd_direct < 0)) return 0;
    snprintf(own, sizeof own, "/proc/self/fd/%d", disk->fd);
    if (reader_create(&reader, &options, NULL) != STILE_OK) return 0;
    bool open = reader_add_file(reader, own, NULL) == 0 && (cached || reader_is_direct(reader, 0));
    double rate = open ? stream(reader, disk, offset / PIECE_BYTES, time_ns) : 0;
    reader_free(reader);
    return rate;
}
