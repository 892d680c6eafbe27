/* The hub's own surface: health, metrics, the queue, requests, models in memory, adapters, the
 * first page, the API's documentation. */
#ifndef HEARTH_API_HUB_INT_H
#define HEARTH_API_HUB_INT_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route hub_routes[];
extern const struct schema hub_schemas[];

/* health.c: on the front thread, so they never block and answer even when the pool is busy. */
void hub_health(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_metrics(struct hub *hub, const struct http_request *req, struct sink *sink);

/* control.c */
struct load_fields {
    const json_t *keep_alive;
    bool wait, force;
};
struct plan_fields {
    const char *model;
    int64_t context;
};
struct adapter_load_fields {
    const char *name;
    double scale;
};
void hub_queue(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_cache(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_adapters(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_adapter_load(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_model_load(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_model_unload(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_model_plan(struct hub *hub, const struct http_request *req, struct sink *sink);

/* requests.c */
void hub_requests(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_request(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_request_cancel(struct hub *hub, const struct http_request *req, struct sink *sink);

/* schemas.c */
extern const struct field load_fields[], plan_fields[], adapter_load_fields[];

/* pages.c */
void hub_root(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_docs(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_redoc(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_openapi(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_asset(struct hub *hub, const struct http_request *req, struct sink *sink);

#endif
