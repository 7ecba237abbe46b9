#include "plan/computer.h"

#include "base/edit_distance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ASSUMED_HOST "ddr5-5600x2:64"
#define ASSUMED_DISK "nvme4"
enum { CHANNELS_MAX = 24, SIZE_GB_MAX = 1 << 16 };

static const double gib = 1024.0 * 1024 * 1024;

/* Sequential reads as the data sheets of drives have them (the link allows 3.9, 7.9, 15.8 and 0.6 GB/s). */
static const struct {
    const char *name;
    double bytes_per_s;
} disks[] = {{"nvme3", 3.5e9}, {"nvme4", 7.0e9}, {"nvme5", 14.0e9}, {"sata", 0.55e9}, {"hdd", 0.2e9}};

/* Transfers of 8 bytes on each channel; in millions per second what is sold, with room above. */
static const struct {
    const char *name;
    double least, most;
} memories[] = {{"ddr3-", 800, 2400}, {"ddr4-", 1600, 5200}, {"ddr5-", 3200, 12800}, {"lpddr5-", 3200, 12800}};

/* ---- parts by name -------------------------------------------------------------------------- */

const struct hardware *hardware_find(const char *id, size_t id_length)
{
    for (size_t i = 0; i < n_hardware_table; i++)
        if (strlen(hardware_table[i].id) == id_length && strncasecmp(hardware_table[i].id, id, id_length) == 0)
            return &hardware_table[i];
    return NULL;
}

static bool is_card(const struct hardware *device)
{
    return strcmp(device->kind, "discrete") == 0 || strcmp(device->kind, "datacenter") == 0;
}

/* Reads a number in least .. most; returns what follows it, or NULL. */
static const char *read_number(const char *text, double least, double most, double *number)
{
    char digits[32], *end;
    size_t n = strspn(text, "0123456789."); /* no exponents, no other bases */
    if (n == 0 || n >= sizeof digits) return NULL;
    snprintf(digits, sizeof digits, "%.*s", (int)n, text);
    *number = strtod(digits, &end);
    return !*end && *number >= least && *number <= most ? text + n : NULL;
}

/* "ddr5-6000x2:64" */
static bool read_memory(const char *part, double *gb, double *bytes_per_s)
{
    double transfers, channels, size_gb;
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++) {
        size_t n = strlen(memories[i].name);
        if (strncasecmp(part, memories[i].name, n) != 0) continue;
        const char *at = read_number(part + n, memories[i].least, memories[i].most, &transfers);
        if (!at || (*at != 'x' && *at != 'X')) return false;
        at = read_number(at + 1, 1, CHANNELS_MAX, &channels);
        size_gb = 32 * channels;
        if (at && *at == ':') at = read_number(at + 1, 1, SIZE_GB_MAX, &size_gb);
        if (!at || *at || channels != floor(channels)) return false;
        *gb = size_gb;
        *bytes_per_s = transfers * 1e6 * 8 * channels;
        return true;
    }
    return false;
}

static bool read_disk(const char *part, double *bytes_per_s)
{
    for (size_t i = 0; i < sizeof disks / sizeof *disks; i++)
        if (strcasecmp(disks[i].name, part) == 0) {
            *bytes_per_s = disks[i].bytes_per_s;
            return true;
        }
    return false;
}

static int not_understood(const char *name, const char *part, struct stile_error *error)
{
    const char *nearest = hardware_table[0].id;
    for (size_t i = 0; i < n_hardware_table; i++)
        if (edit_distance(hardware_table[i].id, part) < edit_distance(nearest, part)) nearest = hardware_table[i].id;
    /* further away it is another word, not this one mistyped */
    bool near = edit_distance(nearest, part) <= strlen(part) / 3;
    return error_set(error, STILE_ERROR_ARGUMENT,
                     "machine %.80s: '%.40s' is no device, memory (ddr5-6000x2:64) or disk (nvme3, nvme4, nvme5, sata, "
                     "hdd) that is known; %s%s",
                     name, part, near ? "the nearest device is " : "stile plan MODEL --all-machines lists the devices",
                     near ? nearest : "");
}

/* The ":SIZE" behind a device, in a size that is sold; 0 where there is none. */
static int read_size(double *gb, const struct hardware *device, const char *name, const char *colon,
                     struct stile_error *error)
{
    *gb = 0;
    if (!*colon) return STILE_OK;
    const char *end = read_number(colon + 1, 1, SIZE_GB_MAX, gb);
    bool sold = strcmp(device->kind, "cpu") == 0; /* whose memory one chooses */
    for (int i = 0; i < HARDWARE_SIZES_MAX; i++)
        sold = sold || device->memory_gb[i] == *gb;
    if (end && !*end && sold) return STILE_OK;
    return error_set(error, STILE_ERROR_ARGUMENT, "machine %.80s: there is no %s with %.20s GB of memory", name,
                     device->id, colon + 1);
}

static int nowhere_to_go(const struct computer *computer, const char *name, const char *part, struct stile_error *error)
{
    return error_set(error, STILE_ERROR_ARGUMENT,
                     "machine %.80s: %.40s has nowhere to go: the memory of %s is its own, or was given already", name,
                     part, computer->device->id);
}

/* The processor of a card's host, before its memory or behind it. */
static int set_host(struct computer *computer, const struct hardware *device, double size_gb, const char *name,
                    const char *part, struct stile_error *error)
{
    if (size_gb > 0 && computer->memory_given) return nowhere_to_go(computer, name, part, error);
    computer->host = device;
    if (computer->memory_given) return STILE_OK;
    computer->memory_given = size_gb > 0;
    computer->host_gb = size_gb > 0 ? size_gb : device->memory_gb[0];
    computer->host_bytes_per_s = device->mem_bandwidth_gbs * 1e9;
    return STILE_OK;
}

/* A device with ":SIZE" or without. */
static int read_device(struct computer *computer, const char *name, const char *part, struct stile_error *error)
{
    size_t n = strcspn(part, ":");
    const struct hardware *device = hardware_find(part, n);
    double size_gb;
    if (!device) return not_understood(name, part, error);
    int failed = read_size(&size_gb, device, name, part + n, error);
    if (failed) return failed;
    bool is_processor = strcmp(device->kind, "cpu") == 0;
    if (!computer->device) {
        computer->device = device;
        computer->size_assumed = size_gb <= 0;
        computer->memory_given = is_processor && size_gb > 0;
        computer->memory_gb = size_gb > 0 ? size_gb : device->memory_gb[0];
        computer->memory_bytes_per_s = device->mem_bandwidth_gbs * 1e9;
        return STILE_OK;
    }
    if (is_processor && is_card(computer->device) && !computer->host)
        return set_host(computer, device, size_gb, name, part, error);
    return error_set(error, STILE_ERROR_ARGUMENT,
                     "machine %.80s: a second device; one card and one processor can go together, the card first",
                     name);
}

static int read_part(struct computer *computer, const char *name, const char *part, struct stile_error *error)
{
    double gb, bytes_per_s;
    const struct hardware *device = computer->device;
    if (!device) return read_device(computer, name, part, error);
    if (read_disk(part, &bytes_per_s)) {
        if (computer->disk_bytes_per_s > 0)
            return error_set(error, STILE_ERROR_ARGUMENT, "machine %.80s: %s is a second disk", name, part);
        computer->disk_bytes_per_s = bytes_per_s;
        return STILE_OK;
    }
    if (!read_memory(part, &gb, &bytes_per_s)) return read_device(computer, name, part, error);
    bool card = is_card(device);
    if (computer->memory_given || (!card && strcmp(device->kind, "cpu") != 0))
        return nowhere_to_go(computer, name, part, error);
    *(card ? &computer->host_gb : &computer->memory_gb) = gb;
    *(card ? &computer->host_bytes_per_s : &computer->memory_bytes_per_s) = bytes_per_s;
    computer->memory_given = true;
    if (!card) computer->size_assumed = false;
    return STILE_OK;
}

static void assume(struct computer *computer)
{
    size_t n = 0;
    computer->assumed[0] = 0;
    if (is_card(computer->device) && computer->host_gb <= 0) {
        read_memory(ASSUMED_HOST, &computer->host_gb, &computer->host_bytes_per_s);
        n = (size_t)snprintf(computer->assumed, sizeof computer->assumed, "+" ASSUMED_HOST);
    }
    if (computer->disk_bytes_per_s <= 0) {
        read_disk(ASSUMED_DISK, &computer->disk_bytes_per_s);
        snprintf(computer->assumed + n, sizeof computer->assumed - n, "+" ASSUMED_DISK);
    }
}

int computer_parse(struct computer *computer, const char *name, struct stile_error *error)
{
    char parts[sizeof computer->name];
    memset(computer, 0, sizeof *computer);
    if (strlen(name) >= sizeof parts)
        return error_set(error, STILE_ERROR_ARGUMENT, "machine %.40s...: too long a name", name);
    strcpy(parts, name);
    for (char *part = parts, *next; part; part = next) {
        next = strchr(part, '+');
        if (next) *next++ = 0;
        int failed = read_part(computer, name, part, error);
        if (failed) return failed;
    }
    snprintf(computer->name, sizeof computer->name, "%s", name);
    assume(computer);
    return STILE_OK;
}

/* Says which of the sizes was taken. */
static void name_size(struct computer *computer)
{
    char rest[sizeof computer->name];
    const char *plus = strchr(computer->name, '+');
    if (!computer->size_assumed || !(computer->device->memory_gb[1] > 0)) return;
    snprintf(rest, sizeof rest, "%s", plus ? plus : "");
    snprintf(computer->name, sizeof computer->name, "%.32s:%.0f%.48s", computer->device->id, computer->memory_gb, rest);
}

void computer_of(struct computer *computer, const struct hardware *device)
{
    memset(computer, 0, sizeof *computer);
    snprintf(computer->name, sizeof computer->name, "%s", device->id);
    computer->device = device;
    computer->size_assumed = true;
    computer->memory_gb = device->memory_gb[0];
    computer->memory_bytes_per_s = device->mem_bandwidth_gbs * 1e9;
    assume(computer);
}

bool computer_next_size(struct computer *computer)
{
    for (int i = 0; computer->size_assumed && i < HARDWARE_SIZES_MAX; i++)
        if (computer->device->memory_gb[i] > computer->memory_gb) {
            computer->memory_gb = computer->device->memory_gb[i];
            return true;
        }
    return false;
}

/* ---- as a machine --------------------------------------------------------------------------- */

static struct plan_range scaled(struct plan_range range, double factor)
{
    return (struct plan_range){range.value * factor, range.low * factor, range.high * factor};
}

/* Multiply-adds per second of a device, by class of format; 0 where its data sheet does not say. */
static struct plan_range macs_of(const struct hardware *device, const struct efficiency *efficiency,
                                 enum format_class class)
{
    const struct cycle_efficiency *cycles = cycle_efficiency_of(device->isa);
    double all_cycles = device->cores * device->base_ghz * 1e9;
    if (cycles) return scaled(class == CLASS_FLOAT ? cycles->float_macs : cycles->integer_macs, all_cycles);
    return scaled(efficiency->macs_share[class], device->fp16_dense_tflops * 1e12 / 2);
}

/* device may be NULL: of a host whose processor is not known. */
static void set_processor(struct plan_tier *tier, const struct hardware *device, const struct efficiency *efficiency,
                          double bytes_per_s, bool mixture)
{
    struct plan_processor *processor = &tier->processor;
    const struct plan_range all = {1, 1, 1};
    tier->computes = true;
    tier->read_bytes_per_s = scaled(all, bytes_per_s);
    for (uint32_t f = 0; f < FORMAT_COUNT; f++) {
        enum format_class class = format_class_of((enum format)f);
        processor->read_share[f] = efficiency->read_share[class];
        if (device) processor->macs_per_s[f] = macs_of(device, efficiency, class);
    }
    struct plan_range float_macs = processor->macs_per_s[FORMAT_F16];
    for (uint32_t f = 0; f < FORMAT_COUNT; f++) {
        /* assumed: short runs of a cache are read less evenly than matrices, and attention's products are small */
        processor->kv_bytes_per_s[f] = scaled(efficiency->read_share[CLASS_BITS], 0.8 * bytes_per_s);
        processor->attention_macs_per_s[f] = scaled(float_macs, 0.5);
        /* of one token: the query heads of a key head share what is read; memory binds, not arithmetic */
        processor->kv_macs_per_s[f] = scaled(all, 1e18);
    }
    processor->elements_per_s = scaled(efficiency->read_share[CLASS_BITS], bytes_per_s / sizeof(float));
    processor->op_s = mixture ? efficiency->mixture_op_s : efficiency->op_s;
    processor->pass_s = (struct plan_range){50e-6, 10e-6, 200e-6}; /* assumed, as is open_s below */
}

static uint64_t usable_bytes(const struct efficiency *efficiency, double gb, bool apple)
{
    double share = apple && gb <= 36 ? 2.0 / 3 : efficiency->usable_share;
    double bytes = share * gb * gib - efficiency->kept_bytes;
    return bytes > 0 ? (uint64_t)bytes : 0;
}

void computer_machine(const struct computer *computer, const struct hparams *hparams, bool over_link,
                      struct plan_machine *machine)
{
    const struct hardware *device = computer->device;
    const struct efficiency *efficiency = efficiency_of(device->kind, device->vendor);
    bool mixture = hparams->n_experts > 0, card = is_card(device);
    memset(machine, 0, sizeof *machine);
    snprintf(machine->name, sizeof machine->name, "%s", computer->name);
    struct plan_tier *tier = &machine->tiers[machine->n_tiers++];
    snprintf(tier->name, sizeof tier->name, card ? "device memory" : "memory");
    tier->capacity_bytes = usable_bytes(efficiency, computer->memory_gb, strcmp(device->vendor, "apple") == 0);
    set_processor(tier, device, efficiency, computer->memory_bytes_per_s, mixture);
    if (card) {
        const struct efficiency *cpu = efficiency_of("cpu", "");
        tier = &machine->tiers[machine->n_tiers++];
        snprintf(tier->name, sizeof tier->name, over_link ? "host memory, over the link" : "host memory");
        tier->capacity_bytes = usable_bytes(cpu, computer->host_gb, false);
        if (over_link) /* pinned memory gets 80 to 85% of what the link could carry */
            tier->read_bytes_per_s = scaled((struct plan_range){0.82, 0.7, 0.87}, device->host_link_gbs * 1e9);
        else
            set_processor(tier, computer->host, cpu, computer->host_bytes_per_s, mixture);
    }
    tier = &machine->tiers[machine->n_tiers++];
    snprintf(tier->name, sizeof tier->name, "disk");
    tier->capacity_bytes = UINT64_MAX;
    tier->read_bytes_per_s = scaled((struct plan_range){0.8, 0.5, 1}, computer->disk_bytes_per_s);
    machine->load_bytes_per_s = tier->read_bytes_per_s;
    machine->open_s = 0.2;
    machine->decode_error = efficiency->decode_error;
    machine->prefill_error = efficiency->prefill_error;
    machine->first_error = 0.3;
}

/* ---- predictions ---------------------------------------------------------------------------- */

/* The share of the time of decoding that a card's host computes. */
static double host_time_share(const struct computer *computer, const struct computer_plan *result)
{
    const struct plan_tier *host = &result->machine.tiers[1];
    const struct plan *plan = &result->plan;
    if (!is_card(computer->device) || result->decode_over_link) return 0;
    double read_s =
        plan->token_bytes[1] / (host->processor.read_share[FORMAT_Q4_K].value * host->read_bytes_per_s.value);
    return fmin(1, plan->decode_tokens_per_s.range.value * read_s);
}

/* The share of the time of decoding that the device waits for what is brought to it. */
static double waiting_share(const struct computer_plan *result)
{
    const struct plan_tier *tier = &result->machine.tiers[0];
    const struct plan_estimate *decode = &result->plan.decode_tokens_per_s;
    double bytes = result->plan.token_bytes[0];
    double read_s = bytes / (tier->processor.read_share[FORMAT_Q4_K].value * tier->read_bytes_per_s.value);
    return decode->bound_by == PLAN_BOUND_LINK ? fmax(0, 1 - decode->range.value * read_s) : 0;
}

/* Modelled: rated power times a share, of each device by its share of the time. */
static void model_energy(const struct computer *computer, double host_share, struct computer_plan *result)
{
    /* Assumed, nobody measured them: board, fans and disks; a desktop's processor; a card that waits. */
    static const double rest_w = 60, unknown_host_w = 100, idle_share = 0.15;
    const struct hardware *device = computer->device;
    const struct plan_range share = efficiency_of(device->kind, device->vendor)->power_share;
    double base_w = 0.1 * device->tdp_w + 5, host_w = 0; /* memory and supply beside a processor: assumed */
    double rate = result->plan.decode_tokens_per_s.range.value;
    if (!(device->tdp_w > 0)) return;
    if (is_card(device)) {
        base_w = rest_w;
        host_w = computer->host && computer->host->tdp_w > 0 ? computer->host->tdp_w : unknown_host_w;
    } else if (strcmp(device->vendor, "apple") == 0) {
        base_w = 0; /* the figure is the whole machine's */
    }
    double waiting = fmin(1, host_share + waiting_share(result));
    double device_w = device->tdp_w * (1 - waiting + idle_share * waiting);
    host_w *= host_share;
    result->rated_w = device->tdp_w + base_w + host_w;
    result->power_w =
        (struct plan_range){base_w + device_w * share.value + host_w, base_w + device_w * share.low + host_w / 2,
                            base_w + device_w * share.high + host_w};
    if (!(rate > 0)) return;
    const struct plan_range *w = &result->power_w;
    result->token_j = (struct plan_range){w->value / rate, w->low / rate, w->high / rate};
}

/* Puts the better of two estimates into the first; true when that was the second. */
static bool take_better(struct plan_estimate *first, const struct plan_estimate *second)
{
    if (!(second->range.value > first->range.value)) return false;
    *first = *second;
    return true;
}

/* What the result is bound by, in words; with places on two devices, the one that takes longer. */
static const char *bound_name(const struct computer_plan *result, const struct plan_estimate *estimate, bool over_link,
                              bool host_binds)
{
    if (estimate->bound_by == PLAN_BOUND_LINK && over_link && estimate->tier == 1) return "link";
    if (estimate->bound_by == PLAN_BOUND_MEMORY && result->machine.n_tiers == 3)
        return host_binds ? "host memory" : "device memory";
    return plan_bound_name(&result->machine, estimate);
}

static void predict_once(const struct computer *computer, const struct plan_request *request,
                         struct computer_plan *result)
{
    const struct hparams *hparams = &request->program->model->hparams;
    memset(result, 0, sizeof *result);
    computer_machine(computer, hparams, false, &result->machine);
    plan_predict(&result->plan, request, &result->machine);
    if (is_card(computer->device) && result->plan.possible &&
        result->plan.places[1].dense_bytes + result->plan.places[1].expert_bytes > 0) {
        struct plan_machine machine;
        struct plan plan;
        computer_machine(computer, hparams, true, &machine);
        plan_predict(&plan, request, &machine);
        result->decode_over_link = take_better(&result->plan.decode_tokens_per_s, &plan.decode_tokens_per_s);
        result->prefill_over_link = take_better(&result->plan.prefill_tokens_per_s, &plan.prefill_tokens_per_s);
        if (result->prefill_over_link) {
            result->plan.first_cold_s = plan.first_cold_s;
            result->plan.first_warm_s = plan.first_warm_s;
        }
    }
    double host_share = host_time_share(computer, result);
    model_energy(computer, host_share, result);
    result->decode_bound =
        bound_name(result, &result->plan.decode_tokens_per_s, result->decode_over_link, host_share > 0.5);
    result->prefill_bound = bound_name(result, &result->plan.prefill_tokens_per_s, result->prefill_over_link, false);
}

void computer_predict(struct computer *computer, const struct plan_request *request, struct computer_plan *result)
{
    do {
        predict_once(computer, request, result);
    } while (!(result->plan.fits && result->plan.places[1].dense_bytes + result->plan.places[1].expert_bytes == 0) &&
             computer_next_size(computer));
    name_size(computer);
}
