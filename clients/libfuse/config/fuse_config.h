/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Configuration of a static libfuse for Linux with glibc, in place of the file that meson writes.
 */
#define PACKAGE_VERSION "3.17.2"

#define HAVE_BACKTRACE
#define HAVE_COPY_FILE_RANGE
#define HAVE_FALLOCATE
#define HAVE_FDATASYNC
#define HAVE_FORK
#define HAVE_FSTATAT
#define HAVE_OPENAT
#define HAVE_PIPE2
#define HAVE_POSIX_FALLOCATE
#define HAVE_PTHREAD_SETNAME_NP
#define HAVE_READLINKAT
#define HAVE_SETXATTR
#define HAVE_SPLICE
#define HAVE_STATIC_ASSERT
#define HAVE_STRUCT_STAT_ST_ATIM
#define HAVE_UTIMENSAT
#define HAVE_VMSPLICE

/* Mounts are not recorded in /etc/mtab. */
#define IGNORE_MTAB
