/* Numbers in Excel's cells: which of them are dates, and what people write for them. */
#ifndef HEARTH_EXTRACT_XLSX_H
#define HEARTH_EXTRACT_XLSX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct zip;
struct xlsx_styles;

/* Of xl/styles.xml; *out may be NULL when there is none. */
HT_MUST_CHECK enum err xlsx_styles_read(struct zip *z, struct xlsx_styles **out,
                                        struct error *error);
void xlsx_styles_free(struct xlsx_styles *s);

/* The stored text of a number as it is to be read: a date for the styles of dates, at most 15
 * digits else. False: leave it as it is. */
bool xlsx_number(const struct xlsx_styles *s, long style, bool from_1904, const char *stored,
                 char *dst, size_t size);

#endif
