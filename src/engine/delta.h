/* A list of deltas under construction, shared by the parsers: text goes into one growing buffer, so
 * pointers are only made when the list is complete. One owner. */
#ifndef HEARTH_ENGINE_DELTA_H
#define HEARTH_ENGINE_DELTA_H

#include "engine/engine.h"

struct delta_list {
    struct buf text; /* all pieces, each with a '\0' behind it */
    struct delta_piece *pieces;
    struct engine_delta *deltas;
    size_t n, cap;
    enum err err; /* sticky, like struct buf's */
};

void delta_list_init(struct delta_list *l);
void delta_list_free(struct delta_list *l);
void delta_list_clear(struct delta_list *l); /* memory kept */

/* Appends; a text right behind one of the same type is joined with it. Empty text: nothing. */
void delta_text(struct delta_list *l, enum engine_delta_type type, const char *text, size_t len);
/* id and name may be NULL. */
void delta_tool(struct delta_list *l, int32_t index, const char *id, const char *name,
                const char *arguments, size_t len);

/* Sets the pointers. They are valid until the next clear. */
HT_MUST_CHECK enum err delta_list_done(struct delta_list *l, const struct engine_delta **out,
                                       size_t *n, struct error *error);

#endif
