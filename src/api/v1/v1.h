/* The multi-user backend's tables. */
#ifndef HEARTH_API_V1_V1_H
#define HEARTH_API_V1_V1_H

#include "api/fields.h"
#include "api/route.h"

extern const struct route v1_auth_routes[], v1_conversation_routes[], v1_job_routes[],
    v1_chat_routes[], v1_user_routes[], v1_stats_routes[], v1_file_routes[], v1_collection_routes[],
    v1_search_routes[], v1_source_routes[];
extern const struct schema v1_schemas[], v1_conversation_schemas[], v1_chat_schemas[],
    v1_user_schemas[], v1_file_schemas[], v1_collection_schemas[], v1_search_schemas[],
    v1_source_schemas[];

#endif
