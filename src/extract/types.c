/* Tables of types: see types.h. */
#include "extract/types.h"

#include <string.h>

#include "base/str.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
    const char *media, *what;
} readable[] = {
#define X(id, media, what, loader) {media, what},
    EXTRACT_TYPES(X)
#undef X
};

enum type_id type_of_media(const char *media)
{
    for (size_t i = 0; i < COUNT(readable); i++)
        if (str_eq(readable[i].media, media)) return (enum type_id)i;
    return *type_language(media) ? TYPE_SOURCE : TYPE_UNKNOWN;
}

const char *type_media(enum type_id id)
{
    ht_assert(id < COUNT(readable));
    return readable[id].media;
}

/* ---- what is recognised to be refused ------------------------------------------------------ */

static const struct {
    const char *media, *what;
} unreadable[] = {
    {TYPE_OLE, "an old Office file"},
    {"application/zip", "a ZIP archive"},
    {"application/gzip", "a compressed file (gzip)"},
    {"application/zstd", "a compressed file (zstd)"},
    {"application/x-bzip2", "a compressed file (bzip2)"},
    {"application/x-xz", "a compressed file (xz)"},
    {"application/x-7z-compressed", "a 7-Zip archive"},
    {"application/vnd.rar", "a RAR archive"},
    {"application/x-tar", "a tar archive"},
    {"application/x-executable", "a program"},
    {"application/java-vm", "a Java class"},
    {"application/wasm", "a WebAssembly program"},
    {"application/vnd.sqlite3", "an SQLite database"},
    {"application/x-gguf", "a model"},
    {"application/rtf", "an RTF document"},
    {"application/postscript", "a PostScript file"},
    {"image/png", "an image (PNG)"},
    {"image/jpeg", "an image (JPEG)"},
    {"image/gif", "an image (GIF)"},
    {"image/webp", "an image (WebP)"},
    {"image/tiff", "an image (TIFF)"},
    {"image/bmp", "an image (BMP)"},
    {"audio/mpeg", "a sound (MP3)"},
    {"audio/ogg", "a sound or film (Ogg)"},
    {"audio/flac", "a sound (FLAC)"},
    {"audio/wav", "a sound (WAV)"},
    {"video/mp4", "a film or sound (MP4)"},
    {"video/x-matroska", "a film (Matroska, WebM)"},
    {"font/woff2", "a font"},
    {TYPE_EMPTY, "an empty file"},
};

const char *type_what(const char *media)
{
    for (size_t i = 0; i < COUNT(readable); i++)
        if (str_eq(readable[i].media, media)) return readable[i].what;
    for (size_t i = 0; i < COUNT(unreadable); i++)
        if (str_eq(unreadable[i].media, media)) return unreadable[i].what;
    return *type_language(media) ? "source code" : "a file of an unknown kind";
}

/* ZIP and PDF are judged elsewhere. */
static const struct {
    size_t at, len;
    const char *bytes, *media;
} magics[] = {
    {0, 8, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", TYPE_OLE},
    {0, 2, "\x1F\x8B", "application/gzip"},
    {0, 4, "\x28\xB5\x2F\xFD", "application/zstd"},
    {0, 3, "BZh", "application/x-bzip2"},
    {0, 6, "\xFD\x37zXZ\0", "application/x-xz"},
    {0, 6, "7z\xBC\xAF\x27\x1C", "application/x-7z-compressed"},
    {0, 6, "Rar!\x1A\x07", "application/vnd.rar"},
    {257, 5, "ustar", "application/x-tar"},
    {0, 4, "\x7F\x45LF", "application/x-executable"},
    {0, 4, "\xCF\xFA\xED\xFE", "application/x-executable"},
    {0, 4, "\xCA\xFE\xBA\xBE", "application/java-vm"},
    {0, 4, "\0asm", "application/wasm"},
    {0, 16, "SQLite format 3\0", "application/vnd.sqlite3"},
    {0, 4, "GGUF", "application/x-gguf"},
    {0, 5, "{\\rtf", "application/rtf"},
    {0, 4, "%!PS", "application/postscript"},
    {0, 8, "\x89PNG\r\n\x1A\n", "image/png"},
    {0, 3, "\xFF\xD8\xFF", "image/jpeg"},
    {0, 4, "GIF8", "image/gif"},
    {8, 4, "WEBP", "image/webp"},
    {0, 4, "II*\0", "image/tiff"},
    {0, 4, "MM\0*", "image/tiff"},
    {0, 3, "ID3", "audio/mpeg"},
    {0, 4, "OggS", "audio/ogg"},
    {0, 4, "fLaC", "audio/flac"},
    {8, 4, "WAVE", "audio/wav"},
    {4, 4, "ftyp", "video/mp4"},
    {0, 4, "\x1A\x45\xDF\xA3", "video/x-matroska"},
    {0, 4, "wOF2", "font/woff2"},
};

const char *type_of_magic(const unsigned char *head, size_t len)
{
    for (size_t i = 0; i < COUNT(magics); i++)
        if (len >= magics[i].at + magics[i].len &&
            memcmp(head + magics[i].at, magics[i].bytes, magics[i].len) == 0)
            return magics[i].media;
    /* These two letters begin texts, too; a program has more. */
    if (len >= 64 && memcmp(head, "MZ", 2) == 0 && memchr(head, 0, 64))
        return "application/x-executable";
    if (len >= 26 && memcmp(head, "BM", 2) == 0 && memchr(head, 0, 26)) return "image/bmp";
    return NULL;
}

/* ---- kinds of text by name ----------------------------------------------------------------- */

static const struct {
    const char *end, *media;
} names[] = {
    {"txt", "text/plain"},
    {"text", "text/plain"},
    {"log", "text/plain"},
    {"rst", "text/plain"},
    {"adoc", "text/plain"},
    {"org", "text/plain"},
    {"srt", "text/plain"},
    {"vtt", "text/plain"},
    {"md", "text/markdown"},
    {"markdown", "text/markdown"},
    {"mdx", "text/markdown"},
    {"csv", "text/csv"},
    {"tsv", "text/tab-separated-values"},
    {"tab", "text/tab-separated-values"},
    {"json", "application/json"},
    {"geojson", "application/json"},
    {"ipynb", "application/json"},
    {"jsonl", "application/x-ndjson"},
    {"ndjson", "application/x-ndjson"},
    {"html", "text/html"},
    {"htm", "text/html"},
    {"xhtml", "text/html"},
    {"eml", "message/rfc822"},
    {"xml", "application/xml"},
    {"xsd", "application/xml"},
    {"xsl", "application/xml"},
    {"svg", "application/xml"},
    {"rss", "application/xml"},
    {"atom", "application/xml"},
    {"c", "text/x-c"},
    {"h", "text/x-c"},
    {"cc", "text/x-cpp"},
    {"cpp", "text/x-cpp"},
    {"cxx", "text/x-cpp"},
    {"hpp", "text/x-cpp"},
    {"hh", "text/x-cpp"},
    {"cs", "text/x-csharp"},
    {"java", "text/x-java"},
    {"kt", "text/x-kotlin"},
    {"kts", "text/x-kotlin"},
    {"scala", "text/x-scala"},
    {"swift", "text/x-swift"},
    {"m", "text/x-objectivec"},
    {"go", "text/x-go"},
    {"rs", "text/x-rust"},
    {"zig", "text/x-zig"},
    {"py", "text/x-python"},
    {"pyi", "text/x-python"},
    {"rb", "text/x-ruby"},
    {"pl", "text/x-perl"},
    {"pm", "text/x-perl"},
    {"php", "text/x-php"},
    {"lua", "text/x-lua"},
    {"r", "text/x-r"},
    {"jl", "text/x-julia"},
    {"js", "text/x-javascript"},
    {"mjs", "text/x-javascript"},
    {"cjs", "text/x-javascript"},
    {"jsx", "text/x-jsx"},
    {"ts", "text/x-typescript"},
    {"tsx", "text/x-tsx"},
    {"vue", "text/x-vue"},
    {"svelte", "text/x-svelte"},
    {"css", "text/x-css"},
    {"scss", "text/x-scss"},
    {"less", "text/x-less"},
    {"sh", "text/x-bash"},
    {"bash", "text/x-bash"},
    {"zsh", "text/x-bash"},
    {"fish", "text/x-fish"},
    {"ps1", "text/x-powershell"},
    {"bat", "text/x-bat"},
    {"sql", "text/x-sql"},
    {"hs", "text/x-haskell"},
    {"ml", "text/x-ocaml"},
    {"mli", "text/x-ocaml"},
    {"ex", "text/x-elixir"},
    {"exs", "text/x-elixir"},
    {"erl", "text/x-erlang"},
    {"clj", "text/x-clojure"},
    {"lisp", "text/x-lisp"},
    {"el", "text/x-lisp"},
    {"scm", "text/x-scheme"},
    {"dart", "text/x-dart"},
    {"nim", "text/x-nim"},
    {"v", "text/x-verilog"},
    {"vhd", "text/x-vhdl"},
    {"asm", "text/x-asm"},
    {"s", "text/x-asm"},
    {"f90", "text/x-fortran"},
    {"f", "text/x-fortran"},
    {"pas", "text/x-pascal"},
    {"tex", "text/x-latex"},
    {"bib", "text/x-bibtex"},
    {"yaml", "text/x-yaml"},
    {"yml", "text/x-yaml"},
    {"toml", "text/x-toml"},
    {"ini", "text/x-ini"},
    {"cfg", "text/x-ini"},
    {"conf", "text/x-ini"},
    {"properties", "text/x-ini"},
    {"env", "text/x-ini"},
    {"proto", "text/x-protobuf"},
    {"graphql", "text/x-graphql"},
    {"tf", "text/x-hcl"},
    {"nix", "text/x-nix"},
    {"cmake", "text/x-cmake"},
    {"mk", "text/x-makefile"},
    {"diff", "text/x-diff"},
    {"patch", "text/x-diff"},
};

/* Whole names. */
static const struct {
    const char *name, *media;
} whole_names[] = {
    {"makefile", "text/x-makefile"},
    {"gnumakefile", "text/x-makefile"},
    {"dockerfile", "text/x-dockerfile"},
    {"cmakelists.txt", "text/x-cmake"},
    {"readme", "text/plain"},
    {"license", "text/plain"},
};

const char *type_of_name(const char *name)
{
    if (!name) return NULL;
    const char *slash = strrchr(name, '/');
    if (slash) name = slash + 1;
    for (size_t i = 0; i < COUNT(whole_names); i++)
        if (str_ieq(name, whole_names[i].name)) return whole_names[i].media;
    const char *dot = strrchr(name, '.');
    if (!dot) return NULL;
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_ieq(dot + 1, names[i].end)) return names[i].media;
    return NULL;
}

/* The interpreter's name begins with this, behind the last slash or blank. */
static const struct {
    const char *begins, *media;
} programs[] = {
    {"python", "text/x-python"}, {"node", "text/x-javascript"}, {"perl", "text/x-perl"},
    {"ruby", "text/x-ruby"},     {"php", "text/x-php"},         {"lua", "text/x-lua"},
    {"bash", "text/x-bash"},     {"sh", "text/x-bash"},         {"zsh", "text/x-bash"},
    {"dash", "text/x-bash"},     {"fish", "text/x-fish"},       {"awk", "text/x-awk"},
    {"Rscript", "text/x-r"},     {"deno", "text/x-typescript"},
};

const char *type_of_program(const char *line, size_t len)
{
    char text[256];
    if (len >= sizeof text) len = sizeof text - 1;
    memcpy(text, line, len);
    text[len] = '\0';
    char *state = NULL;
    for (char *word = strtok_r(text, " /\t\r", &state); word;
         word = strtok_r(NULL, " /\t\r", &state))
        for (size_t i = 0; i < COUNT(programs); i++)
            if (str_starts(word, programs[i].begins)) return programs[i].media;
    return NULL;
}

/* Only languages of the tables, so that a type from elsewhere brings no words into a text. */
const char *type_language(const char *media)
{
    if (!media || !str_starts(media, TYPE_SOURCE_PREFIX)) return "";
    for (size_t i = 0; i < COUNT(names); i++)
        if (str_eq(names[i].media, media)) return names[i].media + strlen(TYPE_SOURCE_PREFIX);
    for (size_t i = 0; i < COUNT(whole_names); i++)
        if (str_eq(whole_names[i].media, media))
            return whole_names[i].media + strlen(TYPE_SOURCE_PREFIX);
    for (size_t i = 0; i < COUNT(programs); i++)
        if (str_eq(programs[i].media, media)) return programs[i].media + strlen(TYPE_SOURCE_PREFIX);
    return "";
}
