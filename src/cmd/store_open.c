/* The database for verbs that work on it without a running hub. */
#include "base/fs.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "store/store.h"

enum err cmd_open_store(const struct config *config, const char *url, bool migrate,
                        struct store **out, struct error *error)
{
    char dir[FS_PATH_MAX], file[FS_PATH_MAX];
    if (!url) url = config_str(config, CONFIG_DATABASE_URL);
    if (!*url) {
        enum err e = cmd_data_dir(config, dir, sizeof dir, error);
        if (!e) e = fs_mkdirs(dir, 0700, error);
        if (!e) e = fs_join(file, sizeof file, dir, "hearth.db", error);
        if (e) return e;
        url = file;
    }
    struct store_params params = {.url = url, .migrate = migrate};
    return store_open(&params, out, error);
}
