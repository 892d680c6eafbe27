/* An upload without sockets: a form fed in pieces, its file on the disk, its fields in memory. */
#include "unit/store/both.h"

#include "api/upload.h"
#include "base/fault.h"

static char dir[96];
static struct files *files;
static struct auth_identity who;
static const char type[] = "multipart/form-data; boundary=X";

static enum err may_store(void *ctx, struct store *s, const char *user_id, int64_t more,
                          struct error *error)
{
    (void)ctx;
    (void)s;
    assert_string_equal(user_id, who.user_id);
    return more > 5000 ? err_set(error, ERR_TOO_LARGE, "over the quota") : OK;
}

static int set_up(void **state)
{
    static int n;
    if (both_set_up(state)) return -1;
    str_printf(dir, sizeof dir, "%s/files-%d", both_dir, n++);
    struct files_params params = {
        .dir = dir, .max_bytes = 100000, .collection = "documents", .may_store = may_store};
    files = files_new(&params);
    str_copy(who.user_id, sizeof who.user_id, both_user("ada"));
    return 0;
}

static int tear_down(void **state)
{
    files_free(files);
    return both_tear_down(state);
}

/* What is left in the folder. */
static int count(void)
{
    char command[256], line[32] = "";
    str_printf(command, sizeof command, "find '%s' -type f 2>/dev/null | wc -l", dir);
    FILE *f = popen(command, "r");
    if (!f || !fgets(line, sizeof line, f)) abort();
    pclose(f);
    return atoi(line);
}

static struct upload *begin(void)
{
    struct upload *u;
    assert_ok(upload_open(files, store, &who, type, 0, &u, &why));
    return u;
}

static enum err feed(struct upload *u, const char *text)
{
    enum err e = OK;
    for (size_t i = 0; !e && text[i]; i++) e = upload_feed(u, text + i, 1, &why);
    return e;
}

#define FILE_PART(name)                                                                            \
    "--X\r\nContent-Disposition: form-data; name=file; filename=\"" name "\"\r\n\r\n"
#define FIELD(name) "--X\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"

static void test_a_form(void **state)
{
    (void)state;
    struct upload *u = begin();
    assert_ok(feed(u, FIELD("collection") "papers\r\n" FILE_PART("a.txt") "hello\r\n" FIELD(
                          "empty") "\r\n--X--\r\n"));
    assert_ok(upload_finish(u, &why));
    assert_string_equal(upload_filename(u), "a.txt");
    assert_string_equal(upload_field(u, "collection"), "papers");
    assert_string_equal(upload_field(u, "empty"), "");
    assert_null(upload_field(u, "papers"));
    assert_null(upload_field(u, ""));
    assert_int_equal(spool_bytes(upload_spool(u)), 5);
    assert_string_equal(spool_sha256(upload_spool(u)),
                        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_int_equal(count(), 1);
    upload_free(u);
    assert_int_equal(count(), 0);
}

static void refuse(const char *form, enum err wanted)
{
    struct upload *u = begin();
    enum err e = feed(u, form);
    if (!e) e = upload_finish(u, &why);
    assert_int_equal(e, wanted);
    assert_true(why.msg[0]);
    upload_free(u);
    assert_int_equal(count(), 0);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct upload *u;
    char form[200000];
    refuse("", ERR_INVALID);
    refuse("--X--", ERR_INVALID);
    refuse(FIELD("a") "1\r\n--X--", ERR_INVALID);
    refuse(FILE_PART("a") "1\r\n" FILE_PART("b") "2\r\n--X--", ERR_INVALID);
    refuse(FILE_PART("a") "half", ERR_INVALID);
    refuse(FIELD("a") "\xff\r\n" FILE_PART("b") "2\r\n--X--", ERR_INVALID);
    str_copy(form, sizeof form, FIELD("a"));
    memset(form + strlen(FIELD("a")), 'x', 70000);
    str_copy(form + strlen(FIELD("a")) + 70000, 64, "\r\n--X--");
    refuse(form, ERR_TOO_LARGE);
    str_copy(form, sizeof form, FILE_PART("a"));
    memset(form + strlen(FILE_PART("a")), 'x', 100001);
    str_copy(form + strlen(FILE_PART("a")) + 100001, 64, "\r\n--X--");
    refuse(form, ERR_TOO_LARGE);
    form[0] = '\0';
    for (int i = 0; i < 20; i++) str_copy(form + strlen(form), 100, FIELD("f") "1\r\n");
    refuse(form, ERR_INVALID);
    assert_int_equal(upload_open(files, store, &who, "text/plain", 0, &u, &why), ERR_MEDIA_TYPE);
    assert_int_equal(upload_open(files, store, &who, NULL, 0, &u, &why), ERR_MEDIA_TYPE);
    assert_int_equal(upload_open(files, store, &who, type, UPLOAD_FORM_MAX + 6000, &u, &why),
                     ERR_TOO_LARGE);
    assert_int_equal(upload_open(files, store, &who, type, INT64_C(1) << 60, &u, &why),
                     ERR_TOO_LARGE);
    assert_int_equal(count(), 0);
}

#if HEARTH_FAULTS
static void test_a_full_disk(void **state)
{
    (void)state;
    struct upload *u = begin();
    fault_arm(FAULT_write, 3, false);
    assert_int_equal(feed(u, FILE_PART("a") "hello\r\n--X--"), ERR_DISK_FULL);
    fault_arm(FAULT_write, 0, false);
    assert_int_equal(feed(u, "more"), ERR_DISK_FULL); /* a failure stays */
    assert_int_equal(upload_finish(u, &why), ERR_DISK_FULL);
    upload_free(u);
    assert_int_equal(count(), 0);
}
#endif

int main(void)
{
#define UPLOAD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        UPLOAD_TEST(test_a_form),
        UPLOAD_TEST(test_what_is_refused),
#if HEARTH_FAULTS
        UPLOAD_TEST(test_a_full_disk),
#endif
    };
    return both_run("uploads", tests, sizeof tests / sizeof *tests);
}
