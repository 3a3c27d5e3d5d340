/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reads and writes with a registered buffer of an io_uring. The kernel pins the pages once and copies through its own
 * address each time (ITER_BVEC, lib/iov_iter.c). There are several rings, because one could have the right colour by
 * chance.
 */
#include "io-uring.h"

enum { RINGS = 6, PAGES = 8, ROUNDS = 3 };

static struct io_uring_sqe request(int opcode, int fd, void *buffer, size_t length)
{
	return (struct io_uring_sqe){ .opcode = opcode, .fd = fd, .addr = (uintptr_t)buffer, .len = length,
				      .user_data = opcode };
}

/* Uses a ring of its own, and leaves it open. */
static void use_ring(int reads, int writes)
{
	size_t length = PAGES * page_size();
	struct ring ring = ring_setup(8, 0);
	int file = memory_file(length);
	char *buffer = map_anonymous(length), *plain = map_anonymous(length);
	struct iovec vector = { buffer, length };

	check(syscall(__NR_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &vector, 1), "IORING_REGISTER_BUFFERS");
	for (int round = 0; reads && round < ROUNDS; round++) {
		struct io_uring_sqe read = request(IORING_OP_READ_FIXED, file, buffer, length);

		fill(plain, length, round);
		check(pwrite(file, plain, length, 0), "write the file");
		/* Lines of the buffer are in the cache now, in the colour of this mapping. */
		fill(buffer, length, 50 + round);
		if (ring_do(&ring, &read) != (int)length)
			fail("READ_FIXED did not read the whole file");
		expect_pattern(buffer, length, round, "data that READ_FIXED read");
	}
	for (int round = 0; writes && round < ROUNDS; round++) {
		struct io_uring_sqe write = request(IORING_OP_WRITE_FIXED, file, buffer, length);

		fill(buffer, length, 100 + round);
		if (ring_do(&ring, &write) != (int)length)
			fail("WRITE_FIXED did not write the whole buffer");
		if (check(pread(file, plain, length, 0), "read the file") != (ssize_t)length)
			fail("short read from the file");
		expect_pattern(plain, length, 100 + round, "data that WRITE_FIXED wrote");
	}
}

int main(int argc, char **argv)
{
	int reads = argc < 2 || strcmp(argv[1], "write"), writes = argc < 2 || strcmp(argv[1], "read");

	for (int i = 0; i < RINGS; i++) {
		/* Moves the ring by a page. */
		map_anonymous(page_size());
		use_ring(reads, writes);
	}
	return PASSED;
}
