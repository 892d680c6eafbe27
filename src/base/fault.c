/* Fault injection. Counters are atomic: a point may be passed on any thread. The environment is
 * read once, at the first pass or arming. */
#include "base/fault.h"

#include <unistd.h>

#if HEARTH_FAULTS
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"

static struct {
    const char *name;
    atomic_long passes, nth; /* nth 0: disarmed */
    atomic_bool and_later;
} points[FAULT_COUNT] = {
#define X(name, what) {#name, 0, 0, false},
    FAULT_POINTS(X)
#undef X
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static HT_NORETURN void refuse(const char *item)
{
    fprintf(stderr, "hearth: HEARTH_FAULT: '%s' is not <point>:<n>[+] with a point of", item);
    for (int i = 0; i < FAULT_COUNT; i++) fprintf(stderr, " %s", points[i].name);
    fprintf(stderr, "\n");
    exit(2);
}

static void arm(size_t p, long nth, bool and_later)
{
    atomic_store(&points[p].passes, 0);
    atomic_store(&points[p].and_later, and_later);
    atomic_store(&points[p].nth, nth);
}

static void parse_item(char *item)
{
    char *colon = strchr(item, ':');
    if (!colon) refuse(item);
    size_t last = strlen(item) - 1;
    bool and_later = item[last] == '+';
    if (and_later) item[last] = '\0';
    int64_t nth;
    if (!str_to_i64(colon + 1, 1, 1000000000, &nth)) refuse(item);
    *colon = '\0';
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        if (!str_eq(item, points[i].name)) continue;
        arm(i, (long)nth, and_later);
        return;
    }
    refuse(item);
}

static void read_environment(void)
{
    const char *env = getenv("HEARTH_FAULT");
    if (!env || !*env) return;
    char text[256];
    if (!str_copy(text, sizeof text, env)) refuse(env);
    char *save = NULL;
    for (char *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save))
        parse_item(item);
}

bool fault_hit(enum fault_point p)
{
    pthread_once(&once, read_environment);
    long nth = atomic_load_explicit(&points[p].nth, memory_order_relaxed);
    if (nth == 0) return false;
    long pass = atomic_fetch_add(&points[p].passes, 1) + 1;
    return pass == nth || (pass > nth && atomic_load(&points[p].and_later));
}

void fault_arm(enum fault_point p, long nth, bool and_later)
{
    pthread_once(&once, read_environment);
    arm((size_t)p, nth, and_later);
}

long fault_count(enum fault_point p)
{
    return atomic_load(&points[p].passes);
}
#endif

/* Ends with the process. */
void fault_hang(enum fault_point p)
{
    while (fault_hit(p))
        for (;;) sleep(1000);
}
