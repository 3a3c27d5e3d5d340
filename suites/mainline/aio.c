/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Reads completions of asynchronous I/O from the ring that the kernel maps into this process (fs/aio.c). */
#include "mainline.h"
#include <linux/aio_abi.h>

/* The start of the ring, which libaio reads too. */
struct aio_ring {
	unsigned int id, nr, head, tail, magic, compat_features, incompat_features, header_length;
	struct io_event events[];
};

enum { PAGES = 4, ROUNDS = 100, MAGIC = 0xa10a10a1 };

int main(void)
{
	size_t length = PAGES * page_size();
	char *buffer = map_anonymous(length), *plain = map_anonymous(length);
	int file = memory_file(length);
	aio_context_t context = 0;
	struct aio_ring *ring;

	need(syscall(SYS_io_setup, 8, &context), "io_setup");
	ring = (struct aio_ring *)(uintptr_t)context;
	if (ring->magic != MAGIC)
		fail("the ring's magic number is 0x%x", ring->magic);
	for (int round = 0; round < ROUNDS; round++) {
		int writes = round % 2;
		struct iocb request = { .aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD, .aio_fildes = file,
					.aio_buf = (uintptr_t)buffer, .aio_nbytes = length, .aio_data = 1000 + round };
		struct iocb *list = &request;
		unsigned int head = __atomic_load_n(&ring->head, __ATOMIC_RELAXED);
		volatile struct io_event *event = &ring->events[head];

		fill(writes ? buffer : plain, length, round);
		if (!writes)
			check(pwrite(file, plain, length, 0), "pwrite");
		check(syscall(SYS_io_submit, context, 1, &list), "io_submit");
		if (__atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) == head)
			fail("round %d: the tail of the ring did not move", round);
		if (event->data != (uint64_t)1000 + round || event->res != (int64_t)length)
			fail("round %d: found data %llu and result %lld", round, (unsigned long long)event->data,
			     (long long)event->res);
		__atomic_store_n(&ring->head, (head + 1) % ring->nr, __ATOMIC_RELEASE);
		if (writes)
			check(pread(file, plain, length, 0), "pread");
		expect_pattern(writes ? plain : buffer, length, round, "transferred data");
	}
	check(syscall(SYS_io_destroy, context), "io_destroy");
	return PASSED;
}
