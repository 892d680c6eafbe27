/* The schema's history; see migrations.h. Times are milliseconds since 1970; ids are UUIDs or as a
 * client gave them; JSON is text. */
#include "store/migrations.h"

/* ---- 1: accounts --------------------------------------------------------------------------- */

#define ACCOUNTS_UP                                                                                \
    "CREATE TABLE users ("                                                                         \
    " id TEXT PRIMARY KEY,"                                                                        \
    " username TEXT NOT NULL,"                                                                     \
    " username_key TEXT NOT NULL UNIQUE," /* lower case */                                         \
    " email TEXT,"                                                                                 \
    " password_hash TEXT NOT NULL,"                                                                \
    " role TEXT NOT NULL CHECK (role IN ('user', 'admin')),"                                       \
    " disabled BIGINT NOT NULL DEFAULT 0,"                                                         \
    " token_version BIGINT NOT NULL DEFAULT 0," /* raised: tokens given out before are void */     \
    " settings TEXT NOT NULL DEFAULT '{}',"                                                        \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " updated_ms BIGINT NOT NULL,"                                                                 \
    " last_login_ms BIGINT);"                                                                      \
    "CREATE TABLE api_keys ("                                                                      \
    " id TEXT PRIMARY KEY,"                                                                        \
    " user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,"                              \
    " name TEXT NOT NULL,"                                                                         \
    " hash TEXT NOT NULL UNIQUE," /* of the key; the key itself is shown once */                   \
    " scopes TEXT NOT NULL,"                                                                       \
    " requests_per_minute BIGINT NOT NULL DEFAULT 0,"                                              \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " expires_ms BIGINT,"                                                                          \
    " used_ms BIGINT,"                                                                             \
    " UNIQUE (user_id, name));"                                                                    \
    "CREATE TABLE refresh_tokens ("                                                                \
    " hash TEXT PRIMARY KEY,"                                                                      \
    " user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,"                              \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " expires_ms BIGINT NOT NULL);"                                                                \
    "CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);"                                \
    "CREATE TABLE invitations ("                                                                   \
    " hash TEXT PRIMARY KEY,"                                                                      \
    " created_by TEXT REFERENCES users (id) ON DELETE SET NULL,"                                   \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " expires_ms BIGINT NOT NULL,"                                                                 \
    " used_ms BIGINT);"                                                                            \
    "CREATE TABLE audit ("                                                                         \
    " id TEXT PRIMARY KEY,"                                                                        \
    " at_ms BIGINT NOT NULL,"                                                                      \
    " event TEXT NOT NULL,"                                                                        \
    " user_id TEXT,"                                                                               \
    " address TEXT,"                                                                               \
    " details TEXT NOT NULL DEFAULT '{}');"                                                        \
    "CREATE INDEX audit_at ON audit (at_ms);"

#define ACCOUNTS_DOWN                                                                              \
    "DROP TABLE audit; DROP TABLE invitations; DROP TABLE refresh_tokens; DROP TABLE api_keys;"    \
    "DROP TABLE users;"

/* ---- 2: conversations ---------------------------------------------------------------------- */

/* A conversation's messages are a tree: editing one or asking again adds a sibling, and `leaf_id`
 * is the end of the branch that is shown. */
#define CONVERSATIONS_UP                                                                           \
    "CREATE TABLE conversations ("                                                                 \
    " id TEXT PRIMARY KEY,"                                                                        \
    " user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,"                              \
    " title TEXT NOT NULL DEFAULT '',"                                                             \
    " leaf_id TEXT,"                                                                               \
    " n_messages BIGINT NOT NULL DEFAULT 0,"                                                       \
    " archived BIGINT NOT NULL DEFAULT 0,"                                                         \
    " meta TEXT NOT NULL DEFAULT '{}',"                                                            \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " updated_ms BIGINT NOT NULL);"                                                                \
    "CREATE INDEX conversations_user ON conversations (user_id, updated_ms DESC, id DESC);"

/* `n` is the order of arrival and ties a message to its words. */
#define MESSAGES(n_type)                                                                           \
    "CREATE TABLE messages ("                                                                      \
    " n " n_type " PRIMARY KEY,"                                                                   \
    " id TEXT NOT NULL UNIQUE,"                                                                    \
    " conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,"              \
    " parent_id TEXT,"                                                                             \
    " role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant', 'tool')),"                 \
    " content TEXT NOT NULL,"                                                                      \
    " reasoning TEXT,"                                                                             \
    " status TEXT NOT NULL CHECK (status IN ('complete', 'streaming', 'stopped', 'failed')),"      \
    " model TEXT,"                                                                                 \
    " meta TEXT NOT NULL DEFAULT '{}',"                                                            \
    " created_ms BIGINT NOT NULL"

#define MESSAGE_WORDS                                                                              \
    "CREATE TRIGGER messages_text_add AFTER INSERT ON messages BEGIN"                              \
    " INSERT INTO messages_text (rowid, content) VALUES (new.n, new.content); END;"                \
    "CREATE TRIGGER messages_text_del AFTER DELETE ON messages BEGIN"                              \
    " INSERT INTO messages_text (messages_text, rowid, content)"                                   \
    " VALUES ('delete', old.n, old.content); END;"                                                 \
    "CREATE TRIGGER messages_text_change AFTER UPDATE OF content ON messages BEGIN"                \
    " INSERT INTO messages_text (messages_text, rowid, content)"                                   \
    " VALUES ('delete', old.n, old.content);"                                                      \
    " INSERT INTO messages_text (rowid, content) VALUES (new.n, new.content); END;"

/* clang-format off */
static const char conversations_up[] =
    CONVERSATIONS_UP MESSAGES("INTEGER") ");"
    "CREATE INDEX messages_conversation ON messages (conversation_id, n);"
    "CREATE VIRTUAL TABLE messages_text USING fts5 (content, content='messages',"
    " content_rowid='n', tokenize='unicode61 remove_diacritics 2');"
    MESSAGE_WORDS;

/* left(): a tsvector has at most 1 MiB. */
static const char conversations_up_pg[] =
    CONVERSATIONS_UP MESSAGES("BIGINT GENERATED ALWAYS AS IDENTITY")
    ", words tsvector GENERATED ALWAYS AS (to_tsvector('simple', left(content, 200000))) STORED);"
    "CREATE INDEX messages_conversation ON messages (conversation_id, n);"
    "CREATE INDEX messages_words ON messages USING GIN (words);";
/* clang-format on */

static const char conversations_down[] =
    "DROP TABLE messages_text; DROP TABLE messages; DROP TABLE conversations;";
static const char conversations_down_pg[] = "DROP TABLE messages; DROP TABLE conversations;";

/* ---- 3: jobs ------------------------------------------------------------------------------- */

#define JOBS_UP(n_type)                                                                            \
    "CREATE TABLE jobs ("                                                                          \
    " n " n_type " PRIMARY KEY,"                                                                   \
    " id TEXT NOT NULL UNIQUE,"                                                                    \
    " kind TEXT NOT NULL,"                                                                         \
    " user_id TEXT REFERENCES users (id) ON DELETE CASCADE,"                                       \
    " idempotency_key TEXT,"                                                                       \
    " payload TEXT NOT NULL,"                                                                      \
    " progress TEXT NOT NULL DEFAULT '{}',"                                                        \
    " error TEXT,"                                                                                 \
    " state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),"  \
    " priority BIGINT NOT NULL,"                                                                   \
    " attempts BIGINT NOT NULL DEFAULT 0,"                                                         \
    " max_attempts BIGINT NOT NULL,"                                                               \
    " worker TEXT,"                                                                                \
    " run_after_ms BIGINT NOT NULL,"                                                               \
    " lease_until_ms BIGINT,"                                                                      \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " updated_ms BIGINT NOT NULL);"                                                                \
    "CREATE UNIQUE INDEX jobs_key ON jobs (idempotency_key)"                                       \
    " WHERE state IN ('queued', 'running');"                                                       \
    "CREATE INDEX jobs_due ON jobs (priority, run_after_ms, n) WHERE state = 'queued';"            \
    "CREATE INDEX jobs_leased ON jobs (lease_until_ms) WHERE state = 'running';"

/* ---- 4: usage ------------------------------------------------------------------------------ */

/* In quotas NULL is the default of the settings and 0 is no limit. `who` of a minute is a user or
 * an API key; a minute's rows are gone ten minutes later. */
#define USAGE_UP                                                                                   \
    "CREATE TABLE quotas ("                                                                        \
    " user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,"                           \
    " requests_per_minute BIGINT,"                                                                 \
    " requests_per_day BIGINT,"                                                                    \
    " tokens_per_minute BIGINT,"                                                                   \
    " tokens_per_day BIGINT,"                                                                      \
    " streams BIGINT,"                                                                             \
    " storage_bytes BIGINT);"                                                                      \
    "CREATE TABLE usage_days ("                                                                    \
    " user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,"                              \
    " day BIGINT NOT NULL,"                                                                        \
    " requests BIGINT NOT NULL,"                                                                   \
    " prompt_tokens BIGINT NOT NULL,"                                                              \
    " completion_tokens BIGINT NOT NULL,"                                                          \
    " PRIMARY KEY (user_id, day));"                                                                \
    "CREATE TABLE usage_minutes ("                                                                 \
    " who TEXT NOT NULL,"                                                                          \
    " minute BIGINT NOT NULL,"                                                                     \
    " requests BIGINT NOT NULL,"                                                                   \
    " tokens BIGINT NOT NULL,"                                                                     \
    " PRIMARY KEY (who, minute));"

/* ---- 5: files ------------------------------------------------------------------------------ */

/* A collection without a user is shared by all; its files have none either. `n`: see store_file.h.
 * An upload is there once in a collection; a watched folder may hold the same bytes twice. */
#define FILES_UP                                                                                   \
    "CREATE TABLE collections ("                                                                   \
    " id TEXT PRIMARY KEY,"                                                                        \
    " n BIGINT NOT NULL UNIQUE,"                                                                   \
    " user_id TEXT REFERENCES users (id) ON DELETE CASCADE,"                                       \
    " name TEXT NOT NULL,"                                                                         \
    " created_ms BIGINT NOT NULL);"                                                                \
    "CREATE UNIQUE INDEX collections_name ON collections (COALESCE(user_id, ''), name);"           \
    "CREATE TABLE files ("                                                                         \
    " id TEXT PRIMARY KEY,"                                                                        \
    " n BIGINT NOT NULL UNIQUE,"                                                                   \
    " user_id TEXT REFERENCES users (id) ON DELETE CASCADE,"                                       \
    " collection_id TEXT NOT NULL REFERENCES collections (id) ON DELETE CASCADE,"                  \
    " name TEXT NOT NULL,"                                                                         \
    " sha256 TEXT NOT NULL,"                                                                       \
    " bytes BIGINT NOT NULL,"                                                                      \
    " type TEXT NOT NULL,"                                                                         \
    " status TEXT NOT NULL CHECK (status IN"                                                       \
    " ('queued', 'extracting', 'chunking', 'embedding', 'ready', 'failed')),"                      \
    " done BIGINT NOT NULL DEFAULT 0,"                                                             \
    " total BIGINT NOT NULL DEFAULT 0,"                                                            \
    " error TEXT,"                                                                                 \
    " n_chunks BIGINT NOT NULL DEFAULT 0,"                                                         \
    " n_pages BIGINT NOT NULL DEFAULT 0,"                                                          \
    " meta TEXT NOT NULL DEFAULT '{}',"                                                            \
    " source TEXT,"                                                                                \
    " source_ms BIGINT NOT NULL DEFAULT 0,"                                                        \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " updated_ms BIGINT NOT NULL);"                                                                \
    "CREATE INDEX files_user ON files (user_id, created_ms DESC, id DESC);"                        \
    "CREATE INDEX files_collection ON files (collection_id, created_ms DESC, id DESC);"            \
    "CREATE INDEX files_bytes ON files (sha256);"                                                  \
    "CREATE UNIQUE INDEX files_upload ON files (collection_id, sha256) WHERE source IS NULL;"      \
    "CREATE UNIQUE INDEX files_source ON files (collection_id, source)"                            \
    " WHERE source IS NOT NULL;"                                                                   \
    "CREATE TABLE watches ("                                                                       \
    " id TEXT PRIMARY KEY,"                                                                        \
    " user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,"                              \
    " collection_id TEXT NOT NULL REFERENCES collections (id) ON DELETE CASCADE,"                  \
    " path TEXT NOT NULL,"                                                                         \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " UNIQUE (user_id, path));"

/* ---- 6: vectors ---------------------------------------------------------------------------- */

/* A set holds the vectors of one embedding model. The number of a vector is its set's, shifted, and
 * a count that only rises: it is never given twice, and rises in the order of commits, since a
 * writer locks its set's row first. What is derived from vectors (in memory, in another server)
 * catches up by last_seq and notices by removed, which a trigger counts, that some have gone. */
#define VECTORS(blob, n_type)                                                                      \
    "CREATE TABLE vector_sets ("                                                                   \
    " n BIGINT PRIMARY KEY,"                                                                       \
    " model TEXT NOT NULL,"                                                                        \
    " dims BIGINT NOT NULL CHECK (dims > 0),"                                                      \
    " last_seq BIGINT NOT NULL DEFAULT 0,"                                                         \
    " removed BIGINT NOT NULL DEFAULT 0,"                                                          \
    " dropped BIGINT NOT NULL DEFAULT 0," /* its number is never given again */                    \
    " created_ms BIGINT NOT NULL);"                                                                \
    "CREATE UNIQUE INDEX vector_sets_model ON vector_sets (model, dims) WHERE dropped = 0;"        \
    "CREATE TABLE vector_files ("                                                                  \
    " n BIGINT PRIMARY KEY,"                                                                       \
    " file_id TEXT NOT NULL UNIQUE REFERENCES files (id) ON DELETE CASCADE,"                       \
    " collection_n BIGINT NOT NULL);"                                                              \
    "CREATE TABLE vectors ("                                                                       \
    " n " n_type " PRIMARY KEY,"                                                                   \
    " set_n BIGINT NOT NULL REFERENCES vector_sets (n) ON DELETE CASCADE,"                         \
    " collection_n BIGINT NOT NULL,"                                                               \
    " file_n BIGINT NOT NULL REFERENCES vector_files (n) ON DELETE CASCADE,"                       \
    " chunk_id BIGINT NOT NULL,"                                                                   \
    " embedding " blob " NOT NULL);" /* floats of length 1, little-endian */                       \
    "CREATE UNIQUE INDEX vectors_chunk ON vectors (set_n, chunk_id);"                              \
    "CREATE INDEX vectors_file ON vectors (file_n, set_n);"                                        \
    "CREATE TABLE vector_places ("                                                                 \
    " set_n BIGINT NOT NULL REFERENCES vector_sets (n) ON DELETE CASCADE,"                         \
    " place TEXT NOT NULL,"                                                                        \
    " last_seq BIGINT NOT NULL,"                                                                   \
    " removed BIGINT NOT NULL,"                                                                    \
    " PRIMARY KEY (set_n, place));"

/* vector_bits has the signs of a vector's numbers, side by side for each collection: what a search
 * reads first. */
/* clang-format off */
static const char vectors_up[] =
    VECTORS("BLOB", "INTEGER")
    "CREATE TABLE vector_bits ("
    " set_n BIGINT NOT NULL,"
    " collection_n BIGINT NOT NULL,"
    " n BIGINT NOT NULL,"
    " file_n BIGINT NOT NULL,"
    " bits BLOB NOT NULL,"
    " PRIMARY KEY (set_n, collection_n, n)) WITHOUT ROWID;"
    "CREATE TRIGGER vectors_gone AFTER DELETE ON vectors BEGIN"
    " DELETE FROM vector_bits WHERE set_n = old.set_n AND collection_n = old.collection_n"
    "  AND n = old.n;"
    " UPDATE vector_sets SET removed = removed + 1 WHERE n = old.set_n; END;";

/* Each set's table for pgvector (vector_pg_1, ...) is made when it is needed. */
static const char vectors_up_pg[] =
    VECTORS("BYTEA", "BIGINT")
    "CREATE INDEX vectors_collection ON vectors (set_n, collection_n);"
    "CREATE FUNCTION vectors_gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " UPDATE vector_sets s SET removed = s.removed + g.count"
    "  FROM (SELECT set_n, COUNT(*) AS count FROM gone GROUP BY set_n) g WHERE s.n = g.set_n;"
    " RETURN NULL; END $$;"
    "CREATE TRIGGER vectors_gone AFTER DELETE ON vectors REFERENCING OLD TABLE AS gone"
    " FOR EACH STATEMENT EXECUTE FUNCTION vectors_gone();";
/* clang-format on */

#define VECTORS_DOWN                                                                               \
    "DROP TABLE vector_places; DROP TABLE vectors; DROP TABLE vector_files;"                       \
    "DROP TABLE vector_sets;"

static const char vectors_down[] = "DROP TABLE vector_bits;" VECTORS_DOWN;
static const char vectors_down_pg[] =
    "DO $$ DECLARE t record; BEGIN FOR t IN SELECT format('%I.%I', schemaname, tablename) AS name"
    " FROM pg_tables WHERE schemaname = current_schema() AND tablename ~ '^vector_pg_[0-9]+$'"
    " LOOP EXECUTE 'DROP TABLE ' || t.name; END LOOP; END $$;" VECTORS_DOWN
    "DROP FUNCTION vectors_gone();";

/* ---- 7: chunks ----------------------------------------------------------------------------- */

/* `next` of a space only rises: an id is never given twice. The short columns come first, since a
 * long text spills over pages. */
#define CHUNKS(id_type, more)                                                                      \
    "CREATE TABLE chunk_spaces ("                                                                  \
    " collection_n BIGINT PRIMARY KEY,"                                                            \
    " space BIGINT NOT NULL UNIQUE,"                                                               \
    " next BIGINT NOT NULL);"                                                                      \
    "CREATE TABLE chunks ("                                                                        \
    " id " id_type " PRIMARY KEY,"                                                                 \
    " file_id TEXT NOT NULL REFERENCES files (id) ON DELETE CASCADE,"                              \
    " collection_n BIGINT NOT NULL,"                                                               \
    " n BIGINT NOT NULL,"                                                                          \
    " page_from BIGINT NOT NULL,"                                                                  \
    " page_to BIGINT NOT NULL,"                                                                    \
    " start_at BIGINT NOT NULL,"                                                                   \
    " end_at BIGINT NOT NULL,"                                                                     \
    " tokens BIGINT NOT NULL,"                                                                     \
    " heading TEXT NOT NULL,"                                                                      \
    " text TEXT NOT NULL" more ");"                                                                \
    "CREATE UNIQUE INDEX chunks_file ON chunks (file_id, n);"

/* A word in the heading counts twice. The larger hash makes fewer and larger segments. */
/* clang-format off */
static const char chunks_up[] =
    CHUNKS("INTEGER", "")
    "CREATE VIRTUAL TABLE chunks_text USING fts5 (heading, text, content='chunks',"
    " content_rowid='id', tokenize='unicode61 remove_diacritics 2');"
    "INSERT INTO chunks_text (chunks_text, rank) VALUES ('rank', 'bm25(2.0, 1.0)');"
    "INSERT INTO chunks_text (chunks_text, rank) VALUES ('hashsize', 16777216);"
    "CREATE TRIGGER chunks_text_add AFTER INSERT ON chunks BEGIN"
    " INSERT INTO chunks_text (rowid, heading, text) VALUES (new.id, new.heading, new.text); END;"
    "CREATE TRIGGER chunks_text_del AFTER DELETE ON chunks BEGIN"
    " INSERT INTO chunks_text (chunks_text, rowid, heading, text)"
    " VALUES ('delete', old.id, old.heading, old.text); END;";

/* left(): a tsvector has at most 1 MiB. EXTERNAL: ranking reads many of them, and unpacking would
 * take longer than that. */
static const char chunks_up_pg[] =
    CHUNKS("BIGINT",
           ", words tsvector GENERATED ALWAYS AS (to_tsvector('simple', left(heading, 2000))"
           " || to_tsvector('simple', left(heading, 2000))"
           " || to_tsvector('simple', left(text, 200000))) STORED")
    "ALTER TABLE chunks ALTER COLUMN words SET STORAGE EXTERNAL;"
    "CREATE INDEX chunks_words ON chunks USING GIN (words);";
/* clang-format on */

static const char chunks_down[] = "DROP TABLE chunks_text;"
                                  "DROP TABLE chunks; DROP TABLE chunk_spaces;";
static const char chunks_down_pg[] = "DROP TABLE chunks; DROP TABLE chunk_spaces;";

/* ---- 8: pins ------------------------------------------------------------------------------- */

/* What must never leave the machine. */
#define PIN(table)   "ALTER TABLE " table " ADD COLUMN local_only BIGINT NOT NULL DEFAULT 0;"
#define UNPIN(table) "ALTER TABLE " table " DROP COLUMN local_only;"
#define PINS_UP      PIN("users") PIN("api_keys") PIN("conversations") PIN("files")
#define PINS_DOWN    UNPIN("files") UNPIN("conversations") UNPIN("api_keys") UNPIN("users")

/* ---- 9: words of chunks ---------------------------------------------------------------------- */

/* Whoever adds a chunk adds its words (chunk.c says why). */
static const char chunk_words_down[] =
    "CREATE TRIGGER chunks_text_add AFTER INSERT ON chunks BEGIN"
    " INSERT INTO chunks_text (rowid, heading, text) VALUES (new.id, new.heading, new.text); END;";

/* ---- 10: answers and batches ---------------------------------------------------------------- */

/* user_id NULL: of a hub that asks nobody who calls. A time of 0: it has not come to that. */
#define ANSWERS_UP                                                                                 \
    "CREATE TABLE answers ("                                                                       \
    " id TEXT PRIMARY KEY,"                                                                        \
    " user_id TEXT REFERENCES users (id) ON DELETE CASCADE,"                                       \
    " kind TEXT NOT NULL CHECK (kind IN ('response', 'completion')),"                              \
    " state TEXT NOT NULL CHECK (state IN"                                                         \
    " ('queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled')),"               \
    " previous_id TEXT,"                                                                           \
    " job_id TEXT,"                                                                                \
    " model TEXT NOT NULL,"                                                                        \
    " metadata TEXT NOT NULL,"                                                                     \
    " request TEXT,"                                                                               \
    " input TEXT NOT NULL,"                                                                        \
    " body TEXT NOT NULL,"                                                                         \
    " events TEXT,"                                                                                \
    " local_only BIGINT NOT NULL DEFAULT 0,"                                                       \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " updated_ms BIGINT NOT NULL);"                                                                \
    "CREATE INDEX answers_user ON answers (COALESCE(user_id, ''), kind, created_ms, id);"          \
    "CREATE INDEX answers_created ON answers (created_ms);"                                        \
    "CREATE TABLE api_files ("                                                                     \
    " id TEXT PRIMARY KEY,"                                                                        \
    " user_id TEXT REFERENCES users (id) ON DELETE CASCADE,"                                       \
    " purpose TEXT NOT NULL,"                                                                      \
    " name TEXT NOT NULL,"                                                                         \
    " sha256 TEXT NOT NULL,"                                                                       \
    " bytes BIGINT NOT NULL,"                                                                      \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " expires_ms BIGINT NOT NULL DEFAULT 0);"                                                      \
    "CREATE INDEX api_files_user ON api_files (COALESCE(user_id, ''), created_ms, id);"            \
    "CREATE INDEX api_files_bytes ON api_files (sha256);"                                          \
    "CREATE INDEX api_files_expiry ON api_files (expires_ms) WHERE expires_ms > 0;"                \
    "CREATE TABLE batches ("                                                                       \
    " id TEXT PRIMARY KEY,"                                                                        \
    " user_id TEXT REFERENCES users (id) ON DELETE CASCADE,"                                       \
    " job_id TEXT NOT NULL,"                                                                       \
    " endpoint TEXT NOT NULL,"                                                                     \
    " input_file_id TEXT NOT NULL,"                                                                \
    " output_file_id TEXT,"                                                                        \
    " error_file_id TEXT,"                                                                         \
    " state TEXT NOT NULL CHECK (state IN ('validating', 'failed', 'in_progress', 'finalizing',"   \
    " 'completed', 'expired', 'cancelling', 'cancelled')),"                                        \
    " errors TEXT,"                                                                                \
    " metadata TEXT NOT NULL,"                                                                     \
    " model TEXT,"                                                                                 \
    " usage TEXT,"                                                                                 \
    " total BIGINT NOT NULL DEFAULT 0,"                                                            \
    " completed BIGINT NOT NULL DEFAULT 0,"                                                        \
    " failed BIGINT NOT NULL DEFAULT 0,"                                                           \
    " local_only BIGINT NOT NULL DEFAULT 0,"                                                       \
    " keep_output_s BIGINT NOT NULL DEFAULT 0,"                                                    \
    " created_ms BIGINT NOT NULL,"                                                                 \
    " expires_ms BIGINT NOT NULL,"                                                                 \
    " in_progress_ms BIGINT NOT NULL DEFAULT 0,"                                                   \
    " finalizing_ms BIGINT NOT NULL DEFAULT 0,"                                                    \
    " completed_ms BIGINT NOT NULL DEFAULT 0,"                                                     \
    " failed_ms BIGINT NOT NULL DEFAULT 0,"                                                        \
    " expired_ms BIGINT NOT NULL DEFAULT 0,"                                                       \
    " cancelling_ms BIGINT NOT NULL DEFAULT 0,"                                                    \
    " cancelled_ms BIGINT NOT NULL DEFAULT 0);"                                                    \
    "CREATE INDEX batches_user ON batches (COALESCE(user_id, ''), created_ms, id);"                \
    "CREATE TABLE batch_lines ("                                                                   \
    " batch_id TEXT NOT NULL REFERENCES batches (id) ON DELETE CASCADE,"                           \
    " line BIGINT NOT NULL,"                                                                       \
    " failed BIGINT NOT NULL,"                                                                     \
    " text TEXT NOT NULL,"                                                                         \
    " PRIMARY KEY (batch_id, line));"

/* ---- 11: routing --------------------------------------------------------------------------- */

/* Money, and the log of requests (store_request.h). */
#define ROUTING_UP                                                                                 \
    "ALTER TABLE quotas ADD COLUMN cents_per_month BIGINT;"                                        \
    "ALTER TABLE usage_days ADD COLUMN cost_micros BIGINT NOT NULL DEFAULT 0;"                     \
    "CREATE TABLE request_log ("                                                                   \
    " id TEXT PRIMARY KEY,"                                                                        \
    " user_id TEXT REFERENCES users (id) ON DELETE CASCADE,"                                       \
    " at_ms BIGINT NOT NULL,"                                                                      \
    " request_id TEXT NOT NULL,"                                                                   \
    " kind TEXT NOT NULL,"                                                                         \
    " asked TEXT NOT NULL,"                                                                        \
    " route TEXT NOT NULL,"                                                                        \
    " goal TEXT NOT NULL,"                                                                         \
    " provider TEXT NOT NULL,"                                                                     \
    " model TEXT NOT NULL,"                                                                        \
    " reason TEXT NOT NULL,"                                                                       \
    " tried TEXT,"                                                                                 \
    " attempts BIGINT NOT NULL,"                                                                   \
    " complexity BIGINT,"                                                                          \
    " error TEXT,"                                                                                 \
    " prompt_tokens BIGINT NOT NULL,"                                                              \
    " cached_tokens BIGINT NOT NULL,"                                                              \
    " completion_tokens BIGINT NOT NULL,"                                                          \
    " reasoning_tokens BIGINT NOT NULL,"                                                           \
    " first_token_ms BIGINT,"                                                                      \
    " total_ms BIGINT NOT NULL,"                                                                   \
    " cost_micros BIGINT,"                                                                         \
    " left_to TEXT,"                                                                               \
    " left_bytes BIGINT NOT NULL,"                                                                 \
    " left_messages BIGINT NOT NULL,"                                                              \
    " left_images BIGINT NOT NULL);"                                                               \
    "CREATE INDEX request_log_at ON request_log (at_ms);"                                          \
    "CREATE INDEX request_log_user ON request_log (user_id, at_ms);"

#define ROUTING_DOWN                                                                               \
    "DROP TABLE request_log; ALTER TABLE usage_days DROP COLUMN cost_micros;"                      \
    "ALTER TABLE quotas DROP COLUMN cents_per_month;"

/* ---- 12: words of messages ------------------------------------------------------------------- */

/* Those of an answer once it is whole: while it is written it is saved again and again. */
/* clang-format off */
#define MESSAGE_WORDS_DROP                                                                         \
    "DROP TRIGGER messages_text_add; DROP TRIGGER messages_text_del;"                              \
    "DROP TRIGGER messages_text_change;"

static const char message_words_up[] =
    "INSERT INTO messages_text (messages_text, rowid, content)"
    " SELECT 'delete', n, content FROM messages WHERE status = 'streaming';"
    MESSAGE_WORDS_DROP
    "CREATE TRIGGER messages_text_add AFTER INSERT ON messages WHEN new.status <> 'streaming' BEGIN"
    " INSERT INTO messages_text (rowid, content) VALUES (new.n, new.content); END;"
    "CREATE TRIGGER messages_text_del AFTER DELETE ON messages WHEN old.status <> 'streaming' BEGIN"
    " INSERT INTO messages_text (messages_text, rowid, content)"
    " VALUES ('delete', old.n, old.content); END;"
    "CREATE TRIGGER messages_text_change AFTER UPDATE OF content, status ON messages"
    " WHEN old.status <> 'streaming' OR new.status <> 'streaming' BEGIN"
    " INSERT INTO messages_text (messages_text, rowid, content)"
    " SELECT 'delete', old.n, old.content WHERE old.status <> 'streaming';"
    " INSERT INTO messages_text (rowid, content)"
    " SELECT new.n, new.content WHERE new.status <> 'streaming'; END;";

static const char message_words_down[] =
    MESSAGE_WORDS_DROP MESSAGE_WORDS
    "INSERT INTO messages_text (rowid, content)"
    " SELECT n, content FROM messages WHERE status = 'streaming';";
/* clang-format on */

/* ---- 13: nobody's spending ------------------------------------------------------------------- */

/* Asked for about once a second while anybody without a user asks (store_request_cost): the index
 * alone has the sum. It begins with the user, who is NULL in all of it, or SQLite would take
 * request_log_user, which it looks through in fifty times the time (half a million rows: 108 ms and
 * 2 ms). */
#define NOBODY_UP                                                                                  \
    "CREATE INDEX request_log_nobody ON request_log (user_id, at_ms, cost_micros)"                 \
    " WHERE user_id IS NULL AND cost_micros > 0;"

/* ---- 14: keys of batches --------------------------------------------------------------------- */

/* No reference: that the key is gone is what must be seen. */
#define BATCH_KEYS_UP "ALTER TABLE batches ADD COLUMN key_id TEXT NOT NULL DEFAULT '';"

const struct migration migrations[] = {
    {.version = 1, .name = "accounts", .up = ACCOUNTS_UP, .down = ACCOUNTS_DOWN},
    {.version = 2,
     .name = "conversations",
     .up = conversations_up,
     .up_pg = conversations_up_pg,
     .down = conversations_down,
     .down_pg = conversations_down_pg},
    {.version = 3,
     .name = "jobs",
     .up = JOBS_UP("INTEGER"),
     .up_pg = JOBS_UP("BIGINT GENERATED ALWAYS AS IDENTITY"),
     .down = "DROP TABLE jobs;"},
    {.version = 4,
     .name = "usage",
     .up = USAGE_UP,
     .down = "DROP TABLE usage_minutes; DROP TABLE usage_days; DROP TABLE quotas;"},
    {.version = 5,
     .name = "files",
     .up = FILES_UP,
     .down = "DROP TABLE watches; DROP TABLE files; DROP TABLE collections;"},
    {.version = 6,
     .name = "vectors",
     .up = vectors_up,
     .up_pg = vectors_up_pg,
     .down = vectors_down,
     .down_pg = vectors_down_pg},
    {.version = 7,
     .name = "chunks",
     .up = chunks_up,
     .up_pg = chunks_up_pg,
     .down = chunks_down,
     .down_pg = chunks_down_pg},
    {.version = 8, .name = "pins", .up = PINS_UP, .down = PINS_DOWN},
    {.version = 9,
     .name = "words of chunks",
     .up = "DROP TRIGGER chunks_text_add;",
     .up_pg = "SELECT 1;",
     .down = chunk_words_down,
     .down_pg = "SELECT 1;"},
    {.version = 10,
     .name = "answers",
     .up = ANSWERS_UP,
     .down = "DROP TABLE batch_lines; DROP TABLE batches; DROP TABLE api_files;"
             "DROP TABLE answers;"},
    {.version = 11, .name = "routing", .up = ROUTING_UP, .down = ROUTING_DOWN},
    {.version = 12,
     .name = "words of messages",
     .up = message_words_up,
     .up_pg = "SELECT 1;",
     .down = message_words_down,
     .down_pg = "SELECT 1;"},
    {.version = 13,
     .name = "nobody's spending",
     .up = NOBODY_UP,
     .down = "DROP INDEX request_log_nobody;"},
    {.version = 14,
     .name = "keys of batches",
     .up = BATCH_KEYS_UP,
     .down = "ALTER TABLE batches DROP COLUMN key_id;"},
};

const size_t n_migrations = sizeof migrations / sizeof *migrations;

const struct table tables[] = {
    {"users",
     "id, username, username_key, email, password_hash, role, disabled, token_version, settings,"
     " created_ms, updated_ms, last_login_ms, local_only",
     "ttttttiitiiii", "created_ms, id"},
    {"api_keys",
     "id, user_id, name, hash, scopes, requests_per_minute, created_ms, expires_ms, used_ms,"
     " local_only",
     "tttttiiiii", "created_ms, id"},
    {"refresh_tokens", "hash, user_id, created_ms, expires_ms", "ttii", "created_ms, hash"},
    {"invitations", "hash, created_by, created_ms, expires_ms, used_ms", "ttiii",
     "created_ms, hash"},
    {"audit", "id, at_ms, event, user_id, address, details", "titttt", "at_ms, id"},
    {"conversations",
     "id, user_id, title, leaf_id, n_messages, archived, meta, created_ms, updated_ms, local_only",
     "ttttiitiii", "created_ms, id"},
    {"messages",
     "id, conversation_id, parent_id, role, content, reasoning, status, model, meta, created_ms",
     "ttttttttti", "n"},
    {"jobs",
     "id, kind, user_id, idempotency_key, payload, progress, error, state, priority, attempts,"
     " max_attempts, worker, run_after_ms, lease_until_ms, created_ms, updated_ms",
     "ttttttttiiitiiii", "n"},
    {"quotas",
     "user_id, requests_per_minute, requests_per_day, tokens_per_minute, tokens_per_day, streams,"
     " storage_bytes, cents_per_month",
     "tiiiiiii", "user_id"},
    {"usage_days", "user_id, day, requests, prompt_tokens, completion_tokens, cost_micros",
     "tiiiii", "day, user_id"},
    {"request_log",
     "id, user_id, at_ms, request_id, kind, asked, route, goal, provider, model, reason, tried,"
     " attempts, complexity, error, prompt_tokens, cached_tokens, completion_tokens,"
     " reasoning_tokens, first_token_ms, total_ms, cost_micros, left_to, left_bytes,"
     " left_messages, left_images",
     "ttitttttttttiitiiiiiiitiii", "at_ms, id"},
    {"usage_minutes", "who, minute, requests, tokens", "tiii", "minute, who"},
    {"collections", "id, n, user_id, name, created_ms", "titti", "created_ms, id"},
    {"files",
     "id, n, user_id, collection_id, name, sha256, bytes, type, status, done, total, error,"
     " n_chunks, n_pages, meta, source, source_ms, created_ms, updated_ms, local_only",
     "tittttittiitiittiiii", "created_ms, id"},
    {"watches", "id, user_id, collection_id, path, created_ms", "tttti", "created_ms, id"},
    {"vector_sets", "n, model, dims, last_seq, removed, dropped, created_ms", "itiiiii", "n"},
    {"vector_files", "n, file_id, collection_n", "iti", "n"},
    {"vectors", "n, set_n, collection_n, file_n, chunk_id, embedding", "iiiiib", "n"},
    {"chunk_spaces", "collection_n, space, next", "iii", "space"},
    {"chunks",
     "id, file_id, collection_n, n, page_from, page_to, start_at, end_at, tokens, heading, text",
     "itiiiiiiitt", "id"},
    {"answers",
     "id, user_id, kind, state, previous_id, job_id, model, metadata, request, input, body, events,"
     " local_only, created_ms, updated_ms",
     "ttttttttttttiii", "created_ms, id"},
    {"api_files", "id, user_id, purpose, name, sha256, bytes, created_ms, expires_ms", "tttttiii",
     "created_ms, id"},
    {"batches",
     "id, user_id, job_id, endpoint, input_file_id, output_file_id, error_file_id, state, errors,"
     " metadata, model, usage, total, completed, failed, local_only, keep_output_s, created_ms,"
     " expires_ms, in_progress_ms, finalizing_ms, completed_ms, failed_ms, expired_ms,"
     " cancelling_ms, cancelled_ms, key_id",
     "ttttttttttttiiiiiiiiiiiiiit", "created_ms, id"},
    {"batch_lines", "batch_id, line, failed, text", "tiit", "batch_id, line"},
};

const char tables_then[] = "INSERT INTO chunks_text (chunks_text) VALUES ('rebuild');";

const size_t n_tables = sizeof tables / sizeof *tables;
