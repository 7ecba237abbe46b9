/* Which names a scope hides before it sets them.
 *
 * jinja2 compiles each scope to Python and decides beforehand where a name lives. A name whose first mention in a
 * scope is an assignment that always happens, and that no scope around mentions, is a local of that scope: until the
 * assignment it is undefined, even where the caller passed a variable of that name. (Only inner scopes and macros can
 * see it so early.) A name that is read first, or assigned in a branch of an `if`, starts as what it is outside.
 */
#include "text/jinja_parse.h"

struct analysis {
    struct jinja *j;
    uint32_t *n_scopes; /* by symbol: scopes around that mention it */
    uint32_t *seen_in;  /* by symbol: the last scope that mentioned it */
    uint32_t n;         /* scopes so far */
};

/* One scope while its own statements are walked. */
struct mentions {
    struct analysis *a;
    uint32_t id;
    uint32_t *all, *unset;
    size_t n_all, all_capacity, n_unset, unset_capacity;
};

static void add(struct jinja *j, uint32_t **symbols, size_t *n, size_t *capacity, uint32_t symbol)
{
    if (*n == *capacity) *symbols = jinja_grow(j, *symbols, *n, capacity, sizeof **symbols);
    (*symbols)[(*n)++] = symbol;
}

static void mention(struct mentions *m, uint32_t symbol, bool is_sure_assignment)
{
    struct analysis *a = m->a;
    if (a->seen_in[symbol] == m->id) return;
    a->seen_in[symbol] = m->id;
    add(a->j, &m->all, &m->n_all, &m->all_capacity, symbol);
    if (is_sure_assignment && a->n_scopes[symbol] == 0) add(a->j, &m->unset, &m->n_unset, &m->unset_capacity, symbol);
}

/* Every name in an expression. */
static void read_names(struct mentions *m, const struct node *node)
{
    if (!node) return;
    if (node->kind == NODE_NAME || node->kind == NODE_TARGET) mention(m, node->symbol, false);
    const struct node *const parts[] = {node->a, node->b, node->c};
    for (int i = 0; i < 3; i++)
        read_names(m, parts[i]);
    for (const struct node *item = node->list; item; item = item->next)
        read_names(m, item);
}

static void assign_names(struct mentions *m, const struct node *target, bool is_sure)
{
    if (target->kind == NODE_TUPLE)
        for (const struct node *part = target->list; part; part = part->next)
            assign_names(m, part, is_sure);
    else
        mention(m, target->symbol, is_sure && target->kind == NODE_NAME);
}

/* The names that a scope's own statements mention; what has a scope of its own is left out. */
static void walk(struct mentions *m, const struct node *body, bool is_sure)
{
    for (const struct node *node = body; node; node = node->next) {
        switch (node->kind) {
        case NODE_OUTPUT:
            for (const struct node *part = node->list; part; part = part->next)
                read_names(m, part);
            break;
        case NODE_SET:
            read_names(m, node->b);
            assign_names(m, node->a, is_sure);
            break;
        case NODE_SET_BLOCK: assign_names(m, node->a, is_sure); break;
        case NODE_IF:
            for (const struct node *branch = node->list; branch; branch = branch->next) {
                read_names(m, branch->a);
                walk(m, branch->list, false);
            }
            break;
        case NODE_FOR: read_names(m, node->b); break;
        case NODE_MACRO: mention(m, node->symbol, is_sure); break;
        case NODE_CALL_BLOCK: read_names(m, node->a); break;
        case NODE_FILTER_BLOCK: read_names(m, node->b); break;
        case NODE_WITH:
            for (const struct node *pair = node->other; pair; pair = pair->next)
                read_names(m, pair->b);
            break;
        default: break;
        }
    }
}

/* What a scope has before its body runs: loop variables, parameters, the names of a `with`. */
static void declare(struct mentions *m, const struct node *node)
{
    if (node->kind == NODE_FOR) {
        mention(m, SYMBOL_LOOP, false);
        assign_names(m, node->a, false);
    }
    for (const struct node *pair = node->kind == NODE_WITH ? node->other : NULL; pair; pair = pair->next)
        assign_names(m, pair->a, false);
    for (const struct node *p = node->kind == NODE_MACRO ? node->other : NULL; p; p = p->next) {
        mention(m, p->symbol, false);
        read_names(m, p->a);
    }
}

static void analyze(struct analysis *a, struct node *node);

/* The scopes inside a body. */
static void descend(struct analysis *a, struct node *body)
{
    for (struct node *node = body; node; node = node->next) {
        switch (node->kind) {
        case NODE_IF:
            for (struct node *branch = node->list; branch; branch = branch->next)
                descend(a, branch->list);
            break;
        case NODE_FOR:
            analyze(a, node);
            if (node->other) analyze(a, node->other);
            break;
        case NODE_CALL_BLOCK: analyze(a, node->b); break;
        case NODE_MACRO:
        case NODE_SET_BLOCK:
        case NODE_FILTER_BLOCK:
        case NODE_WITH:
        case NODE_SCOPE: analyze(a, node); break;
        default: break;
        }
    }
}

static void analyze(struct analysis *a, struct node *node)
{
    struct mentions m = {.a = a, .id = ++a->n};
    declare(&m, node);
    walk(&m, node->list, true);
    node->unset = m.unset;
    node->n_unset = m.n_unset;
    for (size_t i = 0; i < m.n_all; i++)
        a->n_scopes[m.all[i]]++;
    descend(a, node->list);
    for (size_t i = 0; i < m.n_all; i++)
        a->n_scopes[m.all[i]]--;
}

void jinja_find_unset(struct jinja *j, struct node *root, size_t n_symbols)
{
    struct analysis a = {.j = j};
    a.n_scopes = jinja_alloc(j, n_symbols, sizeof *a.n_scopes);
    a.seen_in = jinja_alloc(j, n_symbols, sizeof *a.seen_in);
    analyze(&a, root);
}
