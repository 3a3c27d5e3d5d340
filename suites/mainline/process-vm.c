/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Reads and writes the memory of another process with process_vm_readv() and process_vm_writev(). */
#include "other-memory.h"

static void do_read(pid_t child, void *remote, void *local, size_t length)
{
	struct iovec from = { remote, length }, to = { local, length };

	if (need(process_vm_readv(child, &to, 1, &from, 1, 0), "process_vm_readv") != (ssize_t)length)
		fail("short process_vm_readv");
}

static void do_write(pid_t child, void *remote, void *local, size_t length)
{
	struct iovec from = { local, length }, to = { remote, length };

	if (need(process_vm_writev(child, &from, 1, &to, 1, 0), "process_vm_writev") != (ssize_t)length)
		fail("short process_vm_writev");
}

int main(void)
{
	return exchange_with_child(do_read, do_write);
}
