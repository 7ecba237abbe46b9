#include "file/map.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAPS_MAX = 4096 };

/* What the signal handler may look at: a fixed table, since it can neither lock nor follow memory that another
 * thread may free. A slot is in use while `end` is not 0; `begin` is written before `end` appears. */
struct slot {
    _Atomic uintptr_t begin;
    _Atomic uintptr_t end;
    _Atomic bool failed;
};

struct map {
    struct slot *slot;
    uint8_t *data;
    uint64_t size_bytes;
    struct timespec modified;
    int fd;
    char *path;
};

static struct slot slots[MAPS_MAX];
static _Atomic size_t n_slots_used; /* no slot at or after this one has ever been in use */
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static bool handler_installed; /* under slots_lock */
static struct sigaction previous;
static uintptr_t page_bytes;

/* The slot whose map holds the address, with the end of that map. */
static struct slot *slot_of(uintptr_t address, uintptr_t *map_end)
{
    size_t n = atomic_load(&n_slots_used);
    for (size_t i = 0; i < n; i++) {
        uintptr_t begin, end, again;
        do { /* again when the slot changed hands between the two loads */
            end = atomic_load(&slots[i].end);
            begin = atomic_load(&slots[i].begin);
            again = atomic_load(&slots[i].end);
        } while (end != again);
        if (end == 0 || address < begin || address >= end) continue;
        *map_end = end;
        return &slots[i];
    }
    return NULL;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(number, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(number);
    } else if (previous.sa_handler == SIG_DFL || info->si_code > 0) {
        /* the default action; a fault cannot be ignored */
        signal(number, SIG_DFL);
        raise(number); /* blocked until the handler returns */
    }
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    uintptr_t end = 0, page = (uintptr_t)info->si_addr & ~(page_bytes - 1);
    struct slot *slot = info->si_code > 0 ? slot_of((uintptr_t)info->si_addr, &end) : NULL;
    /* From here to the end at once: after a truncation the rest is gone too, and one signal per page of a large
     * file would take minutes. Two threads may do this at the same time; the second changes nothing. */
    if (slot && mmap((void *)page, end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
                     0) != MAP_FAILED)
        atomic_store(&slot->failed, true);
    else
        pass_on(number, info, context);
    errno = saved;
}

static int handler_install(struct stile_error *error)
{
    if (handler_installed) return 0;
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (sigaction(SIGBUS, NULL, &previous) != 0 || sigaction(SIGBUS, &action, NULL) != 0)
        return error_set(error, STILE_ERROR_IO, "cannot install the SIGBUS handler: %s", strerror(errno));
    handler_installed = true;
    return 0;
}

/* Enters the map into the table; page_bytes is known afterwards. */
static int slot_take(struct map *map, const char *path, struct stile_error *error)
{
    pthread_mutex_lock(&slots_lock);
    int code = handler_install(error);
    size_t i = 0;
    while (code == 0 && i < MAPS_MAX && atomic_load(&slots[i].end) != 0)
        i++;
    if (code == 0 && i == MAPS_MAX) {
        code = error_set(error, STILE_ERROR_MEMORY, "%s: cannot map: %d files are mapped already (close some models)",
                         path, MAPS_MAX);
    } else if (code == 0) {
        uintptr_t begin = (uintptr_t)map->data;
        map->slot = &slots[i];
        atomic_store(&slots[i].failed, false);
        atomic_store(&slots[i].begin, begin);
        atomic_store(&slots[i].end, (begin + map->size_bytes + page_bytes - 1) & ~(page_bytes - 1));
        if (i >= atomic_load(&n_slots_used)) atomic_store(&n_slots_used, i + 1);
    }
    pthread_mutex_unlock(&slots_lock);
    return code;
}

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode)) return "a folder";
    if (S_ISFIFO(mode)) return "a pipe";
    if (S_ISSOCK(mode)) return "a socket";
    return "a device";
}

static int file_open(struct map *map, const char *path, struct stile_error *error)
{
    struct stat status;
    /* O_NONBLOCK: opening a pipe without a writer would wait for one */
    do
        map->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (map->fd < 0 && errno == EINTR);
    if (map->fd < 0) return error_set(error, STILE_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(map->fd, &status) != 0)
        return error_set(error, STILE_ERROR_IO, "%s: cannot stat: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return error_set(error, STILE_ERROR_IO, "%s: is %s (name a regular file)", path, kind_of(status.st_mode));
    if (status.st_size == 0)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: the file is empty (download it again)", path);
    map->size_bytes = (uint64_t)status.st_size;
    map->modified = status.st_mtim;
    return 0;
}

int map_open(struct map **out, const char *path, struct stile_error *error)
{
    struct map *map = malloc(sizeof *map);
    if (!map) return error_memory(error, sizeof *map, "a file map");
    *map = (struct map){.fd = -1, .path = strdup(path)};
    int code = map->path ? file_open(map, path, error) : error_memory(error, strlen(path), "a path");
    if (code == 0) {
        void *data = mmap(NULL, map->size_bytes, PROT_READ, MAP_SHARED, map->fd, 0);
        if (data == MAP_FAILED)
            code = error_set(error, STILE_ERROR_IO, "%s: cannot map %llu bytes: %s", path,
                             (unsigned long long)map->size_bytes, strerror(errno));
        else
            map->data = data;
    }
#ifdef MADV_HUGEPAGE
    /* Pages that are read from now on come in large ones, which also enter the page table as such: faults of small ones
     * can take longer than a pass over the weights. No harm where that is refused. */
    if (map->data) madvise(map->data, map->size_bytes, MADV_HUGEPAGE);
#endif
    if (code == 0) code = slot_take(map, path, error);
    if (code != 0) {
        map_close(map);
        return code;
    }
    *out = map;
    return 0;
}

void map_close(struct map *map)
{
    if (!map) return;
    /* the slot first: once unmapped, the address range may belong to somebody else */
    if (map->slot) atomic_store(&map->slot->end, 0);
    if (map->data) munmap(map->data, map->size_bytes);
    if (map->fd >= 0) close(map->fd);
    free(map->path);
    free(map);
}

const uint8_t *map_data(const struct map *map)
{
    return map->data;
}

uint64_t map_size_bytes(const struct map *map)
{
    return map->size_bytes;
}

int map_fd(const struct map *map)
{
    return map->fd;
}

const char *map_path(const struct map *map)
{
    return map->path;
}

bool map_failed(const struct map *map)
{
    struct stat now;
    if (atomic_load(&map->slot->failed)) return true;
    /* No signal tells of a file cut inside its last page, or overwritten in place. */
    return fstat(map->fd, &now) != 0 || (uint64_t)now.st_size < map->size_bytes ||
           now.st_mtim.tv_sec != map->modified.tv_sec || now.st_mtim.tv_nsec != map->modified.tv_nsec;
}

static void advise(const void *data, uint64_t size_bytes, int advice)
{
    uintptr_t begin = (uintptr_t)data & ~(page_bytes - 1);
    madvise((void *)begin, (uintptr_t)data + size_bytes - begin, advice);
}

void map_read_scattered(const void *data, uint64_t size_bytes)
{
#ifdef MADV_NOHUGEPAGE
    advise(data, size_bytes, MADV_NOHUGEPAGE);
#endif
    advise(data, size_bytes, MADV_RANDOM);
}

void map_read_soon(const void *data, uint64_t size_bytes)
{
    advise(data, size_bytes, MADV_WILLNEED);
}
