/* The database for verbs that work on it without a running hub. */
#include "base/fs.h"
#include "cmd/cmd_int.h"
#include "files/files.h"
#include "hub/accounts.h"

enum err cmd_open_store(const struct config *config, const char *url, bool migrate,
                        struct store **out, struct error *error)
{
    char configured[FS_PATH_MAX];
    enum err e = url ? OK : accounts_url(config, configured, sizeof configured, error);
    if (e) return e;
    struct store_params params = {.url = url ? url : configured, .migrate = migrate};
    return store_open(&params, out, error);
}

enum err cmd_open_files(const struct config *config, struct files **out, struct error *error)
{
    char dir[FS_PATH_MAX];
    enum err e = files_dir_of(config, dir, sizeof dir, error);
    if (e) return e;
    struct files_params params = {.dir = dir,
                                  .max_bytes = config_int(config, CONFIG_MAX_FILESIZE_MB) << 20,
                                  .collection = config_str(config, CONFIG_COLLECTION_NAME)};
    *out = files_new(&params);
    return OK;
}
