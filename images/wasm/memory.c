// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Imports: mapped memory, by addresses of the machine. The guest guarantees that they are valid. An access that the
 * kernel cannot satisfy kills the process with SIGBUS or SIGSEGV, as in any program; the suites observe that from
 * another process.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sys.h"

static u64 mapped(void *at)
{
	return at == MAP_FAILED ? guest_result(-1) : (u64)(uintptr_t)at;
}

u64 IMPORT(map)(SYS, u64 at, u32 len, u32 prot, u32 sharing, u32 fd, u64 offset)
{
	int flags = sharing;

	if (at)
		flags |= MAP_FIXED;
	if ((s32)fd == -1)
		flags |= MAP_ANONYMOUS;
	return mapped(mmap(address(at), len, prot, flags, fd, offset));
}

u64 IMPORT(unmap)(SYS, u64 at, u32 len)
{
	return guest_result(munmap(address(at), len));
}

u64 IMPORT(remap)(SYS, u64 at, u32 old, u32 new)
{
	return mapped(mremap(address(at), old, new, MREMAP_MAYMOVE));
}

u64 IMPORT(remap_to)(SYS, u64 at, u32 old, u32 new, u64 to)
{
	return mremap(address(at), old, new, MREMAP_MAYMOVE | MREMAP_FIXED, address(to)) == MAP_FAILED ? guest_result(-1) : 0;
}

u64 IMPORT(remap_dontunmap)(SYS, u64 at, u32 len)
{
	return mapped(mremap(address(at), len, len, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
}

u64 IMPORT(advise)(SYS, u64 at, u32 len, u32 advice)
{
	return guest_result(madvise(address(at), len, advice));
}

u64 IMPORT(mlock)(SYS, u64 at, u32 len)
{
	return guest_result(mlock(address(at), len));
}

u64 IMPORT(munlock)(SYS, u64 at, u32 len)
{
	return guest_result(munlock(address(at), len));
}

u64 IMPORT(msync)(SYS, u64 at, u32 len, u32 flags)
{
	return guest_result(msync(address(at), len, flags));
}

u64 IMPORT(protect)(SYS, u64 at, u32 len, u32 prot)
{
	return guest_result(mprotect(address(at), len, prot));
}

#define ACCESS(bits, type, word)                          \
	word IMPORT(load##bits)(SYS, u64 at)              \
	{                                                 \
		return *(volatile type *)address(at);     \
	}                                                 \
                                                          \
	void IMPORT(store##bits)(SYS, u64 at, word value) \
	{                                                 \
		*(volatile type *)address(at) = value;    \
	}

ACCESS(8, u8, u32)
ACCESS(16, u16, u32)
ACCESS(32, u32, u32)
ACCESS(64, u64, u64)

u32 IMPORT(load_acquire)(SYS, u64 at)
{
	return __atomic_load_n((u32 *)address(at), __ATOMIC_ACQUIRE);
}

void IMPORT(store_release)(SYS, u64 at, u32 value)
{
	__atomic_store_n((u32 *)address(at), value, __ATOMIC_RELEASE);
}

void IMPORT(fence)(SYS)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void IMPORT(copy_in)(SYS, u64 at, u32 bytes, u32 len)
{
	memcpy(address(at), guest_bytes(sys, bytes, len), len);
}

void IMPORT(copy_out)(SYS, u64 at, u32 into, u32 room)
{
	memcpy(guest_bytes(sys, into, room), address(at), room);
}

u64 IMPORT(write_from)(SYS, u32 fd, u64 at, u32 len)
{
	return retry_interrupted(write(fd, address(at), len));
}

u64 IMPORT(pwrite_from)(SYS, u32 fd, u64 at, u32 len, u64 to)
{
	return retry_interrupted(pwrite(fd, address(at), len, to));
}

u64 IMPORT(read_into)(SYS, u32 fd, u64 at, u32 len)
{
	return retry_interrupted(read(fd, address(at), len));
}

u64 IMPORT(pread_into)(SYS, u32 fd, u64 at, u32 len, u64 from)
{
	return retry_interrupted(pread(fd, address(at), len, from));
}

/* The system call with 64-bit time. Kernels of 32-bit machines can be built without the other one. */
#ifdef SYS_futex_time64
#define FUTEX SYS_futex_time64
#else
#define FUTEX SYS_futex
#endif

u64 IMPORT(futex_wait)(SYS, u64 at, u32 expected, u64 nanos)
{
	struct {
		s64 seconds, nanos;
	} timeout = { nanos / 1000000000, nanos % 1000000000 };

	return guest_result(syscall(FUTEX, address(at), FUTEX_WAIT, expected, &timeout));
}

u64 IMPORT(futex_wake)(SYS, u64 at, u32 count)
{
	return guest_result(syscall(FUTEX, address(at), FUTEX_WAKE, count));
}

u64 IMPORT(futex_requeue)(SYS, u64 at, u64 to, u32 count)
{
	return guest_result(syscall(FUTEX, address(at), FUTEX_REQUEUE, 0, count, address(to)));
}

/*
 * Registers a robust list with one entry. The list is circular: its last entry points to its head. The head is static
 * because the kernel reads the list when the process ends.
 */
u64 IMPORT(robust_list)(SYS, u64 entry, u32 to_futex)
{
	static struct robust_list_head head;
	struct robust_list *first = address(entry);

	first->next = &head.list;
	head.list.next = first;
	head.futex_offset = to_futex;
	return guest_result(syscall(SYS_set_robust_list, &head, sizeof(head)));
}

u64 IMPORT(splice_to)(SYS, u32 fd, u64 at, u32 len)
{
	struct iovec range = { address(at), len };

	return retry_interrupted(vmsplice(fd, &range, 1, SPLICE_F_NONBLOCK));
}

u64 IMPORT(tee)(SYS, u32 from, u32 to, u32 len)
{
	return retry_interrupted(tee(from, to, len, SPLICE_F_NONBLOCK));
}

u64 IMPORT(register_buffer)(SYS, u64 at, u32 len)
{
	struct io_uring_params params = { 0 };
	struct iovec range = { address(at), len };
	s64 ring = guest_result(syscall(SYS_io_uring_setup, 1, &params));
	s64 error;

	if (ring < 0)
		return ring;
	error = guest_result(syscall(SYS_io_uring_register, (int)ring, IORING_REGISTER_BUFFERS, &range, 1));
	if (!error)
		return ring;
	close(ring);
	return error;
}
