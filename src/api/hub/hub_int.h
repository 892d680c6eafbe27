/* The hub's own surface: health, metrics, the first page, the API's documentation. */
#ifndef HEARTH_API_HUB_INT_H
#define HEARTH_API_HUB_INT_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route hub_routes[];
extern const struct schema hub_schemas[];

/* health.c: on the front thread, so they never block and answer even when the pool is busy. */
void hub_health(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_metrics(struct hub *hub, const struct http_request *req, struct sink *sink);

/* pages.c */
void hub_root(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_docs(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_redoc(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_openapi(struct hub *hub, const struct http_request *req, struct sink *sink);
void hub_asset(struct hub *hub, const struct http_request *req, struct sink *sink);

#endif
