/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Reads and writes the memory of another process through /proc/PID/mem. */
#include "other-memory.h"

static int open_memory(pid_t child)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)child);
	return check(open(path, O_RDWR), "open /proc/PID/mem");
}

static void do_read(pid_t child, void *remote, void *local, size_t length)
{
	int fd = open_memory(child);

	if (check(pread(fd, local, length, (uintptr_t)remote), "read /proc/PID/mem") != (ssize_t)length)
		fail("short read from /proc/PID/mem");
	close(fd);
}

static void do_write(pid_t child, void *remote, void *local, size_t length)
{
	int fd = open_memory(child);

	if (check(pwrite(fd, local, length, (uintptr_t)remote), "write /proc/PID/mem") != (ssize_t)length)
		fail("short write to /proc/PID/mem");
	close(fd);
}

int main(void)
{
	return exchange_with_child(do_read, do_write);
}
