/* Numbers and dates of Excel; see xlsx.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "extract/xlsx.h"
#include "extract/zip.h"

enum { FORMATS_MAX = 4096, CELL_STYLES_MAX = 65536 };
enum { PART_DATE = 1, PART_TIME = 2 };

struct format {
    long id;
    int parts;
};

struct xlsx_styles {
    struct format formats[FORMATS_MAX];
    size_t n_formats;
    unsigned char cells[CELL_STYLES_MAX]; /* parts, by the number that cells have */
    size_t n_cells;
    bool in_cells; /* within cellXfs */
};

/* ---- formats ------------------------------------------------------------------------------- */

/* What a format's code shows: letters outside of quotes, brackets and escapes. 'm' is a month or a
 * minute, as its neighbours are. */
static int parts_of_code(const char *code)
{
    int parts = 0;
    bool m = false;
    for (const char *p = code; *p && *p != ';'; p++) {
        if (*p == '"') {
            while (p[1] && *++p != '"') continue;
        } else if (*p == '[') {
            while (p[1] && *++p != ']') continue;
        } else if ((*p == '\\' || *p == '_' || *p == '*') && p[1]) {
            p++;
        } else if (strchr("dDyY", *p)) {
            parts |= PART_DATE;
        } else if (strchr("hHsS", *p)) {
            parts |= PART_TIME;
        } else if (*p == 'm' || *p == 'M') {
            m = true;
        } else if (*p == 'E' || *p == 'G') { /* "0.00E+00", "General" */
            return 0;
        }
    }
    return parts || !m ? parts : PART_DATE;
}

/* ECMA-376 part 1, 18.8.30 */
static int parts_of_id(const struct xlsx_styles *s, long id)
{
    for (size_t i = 0; i < s->n_formats; i++)
        if (s->formats[i].id == id) return s->formats[i].parts;
    if ((id >= 14 && id <= 17) || (id >= 27 && id <= 31) || id == 36 || (id >= 50 && id <= 58))
        return PART_DATE;
    if ((id >= 18 && id <= 21) || (id >= 32 && id <= 35) || (id >= 45 && id <= 47))
        return PART_TIME;
    return id == 22 ? PART_DATE | PART_TIME : 0;
}

static void on_open(void *ctx, const struct xml_element *e)
{
    struct xlsx_styles *s = ctx;
    char code[256];
    if (xml_is(e, NS_S, "cellXfs")) s->in_cells = true;
    if (xml_is(e, NS_S, "numFmt") && s->n_formats < FORMATS_MAX) {
        (void)xml_attr(e, NS_ANY, "formatCode", code, sizeof code);
        s->formats[s->n_formats++] = (struct format){.id = xml_attr_int(e, NS_ANY, "numFmtId", -1),
                                                     .parts = parts_of_code(code)};
    }
    if (xml_is(e, NS_S, "xf") && s->in_cells && s->n_cells < CELL_STYLES_MAX)
        s->cells[s->n_cells++] =
            (unsigned char)parts_of_id(s, xml_attr_int(e, NS_ANY, "numFmtId", 0));
}

static void on_close(void *ctx, const struct xml_element *e)
{
    struct xlsx_styles *s = ctx;
    if (xml_is(e, NS_S, "cellXfs")) s->in_cells = false;
}

enum err xlsx_styles_read(struct zip *z, struct xlsx_styles **out, struct error *error)
{
    static const struct xml_events events = {.open = on_open, .close = on_close};
    *out = NULL;
    if (!zip_has(z, "xl/styles.xml")) return OK;
    struct xlsx_styles *s = try_calloc(1, sizeof *s);
    if (!s) return err_set(error, ERR_NOMEM, "no memory");
    enum err e = zip_xml(z, "xl/styles.xml", &events, s, error);
    if (e)
        free(s);
    else
        *out = s;
    return e;
}

void xlsx_styles_free(struct xlsx_styles *s)
{
    free(s);
}

/* ---- numbers ------------------------------------------------------------------------------- */

/* Days since 1970-01-01 to a date (proleptic Gregorian; Howard Hinnant, chrono-compatible low-level
 * date algorithms, civil_from_days). */
static void date_of_days(int64_t days, int64_t *y, int *m, int *d)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

/* Excel's day 60 is a 29 February 1900 that never was; before it, days count from one later. */
static bool put_date(double value, int parts, bool from_1904, char *dst, size_t size)
{
    enum { DAY_0_1900 = -25569, DAY_0_1904 = -24107, DAYS_MAX = 2958466 };
    if (!(value >= 0 && value < DAYS_MAX)) return false;
    int64_t day = (int64_t)value, seconds = llround((value - (double)day) * 86400), y;
    int m, d;
    if (seconds == 86400) day++, seconds = 0;
    int64_t unix_day = day + (from_1904 ? DAY_0_1904 : DAY_0_1900);
    if (!from_1904 && day < 60) unix_day++;
    date_of_days(unix_day, &y, &m, &d);
    char date[32] = "", time[32] = "";
    if (parts & PART_DATE) snprintf(date, sizeof date, "%04lld-%02d-%02d", (long long)y, m, d);
    if ((parts & PART_TIME) || (seconds && !(parts & PART_DATE)))
        snprintf(time, sizeof time, "%02d:%02d:%02d", (int)(seconds / 3600),
                 (int)(seconds / 60 % 60), (int)(seconds % 60));
    if (parts == PART_TIME && day) return false; /* a duration of more than a day */
    return str_printf(dst, size, "%s%s%s", date, *date && *time ? " " : "", time);
}

bool xlsx_number(const struct xlsx_styles *s, long style, bool from_1904, const char *stored,
                 char *dst, size_t size)
{
    double value;
    if (!str_to_double(stored, -1e300, 1e300, &value)) return false;
    int parts = s && style >= 0 && (size_t)style < s->n_cells ? s->cells[style] : 0;
    if (parts && put_date(value, parts, from_1904, dst, size)) return true;
    /* 0.30000000000000004 is how 0.3 is stored. */
    return strlen(stored) > 15 && str_printf(dst, size, "%.15g", value);
}
