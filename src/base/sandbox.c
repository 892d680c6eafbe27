/* Rights dropped; see sandbox.h and docs/decisions/0010. */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

/* ---- seccomp ------------------------------------------------------------------------------- */

/* By name, so that a kernel or library that does not know one leaves it out. */
static const char *const refused[] = {
    /* network: there is one socket, and there will be no other */
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4",
    /* processes */
    "execveat", "kill", "tkill", "rt_sigqueueinfo", "pidfd_open", "pidfd_getfd",
    "pidfd_send_signal", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp",
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
    "setgroups", "capset", "setsid", "setpgid",
    /* other worlds */
    "unshare", "setns", "chroot", "pivot_root", "mount", "umount2", "open_tree", "move_mount",
    "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at", "mknod",
    "mknodat", "chmod", "fchmodat", "chown", "lchown", "fchownat", "setxattr", "lsetxattr",
    /* the kernel */
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "add_key", "request_key", "keyctl", "init_module", "finit_module",
    "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct",
    "quotactl", "sethostname", "setdomainname", "settimeofday", "clock_settime", "adjtimex",
    "clock_adjtime", "iopl", "ioperm", "syslog", "fanotify_init", "lookup_dcookie", "nfsservctl",
    "personality", "uselib", "vhangup"};

static int refuse(scmp_filter_ctx filter, const char *name)
{
    int nr = seccomp_syscall_resolve_name(name);
    if (nr == __NR_SCMP_ERROR) return 0;
    int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), nr, 0);
    return rc == -EDOM ? 0 : rc; /* not on this architecture */
}

/* Where nothing is to be started. */
static const char *const programs[] = {"execve", "fork", "vfork"};

/* Threads yes, processes no. glibc asks with clone3, whose flags a filter can't see; told that
 * there is none it takes clone. A leak checker needs both, so it is let. */
static int refuse_processes(scmp_filter_ctx filter)
{
    if (UNDER_ASAN) return 0;
    int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (!rc)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    if (!rc) rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ptrace), 0);
    return rc;
}

/* 0, or an errno. */
static int drop_calls(bool may_run)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter) return ENOMEM;
    int rc = 0;
    for (size_t i = 0; i < sizeof refused / sizeof *refused && !rc; i++)
        rc = refuse(filter, refused[i]);
    for (size_t i = 0; i < sizeof programs / sizeof *programs && !rc && !may_run; i++)
        rc = refuse(filter, programs[i]);
    if (!rc && !may_run) rc = refuse_processes(filter);
    if (!rc && !may_run) /* signals: to itself only */
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid(), 0));
    if (!rc) rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!rc) rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc < 0 ? -rc : rc;
}

/* ---- Landlock ------------------------------------------------------------------------------ */

/* Of versions that the headers may not know (Documentation/userspace-api/landlock.rst). */
enum { ABI_REFER = 2, ABI_TRUNCATE = 3, ABI_NET = 4, ABI_IOCTL = 5, ABI_SCOPE = 6 };
#define FS_VERSION_1 ((1ULL << 13) - 1)
#define FS_REFER     (1ULL << 13)
#define FS_TRUNCATE  (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define NET_ALL      3ULL /* bind and connect TCP */
#define SCOPE_ALL    3ULL /* abstract sockets, signals */

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_FILE                                                                                    \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE |   \
     FS_TRUNCATE | FS_IOCTL_DEV)
#define FS_WRITE                                                                                   \
    (FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |                       \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                                \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | FS_TRUNCATE)
#define FS_DEVICE (FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_IOCTL_DEV)

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

/* Libraries and fonts. */
static const char *const system_read[] = {"/usr",           "/lib",       "/lib64",
                                          "/opt",           "/nix/store", "/etc/ld.so.cache",
                                          "/etc/localtime", "/etc/fonts"};
/* What libraries and drivers ask about the machine. */
static const char *const device_read[] = {
    "/sys",          "/etc/vulkan",      "/etc/OpenCL",   "/proc/self",    "/proc/cpuinfo",
    "/proc/meminfo", "/proc/stat",       "/proc/version", "/proc/devices", "/proc/modules",
    "/proc/driver",  "/proc/sys/kernel", "/proc/sys/vm"};
static const char *const plain_devices[] = {"/dev/null", "/dev/zero", "/dev/random",
                                            "/dev/urandom"};
static const char *const gpu_devices[] = {"/dev/nvidia*", "/dev/dri", "/dev/kfd", "/dev/dxg"};
/* The program that starts programs: the kernel opens it as one. */
static const char *const loaders[] = {"/lib64/ld-linux-*", "/lib/ld-linux-*", "/lib/ld-musl-*",
                                      "/usr/lib64/ld-linux-*", "/usr/lib/ld-linux-*"};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void allow(int ruleset, uint64_t handled, const char *path, uint64_t access)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return;
    if (fstat(fd, &st) == 0) {
        if (!S_ISDIR(st.st_mode)) access &= FS_FILE;
        struct landlock_path_beneath_attr rule = {.allowed_access = access & handled,
                                                  .parent_fd = fd};
        syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    close(fd);
}

/* All that the patterns match. */
static void allow_found(int ruleset, uint64_t handled, const char *const *patterns, size_t n,
                        uint64_t access)
{
    for (size_t i = 0; i < n; i++) {
        glob_t found;
        if (glob(patterns[i], GLOB_NOSORT, NULL, &found) == 0)
            for (size_t k = 0; k < found.gl_pathc; k++)
                allow(ruleset, handled, found.gl_pathv[k], access);
        globfree(&found);
    }
}

static void allow_all(int ruleset, uint64_t handled, const struct sandbox_params *params)
{
    for (size_t i = 0; i < COUNT(system_read); i++)
        allow(ruleset, handled, system_read[i], FS_READ);
    for (size_t i = 0; i < COUNT(device_read) && params->devices; i++)
        allow(ruleset, handled, device_read[i], FS_READ);
    for (size_t i = 0; i < params->n_read; i++) allow(ruleset, handled, params->read[i], FS_READ);
    for (size_t i = 0; i < params->n_write; i++)
        allow(ruleset, handled, params->write[i], FS_WRITE | (handled & FS_REFER));
    for (size_t i = 0; i < params->n_run; i++)
        allow(ruleset, handled, params->run[i], FS_READ | LANDLOCK_ACCESS_FS_EXECUTE);
    if (params->n_run)
        allow_found(ruleset, handled, loaders, COUNT(loaders),
                    FS_READ | LANDLOCK_ACCESS_FS_EXECUTE);
    allow_found(ruleset, handled, plain_devices, COUNT(plain_devices), FS_DEVICE);
    if (params->devices) allow_found(ruleset, handled, gpu_devices, COUNT(gpu_devices), FS_DEVICE);
}

/* The version in force, or minus an errno. */
static int drop_files(const struct sandbox_params *params)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) return -(errno ? errno : ENOSYS);
    struct ruleset_attr attr = {.fs = FS_VERSION_1};
    if (abi >= ABI_REFER) attr.fs |= FS_REFER;
    if (abi >= ABI_TRUNCATE) attr.fs |= FS_TRUNCATE;
    if (abi >= ABI_NET) attr.net = NET_ALL;
    if (abi >= ABI_IOCTL) attr.fs |= FS_IOCTL_DEV;
    if (abi >= ABI_SCOPE) attr.scoped = SCOPE_ALL;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (ruleset < 0) return -errno;
    allow_all(ruleset, attr.fs, params);
    int rc = (int)syscall(SYS_landlock_restrict_self, ruleset, 0);
    int errnum = errno;
    close(ruleset);
    return rc ? -errnum : (int)abi;
}

/* ---- both ---------------------------------------------------------------------------------- */

void sandbox_apply(const struct sandbox_params *params, char *report, size_t size)
{
    char text[128];
    struct rlimit none = {0};
    int rc = setrlimit(RLIMIT_CORE, &none);
    ht_assert(rc == 0);
    rc = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    ht_assert(rc == 0);
    int abi = drop_files(params), calls = drop_calls(params->n_run > 0);
    if (calls)
        str_printf(report, size, "its calls are NOT restricted (seccomp: %s)",
                   strerror_r(calls, text, sizeof text));
    else
        str_printf(report, size, "no network, %s (seccomp)",
                   params->n_run ? "programs only as named" : "no programs");
    size_t len = strlen(report);
    if (abi > 0)
        str_printf(report + len, size - len, ", files as allowed (Landlock %d)", abi);
    else
        str_printf(report + len, size - len, ", its files are NOT restricted (Landlock: %s)",
                   strerror_r(-abi, text, sizeof text));
}
