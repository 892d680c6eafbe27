/* Routes of the hub's own surface. */
#include <stddef.h>

#include "api/hub/hub_int.h"

/* clang-format off */
const struct route hub_routes[] = {
    {HTTP_GET, "/health", hub_health, ROUTE_INLINE | ROUTE_PUBLIC, "Hub", "Whether the hub is up, and what it does", NULL, "Health"},
    {HTTP_GET, "/api/health", hub_health, ROUTE_INLINE | ROUTE_PUBLIC, "Model server", "The same as /health, where clients of model servers look for it", NULL, "Health"},
    {HTTP_GET, "/metrics", hub_metrics, ROUTE_INLINE | ROUTE_ADMIN, "Hub", "Metrics in Prometheus' text format", NULL, NULL},
    {HTTP_GET, "/v1/queue", hub_queue, 0, "Scheduling", "Who waits and who runs", NULL, "Queue"},
    {HTTP_GET, "/v1/requests", hub_requests, 0, "Scheduling", "The last requests, those under way first; ?limit=100", NULL, "RequestList"},
    {HTTP_GET, "/v1/requests/{id}", hub_request, 0, "Scheduling", "What one request went through", NULL, "RequestRecord"},
    {HTTP_DELETE, "/v1/requests/{id}", hub_request_cancel, 0, "Scheduling", "Cancel a request, waiting or running", NULL, "RequestRecord"},
    {HTTP_POST, "/v1/requests/{id}/cancel", hub_request_cancel, 0, "Scheduling", "The same", NULL, "RequestRecord"},
    {HTTP_GET, "/v1/cache", hub_cache, 0, "Scheduling", "Sizes and hits of the prefix cache", NULL, "Cache"},
    {HTTP_POST, "/v1/models/plan", hub_model_plan, 0, "Models", "Whether a model would fit into memory, and what would have to go; nothing is loaded", "PlanRequest", "Plan"},
    {HTTP_POST, "/v1/models/{id...}/load", hub_model_load, ROUTE_ADMIN, "Models", "Load a model into memory", "LoadRequest", "LoadAnswer"},
    {HTTP_POST, "/v1/models/{id...}/unload", hub_model_unload, ROUTE_ADMIN, "Models", "Unload a model once its running requests have ended", NULL, "LoadAnswer"},
    {HTTP_GET, "/adapters", hub_adapters, 0, "Models", "The LoRA adapters and the default one", NULL, "AdapterList"},
    {HTTP_POST, "/adapters/load", hub_adapter_load, ROUTE_ADMIN, "Models", "Choose the adapter of requests that name none", "AdapterLoadRequest", "AdapterLoadAnswer"},
    {HTTP_GET, "/", hub_root, ROUTE_INLINE | ROUTE_PUBLIC, "Hub", "The first page for browsers, the health for others", NULL, "Health"},
    {HTTP_GET, "/openapi.json", hub_openapi, ROUTE_PUBLIC, "Hub", "This document", NULL, NULL},
    {HTTP_GET, "/docs", hub_docs, ROUTE_HIDDEN | ROUTE_INLINE | ROUTE_PUBLIC, "Hub", "Swagger UI", NULL, NULL},
    {HTTP_GET, "/redoc", hub_redoc, ROUTE_HIDDEN | ROUTE_INLINE | ROUTE_PUBLIC, "Hub", "ReDoc", NULL, NULL},
    {HTTP_GET, "/assets/{file}", hub_asset, ROUTE_HIDDEN | ROUTE_PUBLIC, "Hub", "Parts of the pages", NULL, NULL},
    {.path = NULL}};
