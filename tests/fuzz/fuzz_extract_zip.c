/* Fuzz target: bytes as a file of any kind: what it is said to be, and the loader of that; for ZIP
 * archives every loader of archives. */
#include "extract/types.h"
#include "fuzz/extract_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum type_id archives[] = {TYPE_DOCX, TYPE_PPTX, TYPE_XLSX, TYPE_ODS, TYPE_EPUB};
    char type[EXTRACT_TYPE_MAX];
    struct error error;
    if (size > FUZZ_INPUT_MAX) return 0;
    int fd = fuzz_file(data, size);
    enum err e = extract_detect_fd(fd, NULL, type, &error);
    ht_assert(e == OK && *type);
    fuzz_load_fd(fd, size, type);
    for (size_t i = 0; i < sizeof archives / sizeof *archives && size > 2 && data[0] == 'P'; i++)
        fuzz_load_fd(fd, size, type_media(archives[i]));
    close(fd);
    return 0;
}
