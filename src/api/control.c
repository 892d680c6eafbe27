/* Calls that a provider answers by itself, and what their arguments have in common: see control.h.
 */
#include "api/control.h"

#include <math.h>
#include <string.h>

#include "api/fields.h"
#include "api/responder.h"
#include "base/str.h"

/* ---- asking -------------------------------------------------------------------------------- */

void control_respond(struct provider *provider, enum control what, const char *args,
                     struct sink *sink, const char *request_id)
{
    struct responder *r = responder_new(sink, &error_openai, request_id);
    struct error error;
    if (provider_control(provider, what, args, responder_pass, r, &error))
        responder_error(r, &error);
}

const char *control_state_word(const char *state)
{
    static const char *const words[][2] = {{"loaded", "ready"},           {"ready", "ready"},
                                           {"loading", "loading"},        {"unloaded", "on_disk"},
                                           {"on_disk", "on_disk"},        {"failed", "failed"},
                                           {"quarantined", "quarantined"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq(words[i][0], state)) return words[i][1];
    return "none";
}

/* ---- durations ----------------------------------------------------------------------------- */

/* Longer ones are for ever; also keeps the arithmetic far from its limits. */
#define FOREVER_S (100.0 * 365 * 86400)

/* The unit's seconds and how many bytes its name has; 0 = there is none of that name. */
static double unit_seconds(const char *s, size_t *len)
{
    static const struct {
        const char *name;
        double seconds;
    } units[] = {{"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        *len = strlen(units[i].name);
        if (strncmp(s, units[i].name, *len) == 0) return units[i].seconds;
    }
    return 0;
}

/* Numbers with units, as in Go: "1h30m", "-1s"; a number without one is seconds. */
static bool parse_duration(const char *s, double *out)
{
    double sum = 0, sign = 1;
    if (str_ieq(s, "forever")) s = "-1"; /* as the setting has it */
    if (*s == '-' || *s == '+') sign = *s++ == '-' ? -1 : 1;
    if (!*s) return false;
    while (*s) {
        char number[32];
        double value, unit;
        size_t len = strspn(s, "0123456789."), unit_len = 0;
        if (len == 0 || len >= sizeof number) return false;
        memcpy(number, s, len);
        number[len] = '\0';
        if (!str_to_double(number, 0, HUGE_VAL, &value)) return false;
        s += len;
        unit = *s ? unit_seconds(s, &unit_len) : 1;
        if (unit == 0) return false;
        sum += value * unit;
        s += unit_len;
    }
    *out = sign * sum;
    return true;
}

enum err keep_alive_read(const json_t *v, int64_t *out, struct error *error)
{
    double seconds = json_number_value(v);
    if (!v) return OK;
    if (!json_is_number(v) &&
        !(json_is_string(v) && parse_duration(json_string_value(v), &seconds)))
        return field_error(error, "", "keep_alive",
                           "must be a number of seconds or a duration like \"5m\" or \"1h30m\"; "
                           "-1 keeps the model for ever, 0 not at all");
    if (seconds < 0 || seconds > FOREVER_S)
        *out = KEEP_ALIVE_FOREVER;
    else if (seconds == 0)
        *out = KEEP_ALIVE_NONE;
    else
        *out = seconds < 0.001 ? 1 : (int64_t)(seconds * 1000);
    return OK;
}
