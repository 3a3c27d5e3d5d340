/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Helpers of the programs in this directory. Each program is one case of the suite `mainline`: a process that uses one
 * interface of Linux through which the kernel and user space share pages, and that checks the data itself.
 *
 * Exit status: 0 for a pass, 4 for a skip, 1 for a failure. For a skip or a failure, the last line of the output is the
 * reason.
 */
#ifndef MAINLINE_H
#define MAINLINE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELPER static __attribute__((unused))

enum { PASSED = 0, FAILED = 1, SKIPPED = 4 };

HELPER __attribute__((noreturn, format(printf, 2, 3))) void end(int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(status);
}

#define fail(...) end(FAILED, __VA_ARGS__)
#define skip(...) end(SKIPPED, __VA_ARGS__)

/* Ends the program with a failure if a call returned -1. Otherwise returns the result of the call. */
HELPER long check(long result, const char *call)
{
	if (result < 0)
		fail("%s: %s", call, strerror(errno));
	return result;
}

/* Like check(), but skips if the kernel or the machine does not have what the call asks for. */
HELPER long need(long result, const char *call)
{
	if (result < 0 && (errno == ENOSYS || errno == ENOENT || errno == ENODEV || errno == ENXIO ||
			   errno == EOPNOTSUPP || errno == EAFNOSUPPORT || errno == ENOTTY ||
			   errno == EPROTONOSUPPORT))
		skip("%s: %s", call, strerror(errno));
	return check(result, call);
}

HELPER size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

/* Maps `length` bytes, shared, of the descriptor `fd`. */
HELPER void *map_shared(int fd, size_t length, off_t offset, const char *what)
{
	void *mapped = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	if (mapped == MAP_FAILED)
		fail("mmap of %s: %s", what, strerror(errno));
	return mapped;
}

/* Maps `length` bytes of anonymous memory and touches every page. */
HELPER void *map_anonymous(size_t length)
{
	void *mapped = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mapped == MAP_FAILED)
		fail("mmap of anonymous memory: %s", strerror(errno));
	memset(mapped, 0, length);
	return mapped;
}

/* Returns the byte that the pattern number `seed` has at `index`. Neighbouring lines and pages differ. */
HELPER unsigned char pattern(unsigned int seed, size_t index)
{
	return (index * 7 + (index >> 5) * 13 + (index >> 12) * 31 + seed * 101 + 1) & 0xff;
}

HELPER void fill(void *memory, size_t length, unsigned int seed)
{
	volatile unsigned char *bytes = memory;

	for (size_t i = 0; i < length; i++)
		bytes[i] = pattern(seed, i);
}

/* Fails unless the memory contains the pattern. `what` names the data in the text of the failure. */
HELPER void expect_pattern(const void *memory, size_t length, unsigned int seed, const char *what)
{
	const volatile unsigned char *bytes = memory;

	for (size_t i = 0; i < length; i++) {
		unsigned char found = bytes[i];

		if (found != pattern(seed, i))
			fail("%s: byte %zu: expected 0x%02x, found 0x%02x", what, i, pattern(seed, i), found);
	}
}

/* Creates a file of `length` bytes in memory. */
HELPER int memory_file(size_t length)
{
	int fd = need(memfd_create("mainline", 0), "memfd_create");

	check(ftruncate(fd, length), "ftruncate");
	return fd;
}

/* Fails unless the child ends with status 0. */
HELPER void expect_success(pid_t child, const char *what)
{
	int status;

	check(waitpid(child, &status, 0), "waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		_exit(SKIPPED);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail("%s ended with status 0x%x", what, status);
}

/* Writes a text to a file of the kernel. */
HELPER int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	ssize_t written;

	if (fd < 0)
		return -1;
	written = write(fd, text, strlen(text));
	close(fd);
	return written < 0 ? -1 : 0;
}

/* Mounts the filesystem `type` at the new or existing directory `path`. */
HELPER void mount_at(const char *type, const char *path)
{
	mkdir(path, 0755);
	if (mount(type, path, type, 0, NULL) < 0 && errno != EBUSY)
		need(-1, type);
}

#endif
