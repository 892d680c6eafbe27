/* Every object of files and batches; see fields.h for what a column means. */
#include "api/batches/batches_int.h"
#include "api/tables.h"

/* clang-format off */

#define S batch_create_fields
const struct field batch_create_fields[] = {
    R("input_file_id", STR, REQ, 0, 0, NULL, input_file_id, "A file of purpose batch: a request on each line, {\"custom_id\", \"method\": \"POST\", \"url\", \"body\"}; at most 50000."),
    R("endpoint", STR, REQ, 0, 0, WORDS("\"/v1/chat/completions\",\"/v1/responses\",\"/v1/embeddings\",\"/v1/completions\""), endpoint, "The `url` of all its lines."),
    R("completion_window", STR, REQ, 0, 0, NULL, completion_window, "The time it has: \"24h\"; here any up to 30 days (\"90m\", \"7d\")."),
    R("metadata", OBJ, 0, 0, 0, "{\"type\":\"object\",\"maxProperties\":16,\"additionalProperties\":{\"type\":\"string\",\"maxLength\":512}}", metadata, "Up to 16 texts that are kept with it."),
    R("output_expires_after", OBJ, 0, 0, 0, "{\"type\":\"object\",\"required\":[\"anchor\",\"seconds\"],\"properties\":{\"anchor\":{\"type\":\"string\",\"const\":\"created_at\"},\"seconds\":{\"type\":\"integer\",\"minimum\":3600,\"maximum\":2592000}}}", output_expires_after, "When its output files go by themselves; absent: never."),
    END};
#undef S

static const struct field file_fields[] = {
    W("id", STR, NULL, "Its id."),
    W("object", STR, CONST_OF("file"), "file"),
    W("bytes", INT, NULL, "Its size."),
    W("created_at", INT, NULL, "Unix seconds."),
    W("expires_at", JSON, NULLABLE("integer"), "When it goes by itself."),
    W("filename", STR, NULL, "As it was called."),
    W("purpose", STR, WORDS("\"assistants\",\"batch\",\"batch_output\",\"fine-tune\",\"vision\",\"user_data\",\"evals\""), "What it is for; batch_output: what came of a batch."),
    W("status", STR, CONST_OF("processed"), "processed"),
    END};

#define LIST_FIELDS(item, what) \
    W("object", STR, CONST_OF("list"), "list"), \
    W("data", ARR, LIST(REF(item)), what), \
    W("first_id", JSON, NULLABLE("string"), "Id of the first one."), \
    W("last_id", JSON, NULLABLE("string"), "Id of the last one: `after` goes on behind it."), \
    W("has_more", BOOL, NULL, "Whether there are more."), \
    END

static const struct field file_list_fields[] = {LIST_FIELDS("FileObject", "The files.")};
static const struct field batch_list_fields[] = {LIST_FIELDS("Batch", "The batches.")};

static const struct field batch_fields[] = {
    W("id", STR, NULL, "Its id."),
    W("object", STR, CONST_OF("batch"), "batch"),
    W("endpoint", STR, NULL, "As asked."),
    W("model", JSON, NULLABLE("string"), "The model of its first answer."),
    W("errors", JSON, "{\"type\":[\"object\",\"null\"],\"properties\":{\"object\":{\"type\":\"string\"},\"data\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"string\"},\"message\":{\"type\":\"string\"},\"param\":{\"type\":[\"string\",\"null\"]},\"line\":{\"type\":[\"integer\",\"null\"]}}}}}}", "What was wrong with its input."),
    W("input_file_id", STR, NULL, "As asked."),
    W("completion_window", STR, NULL, "As asked."),
    W("status", STR, WORDS("\"validating\",\"failed\",\"in_progress\",\"finalizing\",\"completed\",\"expired\",\"cancelling\",\"cancelled\""), "How far it is."),
    W("output_file_id", JSON, NULLABLE("string"), "At the end: the answers, one on each line, in the order of the requests."),
    W("error_file_id", JSON, NULLABLE("string"), "At the end: the same of those that failed."),
    W("created_at", INT, NULL, "Unix seconds, as all times; null: it has not come to that."),
    W("in_progress_at", JSON, NULLABLE("integer"), "Its input was in order."),
    W("expires_at", INT, NULL, "When its time is over."),
    W("finalizing_at", JSON, NULLABLE("integer"), "All was answered."),
    W("completed_at", JSON, NULLABLE("integer"), "Its files are there."),
    W("failed_at", JSON, NULLABLE("integer"), "Its input was wrong."),
    W("expired_at", JSON, NULLABLE("integer"), "Its time was over before all was answered."),
    W("cancelling_at", JSON, NULLABLE("integer"), "It was to stop."),
    W("cancelled_at", JSON, NULLABLE("integer"), "It has stopped."),
    W("request_counts", OBJ, "{\"type\":\"object\",\"properties\":{\"total\":{\"type\":\"integer\"},\"completed\":{\"type\":\"integer\"},\"failed\":{\"type\":\"integer\"}}}", "Lines."),
    W("usage", JSON, "{\"oneOf\":[" REF("ResponseUsage") ",{\"type\":\"null\"}]}", "Tokens of what was answered."),
    W("metadata", OBJ, NULL, "As asked."),
    END};

const struct schema batch_schemas[] = {
    {"FileObject", "A file.", file_fields, NULL},
    {"FileObjectList", "Files.", file_list_fields, NULL},
    {"BatchRequest", "Body of a new batch.", batch_create_fields, NULL},
    {"Batch", "A batch.", batch_fields, NULL},
    {"BatchList", "Batches.", batch_list_fields, NULL},
    {NULL, NULL, NULL, NULL}};
