/* Routes and answers of the hub's own surface. */
#include <stddef.h>

#include "api/hub/hub_int.h"

/* clang-format off */
const struct route hub_routes[] = {
    {HTTP_GET, "/health", hub_health, ROUTE_INLINE, "Hub", "Whether the hub is up, and what it does", NULL, "Health"},
    {HTTP_GET, "/metrics", hub_metrics, ROUTE_INLINE, "Hub", "Metrics in Prometheus' text format", NULL, NULL},
    {HTTP_GET, "/", hub_root, ROUTE_INLINE, "Hub", "The first page for browsers, the health for others", NULL, "Health"},
    {HTTP_GET, "/openapi.json", hub_openapi, 0, "Hub", "This document", NULL, NULL},
    {HTTP_GET, "/docs", hub_docs, ROUTE_HIDDEN | ROUTE_INLINE, "Hub", "Swagger UI", NULL, NULL},
    {HTTP_GET, "/redoc", hub_redoc, ROUTE_HIDDEN | ROUTE_INLINE, "Hub", "ReDoc", NULL, NULL},
    {HTTP_GET, "/assets/{file}", hub_asset, ROUTE_HIDDEN, "Hub", "Parts of the pages", NULL, NULL},
    {.path = NULL}};

#define W(json, type, schema, help) {json, FIELD_##type, FIELD_REQUIRED, 0, 0, schema, help, FIELD_NOWHERE}

static const struct field health_fields[] = {
    W("status", STR, "{\"type\":\"string\",\"const\":\"healthy\"}", "healthy: it answers."),
    W("version", STR, NULL, "The hub's."),
    W("model", STR, "{\"type\":[\"string\",\"null\"]}", "The first model in memory or on its way there."),
    W("model_state", STR, "{\"type\":\"string\",\"enum\":[\"none\",\"on_disk\",\"loading\",\"ready\",\"failed\"]}", "Its state."),
    W("load_progress", NUM, NULL, "0 to 1 while it loads."),
    W("uptime_s", INT, NULL, "Seconds since the start."),
    W("running", INT, NULL, "Requests that are being generated."),
    W("waiting", INT, NULL, "Requests in the queue."),
    {.name = NULL}};

const struct schema hub_schemas[] = {
    {"Health", "State of the hub.", health_fields, NULL},
    {NULL, NULL, NULL, NULL}};
