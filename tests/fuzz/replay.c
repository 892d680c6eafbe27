/* main() for a fuzz target without a fuzzer: runs every file named, and every file in the folders
 * named, through LLVMFuzzerTestOneInput once. Ends with status 1 when there was nothing to run, so
 * that an empty or misspelt corpus can't pass. One thread. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each input gets an allocation of exactly its size, so that ASan sees a read past its end. */
static int run_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return -1;
    }
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, f) != size) {
        fprintf(stderr, "%s: could not be read whole\n", path);
        free(data);
        fclose(f);
        return -1;
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

/* Returns how many files ran, or -1. Hidden files and folders in folders are left out. */
static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        return -1;
    }
    if (S_ISREG(st.st_mode)) return run_file(path, (size_t)st.st_size);

    DIR *dir = opendir(path);
    if (!dir) {
        perror(path);
        return -1;
    }
    int n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char file[4096];
        if (e->d_name[0] == '.') continue;
        int len = snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        if (len < 0 || (size_t)len >= sizeof file || stat(file, &st) != 0) {
            fprintf(stderr, "%s/%s: can't be opened\n", path, e->d_name);
            n = -1;
            break;
        }
        if (!S_ISREG(st.st_mode)) continue;
        if (run_file(file, (size_t)st.st_size) < 0) {
            n = -1;
            break;
        }
        n++;
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int n = run_path(argv[i]);
        if (n < 0) return 1;
        total += n;
    }
    printf("%d inputs ran\n", total);
    return total > 0 ? 0 : 1;
}
