/* Fuzz target: conversations from foreign files. Holds: what is taken is a forest in which every
 * parent stands before its children, ids are unique, roles are known and texts are whole. */
#include <stdint.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "chat/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(struct map *seen, const struct store_message *m)
{
    ht_assert(m->id && *m->id && !map_get(seen, m->id));
    ht_assert(!m->parent_id || map_get(seen, m->parent_id));
    ht_assert(str_eq(m->role, "user") || str_eq(m->role, "assistant") ||
              str_eq(m->role, "system") || str_eq(m->role, "tool"));
    ht_assert(m->content && strlen(m->content) <= IMPORT_CONTENT_MAX + 16);
    ht_assert(utf8_valid(m->content, strlen(m->content)));
    ht_assert(m->created_ms >= 0);
    map_put(seen, m->id, (void *)m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct import_draft d;
    struct error error;
    enum err e = import_read((const char *)data, size, &d, &error);
    if (e) {
        ht_assert(error.code == e && error.msg[0] && !d.arena);
        return 0;
    }
    struct map *seen = map_new();
    for (size_t i = 0; i < d.n; i++) check_message(seen, &d.messages[i]);
    ht_assert(!d.leaf_id || map_get(seen, d.leaf_id));
    ht_assert(d.title && strlen(d.title) <= IMPORT_TITLE_MAX);
    map_free(seen);
    arena_free(d.arena);
    return 0;
}
