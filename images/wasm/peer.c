// SPDX-License-Identifier: MIT OR Apache-2.0
/* Imports: the memory of another process. */
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys.h"

u64 IMPORT(read_memory)(SYS, u32 pid, u64 at, u32 into, u32 room)
{
	struct iovec here = { guest_bytes(sys, into, room), room }, there = { address(at), room };

	return uninterrupted(process_vm_readv(pid, &here, 1, &there, 1, 0));
}

u64 IMPORT(write_memory)(SYS, u32 pid, u64 at, u32 bytes, u32 len)
{
	struct iovec here = { guest_bytes(sys, bytes, len), len }, there = { address(at), len };

	return uninterrupted(process_vm_writev(pid, &here, 1, &there, 1, 0));
}

u64 IMPORT(attach)(SYS, u32 pid)
{
	int status;
	s64 stopped;

	if (ptrace(PTRACE_ATTACH, pid, 0, 0))
		return answer(-1);
	stopped = uninterrupted(waitpid(pid, &status, 0));
	if (stopped < 0)
		return stopped;
	return WIFSTOPPED(status) ? 0 : -ESRCH;
}

u64 IMPORT(detach)(SYS, u32 pid)
{
	return answer(ptrace(PTRACE_DETACH, pid, 0, 0));
}

u32 IMPORT(word)(SYS)
{
	return sizeof(long);
}

/* The call itself: ptrace(3) gives the word as its result, where an error cannot be told from -1. */
u64 IMPORT(peek)(SYS, u32 pid, u64 at, u32 into)
{
	long found;

	if (syscall(SYS_ptrace, PTRACE_PEEKDATA, pid, address(at), &found))
		return answer(-1);
	memcpy(guest_bytes(sys, into, sizeof(found)), &found, sizeof(found));
	return 0;
}

u64 IMPORT(poke)(SYS, u32 pid, u64 at, u32 bytes)
{
	long word;

	memcpy(&word, guest_bytes(sys, bytes, sizeof(word)), sizeof(word));
	return answer(syscall(SYS_ptrace, PTRACE_POKEDATA, pid, address(at), word));
}
