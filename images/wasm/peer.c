// SPDX-License-Identifier: MIT OR Apache-2.0
/* Imports: access to the memory of another process. */
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys.h"

u64 IMPORT(read_memory)(SYS, u32 pid, u64 at, u32 into, u32 room)
{
	struct iovec local = { guest_bytes(sys, into, room), room }, remote = { address(at), room };

	return retry_interrupted(process_vm_readv(pid, &local, 1, &remote, 1, 0));
}

u64 IMPORT(write_memory)(SYS, u32 pid, u64 at, u32 bytes, u32 len)
{
	struct iovec local = { guest_bytes(sys, bytes, len), len }, remote = { address(at), len };

	return retry_interrupted(process_vm_writev(pid, &local, 1, &remote, 1, 0));
}

u64 IMPORT(attach)(SYS, u32 pid)
{
	int status;
	s64 stopped;

	if (ptrace(PTRACE_ATTACH, pid, 0, 0))
		return guest_result(-1);
	stopped = retry_interrupted(waitpid(pid, &status, 0));
	if (stopped < 0)
		return stopped;
	return WIFSTOPPED(status) ? 0 : -ESRCH;
}

u64 IMPORT(detach)(SYS, u32 pid)
{
	return guest_result(ptrace(PTRACE_DETACH, pid, 0, 0));
}

u32 IMPORT(word_size)(SYS)
{
	return sizeof(long);
}

/* Uses syscall(2), because ptrace(3) returns the word as its result, so that -1 is ambiguous. */
u64 IMPORT(peek)(SYS, u32 pid, u64 at, u32 into)
{
	long word;

	if (syscall(SYS_ptrace, PTRACE_PEEKDATA, pid, address(at), &word))
		return guest_result(-1);
	memcpy(guest_bytes(sys, into, sizeof(word)), &word, sizeof(word));
	return 0;
}

u64 IMPORT(poke)(SYS, u32 pid, u64 at, u32 bytes)
{
	long word;

	memcpy(&word, guest_bytes(sys, bytes, sizeof(word)), sizeof(word));
	return guest_result(syscall(SYS_ptrace, PTRACE_POKEDATA, pid, address(at), word));
}
