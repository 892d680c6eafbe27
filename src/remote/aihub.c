/* Protocol "aihub": an AI Hub, which speaks as OpenAI does, behind a Keycloak server that signs in
 * (token.h). The address is the hub's own, so its path is left as it is. */
#include "remote/openai_int.h"

const struct protocol remote_aihub = {
    .name = "aihub",
    .caps = PROVIDER_GENERATE | PROVIDER_EMBED | PROVIDER_TOOLS | PROVIDER_IMAGES,
    .add_path = "/v1",
    .own_model = true,
    .state_size = OPENAI_STATE_SIZE,
    .embed_max = 256,
    .headers = openai_headers,
    .generate = openai_generate,
    .hints = openai_hints,
    .piece = openai_piece,
    .embed = openai_embed,
    .embedded = openai_embedded,
    .models_path = "/models",
    .models = openai_models,
};
