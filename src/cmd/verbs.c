/* The table of verbs, and the options that they have in common. */
#include "base/str.h"
#include "cmd/cmd_int.h"

const struct cmd_verb *const cmd_verbs[] = {
    &verb_serve,      &verb_chat,   &verb_run,     &verb_ask,     &verb_pull,    &verb_create,
    &verb_models,     &verb_ps,     &verb_top,     &verb_explain, &verb_load,    &verb_unload,
    &verb_config,     &verb_backup, &verb_restore, &verb_db,      &verb_add,     &verb_extract,
    &verb_jobs,       &verb_users,  &verb_doctor,  &verb_bench,   &verb_version, &verb_help,
    &verb_completion, NULL,
};

const struct cmd_option cmd_common_options[] = {
    {"help", 'h', NULL, CMD_NO_KEY, NULL, "Show this help.", COMPLETE_NONE},
};
const size_t cmd_n_common_options = sizeof(cmd_common_options) / sizeof(*cmd_common_options);

const struct cmd_option cmd_config_options[] = {
    {"data-dir", 0, "DIR", CONFIG_DATA_DIR, NULL, NULL, COMPLETE_DIR},
    {"models-dir", 0, "DIR", CONFIG_MODELS_DIR, NULL, NULL, COMPLETE_DIR},
    {"log-level", 0, "LEVEL", CONFIG_LOG_LEVEL, NULL, NULL, COMPLETE_NONE},
    {"set", 0, "KEY=VALUE", CMD_NO_KEY, NULL,
     "Any other setting for this call (`hearth config` lists them); may be repeated.",
     COMPLETE_NONE},
};
const size_t cmd_n_config_options = sizeof(cmd_config_options) / sizeof(*cmd_config_options);

const struct cmd_verb *cmd_verb_find(const char *name)
{
    for (size_t i = 0; cmd_verbs[i]; i++)
        if (str_eq(cmd_verbs[i]->name, name)) return cmd_verbs[i];
    return NULL;
}
