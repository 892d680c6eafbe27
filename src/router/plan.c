/* Who is asked, in which order: see plan.h. Candidates are gathered from the route's chain (or are
 * the one provider that was named), those that can't or may not are taken out, and the goal puts
 * the rest in order; what the goal does not tell apart stays in the chain's order. */
#include "router/plan.h"

#include <string.h>

#include "base/str.h"
#include "provider/provider.h"

static const char *const why_words[] = {
#define X(id, words) words,
    PLAN_WHYS(X)
#undef X
};
static const char *const skip_words[] = {
#define X(id, words) words,
    PLAN_SKIPS(X)
#undef X
};

const char *plan_why_words(enum plan_why why)
{
    ht_assert((size_t)why < sizeof why_words / sizeof *why_words);
    return why_words[why];
}

const char *plan_skip_words(enum plan_skip_why why)
{
    ht_assert((size_t)why < sizeof skip_words / sizeof *skip_words);
    return skip_words[why];
}

const char *plan_step_model(const struct routing *r, const struct plan_step *step)
{
    const char *own = r->providers[step->provider].remote.model;
    return *step->model || !own ? step->model : own;
}

/* One that may be asked, and where it belongs. */
struct candidate {
    struct plan_step step;
    double rank; /* lower is first */
};

struct planner {
    const struct routing *r;
    const struct plan_ask *ask;
    const struct plan_world *world;
    struct plan *plan;
    const char *model; /* without the provider's name */
    bool named;        /* the request names a model */
    bool by_source;    /* and a provider */
    struct routing_step entries[ROUTING_CHAIN_MAX];
    size_t n_entries;
    struct candidate found[PLAN_STEPS_MAX];
    size_t n;
};

/* ---- models -------------------------------------------------------------------------------- */

enum serves { SERVES_NOT, SERVES_MAYBE, SERVES };

/* What the clouds call their models. */
static bool is_of_cloud(const char *protocol, const char *model, bool embeds)
{
    static const struct {
        const char *protocol, *prefix;
        bool embeds;
    } rows[] = {{"openai", "gpt-", false},       {"openai", "chatgpt-", false},
                {"openai", "o1", false},         {"openai", "o3", false},
                {"openai", "o4", false},         {"openai", "text-embedding-", true},
                {"anthropic", "claude-", false}, {"cohere", "command", false},
                {"cohere", "c4ai-", false},      {"cohere", "embed-", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].embeds == embeds && str_eq(rows[i].protocol, protocol) &&
            str_starts(model, rows[i].prefix))
            return true;
    return false;
}

/* The instance that the settings name: what it serves shows in the names. */
static bool is_cloud(const struct routing_provider *p)
{
    static const char *const clouds[] = {"openai", "anthropic", "cohere"};
    for (size_t i = 0; i < sizeof clouds / sizeof *clouds; i++)
        if (str_eq(p->name, clouds[i])) return str_eq(p->remote.protocol, clouds[i]);
    return false;
}

static enum serves serves(const struct routing_provider *p, const char *model, bool embeds)
{
    if (p->local) return SERVES_MAYBE;
    for (size_t i = 0; i < p->n_models; i++)
        if (str_ieq(p->models[i], model)) return SERVES;
    if (embeds && p->embed_model && str_eq(p->embed_model, model)) return SERVES;
    for (int t = 0; !embeds && t < TIER_COUNT; t++)
        if (p->tiers[t] && str_eq(p->tiers[t], model)) return SERVES;
    if (p->n_models) return SERVES_NOT;
    if (is_cloud(p)) return is_of_cloud(p->remote.protocol, model, embeds) ? SERVES : SERVES_NOT;
    return SERVES_MAYBE;
}

/* The provider's model for a tier, or for the one closest to it; the smaller of two that are. */
static const char *model_for(const struct routing_provider *p, enum tier tier)
{
    for (int d = 0; d < TIER_COUNT; d++) {
        int below = (int)tier - d, above = (int)tier + d;
        if (below >= 0 && p->tiers[below]) return p->tiers[below];
        if (above < TIER_COUNT && p->tiers[above]) return p->tiers[above];
    }
    return "";
}

static enum tier tier_wanted(const struct planner *pl)
{
    if (pl->plan->goal == GOAL_QUALITY) return TIER_LARGE;
    if (pl->plan->goal == GOAL_COST || pl->plan->goal == GOAL_SPEED) return TIER_SMALL;
    return pl->plan->scored ? pl->plan->tier : TIER_SMALL;
}

/* ---- order --------------------------------------------------------------------------------- */

/* Dollars for a million tokens read and as many written; what has no price comes last, what is on
 * this machine costs nothing. */
static double cost_of(const struct planner *pl, const struct routing_provider *p, const char *model)
{
    struct price price;
    if (!p->leaves) return 0;
    if (!pl->world->prices || !prices_of(pl->world->prices, p->name, model, &price)) return 1e9;
    return price.input + price.output;
}

static bool has_price(const struct planner *pl, const struct plan_step *step)
{
    const struct routing_provider *p = &pl->r->providers[step->provider];
    double cost = cost_of(pl, p, plan_step_model(pl->r, step));
    return cost > 0 && cost < 1e9;
}

enum { SPEED_UNKNOWN_MS = 1000 };

static double rank_of(const struct planner *pl, const struct routing_provider *p, const char *model,
                      bool first)
{
    size_t at = (size_t)(p - pl->r->providers);
    int64_t ms = pl->world->first_token_ms[at];
    if (first) return -1;
    switch (pl->plan->goal) {
    case GOAL_COST: return cost_of(pl, p, model);
    case GOAL_SPEED: return ms > 0 ? (double)ms : SPEED_UNKNOWN_MS;
    case GOAL_QUALITY:
        if (pl->named) return 0;
        return p->tiers[TIER_LARGE] ? 0 : p->tiers[TIER_MIDDLE] ? 1 : 2;
    case GOAL_BALANCED: return pl->named || !pl->plan->scored || p->tiers[pl->plan->tier] ? 0 : 1;
    default: return 0;
    }
}

static enum plan_why why_of(const struct planner *pl, const struct routing_provider *p, bool first)
{
    if (pl->by_source) return WHY_NAMED;
    if (pl->plan->pinned) return WHY_PINNED;
    if (pl->n_entries == 1) return WHY_ONLY;
    if (pl->named) return WHY_MODEL;
    if (first) return WHY_PREFERRED;
    switch (pl->plan->goal) {
    case GOAL_COST: return WHY_COST;
    case GOAL_SPEED: return WHY_SPEED;
    case GOAL_QUALITY: return p->tiers[TIER_LARGE] ? WHY_QUALITY : WHY_CHAIN;
    case GOAL_BALANCED: return pl->plan->scored && p->tiers[pl->plan->tier] ? WHY_TIER : WHY_CHAIN;
    default: return WHY_CHAIN;
    }
}

/* ---- gathering ----------------------------------------------------------------------------- */

static void skip(struct planner *pl, size_t provider, enum plan_skip_why why)
{
    struct plan *plan = pl->plan;
    if (plan->n_skips < PLAN_STEPS_MAX)
        plan->skips[plan->n_skips++] = (struct plan_skip){provider, why};
}

static void add(struct planner *pl, size_t entry, const char *model, enum plan_why why, double rank)
{
    size_t provider = pl->entries[entry].provider;
    for (size_t i = 0; i < pl->n; i++)
        if (pl->found[i].step.provider == provider && str_eq(pl->found[i].step.model, model))
            return;
    if (pl->n < PLAN_STEPS_MAX)
        pl->found[pl->n++] = (struct candidate){{provider, model, why}, rank};
}

/* A model of the request's name, at everybody who may have it; behind them, where the route allows
 * it, what the others have instead. */
static void gather_named(struct planner *pl)
{
    enum { BEHIND = 1000000 };
    bool embeds = pl->ask->embeds;
    for (size_t i = 0; i < pl->n_entries; i++) {
        const struct routing_provider *p = &pl->r->providers[pl->entries[i].provider];
        const char *own = pl->entries[i].model;
        bool first = i == 0 && pl->plan->route->first;
        if (own && !pl->by_source && !embeds)
            add(pl, i, own, WHY_SUBSTITUTE, rank_of(pl, p, own, first));
        else if (pl->by_source || serves(p, pl->model, embeds) != SERVES_NOT)
            add(pl, i, pl->model, why_of(pl, p, first), rank_of(pl, p, pl->model, first));
        else if (embeds || !pl->plan->route->substitute)
            skip(pl, pl->entries[i].provider, SKIP_MODEL);
    }
    if (embeds || pl->by_source || !pl->plan->route->substitute) return;
    for (size_t i = 0; i < pl->n_entries; i++) {
        const struct routing_provider *p = &pl->r->providers[pl->entries[i].provider];
        if (p->local || pl->entries[i].model || serves(p, pl->model, false) == SERVES) continue;
        const char *own = model_for(p, tier_wanted(pl));
        add(pl, i, own, WHY_SUBSTITUTE, BEHIND + rank_of(pl, p, own, false));
    }
}

static void gather_unnamed(struct planner *pl)
{
    for (size_t i = 0; i < pl->n_entries; i++) {
        const struct routing_provider *p = &pl->r->providers[pl->entries[i].provider];
        const char *own = pl->entries[i].model;
        bool first = i == 0 && pl->plan->route->first;
        if (!own) own = model_for(p, tier_wanted(pl));
        add(pl, i, own, why_of(pl, p, first), rank_of(pl, p, own, first));
    }
}

/* The first one's: another one's vectors would not be comparable with those of the day before. */
static void gather_embedding(struct planner *pl)
{
    for (size_t i = 0; i < pl->n_entries; i++) {
        const struct routing_provider *p = &pl->r->providers[pl->entries[i].provider];
        if ((!p->embed_model && !pl->by_source) || (pl->ask->rerank && !p->local)) continue;
        add(pl, i, p->embed_model ? p->embed_model : "", why_of(pl, p, i == 0), 0);
        return;
    }
}

/* ---- taking out ---------------------------------------------------------------------------- */

static bool is_able(const struct planner *pl, size_t provider)
{
    const struct plan_world *w = pl->world;
    const struct plan_ask *ask = pl->ask;
    if (ask->adapter && !pl->r->providers[provider].local) return false;
    if (ask->rerank && w->no_rerank[provider]) return false;
    return !(ask->tools && w->no_tools[provider]) && !(ask->images && w->no_images[provider]) &&
           !(ask->embeds && w->no_embeddings[provider]);
}

/* Stable, and there are few. */
static void sort(struct planner *pl)
{
    for (size_t i = 1; i < pl->n; i++) {
        struct candidate c = pl->found[i];
        size_t k = i;
        for (; k && pl->found[k - 1].rank > c.rank; k--) pl->found[k] = pl->found[k - 1];
        pl->found[k] = c;
    }
}

/* Who is down is asked when there is nobody else. */
static void keep_able(struct planner *pl)
{
    struct plan *plan = pl->plan;
    struct plan_step down[PLAN_STEPS_MAX];
    size_t n_down = 0;
    for (size_t i = 0; i < pl->n; i++) {
        const struct plan_step *step = &pl->found[i].step;
        const struct routing_provider *p = &pl->r->providers[step->provider];
        if (plan->pinned && !p->trusted)
            skip(pl, step->provider, SKIP_PINNED);
        else if (!is_able(pl, step->provider))
            skip(pl, step->provider, SKIP_ABILITY);
        else if (pl->world->over_budget && has_price(pl, step))
            skip(pl, step->provider, SKIP_BUDGET);
        else if (pl->world->down[step->provider])
            down[n_down++] = *step;
        else
            plan->steps[plan->n++] = *step;
    }
    bool others = plan->n > 0;
    for (size_t i = 0; i < n_down; i++)
        if (others)
            skip(pl, down[i].provider, SKIP_DOWN);
        else
            plan->steps[plan->n++] = down[i];
}

/* ---- what was asked for -------------------------------------------------------------------- */

/* "openai/gpt-4o" names a provider, too. */
static enum err find_entries(struct planner *pl, struct error *error)
{
    const struct plan_ask *ask = pl->ask;
    const struct routing_provider *p = NULL;
    char head[ROUTING_NAME_MAX] = "";
    const char *source = ask->source ? ask->source : "";
    pl->model = ask->model ? ask->model : "";
    if (!provider_names_model(pl->model)) pl->model = "";
    size_t n = strcspn(pl->model, "/");
    if (n < sizeof head && pl->model[n]) {
        memcpy(head, pl->model, n);
        p = routing_provider(pl->r, head);
    }
    if (p && (!*source || str_ieq(source, p->name))) {
        pl->model += n + 1;
        source = p->name;
    }
    pl->named = *pl->model;
    if (!*source) {
        memcpy(pl->entries, pl->plan->route->chain, sizeof pl->entries);
        pl->n_entries = pl->plan->route->n;
        return OK;
    }
    p = routing_provider(pl->r, source);
    if (!p) return routing_no_provider(pl->r, source, ERR_INVALID, "/source", error);
    pl->by_source = true;
    pl->entries[0] = (struct routing_step){.provider = (size_t)(p - pl->r->providers)};
    pl->n_entries = 1;
    return OK;
}

/* How hard the request is, as far as that is of use. */
static void measure(struct planner *pl)
{
    const struct plan_ask *ask = pl->ask;
    struct plan *plan = pl->plan;
    bool choice = pl->n_entries > 1 || (pl->by_source && !pl->named);
    if (!choice || !ask->gen) return;
    complexity_of(pl->r, ask->gen, &plan->complexity);
    plan->scored = true;
    plan->classified = ask->classified ? *ask->classified : (struct classified){0};
    plan->tier = plan->complexity.tier;
    plan->score = plan->complexity.score;
    if (!plan->classified.known) return;
    plan->tier = plan->classified.tier;
    plan->score = complexity_of_tier(pl->r, plan->tier);
}

/* Whether another tier could make another plan. */
static bool has_sizes(const struct planner *pl)
{
    const struct plan *plan = pl->plan;
    int sizes = 0;
    if (plan->n != 1) return plan->n > 1;
    for (int t = 0; t < TIER_COUNT; t++)
        sizes += pl->r->providers[plan->steps[0].provider].tiers[t] != NULL;
    return sizes > 1;
}

static bool may_classify(const struct planner *pl)
{
    const struct plan *plan = pl->plan;
    const struct plan_ask *ask = pl->ask;
    bool told = pl->named || pl->by_source || (ask->route && *ask->route);
    return pl->r->classify && plan->scored && plan->goal == GOAL_BALANCED && !plan->pinned &&
           !told && !ask->classified && has_sizes(pl);
}

static enum err nobody(const struct planner *pl, struct error *error)
{
    const struct plan *plan = pl->plan;
    bool seen[SKIP_ABILITY + 1] = {false};
    for (size_t i = 0; i < plan->n_skips; i++) seen[plan->skips[i].why] = true;
    const char *first = plan->n_skips ? pl->r->providers[plan->skips[0].provider].name : "nobody";
    if (seen[SKIP_PINNED])
        return err_set(error, ERR_LOCAL_ONLY,
                       "the request must stay on this machine, and %s is elsewhere", first);
    if (seen[SKIP_BUDGET])
        return err_set(error, ERR_QUOTA,
                       "the budget of this month is used up, and only %s could have answered",
                       first);
    if (seen[SKIP_ABILITY])
        return err_set_param(
            error, ERR_UNSUPPORTED,
            pl->ask->images  ? "/messages"
            : pl->ask->tools ? "/tools"
                             : "",
            "%s can't do what the request needs (%s); a provider that can would be asked: "
            "an entry in providers.json or a cloud's API key",
            first,
            pl->ask->rerank    ? "reranking"
            : pl->ask->embeds  ? "embeddings"
            : pl->ask->images  ? "images"
            : pl->ask->adapter ? "LoRA adapters"
                               : "tools");
    return err_set_param(error, ERR_NO_MODEL, "/model",
                         "no provider of the route \"%s\" has a model \"%.100s\"",
                         plan->route->name, pl->model);
}

enum err plan_make(const struct routing *r, const struct plan_ask *ask,
                   const struct plan_world *world, struct plan *out, struct error *error)
{
    struct planner pl = {.r = r, .ask = ask, .world = world, .plan = out};
    const char *route = ask->route ? ask->route : "";
    out->n = out->n_skips = 0;
    out->scored = out->may_classify = false;
    out->route = routing_route(r, route);
    if (!out->route)
        return err_set_param(error, ERR_INVALID, "/route", "there is no route \"%.64s\"", route);
    out->goal = ask->goal ? ask->goal : out->route->goal ? out->route->goal : r->goal;
    /* A pin is never taken off by what stands nearer to the request. */
    out->pinned = ask->local_only || out->route->local_only || ask->goal == GOAL_PRIVACY ||
                  out->route->goal == GOAL_PRIVACY || r->goal == GOAL_PRIVACY;
    enum err e = find_entries(&pl, error);
    if (e) return e;
    measure(&pl);
    if (pl.named)
        gather_named(&pl);
    else if (ask->embeds)
        gather_embedding(&pl);
    else
        gather_unnamed(&pl);
    sort(&pl);
    keep_able(&pl);
    out->may_classify = may_classify(&pl);
    return out->n ? OK : nobody(&pl, error);
}
